"""The stamp of a feature file: how its features were computed, so that a model is asked for no other kind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from vhbench.errors import DataError
from vhbench.features.headers import hdf5_reading, is_hdf5, open_hdf5

ATTRIBUTE = "vhbench_stamp"
HOW = {"network": "the network", "weights": "its weights", "layer": "the layer", "sampling": "how frames are chosen",
       "preprocessing": "how pictures are prepared"}  # fmt: skip


@dataclass(frozen=True)
class Stamp:
    """How features were computed. Two files fit together where everything but `versions` is the same.

    Attributes:
        network: its name, or the ONNX file's.
        weights: hexadecimal sha256 of its weights' file.
        layer: the output that was taken.
        sampling: how many frames, and where they lie in a video.
        preprocessing: from a decoded picture to the network's input.
        versions: library -> version; they can change the last digits only.
    """

    network: str
    weights: str
    layer: str
    sampling: str
    preprocessing: str
    versions: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the stamp as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: object, where: str) -> Self:
        """Read what `to_json` returned.

        Args:
            values: JSON values.
            where: the file that they stand in, for the message.

        Raises:
            DataError: they are no stamp.
        """
        names = {entry.name for entry in fields(cls)}
        versions = values.get("versions") if isinstance(values, dict) else None
        if not (isinstance(values, dict) and values.keys() == names and isinstance(versions, dict)):
            raise DataError(f"{where} has a stamp that is none of vhbench's: extract its features again.")
        texts = [*(values[name] for name in HOW), *versions.values()]
        if not all(isinstance(text, str) for text in texts):
            raise DataError(f"{where} has a stamp that is none of vhbench's: extract its features again.")
        return cls(**values)

    def differences(self, other: Stamp) -> list[str]:
        """Return a text for each thing in which another stamp differs from this: what, here and there."""
        return [
            f"{what} ({getattr(self, name)} and {getattr(other, name)})"
            for name, what in HOW.items()
            if getattr(self, name) != getattr(other, name)
        ]


def check_alike(first: Stamp | None, other: Stamp | None, names: tuple[str, str]) -> None:
    """Raise DataError where two stamps say that features were computed otherwise; one that lacks says nothing.

    Args:
        first: of some features.
        other: of others.
        names: what the message calls these and those.
    """
    if first and other and (differences := first.differences(other)):
        raise DataError(
            f"The features of {names[0]} and {names[1]} were not computed alike: they differ in "
            f"{' and '.join(differences)}. Extract both with the same network and settings."
        )


def read_stamp(path: Path) -> Stamp | None:
    """Return the stamp of a feature file; None where it has none, as published files.

    Raises:
        DataError: the file cannot be opened, or its stamp is damaged.
    """
    if not is_hdf5(path):
        return None
    with open_hdf5(path) as file, hdf5_reading(path):
        text = file.attrs.get(ATTRIBUTE)
    if text is None:
        return None
    try:
        values = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"{path} has a damaged stamp: extract its features again.") from error
    return Stamp.from_json(values, str(path))
