"""Files that are whole or not there, and an operating system's refusal as a sentence."""

import errno
import json
import os

import pytest

from vhbench.errors import StoreError
from vhbench.system.files import atomic_write, cache_folder, sha256_of, write_error, write_json


def names(folder):
    return [path.name for path in folder.iterdir()]


def test_a_file_appears_whole_and_makes_its_folder(tmp_path):
    path = tmp_path / "a" / "b.txt"
    with atomic_write(path) as file:
        file.write(b"half")
        assert not path.exists()
        file.write(b" and half")
    assert path.read_bytes() == b"half and half" and names(path.parent) == ["b.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "b.txt"
    path.write_text("old")
    with pytest.raises(error), atomic_write(path) as file:
        file.write(b"new")
        raise error
    assert path.read_text() == "old" and names(tmp_path) == ["b.txt"]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "b.txt"
    path.write_text("old")
    with (
        pytest.raises(StoreError, match=f"The disk is full: cannot write {path}. Free space"),
        atomic_write(path) as file,
    ):
        file.write(b"new")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert path.read_text() == "old" and names(tmp_path) == ["b.txt"]


def test_permissions_are_those_of_any_new_file(tmp_path):
    (tmp_path / "plain").write_text("")
    write_json(tmp_path / "ours", {})
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_json_is_written_readably_and_without_nan(tmp_path):
    write_json(tmp_path / "a.json", {"ü": [1, None]})
    assert "ü" in (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"ü": [1, None]}
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"x": float("inf")})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"ü": [1, None]}


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "The disk is full"),
        (errno.EDQUOT, "The disk is full"),
        (errno.EACCES, "Choose a folder that you may write to."),
        (errno.EROFS, "Choose a folder that you may write to."),
        (errno.ENOENT, "Choose a folder that you may write to."),
        (errno.EEXIST, "a part of this path is a file, not a folder"),
        (errno.ENOTDIR, "a part of this path is a file, not a folder"),
        (errno.EFBIG, "larger than this file system or `ulimit -f` allows"),
        (errno.ESTALE, "the file server has lost track of it"),
        (errno.EIO, "Input/output error."),
    ],
)
def test_refusals_to_write_say_what_to_do(tmp_path, number, words):
    sentence = str(write_error(tmp_path, OSError(number, os.strerror(number))))
    assert words in sentence and str(tmp_path) in sentence


def test_the_cache_is_where_the_user_says_or_else_in_the_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("VHBENCH_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("VHBENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "vhbench"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "vhbench"


def test_sha256_is_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"")
    assert sha256_of(tmp_path / "a").startswith("e3b0c44298fc1c14")
