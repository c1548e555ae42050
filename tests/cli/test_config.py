"""`vhbench run --config`: a grid file's options under those of the command line; and what a dry run foretells."""

import json
import re
import shlex
import shutil

import pytest

from vhbench.runs.record import write_record


@pytest.fixture
def grid(tmp_path, tiny, out, fake_methods):
    """Write a grid file on the tiny protocol with the fake methods; returns its path."""

    def write(text="", **tables):
        path = tmp_path / "grid.toml"
        lines = [f'protocol = "{tiny}"', f'out = "{out}"', f'plugin = ["{fake_methods}"]']
        path.write_text("\n".join([*lines, text]))
        return path

    return write


def planned(result):
    """Return (method, bits, seed, epochs) of a dry run's lines."""
    assert result.code == 0, result.err
    return [tuple(line.split()[1:5]) for line in result.out.splitlines()[2:] if line.startswith("tiny ")]


def test_a_grid_file_says_everything_that_options_say(vhbench, grid):
    path = grid('method = ["fake", "itq"]\nbits = [8, 16]\nseeds = "0,1"\nepochs = 3')
    assert planned(vhbench("run", "--config", path, "--dry-run")) == [
        (method, bits, seed, "3" if method == "fake" else "-")
        for method in ("fake", "itq") for bits in ("8", "16") for seed in ("0", "1")
    ]  # fmt: skip


def test_the_command_line_goes_before_the_file(vhbench, grid):
    path = grid('method = "fake"\nbits = [8, 16]\nepochs = 3')
    result = vhbench("run", "--config", path, "--bits", "24", "--epochs", "5", "--dry-run")
    assert planned(result) == [("fake", "24", "0", "5")]


def test_hyper_parameters_of_file_and_command_line_are_joined(vhbench, grid, out):
    path = grid('method = ["fake"]\nbits = 8\n[set.fake]\nspread = 3.0\nepochs = 4')
    assert vhbench("run", "--config", path, "--set", "fake.spread=2").code == 0
    (record,) = out.rglob("run.json")
    assert json.loads(record.read_text())["spec"]["params"] == {"epochs": 4, "spread": 2.0}


def test_a_part_of_the_files_methods_can_be_run(vhbench, grid):
    path = grid('method = ["fake", "itq"]\nbits = 8\n[set.itq]\niterations = 3')
    assert planned(vhbench("run", "--config", path, "--method", "fake", "--dry-run")) == [("fake", "8", "0", "2")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bit = 8", "Unknown option 'bit': did you mean 'bits'"),
        ('bits = "eight"', "bits: --bits takes whole numbers separated by commas, not 'eight'."),
        ('epochs = "many"', "epochs: 'many' is not a valid integer"),
        ('deterministic = "yes"', "deterministic takes true or false."),
        ("budget = true", "budget takes a value."),
        ("dry_run = true", "Unknown option 'dry_run'"),
        ("[set.itq]\niterations = 3", "--set names itq, which this grid does not run"),
        ('launcher = "locl"', "Unknown launcher 'locl': did you mean 'local'"),
        ("workers = 2", "Unknown option of the launcher inline 'workers'"),
        ('time_limit = "soon"', "time-limit: --time-limit takes a time such as 90 (seconds), 30m or 2h, not 'soon'."),
    ],
)
def test_a_faulty_file_is_refused_in_one_sentence(vhbench, grid, text, message):
    defaults = [line for line in ('method = "fake"', "bits = 8") if line.split()[0] != text.split()[0]]
    result = vhbench("run", "--config", grid("\n".join([*defaults, text])))
    assert result.code == 2 and message in result.error


def test_a_record_does_its_run_again(vhbench, run_tiny, out, tiny, tmp_path, fake_methods):
    run_tiny("fake", "--bits", "16", "--seeds", "3", "--set", "fake.spread=2", "--epochs", "1")
    (record,) = out.rglob("run.json")
    given = ["--config", record, "--protocol", tiny, "--plugin", fake_methods]
    assert "Nothing to do" in vhbench("run", *given, "--out", out).err
    by_folder = vhbench("run", "--config", record.parent, *given[2:], "--out", out)
    assert by_folder.code == 0 and "Nothing to do" in by_folder.err, "a run's folder is as good as its record"
    again = vhbench("run", *given, "--out", tmp_path / "again")
    assert again.code == 0 and "not the one in" not in again.err
    (other,) = (tmp_path / "again").rglob("run.json")
    assert json.loads(other.read_text())["scores"] == json.loads(record.read_text())["scores"]
    assert "These runs are not the one in" in vhbench("run", *given, "--seeds", "4", "--out", out, "--dry-run").err


@pytest.fixture
def foreign(vhbench, tiny, out, fake_methods, tmp_path):
    """A record of a run on a manifest of one's own, with a plugin's method and a data folder; and these three."""
    manifest, plugin, data = tmp_path / "my manifest.toml", tmp_path / "my method.py", tmp_path / "my data"
    manifest.write_text(tiny.read_text())
    shutil.copy(fake_methods, plugin)
    shutil.copytree(tiny.parent, data)
    given = ["--protocol", manifest, "--plugin", plugin, "--data", data]
    assert vhbench("run", "--method", "fake", "--bits", "8", "--out", out, *given).code == 0
    (record,) = out.rglob("run.json")
    return record, manifest, plugin, data


def test_a_record_of_ones_own_manifest_and_method_says_what_to_add(vhbench, foreign, out):
    record, manifest, plugin, data = foreign
    assert json.loads(record.read_text())["made_with"] == {
        "protocol": str(manifest), "data": str(data), "plugins": [str(plugin)],
    }  # fmt: skip
    error = vhbench("run", "--config", record, "--out", out).error
    assert "with protocol 'tiny' and method 'fake', unknown here" in error
    words = shlex.split(error.partition("made with ")[2].partition(": add")[0])
    assert words == ["--protocol", str(manifest), "--data", str(data), "--plugin", str(plugin)]
    again = vhbench("run", "--config", record, "--out", out, *words)
    assert again.code == 0 and "Nothing to do" in again.err and "not the one in" not in again.err


def test_a_record_names_only_what_is_lacking(vhbench, foreign, out):
    record, manifest, plugin, data = foreign
    error = vhbench("run", "--config", record, "--out", out, "--plugin", plugin, "--data", data).error
    assert "with protocol 'tiny', unknown here" in error and str(manifest) in error
    assert "--plugin '" not in error and "--data" not in error
    error = vhbench("run", "--config", record, "--out", out, "--plugin", plugin, "--protocol", manifest).error
    assert error.endswith(f"The record says --data '{data}'."), "its data are not beside this manifest"


def test_a_plugin_that_cannot_be_used_says_why(vhbench, foreign, out):
    record, manifest, plugin, data = foreign
    plugin.write_text("import nowhere_at_all")
    given = ["--protocol", manifest, "--plugin", plugin, "--data", data]
    assert "No module named 'nowhere_at_all'" in vhbench("run", "--config", record, "--out", out, *given).error


def test_nothing_that_a_record_names_is_opened(vhbench, foreign, out):
    record, manifest, plugin, data = foreign
    plugin.write_text(f"open({str(out / 'executed')!r}, 'w')")
    manifest.write_text("not TOML")
    shutil.rmtree(data)
    assert "made with --protocol" in vhbench("run", "--config", record, "--out", out).error
    assert not (out / "executed").exists()


def test_a_record_from_before_the_entry_names_the_file_of_its_method(vhbench, foreign, out):
    record, _, plugin, _ = foreign
    values = json.loads(record.read_text())
    del values["made_with"]
    write_record(record.parent, values)
    assert f"made with --plugin '{plugin}': add" in vhbench("run", "--config", record, "--out", out).error
    values["method"]["origin"] = "built-in"
    write_record(record.parent, values)
    assert "unknown here; add where they are (--protocol PATH.toml" in vhbench("run", "--config", record).error


def test_the_grid_kept_beside_the_results_starts_it_again(vhbench, run_tiny, out, tiny, fake_methods):
    run_tiny("fake,itq", "--bits", "8,16", "--seeds", "0,1", "--set", "itq.iterations=3")
    (kept,) = (out / "grids").iterdir()
    refused = vhbench("run", "--config", kept, "--out", out)
    assert refused.code == 2
    assert refused.error == (
        f"Error: {kept} lies among results, which others may have written, and names files to open or execute: if they "
        f"are yours or you trust them, add --protocol {tiny} --plugin {fake_methods}."
    )
    words = ["--protocol", tiny, "--plugin", fake_methods]
    assert "Nothing to do" in vhbench("run", "--config", kept, "--out", out, *words).err
    assert list((out / "grids").iterdir()) == [kept]


def test_a_dry_run_foretells_times_from_like_runs(run_tiny, out):
    run_tiny("fake", "--epochs", "1")
    lines = run_tiny("fake,itq", "--bits", "8,16", "--epochs", "1", "--dry-run").out.splitlines()
    assert lines[0].split() == [
        "protocol",
        "method",
        "bits",
        "seed",
        "epochs",
        "steps",
        "changed",
        "time",
        "state",
        "plan",
    ]
    form = r"tiny +\w+ +\d+ +0 +\S+ +\S+ +\S+ +(.*?) +(?:missing|done) +\w+"
    times = [re.fullmatch(form, line)[1] for line in lines[2:6]]
    assert times[0] == "-" and times[2:] == ["unknown", "unknown"]
    assert re.fullmatch(r"[\d.]+ s", times[1])
    assert lines[-1] == f"3 of 4 runs to do, one after the other about {times[1]} and the unknown time of 2."


def test_a_dry_run_says_how_far_an_interrupted_run_is_and_why_one_failed(run_tiny, out):
    run_tiny("fake,fake-nan-loss", "--epochs", "3")
    record = next(out.glob("tiny/fake/*/run.json"))
    record.unlink()
    text = run_tiny("fake,fake-nan-loss", "--epochs", "3", "--dry-run").out
    assert re.search(r"fake .* interrupted: epoch 3/3, loss 0.125, .* +run\n", text)
    assert re.search(r"fake-nan-loss .* failed: The loss became nan in epoch 1 of 2: .* +keep\n", text)
