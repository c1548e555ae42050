"""A gallery: a folder of packed codes, with names and ids, that opens at once however many there are.

| file | content |
|---|---|
| `codes.npy` | uint8 (videos, ceil(bits / 8)); bit j of a code is bit j % 8 of byte j // 8, unused high bits are 0 |
| `names.npy` | bytes (videos,) in UTF-8, where the videos have names |
| `ids.npy` | int64 (videos,), where they have ids of their own |
| `about.json` | what they are, sizes and digests of the files; written last |
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from vhbench.errors import DataError
from vhbench.features.stamp import Stamp
from vhbench.system.arrays import map_npy
from vhbench.system.files import LARGEST_TEXT, atomic_write, parse_json, read_bytes, read_error, sha256_of, write_error
from vhbench.system.sealed import is_as_written, write_sealed
from vhbench.version import __version__

SCHEMA = "vhbench.codes/1"
CODES, NAMES, IDS, ABOUT = "codes.npy", "names.npy", "ids.npy", "about.json"
OPTIONAL = {NAMES: "S", IDS: "i"}  # file -> kind of its dtype
BIT_ORDER = "little"
BLOCK = 1 << 20  # codes written at a time
OWN = ("schema", "bits", "videos", "bit_order", "vhbench", "files", "sizes", "digest")  # entries of about.json


class DamagedGallery(DataError):
    """A folder's files are not what was written; the message says which, and what to do."""

    def __init__(self, path: Path, what: str):
        super().__init__(f"{path} is damaged ({what}): write the codes again with `vhbench encode`.")


@dataclass(frozen=True)
class Gallery:
    """An open gallery; its arrays are memory maps, and nothing but what is asked of them is read.

    Attributes:
        folder: where it lies.
        about: the content of `about.json`: schema, bits, videos, bit_order, vhbench, files (name -> sha256), sizes, and
            what the writer said, e.g. method, run, stamp.
        codes: uint8, shape (videos, ceil(bits / 8)).
        names: bytes in UTF-8, shape (videos,), or None.
        ids: int64, shape (videos,), or None.
    """

    folder: Path
    about: Mapping[str, Any]
    codes: np.memmap[Any, Any]
    names: np.memmap[Any, Any] | None = None
    ids: np.memmap[Any, Any] | None = None

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def bits(self) -> int:
        """Length of the codes."""
        return int(self.about["bits"])

    @property
    def stamp(self) -> Stamp | None:
        """How the features behind the codes were computed; None where that is not known.

        Raises:
            DataError: it is no stamp.
        """
        stamp = self.about.get("stamp")
        return None if stamp is None else Stamp.from_json(stamp, str(self.folder / ABOUT))

    def check(self, *, read: bool = False) -> None:
        """Raise DamagedGallery where a file has another size than was written or, if `read`, another digest."""
        for name, digest in self.about["files"].items():
            path = self.folder / name
            with _reading(path):
                if path.stat().st_size != self.about["sizes"][name]:
                    raise DamagedGallery(path, f"it has not the {self.about['sizes'][name]} bytes that were written")
                if read and sha256_of(path) != digest:
                    raise DamagedGallery(path, f"its sha256 is not the one in {ABOUT}")


def write_gallery(
    folder: Path,
    codes: np.ndarray | Iterable[np.ndarray],
    *,
    bits: int,
    names: Sequence[str] | None = None,
    ids: np.ndarray | None = None,
    about: Mapping[str, Any] | None = None,
) -> Gallery:
    """Write a gallery, in place of one that is there, and open it. A reader sees the whole or none.

    Args:
        folder: made if need be; other files in it stay.
        codes: uint8, shape (n, ceil(bits / 8)), or blocks of such codes in order.
        bits: length of the codes.
        names: one a code.
        ids: int64, one a code; rows are ids where there are none.
        about: JSON values that `about.json` keeps too.

    Raises:
        ValueError: codes, names or ids are not of that form, or there is no code.
        StoreError: the folder cannot be written.
    """
    said = dict(about or {})
    if wrong := [name for name in OWN if name in said]:
        raise ValueError(f"{ABOUT} has an entry {wrong[0]!r} of its own.")
    path = folder / ABOUT
    with atomic_write(folder / CODES) as file:
        videos = _write_codes(file, [codes] if isinstance(codes, np.ndarray) else codes, bits)
        beside = _beside(videos, names, ids)
        _remove(path)  # from here on the folder is no gallery, until all of it is written
    for name in OPTIONAL:
        if name in beside:
            with atomic_write(folder / name) as file:
                np.save(file, beside[name], allow_pickle=False)
        else:
            _remove(folder / name)
    files = [CODES, *beside]
    write_sealed(
        path,
        {
            "schema": SCHEMA, "bits": bits, "videos": videos, "bit_order": BIT_ORDER, **said, "vhbench": __version__,
            "files": {name: sha256_of(folder / name) for name in files},
            "sizes": {name: (folder / name).stat().st_size for name in files},
        },
    )  # fmt: skip
    return open_gallery(folder)


def open_gallery(folder: Path) -> Gallery:
    """Open a gallery. Sizes and forms are checked, digests are not: `Gallery.check` reads all for them.

    Raises:
        DataError: the folder is none.
        DamagedGallery: it is damaged.
        StoreError: it cannot be read.
    """
    about = _read_about(folder)
    videos, width = about["videos"], -(-about["bits"] // 8)
    found = Gallery(folder, about, _map(folder / CODES, "u", (videos, width)))
    found.check()
    beside = {name: _map(folder / name, kind, (videos,)) for name, kind in OPTIONAL.items() if name in about["files"]}
    return Gallery(folder, about, found.codes, beside.get(NAMES), beside.get(IDS))


def _read_about(folder: Path) -> dict[str, Any]:
    path = folder / ABOUT
    try:
        content = read_bytes(path, limit=LARGEST_TEXT)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(
            f"{folder} holds no codes ({path} is missing): `vhbench encode RUN FEATURES -o {folder}` writes them."
        ) from error
    except OSError as error:
        raise read_error(path, error) from error
    try:
        about = parse_json(content)
    except ValueError as error:
        raise DamagedGallery(path, str(error)) from error
    if not isinstance(about, dict) or about.get("schema") != SCHEMA:
        raise DataError(
            f"{path} is not of the form {SCHEMA!r}, so {folder} holds no codes that `vhbench encode` wrote: name the "
            "folder of some."
        )
    if not is_as_written(content):
        raise DamagedGallery(path, "it was changed after it was written: its digest is not that of its content")
    if not _is_sound(about):
        raise DamagedGallery(path, "it lacks entries that every gallery has")
    return about


def _is_sound(about: Mapping[str, Any]) -> bool:
    """Say whether the entries that everything here relies on have their form."""
    files, sizes = about.get("files"), about.get("sizes")
    return (
        all(type(about.get(name)) is int and about[name] > 0 for name in ("bits", "videos"))
        and about.get("bit_order") == BIT_ORDER
        and isinstance(files, dict)
        and isinstance(sizes, dict)
        and files.keys() == sizes.keys()
        and CODES in files
        and files.keys() <= {CODES, *OPTIONAL}  # a foreign folder names no file elsewhere
    )


def _map(path: Path, kind: str, shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    with _reading(path):
        try:
            array = map_npy(path)
        except ValueError as error:
            raise DamagedGallery(path, str(error)) from error
    sizes = {"u": 1, "i": 8}
    if array.shape != shape or array.dtype.kind != kind or array.dtype.itemsize != sizes.get(kind, array.itemsize):
        raise DamagedGallery(path, f"it holds {array.dtype} {array.shape}, not what {ABOUT} says")
    return array


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise DamagedGallery(path, "it is missing") from error
    except OSError as error:
        raise read_error(path, error) from error


def _write_codes(file: IO[bytes], blocks: Iterable[np.ndarray], bits: int) -> int:
    """Write an `.npy` file of codes and return how many there are."""
    width, videos = -(-bits // 8), 0
    unused = 0xFF & (0xFF << bits % 8) if bits % 8 else 0
    _write_header(file, (0, width))
    begin = file.tell()
    for block in blocks:
        if block.dtype != np.uint8 or block.shape[1:] != (width,):
            raise ValueError(
                f"codes of {bits} bits must be uint8 of shape (n, {width}), not {block.dtype} {block.shape}."
            )
        for start in range(0, len(block), BLOCK):
            part = np.ascontiguousarray(block[start : start + BLOCK])
            if (part[:, -1] & unused).any():
                raise ValueError(f"codes of {bits} bits must be 0 in the unused high bits of their last byte.")
            file.write(part.data)
        videos += len(block)
    if not videos:
        raise ValueError("there are no codes.")
    file.seek(0)
    _write_header(file, (videos, width))
    if file.tell() != begin:
        raise ValueError(f"{videos} codes are more than the header of an .npy file has room for.")
    return videos


def _write_header(file: IO[bytes], shape: tuple[int, ...]) -> None:
    """Write the header of an `.npy` file of uint8; NumPy leaves room in it for the number of rows to grow."""
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})


def _beside(videos: int, names: Sequence[str] | None, ids: np.ndarray | None) -> dict[str, np.ndarray]:
    """Return the arrays that stand beside the codes, by file."""
    found: dict[str, np.ndarray] = {}
    if names is not None:
        texts = [name.encode(errors="backslashreplace") for name in names]
        found[NAMES] = np.array(texts, dtype=np.bytes_)
    if ids is not None:
        found[IDS] = np.asarray(ids)
        if found[IDS].dtype != np.int64:
            raise ValueError(f"ids must be int64, not {found[IDS].dtype}.")
    for name, array in found.items():
        if array.shape != (videos,):
            raise ValueError(f"{name} would hold {array.shape} entries for {videos} codes.")
    return found


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise write_error(path, error) from error
