"""Files: read as regular ones within bounds, written so that a reader sees the whole or nothing; the cache folder."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import math
import os
import stat
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, cast

from vhbench.errors import StoreError

TEMPORARY = ".tmp-"  # prefix of files that are being written
DAMAGED = ".damaged-"  # in the names of files that were set aside
LARGEST = 1 << 30  # bytes of a file that is read as a whole, and of what an archive holds
LARGEST_TEXT = 1 << 26  # bytes of a text that is parsed
DEEPEST, DIGITS = 32, 300  # levels of a JSON value and digits of a whole number, so that nothing later stumbles on them
KINDS = {
    stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket", stat.S_IFLNK: "a symbolic link",
}  # fmt: skip


class NotAFileError(OSError):
    """Something else than a regular file stands where one should be."""


def check_regular(path: Path, *, links: bool = True) -> None:
    """Raise NotAFileError unless `path` is a regular file: to open a pipe or a device can wait, or read, for ever.

    Args:
        path: the file.
        links: whether it may be a symbolic link to one. In a results folder none may: it could lead anywhere.

    Raises:
        OSError: there is no such file, or it cannot be looked at.
    """
    if "\0" in str(path):
        raise OSError(errno.EINVAL, "a file's name holds no zero byte")
    _check_kind(path.stat() if links else path.lstat())


def open_regular(path: Path, *, links: bool = True) -> IO[bytes]:
    """Open a regular file for reading; arguments and errors as for `check_regular`."""
    check_regular(path, links=links)
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if links else os.O_NOFOLLOW)
    file = os.fdopen(os.open(path, flags), "rb")
    try:
        _check_kind(os.fstat(file.fileno()))  # it may have been replaced since
    except NotAFileError:
        file.close()
        raise
    return file


def read_bytes(path: Path, *, links: bool = True, limit: int = LARGEST) -> bytes:
    """Return the content of a regular file.

    Args:
        path: the file.
        links: as for `check_regular`.
        limit: the most bytes that it may have.

    Raises:
        OSError: it cannot be read, is no regular file or is larger.
    """
    with open_regular(path, links=links) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise OSError(errno.EFBIG, f"it has {size} bytes, and such a file at most {limit}")
        return file.read(size)


def read_text(path: Path) -> str:
    """Return the text of a regular file in UTF-8, without a byte order mark.

    Raises:
        OSError: as for `read_bytes`.
        ValueError: it is not UTF-8.
    """
    return read_bytes(path, limit=LARGEST_TEXT).decode("utf-8-sig")


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file in the bounds of `parse_json`; infinity and NaN are TOML.

    Raises:
        OSError: as for `read_bytes`.
        UnicodeDecodeError: it is not UTF-8.
        ValueError: it is not TOML.
    """
    try:
        value = tomllib.loads(read_text(path))
    except RecursionError as error:
        raise ValueError("it has too many levels") from error
    _check_bounds(value)
    return value


def read_json(path: Path, *, links: bool = False) -> Any:
    """Return the value of a JSON file.

    Raises:
        OSError: as for `read_bytes`.
        ValueError: it is not JSON, as `parse_json` reads it.
    """
    return parse_json(read_bytes(path, links=links, limit=LARGEST_TEXT))


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def parse_json(content: bytes, constant: Callable[[str], Any] = _refuse) -> Any:
    """Return a JSON value: UTF-8, finite numbers, whole ones of at most DIGITS digits, at most DEEPEST levels.

    Args:
        content: the text.
        constant: gives the value of NaN, Infinity and -Infinity, which are not JSON.

    Raises:
        ValueError: it is anything else.
    """
    try:
        value = json.loads(
            content.decode("utf-8"), parse_constant=constant, parse_float=_finite, parse_int=_of_few_digits
        )
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError("not JSON") from error
    except RecursionError as error:
        raise ValueError("it has too many levels") from error
    _check_bounds(value)
    return value


@contextlib.contextmanager
def atomic_write(path: Path, within: Path | None = None) -> Iterator[IO[bytes]]:
    """Open a temporary file; on success flush it to disk and rename it over `path`.

    Args:
        path: the file.
        within: the folder of the temporary file, whose lock this process holds, so that what a kill leaves is removed
            by the next holder; None: that of `path`.

    Raises:
        StoreError: the folder cannot be written or the disk is full; `path` is then as it was before.
    """
    temporary: Path | None = None
    try:
        make_folder(path.parent)
        # a part of the name: the whole of a long one and the prefix could be more than a name may have
        descriptor, name = tempfile.mkstemp(prefix=TEMPORARY, suffix=path.name[-32:], dir=within or path.parent)
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        temporary = None
        sync_folder(path.parent)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any, within: Path | None = None) -> None:
    """Write `value` as indented JSON, as `atomic_write`. NaN and infinity are refused (ValueError)."""
    with atomic_write(path, within) as file:
        file.write(json_bytes(value))


def json_bytes(value: Any) -> bytes:
    r"""Return `value` as `write_json` writes it; a lone surrogate, as in a file name that is not UTF-8, as \udcff."""
    text = json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False)
    return text.encode(errors="backslashreplace") + b"\n"


def make_folder(path: Path) -> None:
    """Make a folder and the parents it lacks, each flushed to disk: a power cut must not take a record's folder away.

    Raises:
        OSError: one of them cannot be made.
    """
    missing = []
    while not path.is_dir() and path != path.parent:
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk: what was made, renamed or removed in it survives a power cut."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # it may be written but not read, and so not flushed
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # what file systems say that cannot flush folders
            raise
    finally:
        os.close(descriptor)


def set_aside(path: Path) -> Path:
    """Rename a damaged file to its `aside_name` and return its new path.

    Raises:
        StoreError: it cannot be renamed.
    """
    aside = aside_name(path)
    try:
        path.rename(aside)
        sync_folder(path.parent)
    except OSError as error:
        raise write_error(path, error) from error
    return aside


def aside_name(path: Path) -> Path:
    """Return the path for a damaged file: `<name>.damaged-<n>`, with the first n from 1 that is free."""
    number = 1
    while (aside := path.with_name(f"{path.name}{DAMAGED}{number}")).exists():
        number += 1
    return aside


def write_error(path: Path, error: OSError) -> StoreError:
    """Turn an operating system's refusal to write into one sentence that says what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(f"The disk is full: cannot write {path}. Free space and run the same command again.")
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return StoreError(f"Cannot write {path}: a part of this path is a file, not a folder. Choose another folder.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT):
        return StoreError(f"Cannot write {path}: {error.strerror}. Choose a folder that you may write to.")
    if error.errno == errno.ENAMETOOLONG:
        return StoreError(f"Cannot write {path}: a name in this path is too long. Choose a shorter one.")
    if error.errno == errno.EFBIG:
        return StoreError(
            f"Cannot write {path}: it would be larger than this file system or `ulimit -f` allows. Raise the limit or "
            "choose another folder, and run the same command again."
        )
    if error.errno == errno.ESTALE:
        return StoreError(
            f"Cannot write {path}: the file server has lost track of it ({error.strerror}). Check that the folder is "
            "still there and mounted, and run the same command again."
        )
    return StoreError(f"Cannot write {path}: {error.strerror or error}.")


def read_error(path: Path, error: OSError) -> StoreError:
    """Turn an operating system's refusal to read into one sentence."""
    if error.errno == errno.ESTALE:
        return StoreError(
            f"Cannot read {path}: the file server has lost track of it ({error.strerror}). Check that the folder is "
            "still there and mounted, and run the same command again."
        )
    return StoreError(f"Cannot read {path}: {error.strerror or error}.")


def leads_out(path: Path, root: Path) -> bool:
    """Say whether a path below a folder leads out of it, by a symbolic link."""
    inside = Path(os.path.realpath(root))  # unlike Path.resolve it takes a link that leads to itself
    return not Path(os.path.realpath(path)).is_relative_to(inside)


def sha256_of(path: Path) -> str:
    """Return the hexadecimal sha256 of a regular file's bytes."""
    with open_regular(path) as file:
        return hashlib.file_digest(cast(io.BufferedReader, file), "sha256").hexdigest()


def cache_folder() -> Path:
    """Return the folder for what can be made again: `$VHBENCH_CACHE`, or `vhbench` in the user's cache folder.

    Raises:
        StoreError: neither is set and the user has no home folder.
    """
    if own := os.environ.get("VHBENCH_CACHE"):
        return user_path(own)
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "vhbench"
    try:
        return Path.home() / ".cache" / "vhbench"
    except RuntimeError as error:
        raise StoreError("This user has no home folder: set $VHBENCH_CACHE to a folder for the cache.") from error


def user_path(text: str | os.PathLike[str]) -> Path:
    """Return a path that a user wrote: `~` and `~name` that a text begins with are home folders, where there are such.

    A `Path` stays as it is: it does not tell `./~` from `~`.
    """
    return text if isinstance(text, Path) else Path(os.path.expanduser(text))  # noqa: PTH111 (raises for no such user)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _check_kind(found: os.stat_result) -> None:
    kind = stat.S_IFMT(found.st_mode)
    if kind != stat.S_IFREG:
        raise NotAFileError(errno.EINVAL, f"it is {KINDS.get(kind, 'something else')} and no regular file")


def _check_bounds(value: Any) -> None:
    """Raise ValueError where a value has more levels, or a whole number more digits, than anything here has."""
    level = [value]
    for _ in range(DEEPEST):
        if any(isinstance(inner, int) and abs(inner) >= 10**DIGITS for inner in level):
            raise ValueError(f"it holds a whole number of more than {DIGITS} digits")
        level = [inner for outer in level for inner in _inside(outer)]
    if level:
        raise ValueError("it has too many levels")


def _inside(value: Any) -> Iterator[Any]:
    yield from value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"it holds the number {text[:20]}")
    return number


def _of_few_digits(text: str) -> int:
    if len(text) > DIGITS:
        raise ValueError(f"it holds a whole number of more than {DIGITS} digits")
    return int(text)
