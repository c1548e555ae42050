"""Feature files to a gallery of codes, by a kept model: what `vhbench encode` does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vhbench.errors import DataError, UsageError
from vhbench.features import check_alike, open_headers, read_header
from vhbench.features.headers import MissingKey
from vhbench.features.stamp import Stamp, read_stamp
from vhbench.features.stamp import check_alike as check_stamps
from vhbench.features.stored_names import stored_names
from vhbench.runs.model import Model, write_model
from vhbench.runs.record import MODEL
from vhbench.search.gallery import ABOUT, SCHEMA, Gallery, write_gallery
from vhbench.search.loading import FOLDER
from vhbench.system.files import read_json
from vhbench.videos import VideoSet

BATCH = 1 << 16  # videos encoded at a time; a multiple of what networks take at once, so that no code depends on it


def encode_files(
    model: Model,
    features: Sequence[Path],
    folder: Path,
    *,
    key: str = "feats",
    batch: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Gallery:
    """Write the codes of feature files, and the model that made them, to a folder.

    Args:
        model: the model.
        features: the files, read as one in this order.
        folder: where the codes go; an earlier gallery of the same model there is replaced.
        key: name of the features' data set in HDF5 files.
        batch: videos encoded at a time, BATCH by default; fewer take less memory.
        say: hears what is not known of the features.

    Raises:
        UsageError: the folder holds other things, or `batch` is below 1.
        DataError: the files cannot be used, or were not computed as what the model was trained on.
        StoreError: the folder cannot be written.
    """
    size = BATCH if batch is None else batch
    if size < 1:
        raise UsageError(f"--batch must be at least 1, not {size}.")
    contents = model.files()
    made_by = {"method": model.method, "run": model.run, "model": json.loads(contents[MODEL])["files"]}
    _check_folder(folder, {**made_by, "bits": model.bits})
    try:
        headers = [read_header(path, key) for path in features]
    except MissingKey as error:
        raise DataError(f"{error.without_setting} Name the right one with --key.") from error
    for header in headers:
        check_alike(headers[0], header)
    stamp = _check_stamps(model, features, say)
    names = [stored_names(header.path, header.shape[0]) for header in headers]
    opened = open_headers(headers)
    videos = VideoSet(opened)
    model.encode(videos.subset(np.arange(0)))  # refuses videos of another size before anything is written

    def blocks() -> Iterator[np.ndarray]:
        for start in range(0, len(videos), size):
            part = videos.subset(np.arange(start, min(start + size, len(videos))))
            yield np.packbits(model.encode(part), axis=1, bitorder="little")
        opened.check_unchanged()
        write_model(folder / FOLDER, contents)  # before the gallery says that it is whole

    if len(opened.zero_rows):
        say(f"{len(opened.zero_rows)} of {len(videos)} videos are zero throughout")
    about = {
        **made_by,
        "stamp": stamp.to_json() if stamp else None,
        "features": {
            "files": [header.path.name for header in headers],
            "digest": opened.digest,
            "dtype": opened.dtype.name,
        },
    }
    known = [name for part in names if part is not None for name in part]
    if known and len(known) < len(videos):
        say("some of the files have no names of videos, so none are kept")
    return write_gallery(
        folder, blocks(), bits=model.bits, names=known if len(known) == len(videos) else None, about=about
    )


def _check_folder(folder: Path, made_by: Mapping[str, Any]) -> None:
    """Raise UsageError where a folder holds anything else than codes of the same model."""
    try:
        about = read_json(folder / ABOUT, links=True)
    except FileNotFoundError:
        return
    except (OSError, ValueError):
        about = None
    sound = isinstance(about, dict) and about.get("schema") == SCHEMA
    if not sound or {name: about.get(name) for name in made_by} != made_by:
        raise UsageError(
            f"{folder} holds something else than codes of this model ({folder / ABOUT}): choose another folder."
        )


def _check_stamps(model: Model, paths: Sequence[Path], say: Callable[[str], None]) -> Stamp | None:
    """Return how the features were computed, where all files say so alike.

    Raises:
        DataError: they were not computed alike, or not as those that the model was trained on.
    """
    stamps = [read_stamp(path) for path in paths]
    for path, stamp in zip(paths, stamps, strict=True):
        check_stamps(stamps[0], stamp, (str(paths[0]), str(path)))
        if model.stamp and stamp and (differences := model.stamp.differences(stamp)):
            raise DataError(
                f"{path} cannot be encoded by this model of {model.method}: its features were computed otherwise than "
                f"those that the model was trained on, which differ in {' and '.join(differences)}. Extract them with "
                "the network and settings of those."
            )
    unknown = next((path for path, stamp in zip(paths, stamps, strict=True) if stamp is None), None)
    if unknown or model.stamp is None:
        what = f"{unknown} does" if unknown else "the model's training features do"
        say(f"{what} not say how the features were computed (no stamp): that they are of one kind is not checked")
    return None if unknown else stamps[0]
