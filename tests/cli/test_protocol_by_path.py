"""`--protocol` takes the name or the manifest's path wherever runs or data are chosen, and in the Python functions."""

import shutil

import pytest

import vhbench as package
from vhbench.plugins.registry import Registry
from vhbench.testing import make_protocol


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two manifests of one's own and runs on each, and on one with the model of the other."""
    root = tmp_path_factory.mktemp("made")
    one, other = (make_protocol(root / name, name=name, videos=videos) for name, videos in (("one", 24), ("other", 32)))
    across = f"{one}-to-{other}"
    package.run("itq", [one, other, across], 4, out=root / "results")
    return root / "results", one, other, across


def test_names_and_paths_choose_the_same_runs(vhbench, made):
    out, one, _, across = made
    for name, path in (("one", one), ("one-to-other", across)):
        named, by_path = (vhbench("compare", "--out", out, "--protocol", word) for word in (name, path))
        assert named == by_path and named.code == 0
        assert {row["protocol"] for row in package.compare(path, out=out).to_dict("records")} == {name}
        assert list(package.compare(path, out=out)["value"]) == list(package.compare(name, out=out)["value"])
    both = vhbench("compare", "--out", out, "--protocol", f"{one},other")
    assert both.code == 0 and [line for line in both.out.splitlines() if line in ("one", "other")] == ["one", "other"]


def test_a_path_that_no_run_has_and_one_that_is_no_manifest_are_refused(vhbench, made, tiny, tmp_path):
    out = made[0]
    assert (
        "Unknown protocol among the finished runs 'tiny'" in vhbench("compare", "--out", out, "--protocol", tiny).error
    )
    missing = vhbench("compare", "--out", out, "--protocol", tmp_path / "no.toml")
    assert missing.code == 2 and "There is no manifest" in missing.error


def test_the_page_takes_the_labels_of_manifests_given_by_path(vhbench, made, tmp_path):
    out, one, _, across = made
    for protocol in (one, across, f"{one},{across}"):
        result = vhbench("report", "--out", out, "-o", tmp_path / "page.html", "--protocol", protocol)
        assert result.code == 0 and "not on the page" not in result.err
    result = vhbench("report", "--out", out, "-o", tmp_path / "page.html", "--protocol", "one")
    assert result.code == 0 and "The labels of one were not found" in result.err


def test_codes_are_scored_and_exported_by_path(vhbench, made, tmp_path):
    out, one, _, across = made
    shutil.copytree(out, tmp_path / "results")
    for protocol in (one, across):
        assert vhbench("rescore", "--out", tmp_path / "results", "--protocol", protocol).code == 0
    (folder,) = (out / "one-to-other").glob("*/*")
    assert vhbench("export", folder, "-o", tmp_path / "codes", "--protocol", across).code == 0
    assert (tmp_path / "codes" / "other" / "query-labels.npy").exists()


def test_records_know_protocols_by_name(tiny):
    texts = [str(tiny), f"{tiny}-unseen", "built-in:demo", "of somebody else"]
    assert Registry().protocol_names(texts) == ("tiny", "tiny-unseen", "demo", "of somebody else")
