"""`vhbench run` with several values of a hyper-parameter: as options, in files, kept, resumed and in tables."""

import json
import re
import shutil

import vhbench as package

SPREADS = ("--set", "fake.spread=1,2", "--set", "fake.epochs=1,3")


def settings(out):
    records = [json.loads(path.read_text()) for path in out.rglob("run.json")]
    return sorted((r["spec"]["params"]["spread"], r["spec"]["params"]["epochs"]) for r in records)


def test_each_setting_is_run_and_has_its_row(run_tiny, vhbench, out):
    result = run_tiny("fake", *SPREADS)
    assert result.code == 0 and settings(out) == [(1.0, 1), (1.0, 3), (2.0, 1), (2.0, 3)]
    assert "[2/4] fake [spread=1.0, epochs=3] on tiny, 8 bits, seed 0" in result.err
    labels = ["fake [epochs=1]", "fake [epochs=3]", "fake [epochs=1, spread=2.0]", "fake [epochs=3, spread=2.0]"]
    for text in (result.out, vhbench("compare", "--out", out).out):
        assert all(re.search(rf"^{re.escape(label)} +1 +\d", text, re.MULTILINE) for label in labels)
    assert "Nothing to do" in run_tiny("fake", *SPREADS).err


def test_a_dry_run_shows_each_setting(run_tiny, out):
    text = run_tiny("fake", *SPREADS, "--dry-run").out
    assert [re.split(r"  +", line)[6] for line in text.splitlines()[2:6]] == [
        "epochs=1", "epochs=3", "epochs=1, spread=2.0", "epochs=3, spread=2.0",
    ]  # fmt: skip
    assert text.endswith("4 of 4 runs to do.\n") and not out.exists()


def test_lists_of_a_grid_file_are_a_sweep_and_the_command_line_goes_before_them(
    vhbench, tiny, out, fake_methods, tmp_path
):
    grid = tmp_path / "grid.toml"
    lines = ['method = "fake"', f'protocol = "{tiny}"', "bits = 8", f'plugin = "{fake_methods}"', f'out = "{out}"']
    grid.write_text("\n".join([*lines, "[set.fake]", "spread = [1, 2.5]", "epochs = 1"]))
    assert vhbench("run", "--config", grid, "--set", "fake.epochs=2").code == 0
    assert settings(out) == [(1.0, 2), (2.5, 2)]


def test_the_kept_grid_goes_on_with_the_settings_that_are_left(run_tiny, vhbench, out, tiny, fake_methods):
    run_tiny("fake", *SPREADS)
    (kept,) = (out / "grids").iterdir()
    for path in (out / "tiny" / "fake").iterdir():
        if json.loads((path / "run.json").read_text())["spec"]["params"]["epochs"] == 3:
            shutil.rmtree(path)
    assert f"waiting: 2 of grid {kept.stem}" in vhbench("status", "--out", out, "--plugin", fake_methods).out
    words = ["--config", kept, "--out", out, "--protocol", tiny, "--plugin", fake_methods]
    assert "2 of 4 runs are recorded already." in vhbench("run", *words).err
    assert len(settings(out)) == 4 and list((out / "grids").iterdir()) == [kept]


def test_a_python_list_is_a_sweep_and_a_text_is_one_value(tiny, out, fake_methods):
    params = {"fake": {"spread": [1, 2.0], "epochs": 1}}
    found = package.run("fake", tiny, 8, params=params, plugins=[fake_methods], out=out)
    assert len(found) == 2 and settings(out) == [(1.0, 1), (2.0, 1)]


def test_a_text_with_commas_stays_one_value_where_its_default_has_commas(vhbench, tiny):
    words = ["run", "--method", "autossvh", "--protocol", tiny, "--bits", "8", "--dry-run", "--set"]
    assert vhbench(*words, "autossvh.clusters=100,200").out.endswith("1 of 1 runs to do.\n")
    assert vhbench(*words, "autossvh.clusters=[100,200|300]").out.endswith("2 of 2 runs to do.\n")
    assert "may be one text or several" in vhbench(*words, "autossvh.sampler=released,described").error
