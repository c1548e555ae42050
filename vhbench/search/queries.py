"""What is searched for: a row of the gallery, a file of features, a video, or codes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vhbench.codes import check_codes
from vhbench.errors import UsageError
from vhbench.features.headers import NPY_MAGIC, is_hdf5, magic
from vhbench.features.stamp import check_alike, read_stamp
from vhbench.search.gallery import Gallery
from vhbench.search.rows import NUMBER, find_row, name_of
from vhbench.system.environment import resolve_device
from vhbench.system.files import user_path

if TYPE_CHECKING:
    from vhbench.runs.model import Model


@dataclass(frozen=True)
class Queries:
    """Codes to search for.

    Attributes:
        codes: uint8, shape (queries, bytes), packed as the gallery's.
        names: of the queries.
        row: the gallery's row that is the query, which is left out of its neighbours; None: it is none.
        video: the video file that is the query; None: it is none.
    """

    codes: np.ndarray
    names: tuple[str, ...]
    row: int | None = None
    video: Path | None = None


@dataclass(frozen=True)
class Encoding:
    """How queries that are no codes yet are encoded.

    Attributes:
        key: name of the features' data set in HDF5 files.
        device: "auto", "cpu" or "cuda:N".
        plugins: Python files with further methods.
        weights: of the network that a video's features come from, where it has none of its own.
        network: that network as an ONNX file.
        say: hears what could not be checked.
    """

    key: str = "feats"
    device: str = "auto"
    plugins: Sequence[Path | str] = ()
    weights: Path | None = None
    network: Path | None = None
    say: Callable[[str], None] = lambda _: None


def read_queries(gallery: Gallery, query: int | str | os.PathLike[str] | np.ndarray, how: Encoding) -> Queries:
    """Read a query or several.

    Args:
        gallery: where it is searched for.
        query: a whole number, the row; the path of a feature file (HDF5 or .npy) or of a video; the name of a row; or
            codes, bool (bits,) or (queries, bits).
        how: for features and videos.

    Raises:
        UsageError: there is no such row, name or file; codes are of another length; the gallery has no model.
        DataError: the file cannot be used, or was not made as what the model was trained on.
    """
    if isinstance(query, np.ndarray):
        return _from_codes(gallery, query)
    text = os.fspath(query) if isinstance(query, str | os.PathLike) else str(query)
    path = user_path(text)
    if NUMBER.fullmatch(text) or not path.exists() or path.is_dir():
        row = find_row(gallery, text)
        return Queries(np.array(gallery.codes[row : row + 1]), (name_of(gallery, row) or f"row {row}",), row)
    return _from_features(gallery, path, how) if _has_features(path) else _from_video(gallery, path, how)


def _from_codes(gallery: Gallery, codes: np.ndarray) -> Queries:
    try:
        checked = check_codes(np.atleast_2d(codes), "the query's codes")
    except ValueError as error:
        raise UsageError(str(error)) from error
    if checked.shape[1] != gallery.bits:
        raise UsageError(f"The query's codes have {checked.shape[1]} bits, those of {gallery.folder} {gallery.bits}.")
    return Queries(np.packbits(checked, axis=1, bitorder="little"), tuple(f"query {i}" for i in range(len(checked))))


def _has_features(path: Path) -> bool:
    return magic(path).startswith(NPY_MAGIC) or is_hdf5(path)


def _from_features(gallery: Gallery, path: Path, how: Encoding) -> Queries:
    from vhbench.search.encode import encode_files

    model = _model(gallery, path, how)
    check_alike(gallery.stamp, read_stamp(path), (str(gallery.folder), str(path)))
    with tempfile.TemporaryDirectory() as folder:
        encoded = encode_files(model, [path], Path(folder), key=how.key, say=how.say)
        names = [name_of(encoded, row) or f"{path.name}, video {row}" for row in range(len(encoded))]
        return Queries(np.array(encoded.codes), tuple(names))


def _from_video(gallery: Gallery, path: Path, how: Encoding) -> Queries:
    model = _model(gallery, path, how)
    stamp = gallery.stamp or model.stamp
    if stamp is None:
        raise UsageError(
            f"How the features behind {gallery.folder} were computed is not known (they have no stamp), so {path} "
            "cannot be encoded alike: compute its features as those were, and give their file."
        )
    from vhbench.video.extraction import features_of

    device = resolve_device(how.device)
    features = features_of([path], stamp, weights=how.weights, network=how.network, device=device)
    codes = model.encode(features.astype(_kept_as(gallery)))
    return Queries(np.packbits(codes, axis=1, bitorder="little"), (path.name,), video=path)


def _kept_as(gallery: Gallery) -> str:
    """Return the dtype in which the features behind a gallery were kept: a query's are rounded as those."""
    made_of = gallery.about.get("features")
    dtype = made_of.get("dtype") if isinstance(made_of, dict) else None
    return dtype if dtype in ("float16", "float32") else "float16"  # what `vhbench extract` writes by default


def _model(gallery: Gallery, query: Path, how: Encoding) -> Model:
    from vhbench.plugins.registry import Registry
    from vhbench.runs.model import load_model
    from vhbench.search.loading import FOLDER

    folder = gallery.folder / FOLDER
    if not folder.is_dir():
        raise UsageError(
            f"{gallery.folder} has no model ({folder} is missing), so {query} cannot be encoded: only its own rows can "
            "be searched for. `vhbench encode RUN FEATURES -o DIR` keeps the model beside the codes."
        )
    model = load_model(folder, Registry(how.plugins).method)
    if model.bits != gallery.bits:
        raise UsageError(f"The model in {folder} makes codes of {model.bits} bits, not of {gallery.bits}.")
    return model.on(resolve_device(how.device))
