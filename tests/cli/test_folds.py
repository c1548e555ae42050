"""Several splits in one protocol: run one by one, and averaged in tables."""

import csv
import io
import json
import re
import shutil
import statistics

import numpy as np
import pytest

from vhbench.report.rows import rows
from vhbench.runs.groups import Choice
from vhbench.runs.store import Store
from vhbench.testing.files import write_hdf5, write_manifest, write_npy


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A manifest of 3 folds and the results of `run` on it."""
    from click.testing import CliRunner

    from vhbench.cli import cli

    folder = tmp_path_factory.mktemp("folds")
    rng = np.random.default_rng(0)
    labels = np.arange(30) % 3
    features = 2 * rng.standard_normal((3, 1, 6))[labels] + rng.standard_normal((30, 4, 6))
    write_hdf5(folder / "feats.h5", features.astype(np.float32))
    write_npy(folder / "labels.npy", labels)
    (folder / "names.txt").write_text("".join(f"clip-{n}.mp4\n" for n in range(30)))
    (folder / "classes.txt").write_text("jump\nrun\nswim\n")
    table = {"features": ["feats.h5"], "labels": ["labels.npy"], "names": ["names.txt"], "folds": 3, "by": "class"}
    own = write_manifest(folder / "own.toml", name="own", ks=[5], classes="classes.txt", split=table)
    words = ["run", "--method", "lsh", "--protocol", own, "--bits", "6", "--seeds", "0,1", "--out", folder / "results",
             "--device", "cpu"]  # fmt: skip
    result = CliRunner(env={"VHBENCH_CACHE": str(folder / "cache")}).invoke(cli, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return own, folder / "results", result.output


def table(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_tables_show_the_mean_over_splits_and_its_spread(vhbench, results):
    own, out, printed = results
    records, _ = Store(out).records()
    assert len(records) == 6
    each = [row.value for row in rows(records, Choice())]
    for names in ([], ["--protocol", own], ["--protocol", "own"]):
        (row,) = table(vhbench("compare", "--out", out, "--format", "csv", *names).out)
        assert (row["protocol"], row["split"], row["folds"], row["queries"]) == ("own", "own", "3", "30")
        assert float(row["value"]) == pytest.approx(statistics.fmean(each), abs=1e-12)
        assert float(row["sd"]) == pytest.approx(statistics.stdev(each), abs=1e-12)
    shown = vhbench("compare", "--out", out).out
    note = "30 queries; mean ± standard deviation over 3 splits, each the mean over its seeds"
    assert note in shown and note in printed
    assert f"{statistics.fmean(each):.3f} ± {statistics.stdev(each):.3f}" in shown


def test_a_split_that_is_named_is_shown_by_itself(vhbench, results):
    own, out, _ = results
    records, _ = Store(out).records()
    (second,) = [row for row in rows(records, Choice()) if row.protocol == "own-fold2"]
    for name in ("own-fold2", f"{own}-fold2"):
        words = ("--out", out, "--protocol", name, "--format", "csv", "--ci")
        (row,) = table(vhbench("compare", *words).out)
        assert (row["protocol"], row["folds"], float(row["value"])) == ("own-fold2", "0", second.value) and row[
            "ci_low"
        ]


def test_no_interval_is_made_up_over_splits(vhbench, results, caplog):
    _, out, _ = results
    result = vhbench("compare", "--out", out, "--ci", "--format", "csv")
    assert not table(result.out)[0]["ci_low"]
    assert "intervals and tests are of one split each, as --protocol own-fold1 shows them" in caplog.text


def test_splits_that_are_lacking_are_said(vhbench, results, tmp_path):
    _, out, _ = results
    shutil.copytree(out, tmp_path / "results")
    shutil.rmtree(tmp_path / "results" / "own-fold3")
    shown = vhbench("compare", "--out", tmp_path / "results").out
    assert "over 3 splits (yet lsh over 2)" in shown


def test_rescoring_finds_every_split_of_a_manifest(vhbench, results):
    own, out, _ = results
    result = vhbench("rescore", "--check", "--protocol", own, "--out", out)
    assert result.code == 0 and "6 runs" in result.out + result.err


def test_the_page_takes_the_manifest_of_all_splits(vhbench, results, tmp_path):
    own, out, _ = results
    result = vhbench("report", "--protocol", own, "--out", out, "-o", tmp_path / "page.html")
    assert result.code == 0 and "labels" not in result.err
    text = (tmp_path / "page.html").read_text()
    page = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text)[1])
    mean, *splits = page["sets"]
    assert [one["name"] for one in page["sets"]] == ["own", "own-fold1", "own-fold2", "own-fold3"]
    rows = table(vhbench("compare", "--out", out, "--references", "--metric", "map@5,mrr", "--format", "csv").out)
    shown = [*mean["series"], *mean["references"]]
    assert len(rows) == 2 * len(shown) == 8
    for n, row in enumerate(rows):
        one = next(one for one in shown if row["label"] in (one.get("label"), one.get("name")))
        value = one["scores"]["literature"][row["metric"].partition("[")[0]]
        assert float(row["value"]) == (value[0] if isinstance(value, list) else value), n
    views = [one["views"] for one in splits]
    names = [name for one in views for name in one["query_names"]]
    assert sorted(names) == sorted(f"clip-{n}.mp4" for n in range(30))
    for one in views:
        kinds = ("jump", "run", "swim")
        assert list(one["class_names"].values()) == [*kinds]
        clips = [*zip(one["query_names"], one["classes"], strict=True)]
        clips += [*zip(one["example_names"], one["example_classes"], strict=True)]
        clips += [(name, one["item_classes"][row]) for row, name in one["item_names"].items()]
        assert len(clips) > 20
        for name, (number,) in clips:
            assert kinds[number] == kinds[int(name[5:-4]) % 3], name
