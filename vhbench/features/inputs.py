"""Opening what a user names: regular files only, and text with or without a byte-order mark."""

from __future__ import annotations

import codecs
import stat
from pathlib import Path
from typing import BinaryIO

from vhbench.errors import DataError

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}
LARGEST_TEXT = 2**28  # bytes; no manifest or list of labels is that long
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def check_regular(path: Path) -> None:
    """Refuse what would hang a reading or never end: only regular files, and links to them, are read.

    Raises:
        OSError: the file is missing or cannot be looked at.
        DataError: it is a folder, a named pipe, a device or a socket.
    """
    kind = KINDS.get(stat.S_IFMT(path.stat().st_mode))
    if kind:
        what = f"a link to {kind}" if path.is_symlink() else kind
        raise DataError(f"{path} is {what}, not a file: put a file in its place, or name another.")


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading; errors as for `check_regular`."""
    check_regular(path)
    return path.open("rb")


def read_text(path: Path) -> str:
    """Return a file's text without its byte-order mark: UTF-8, or UTF-16 where such a mark says so.

    Raises:
        OSError: the file is missing or cannot be read.
        DataError: it is no regular file, no such text, or far too long.
    """
    with open_regular(path) as file:
        content = file.read(LARGEST_TEXT + 1)
    if len(content) > LARGEST_TEXT:
        raise DataError(f"{path} is longer than {LARGEST_TEXT >> 20} MiB: it is not the text that is looked for here.")
    try:
        return content.decode("utf-16" if content.startswith(UTF16) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text ({error}): save it as UTF-8.") from error
