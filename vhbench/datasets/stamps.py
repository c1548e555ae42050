"""How the features of a manifest's files were computed, as far as their stamps say, and whether they go together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vhbench.features import Header
from vhbench.features.stamp import Stamp, check_alike, read_stamp


class Stamps:
    """The stamps of the files opened so far; files are compared with those of the same place in `Opening.sets`."""

    def __init__(self) -> None:
        self._sets: list[dict[Path, Stamp | None]] = []

    def add(self, sets: Sequence[Sequence[Header]]) -> None:
        """Read the stamps of a role's files.

        Raises:
            DataError: a stamp is damaged, or the features were computed otherwise than those of another role.
        """
        for number, headers in enumerate(sets):
            self._sets += [{}] if number == len(self._sets) else []
            stamps = self._sets[number]
            for path in (header.path for header in headers if header.path not in stamps):
                stamps[path] = read_stamp(path)
                for other, stamp in stamps.items():
                    check_alike(stamp, stamps[path], (str(other), str(path)))

    def problem(self) -> str:
        """Say that some files have a stamp and others none; "" where that is not so."""
        for stamps in self._sets:
            stamped, unknown = (next((p for p, s in stamps.items() if bool(s) is b), None) for b in (True, False))
            if stamped and unknown:
                return (
                    f"{stamped} says how its features were computed and {unknown} does not: whether they go together "
                    "is not known"
                )
        return ""

    def first(self) -> Stamp | None:
        """Return the first stamp of all."""
        return next((stamp for stamps in self._sets for stamp in stamps.values() if stamp), None)

    def of(self, sets: Sequence[Sequence[Header]]) -> Stamp | None:
        """Return how features were computed where all of their files say so; None of features side by side."""
        stamps = [self._sets[0].get(header.path) for header in sets[0]] if len(sets) == 1 else [None]
        return stamps[0] if all(stamps) else None
