"""`vhbench report` and `vhbench.report`: one page, what it says on the way, and how it refuses."""

import json
import re
import subprocess
import sys

import pytest
from made_runs import Made, make_run

import vhbench as package


def content(path):
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text(), re.DOTALL)
    return json.loads(found[1])


@pytest.fixture
def page(tmp_path):
    return tmp_path / "page.html"


def test_the_manifest_of_a_protocol_gives_its_labels(vhbench, run_tiny, tiny, out, page):
    run_tiny("fake", "--seeds", "0,1")
    result = vhbench("report", "-o", page, "--out", out, "--protocol", tiny)
    assert (result.code, result.out) == (0, "") and re.fullmatch(r"wrote \S+page.html \(0.\d MB\)\n", result.err)
    (one,) = content(page)["sets"]
    assert one["protocol"] == "tiny" and len(one["views"]["classes"]) == 12 and one["views"]["pictures"]["query"] == {}
    assert [len(series["top"]) for series in one["series"]] == [8]


def test_without_the_manifest_it_says_what_is_missing_and_how_to_give_it(vhbench, run_tiny, out, page):
    run_tiny("fake")
    result = vhbench("report", "-o", page, "--out", out)
    assert result.code == 0 and "not on the page: The labels of tiny were not found" in result.err
    assert "PATH.toml" in content(page)["sets"][0]["views"]["advice"]


def test_a_manifest_whose_data_are_missing_is_no_error_either(vhbench, run_tiny, tiny, out, page, tmp_path):
    run_tiny("fake")
    manifest = tmp_path / "elsewhere.toml"
    manifest.write_text(tiny.read_text())
    result = vhbench("report", "-o", page, "--out", out, "--protocol", manifest)
    assert result.code == 0 and "not on the page: The labels of tiny were not found" in result.err
    assert "--data DIR" in result.err and page.is_file()


def test_the_page_opens_with_what_was_asked_for(vhbench, out, page):
    for method, bits in (("itq", 16), ("lsh", 16), ("lsh", 32)):
        make_run(out, Made(), method, bits)
    options = ["--method", "lsh", "--bits", "32", "--metric", "map@5", "--convention", "strict"]
    assert vhbench("report", "-o", page, "--out", out, *options).code == 0
    data = content(page)
    assert [(group["label"], group["bits"]) for group in data["groups"]] == [("lsh", 32)]
    assert (data["convention"], data["sets"][0]["views"]["metric"]) == ("strict", "map@5")


def test_a_folder_of_damaged_and_failed_runs_gives_a_page(vhbench, out, page, write_run):
    write_run(status="failed", reason="it broke")
    folder = write_run(seed=1)
    (folder / "run.json").write_text("{")
    assert vhbench("report", "-o", page, "--out", out).code == 0
    data = content(page)
    assert [run["state"] for run in data["runs"]] == ["failed"] and len(data["damaged"]) == 1 and data["sets"] == []


def test_what_it_refuses(vhbench, out, page, write_run, tmp_path):
    assert "There are no recorded runs" in vhbench("report", "-o", page, "--out", out).error
    write_run()
    for options, message in (
        (["--protocol", "tyo"], "did you mean 'toy'"),
        (["--protocol", "none.toml"], "There is no manifest none.toml"),
        (["--metric", "map@7"], "map@7 is not recorded for toy"),
        (["--metric", "precision@5"], "takes a map"),
        (["--convention", "loose"], "Unknown convention 'loose'"),
    ):
        result = vhbench("report", "-o", page, "--out", out, *options)
        assert result.code == 2 and message in result.error, options
    assert vhbench("report", "-o", tmp_path, "--out", out).code == 2
    (tmp_path / "file").write_text("")
    result = vhbench("report", "-o", tmp_path / "file" / "page.html", "--out", out)
    assert result.code == 1 and "a part of this path is a file" in result.error
    assert not page.exists()


def test_the_function_does_what_the_command_does(vhbench, out, page, tmp_path, caplog):
    make_run(out, Made())
    vhbench("report", "-o", page, "--out", out, "--bits", "16")
    other = package.report(tmp_path / "other.html", bits=16, out=out)
    assert other.read_bytes() == page.read_bytes()
    assert [message[:40] for message in caplog.messages] == ["not on the page: The labels of made were"]


def test_the_function_is_there_before_and_after_the_package_of_its_name_is_imported(out, tmp_path, child_environment):
    """Importing any part of `vhbench.report` binds that name to the package, which must be callable too."""
    make_run(out, Made())
    calls = [f"vhbench.report('{name}.html', out={str(out)!r})" for name in ("first", "second")]
    code = "; ".join(["import vhbench", calls[0], "import vhbench.report.rows", calls[1]])
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=child_environment, check=True)
    assert (tmp_path / "first.html").read_bytes() == (tmp_path / "second.html").read_bytes()
