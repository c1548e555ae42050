"""Kept models: what encoding needs of a trained method, and only that. Reading one executes nothing that lies in it.

| file | content |
|---|---|
| `model.safetensors` | what the method has learnt, and what its feature scaling has |
| `model.json` | which method, its hyper-parameters, inputs and their stamp; sha256 of the other file and of itself |
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vhbench.errors import DataError, MethodError, StoreError, UsageError, VhbenchError
from vhbench.features.frames import SampledFrames
from vhbench.features.normalize import Normalization, Scaling
from vhbench.features.stamp import Stamp
from vhbench.runs.form import check_model
from vhbench.runs.model_state import describe, from_octets, keeps_its_own_form, restore, state_of, to_octets
from vhbench.runs.record import MODEL, RECORD, WEIGHTS, Record, read_record
from vhbench.system import environment
from vhbench.system.files import (
    LARGEST,
    LARGEST_TEXT,
    NotAFileError,
    atomic_write,
    parse_json,
    read_bytes,
    read_error,
    user_path,
)
from vhbench.system.sealed import is_as_written, sealed
from vhbench.version import __version__
from vhbench.videos import VideoSet

if TYPE_CHECKING:
    from vhbench.method import Method
    from vhbench.plugins.entries import MethodEntry

    Finds = Callable[[str], MethodEntry]

SCHEMA = "vhbench.model/1"
MEAN, FACTOR = "scaling.mean", "scaling.factor"  # arrays of the feature scaling


class DamagedModel(StoreError):
    """A file of a kept model is not what was written; the message says which, and what to do."""

    def __init__(self, path: Path, what: str):
        self.path, self.what = path, what
        super().__init__(
            f"{path} is damaged ({what}): copy the model again, or train it again with --keep-model --rerun all."
        )


@dataclass(frozen=True)
class Model:
    """A trained method with what is done to its inputs.

    Attributes:
        method: the method's registered name.
        fitted: the method itself.
        bits: length of the codes; a model of nested codes may make the first bits of longer ones.
        frames: frames a video that it was trained on.
        dim: feature dimensions a frame.
        normalize: the feature scaling, as `Normalization` writes it, and
        scaling: what it has learnt.
        frames_kept: which frames of longer videos it was trained on; empty: all.
        stamp: how the features that it was trained on were computed; None where that is not known.
        run: id of the run that trained it; None: it was trained without files.
        fingerprint: of the method's source code that trained it.
        stale: the method's source code is another today.
    """

    method: str
    fitted: Method
    bits: int
    frames: int
    dim: int
    normalize: str = "none"
    scaling: Scaling = field(default_factory=Scaling)
    frames_kept: tuple[int, ...] = ()
    stamp: Stamp | None = None
    run: str | None = None
    fingerprint: str = ""
    stale: bool = False

    def encode(self, videos: VideoSet | np.ndarray) -> np.ndarray:
        """Return the codes of videos.

        Args:
            videos: frame features, shape (n, frames, dim), any real dtype; as they were before feature scaling.

        Returns:
            bool, shape (n, bits).

        Raises:
            DataError: this is no array of videos of that size, or a feature is NaN or infinite.
            MethodError: the method makes no codes of them.
        """
        videos = videos if isinstance(videos, VideoSet) else as_videos(videos)
        if videos.dim != self.dim:
            raise DataError(
                f"This model of {self.method} was trained on features of {self.dim} dimensions; these have "
                f"{videos.dim}."
            )
        if self.frames_kept and videos.frames > max(self.frames, *self.frames_kept):
            frames = np.array(self.frames_kept)
            videos = videos.scaled(lambda features: SampledFrames(features, frames))
        with environment.default_settings():
            codes = self.fitted.encode(self.scaling.of(videos))
        if codes.dtype != bool or codes.shape != (len(videos), self.fitted.bits):
            raise MethodError(f"{self.method} returned {codes.dtype} {codes.shape} in place of {len(videos)} codes.")
        return codes[:, : self.bits]

    def on(self, device: str) -> Model:
        """Move the network, if there is one, to a device and return the model.

        Args:
            device: "cpu" or "cuda:N".
        """
        from vhbench.training import NeuralMethod

        if isinstance(self.fitted, NeuralMethod):
            self.fitted.module_.to(device)
        return self

    def cut(self, bits: int, run: str) -> Model:
        """Return the model of the first bits of nested codes, as that of another run."""
        return replace(self, bits=bits, run=run)

    def save(self, folder: Path | str) -> Path:
        """Write the model's two files, the description last, and return the folder, from which `vhbench.load` reads.

        Raises:
            MethodError: what the method has learnt is more than arrays and scalars.
            StoreError: the folder cannot be written.
        """
        path = user_path(folder)
        write_model(path, self.files())
        return path

    def files(self) -> dict[str, bytes]:
        """Return the model's two files: name -> content.

        Raises:
            MethodError: what the method has learnt is more than arrays and scalars, or larger than a file may be.
        """
        from safetensors.numpy import save

        if keeps_its_own_form(type(self.fitted)):
            raise MethodError(
                f"{type(self.fitted).__name__} overrides `save` or `load`, so what it learns may be more than a model "
                "file holds: leave both as they are, and keep what `encode` uses in arrays whose names end in _."
            )
        arrays, values = state_of(self.fitted)
        scaling = {MEAN: self.scaling.mean, FACTOR: self.scaling.factor}
        arrays |= {name: array for name, array in scaling.items() if array is not None}
        if (size := sum(array.nbytes for array in arrays.values())) > LARGEST // 2:
            raise MethodError(f"{self.method} has learnt {size} bytes, and a model file holds at most {LARGEST // 2}.")
        weights = save({name: to_octets(array) for name, array in arrays.items()})
        method = self.fitted
        content = {
            "schema": SCHEMA,
            "run": self.run,
            "method": {
                "name": self.method, "class": type(method).__name__, "bits": method.bits,
                "params": method.get_params(), "fingerprint": self.fingerprint,
            },
            "bits": self.bits,
            "inputs": {"frames": self.frames, "dim": self.dim, "frames_kept": list(self.frames_kept)},
            "normalize": self.normalize,
            "stamp": self.stamp.to_json() if self.stamp else None,
            "values": values,
            "arrays": {name: describe(array) for name, array in arrays.items()},
            "files": {WEIGHTS: hashlib.sha256(weights).hexdigest()},
            "vhbench": __version__,
        }  # fmt: skip
        return {WEIGHTS: weights, MODEL: sealed(content)[1]}


def write_model(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write the files of a model, as `Model.files` returns them, the description last.

    Raises:
        StoreError: the folder cannot be written.
    """
    for name in (WEIGHTS, MODEL):
        with atomic_write(folder / name) as file:
            file.write(contents[name])


def as_videos(array: Any) -> VideoSet:
    """Return an array as videos.

    Args:
        array: frame features, shape (n, frames, dim), any real dtype.

    Raises:
        DataError: it is something else, or a feature is NaN or infinite.
    """
    found = np.asarray(array)
    if found.ndim != 3 or found.dtype.kind not in "biuf" or 0 in found.shape[1:]:
        raise DataError(
            f"Videos are numbers of shape (videos, frames, dimensions); this is {found.dtype} of shape {found.shape}."
        )
    for start in range(0, len(found), 256):
        if not np.isfinite(found[start : start + 256]).all():
            raise DataError(f"The features hold NaN or infinity, first in videos {start} to {start + 255}.")
    return VideoSet(found)


def has_model(record: Record) -> bool:
    """Say whether a model was kept of a run."""
    return MODEL in record.digests and WEIGHTS in record.digests


def load_model(folder: Path, find: Finds) -> Model:
    """Read a kept model, onto the CPU.

    Args:
        folder: where its files lie: that of a run, one that `Model.save` wrote, or `model` beside codes.
        find: returns the entry of a method's name; as `Registry.method`.

    Raises:
        UsageError: the method is unknown, or cannot be used.
        DamagedModel: a file is missing or is not what was written.
        StoreError: a file cannot be read.
    """
    record = read_record(folder / RECORD) if (folder / RECORD).is_file() else None
    return read_model({name: _content(folder / name, record) for name in (MODEL, WEIGHTS)}, folder, find)


def read_model(contents: Mapping[str, bytes], folder: Path, find: Finds) -> Model:
    """Make a model of the content of its files; arguments and errors else as for `load_model`."""
    about = _about(contents[MODEL], folder / MODEL)
    arrays = _arrays(contents[WEIGHTS], about, folder / WEIGHTS)
    entry = _entry(about["method"], find, folder / MODEL)
    scaling = [arrays.pop(name, None) for name in (MEAN, FACTOR)]
    with _damage(folder / MODEL):
        unfitted = entry.load()(about["method"]["bits"], **about["method"]["params"])
        with environment.default_settings():
            fitted = restore(unfitted, arrays, about["values"])
        normalization = Normalization.parse(about["normalize"])
        _check_scaling(normalization, scaling, about["inputs"]["dim"])
        stamp = about["stamp"]
        return Model(
            entry.name,
            fitted,
            about["bits"],
            about["inputs"]["frames"],
            about["inputs"]["dim"],
            about["normalize"],
            Scaling(*scaling, unit=normalization.kind == "l2"),
            tuple(about["inputs"]["frames_kept"]),
            None if stamp is None else Stamp.from_json(stamp, str(folder / MODEL)),
            about["run"],
            about["method"]["fingerprint"],
            about["method"]["fingerprint"] != entry.fingerprint,
        )


def _content(path: Path, record: Record | None) -> bytes:
    """Return the content of a file, compared with a record's digest where it lies beside one."""
    limit = LARGEST_TEXT if path.name == MODEL else LARGEST
    try:
        content = read_bytes(path, links=False, limit=limit)
    except NotAFileError as error:
        raise DamagedModel(path, str(error.strerror)) from error
    except FileNotFoundError as error:
        raise DamagedModel(path, "it is missing") from error
    except OSError as error:
        raise read_error(path, error) from error
    if record and hashlib.sha256(content).hexdigest() != record.digests.get(path.name):
        raise DamagedModel(path, f"its sha256 is not the one in {RECORD}")
    return content


def _about(content: bytes, path: Path) -> dict[str, Any]:
    with _damage(path):
        about = parse_json(content)
        if not isinstance(about, dict) or not isinstance(about.get("schema"), str):
            raise ValueError("it describes no model")
    if about["schema"] != SCHEMA:
        raise StoreError(
            f"{path} has schema {about['schema']!r}; this vhbench reads {SCHEMA!r}: use the version that wrote it."
        )
    with _damage(path):
        if not is_as_written(content):
            raise ValueError("it was changed after it was written: its digest is not that of its content")
        check_model(about)
    return about


def _arrays(content: bytes, about: Mapping[str, Any], path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    with _damage(path):
        if hashlib.sha256(content).hexdigest() != about["files"].get(path.name):
            raise ValueError(f"its sha256 is not the one in {MODEL}")
        try:
            stored = load(content)
        except (SafetensorError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no safetensors file: {error}") from error
        if stored.keys() != about["arrays"].keys():
            raise ValueError(f"it holds other arrays than {MODEL} says")
        return {name: from_octets(stored[name], described) for name, described in about["arrays"].items()}


def _entry(method: Mapping[str, Any], find: Finds, path: Path) -> MethodEntry:
    """Return the method of a model; raise UsageError or DamagedModel where it is not the one that was trained."""
    try:
        entry = find(method["name"])
        cls = entry.load()
    except UsageError as error:
        raise UsageError(
            f"{path} is a model of {method['name']!r}, which cannot be used here: {error} If a file of yours defines "
            "it: --plugin FILE.py."
        ) from error
    if cls.__name__ != method["class"]:
        raise UsageError(
            f"{path} is a model of {method['class']}, and {method['name']!r} is {cls.__name__} here ({entry.origin}): "
            "name the file of the method that was trained, --plugin FILE.py."
        )
    if method["params"].keys() != entry.params.keys():
        raise UsageError(
            f"{path} is a model of {method['name']!r} with other hyper-parameters than it has here ({entry.origin}): "
            "use the version of the method that trained it."
        )
    return entry


def _check_scaling(normalization: Normalization, scaling: list[np.ndarray | None], dim: int) -> None:
    """Raise ValueError unless these are the arrays that such a feature scaling has learnt."""
    factor = {"standard": (dim,), "whiten": (dim, dim)}.get(normalization.kind)
    shapes = [None if array is None else array.shape for array in scaling]
    if shapes != ([None, None] if factor is None else [(dim,), factor]):
        raise ValueError(f"its feature scaling {normalization} has not the arrays of one")


@contextlib.contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Turn what reading a file or building what it asks for raises into DamagedModel."""
    try:
        yield
    except (StoreError, MemoryError):
        raise
    except (VhbenchError, ValueError) as error:
        raise DamagedModel(path, str(error).rstrip(".")) from error
    except Exception as error:  # what constructors and networks trip over has many types
        raise DamagedModel(path, f"its method cannot be built: {type(error).__name__}: {error}"[:300]) from error
