"""The marker of synthetic files: what is written is read back, and a damaged one never passes for real data."""

import os

import pytest

from vhbench.datasets.marker import Marker, read_marker, write_marker
from vhbench.errors import DataError

MARKER = Marker("fcvid", 0.1, 7, {"train": 45, "query": 46, "database": 46})


def test_what_is_written_is_read_back(tmp_path):
    write_marker(tmp_path / "fcvid", MARKER)
    assert read_marker(tmp_path / "fcvid") == MARKER


def test_a_folder_without_one_has_none(tmp_path):
    assert read_marker(tmp_path) is None
    assert read_marker(tmp_path / "nowhere") is None


@pytest.mark.parametrize(
    "change",
    [
        ("/1", "/2"),
        ('like = "fcvid"', "like = 3"),
        ("scale = 0.1", 'scale = "a tenth"'),
        ("seed = 7", "seed = 0.5"),
        ("query = 46", "query = 0"),
        ("train = 45\n", ""),
        ("train = 45", "tarin = 45"),
        ("[counts]", "[count]"),
        ("seed", "seed seed"),
        ("scale = 0.1", "scale = nan"),
        ("scale = 0.1", "scale = inf"),
        ("scale = 0.1", "scale = -0.1"),
        ("scale = 0.1", "scale = true"),
        ("seed = 7", f"seed = 0x{'9' * 5000}"),
        ("seed = 7", f"seed = {'9' * 5000}"),
        ("query = 46", f"query = {10**20}"),
        ("like", f"more = {'[' * 5000}\nlike"),
    ],
)
def test_a_damaged_one_is_refused(tmp_path, change):
    write_marker(tmp_path, MARKER)
    path = tmp_path / "synthetic.toml"
    text = path.read_text()
    assert change[0] in text
    path.write_text(text.replace(*change))
    with pytest.raises(DataError, match=r"synthetic\.toml .*make the synthetic files beside it again"):
        read_marker(tmp_path)


def test_a_byte_order_mark_is_read(tmp_path):
    write_marker(tmp_path, MARKER)
    path = tmp_path / "synthetic.toml"
    path.write_text(path.read_text(), encoding="utf-8-sig")
    assert read_marker(tmp_path) == MARKER


def test_a_pipe_in_its_place_is_refused(tmp_path):
    os.mkfifo(tmp_path / "synthetic.toml")
    with pytest.raises(DataError, match="named pipe"):
        read_marker(tmp_path)
