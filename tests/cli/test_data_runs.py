"""What a run makes of its data files: other counts, synthetic ones, two data sets, files that change under it."""

import json

import numpy as np
import pytest

from vhbench.datasets.marker import Marker, write_marker
from vhbench.testing import make_protocol
from vhbench.testing.files import write_mat

VANDAL = '''
import os
from pathlib import Path
from vhbench.testing.fakes import FakeMethod

TARGET = Path(os.environ["TARGET"])


def touch():
    os.utime(TARGET, ns=(1, 1))


class InFit(FakeMethod):
    """Changes a file of the data set before the first epoch ends."""
    name = "in-fit"
    def fit(self, train, ctx):
        touch()
        return super().fit(train, ctx)


class Between(FakeMethod):
    """Cuts a file of the data set short between training and encoding."""
    name = "between"
    def fit(self, train, ctx):
        super().fit(train, ctx)
        os.truncate(TARGET, TARGET.stat().st_size // 2)
        return self


class AtTheEnd(FakeMethod):
    """Removes a file of the data set when everything has been read."""
    name = "at-the-end"
    encoded = 0
    def encode(self, videos):
        codes = super().encode(videos)
        self.encoded += 1
        if self.encoded == 2:
            TARGET.unlink()
        return codes
'''


@pytest.fixture
def data(tmp_path):
    """A sound data set of one's own to change."""
    return make_protocol(tmp_path / "data")


@pytest.fixture
def record(out):
    """Return the only record in the results folder, or that of a protocol."""

    def read(protocol="*"):
        (path,) = out.glob(f"{protocol}/*/*/run.json")
        return json.loads(path.read_text())

    return read


def run(vhbench, protocol, out, *more, method="itq"):
    return vhbench("run", "--method", method, "--protocol", protocol, "--bits", "8", "--out", out, *more)


def test_other_counts_run_only_when_allowed_and_the_record_says_so(vhbench, data, out, record):
    text = data.read_text().replace("count = 12", "count = 524")
    assert data.write_text(text)
    assert run(vhbench, data, out).code == 2 and not out.exists()
    assert run(vhbench, data, out, "--allow-counts").code == 0
    assert record()["data"] == {"tiny": {"allowed_counts": {"query videos": [524, 12]}}}
    assert record()["synthetic"] is False


def test_the_python_function_allows_counts_too(data, out):
    import vhbench
    from vhbench.errors import DataError

    data.write_text(data.read_text().replace("count = 12", "count = 524"))
    with pytest.raises(DataError, match="count = 524"):
        vhbench.run("itq", data, 8, out=out)
    assert vhbench.run("itq", data, 8, out=out, allow_counts=True)["status"].tolist() == ["done"]


def test_sound_files_leave_no_note(vhbench, data, out, record):
    assert run(vhbench, data, out).code == 0
    assert record()["data"] == {"tiny": {}}


def test_synthetic_files_mark_the_record_and_the_tables(vhbench, data, out, record):
    write_marker(data.parent, Marker("tiny", 0.5, 4, {"train": 40, "query": 12, "database": 40}))
    result = run(vhbench, data, out)
    assert record()["synthetic"] is True
    assert record()["data"] == {"tiny": {"synthetic": [{"like": "tiny", "scale": 0.5, "seed": 4}]}}
    for text in (result.out, vhbench("compare", "--out", out).out):
        assert text.startswith("tiny (synthetic features)")


def test_a_cross_data_set_run_records_its_gain_whichever_was_named_first(vhbench, data, tmp_path, out, record):
    other = make_protocol(tmp_path / "other", name="other", videos=28)
    assert run(vhbench, f"{data}-to-{other},{other}", out).code == 0
    across, inside = record("tiny-to-other"), record("other")
    name = "map@20[den=k,ties=expected,self=keep]"
    gain = across["in_domain"]["gain"][name]
    assert gain == pytest.approx(across["scores"][name] / inside["scores"][name] - 1, abs=1e-12)
    assert across["in_domain"]["id"] == inside["id"]
    assert f"tiny/{name}" in across["scores"], "the one training is scored on both"


@pytest.mark.parametrize("method", ["in-fit", "between", "at-the-end"])
def test_a_run_whose_files_change_fails_with_a_sentence_and_no_number(
    vhbench, data, out, record, tmp_path, monkeypatch, method
):
    target = data.parent / "tiny_test_feats.h5"
    monkeypatch.setenv("TARGET", str(target))
    plugin = tmp_path / "vandal.py"
    plugin.write_text(VANDAL)
    result = run(vhbench, data, out, "--plugin", plugin, method=method)
    assert result.code == 1 and "Traceback" not in result.err
    assert record()["status"] == "failed" and "scores" not in record()
    assert record()["reason"].startswith(f"{target} was changed, replaced or removed while it was in use")
    assert record()["reason"] in result.err


def test_runs_finished_before_a_file_changed_stay(vhbench, data, out, tmp_path, monkeypatch):
    assert run(vhbench, data, out).code == 0
    monkeypatch.setenv("TARGET", str(data.parent / "tiny_test_feats.h5"))
    plugin = tmp_path / "vandal.py"
    plugin.write_text(VANDAL)
    assert run(vhbench, data, out, "--plugin", plugin, method="between").code == 1
    states = {path.parts[-3]: json.loads(path.read_text())["status"] for path in out.rglob("run.json")}
    assert states == {"itq": "done", "between": "failed"}


def test_labels_swapped_for_those_of_another_set_are_refused_before_anything_runs(vhbench, data, out):
    write_mat(data.parent / "tiny_test_labels.mat", np.eye(9)[np.arange(12) % 9])
    result = run(vhbench, data, out)
    assert result.code == 2 and "9 classes" in result.error and "4 classes" in result.error and not out.exists()
