"""Several splits in one protocol: run one by one, and averaged in tables."""

import csv
import io
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
    table = {"features": ["feats.h5"], "labels": ["labels.npy"], "folds": 3, "by": "class"}
    own = write_manifest(folder / "own.toml", name="own", ks=[5], split=table)
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
    assert result.code == 0 and "labels" not in result.err and "own-fold3" in (tmp_path / "page.html").read_text()
