"""Files that are whole or not there, and an operating system's refusal as a sentence."""

import errno
import json
import os
import socket
from pathlib import Path

import pytest

from vhbench.errors import StoreError
from vhbench.system.files import (
    NotAFileError,
    atomic_write,
    cache_folder,
    check_regular,
    leads_out,
    open_regular,
    parse_json,
    read_bytes,
    read_json,
    read_text,
    sha256_of,
    user_path,
    write_error,
    write_json,
)


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


# what is read


@pytest.fixture
def special(tmp_path):
    """Things that are no regular files, by name; and a link to a sound one."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "link to the pipe").symlink_to("pipe")
    (tmp_path / "sound").write_text("{}")
    (tmp_path / "link").symlink_to("sound")
    with socket.socket(socket.AF_UNIX) as server:
        before = Path.cwd()
        os.chdir(tmp_path)  # a socket's path may have 107 characters
        server.bind("socket")
        os.chdir(before)
        yield tmp_path


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("folder", "a folder"),
        ("pipe", "a named pipe"),
        ("device", "a device"),
        ("socket", "a socket"),
        ("link to the pipe", "a named pipe"),
    ],
)
@pytest.mark.parametrize("read", [open_regular, check_regular, read_bytes, read_text, read_json, sha256_of])
def test_what_is_no_regular_file_is_refused_at_once(special, read, name, kind):
    if read is read_json and name in ("device", "link to the pipe"):
        kind = "a symbolic link"
    with pytest.raises(NotAFileError) as error:
        read(special / name)
    assert error.value.strerror == f"it is {kind} and no regular file"


def test_a_link_to_a_file_is_read_where_links_may_be(special):
    assert read_bytes(special / "link") == b"{}" and read_json(special / "link", links=True) == {}
    for read in (open_regular, check_regular, read_bytes, read_json):
        with pytest.raises(NotAFileError, match="it is a symbolic link and no regular file"):
            read(special / "link", links=False)


def test_a_file_is_read_up_to_its_bound_only(tmp_path):
    with (tmp_path / "big").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(OSError, match="it has 1099511627776 bytes, and such a file at most 1073741824"):
        read_bytes(tmp_path / "big")
    with pytest.raises(OSError, match="at most 67108864"):
        read_text(tmp_path / "big")


def test_a_name_with_a_zero_byte_is_a_sentence():
    with pytest.raises(OSError, match="a file's name holds no zero byte"):
        read_bytes(Path("a\0b"))


def test_text_is_utf_8_with_or_without_a_byte_order_mark(tmp_path):
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbf\xc3\xbc")
    assert read_text(tmp_path / "a") == "ü"
    (tmp_path / "a").write_bytes(b"\xfc")
    with pytest.raises(ValueError):
        read_text(tmp_path / "a")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[" * 100_000 + b"]" * 100_000, "it has too many levels"),
        (b"[" * 40 + b"]" * 40, "it has too many levels"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "it has too many levels"),
        (b"9" * 400, "it holds a whole number of more than 300 digits"),
        (b"9" * 5000, "it holds a whole number of more than 300 digits"),
        (b"1e999", "it holds the number 1e999"),
        (b"-1e999", "it holds the number -1e999"),
        (b"NaN", "NaN is not JSON"),
        (b"[-Infinity]", "-Infinity is not JSON"),
        (b'"\xff"', "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b"", "not JSON"),
    ],
    ids=range(12),
)
def test_json_that_something_later_would_stumble_on_is_refused(content, words):
    with pytest.raises(ValueError, match=words):
        parse_json(content)


def test_json_of_a_usual_form_is_read():
    assert parse_json(b"[" * 30 + b"]" * 30)
    assert parse_json(b'{"a": [1, -2.5e-3, null, true, "\\u00fc"], "seed": 123456789012345678901234567890}') == {
        "a": [1, -0.0025, None, True, "ü"], "seed": 123456789012345678901234567890,
    }  # fmt: skip


def test_text_of_any_kind_is_written_and_comes_back(tmp_path):
    value = {"name": os.fsdecode(b"gr\xf6\xdfe"), "half": "\ud83d", "line": "\u2028\n\x1b[1m"}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value


def test_a_long_name_can_be_written_as_long_as_the_file_system_lets_it(tmp_path):
    with atomic_write(tmp_path / ("x" * 255)) as file:
        file.write(b"whole")
    assert (tmp_path / ("x" * 255)).read_bytes() == b"whole"
    with (
        pytest.raises(StoreError, match=r"a name in this path is too long\. Choose a shorter one"),
        atomic_write(tmp_path / ("x" * 256)),
    ):
        pass


def test_a_link_that_leads_out_is_told_from_one_that_does_not(tmp_path):
    root = tmp_path / "root"
    (root / "in").mkdir(parents=True)
    (root / "near").symlink_to("in")
    (root / "out").symlink_to("..")
    (root / "nowhere").symlink_to("/nowhere/at/all")
    (root / "loop").symlink_to("loop")
    (tmp_path / "door").symlink_to(root)
    for outer in (root, tmp_path / "door"):
        assert [leads_out(outer / name, outer) for name in ("in", "near", "new/folder", "loop")] == [False] * 4
        assert [leads_out(outer / name, outer) for name in ("out", "out/more", "nowhere", "..")] == [True] * 4


def test_a_tilde_is_the_home_folder_where_there_is_one(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert user_path("~/a") == Path("/home/me/a")
    assert [user_path(text) for text in ("~no-such-user/a", "a/~", "./~")] == [
        Path("~no-such-user/a"), Path("a/~"), Path("~"),
    ]  # fmt: skip


def test_a_user_without_a_home_is_told_where_to_put_the_cache(monkeypatch):
    for name in ("VHBENCH_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pathlib.Path.home", lambda: (_ for _ in ()).throw(RuntimeError))
    with pytest.raises(StoreError, match="set \\$VHBENCH_CACHE"):
        cache_folder()
    monkeypatch.setenv("VHBENCH_CACHE", "~/mine")
    monkeypatch.setenv("HOME", "/home/me")
    assert cache_folder() == Path("/home/me/mine")
