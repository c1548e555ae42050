"""`vhbench.run` and `vhbench.compare` do what the commands do."""

import json

import numpy as np
import pandas as pd
import pytest

import vhbench
from vhbench.errors import UsageError
from vhbench.testing import make_protocol

MAP = "map@20[den=k,ties=expected,self=keep]"


@pytest.fixture
def command(request):
    """The command line, which the fixture `vhbench` is; here that name is the package's."""
    return request.getfixturevalue("vhbench")


def test_run_returns_a_row_a_run_and_leaves_what_the_command_leaves(run_tiny, tiny, out, tmp_path, fake_methods):
    run_tiny("fake,itq", "--bits", "8,16", "--seeds", "0,1", "--set", "itq.iterations=3")
    table = vhbench.run(
        ["fake", "itq"], tiny, [8, 16], seeds=range(2), params={"itq": {"iterations": 3}}, out=tmp_path / "other",
        plugins=[fake_methods],
    )  # fmt: skip
    assert table[["protocol", "method", "bits", "seed"]].values.tolist() == [
        ["tiny", method, bits, seed] for method in ("fake", "itq") for bits in (8, 16) for seed in (0, 1)
    ]
    assert set(table["status"]) == {"done"}
    ids = [{p.parent.name for p in folder.rglob("run.json")} for folder in (out, tmp_path / "other")]
    assert ids[0] == ids[1]
    for row in table.to_dict("records"):
        (path,) = out.rglob(f"{row['method']}/{row['bits']}b-s{row['seed']}-*/run.json")
        scores = json.loads(path.read_text())["scores"]
        assert {name: row[name] for name in scores} == scores


def test_run_does_nothing_twice_and_returns_the_same_table(tiny, out):
    first = vhbench.run("itq", tiny, 8, out=out)
    (record,) = out.rglob("run.json")
    written = record.stat().st_mtime_ns
    pd.testing.assert_frame_equal(vhbench.run("itq", tiny, 8, out=out), first)
    assert record.stat().st_mtime_ns == written
    vhbench.run("itq", tiny, 8, out=out, rerun="all")
    assert record.stat().st_mtime_ns > written


def test_run_takes_numpy_numbers_and_paths(tiny, out, tmp_path):
    other = make_protocol(tmp_path / "other", name="other", videos=44)
    table = vhbench.run("lsh", [tiny, str(other)], np.array([8, 16]), seeds=np.int64(1), out=out)
    assert table[["protocol", "bits", "seed"]].values.tolist() == [
        [protocol, bits, 1] for protocol in ("tiny", "other") for bits in (8, 16)
    ]


def test_a_failed_run_is_a_row_with_its_reason(tiny, out, fake_methods):
    table = vhbench.run(["fake", "fake-nan-loss"], tiny, 8, out=out, plugins=[fake_methods])
    assert table["status"].tolist() == ["done", "failed"]
    assert "training diverged" in table["reason"][1] and np.isnan(table[MAP][1])


def test_compare_returns_the_rows_of_the_json_format(command, out, write_run):
    for seed, value in enumerate((0.5, 0.6)):
        write_run(seed=seed, value=value)
    write_run("lsh", value=0.2, params={})
    for options, words in (
        ({}, []),
        ({"method": ["lsh", "itq"], "bits": 16}, ["--method", "lsh,itq", "--bits", "16"]),
        ({"convention": "strict", "metric": "map@20"}, ["--convention", "strict", "--metric", "map@20"]),
    ):
        table = vhbench.compare("toy", out=out, **options)
        rows = json.loads(command("compare", "--protocol", "toy", "--out", out, "--format", "json", *words).out)
        assert table["value"].tolist() == [row["value"] for row in rows]
        assert list(table.columns) == list(rows[0])
    assert vhbench.compare(out=out / "nothing").empty


def test_compare_takes_what_the_command_takes(command, out, write_run):
    rng = np.random.default_rng(0)
    for method, mean in (("itq", 0.6), ("lsh", 0.3)):
        values = rng.uniform(mean - 0.2, mean + 0.2, 40).astype(np.float32)
        folder = write_run(method, value=float(values.astype(float).mean()), params={})
        np.savez(folder / "per_query.npz", **{MAP: values})
    for options, words in (
        ({"ci": True, "baseline": "itq"}, ["--ci", "--baseline", "itq"]),
        ({"significance": True, "published": True}, ["--significance", "--published"]),
        (
            {"difference": "lsh", "sort": "name", "names": {"itq": "Z"}},
            ["--difference", "lsh", "--sort", "name", "--names", "itq=Z"],
        ),
    ):
        table = vhbench.compare(out=out, **options)
        rows = json.loads(command("compare", "--out", out, "--format", "json", *words).out)
        assert table["ci"].tolist() == [row["ci"] for row in rows]
        assert table["tests"].tolist() == [row["tests"] for row in rows]
        assert table["label"].tolist() == [row["label"] for row in rows]
        assert any(table["tests"])
    pairs = vhbench.compare(out=out, pairwise=True)
    assert pairs.to_dict("records") == json.loads(
        command("compare", "--out", out, "--format", "json", "--pairwise").out
    )
    with pytest.raises(UsageError, match="baseline"):
        vhbench.compare(out=out, baseline="nothing")


def test_compare_draws_the_figures_of_the_command(command, out, run_tiny, tmp_path):
    run_tiny("itq")
    files = {"pr": tmp_path / "pr.svg", "map_file": tmp_path / "map.svg"}
    vhbench.compare(out=out, **files)
    drawn = {path.name: path.read_bytes() for path in tmp_path.glob("*.svg")}
    assert {"pr.svg", "map.svg"} == drawn.keys()
    command("compare", "--out", out, "--pr", files["pr"], "--map", files["map_file"])
    assert drawn == {path.name: path.read_bytes() for path in tmp_path.glob("*.svg")}
