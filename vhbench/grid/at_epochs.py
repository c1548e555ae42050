"""Scores of a run at epochs on the way: recorded beside those of its last epoch, never chosen among."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vhbench.method import Method
from vhbench.runs.spec import digest_of
from vhbench.system.files import read_json, write_json

FILE = "scores.json"  # beside the checkpoint, which it belongs to


class AtEpochs:
    """Scores a method each time that it has finished one of some epochs of its training.

    Args:
        epochs: which ones, counted from 1 over all stages.
        folder: of the run's checkpoint: what was scored before a kill is kept there.
        made_by: what else must have been the same then.
        score: returns the scores of a method as it is, by full metric name.

    Attributes:
        seconds: what scoring took.
    """

    def __init__(
        self, epochs: Sequence[int], folder: Path, made_by: str, score: Callable[[Method], Mapping[str, float | None]]
    ):
        self.seconds = 0.0
        self._epochs, self._path, self._made_by, self._score = frozenset(epochs), folder / FILE, made_by, score
        kept = _kept(self._path, made_by) if epochs else {}
        self._scores = {epoch: scores for epoch, scores in kept.items() if epoch in self._epochs}

    def __call__(self, number: int, method: Method) -> None:
        """Score a method that has finished an epoch, where it is one of those asked for."""
        if number not in self._epochs:
            return
        started = time.perf_counter()
        self._scores[number] = self._score(method)
        content = {"made_by": self._made_by, "scores": self._named()}
        write_json(self._path, {**content, "digest": digest_of(content)})
        self.seconds += time.perf_counter() - started

    def to_record(self) -> dict[str, Any]:
        """Return the record's entry, epoch -> scores, those from before a kill too; empty where none was asked for."""
        return {"at_epochs": self._named()} if self._scores else {}

    def lacking(self) -> list[int]:
        """Return the epochs that were asked for and have no scores."""
        return sorted(self._epochs - self._scores.keys())

    def _named(self) -> dict[str, Mapping[str, float | None]]:
        return {str(epoch): scores for epoch, scores in sorted(self._scores.items())}


def _kept(path: Path, made_by: str) -> dict[int, Mapping[str, float | None]]:
    """Return what was scored before a kill; nothing where it cannot be read, has changed or was made otherwise."""
    try:
        value = read_json(path)
        sound = value.pop("digest") == digest_of(value)
        scores = value["scores"] if sound and value["made_by"] == made_by else {}
        return {int(epoch): dict(of_epoch) for epoch, of_epoch in scores.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}
