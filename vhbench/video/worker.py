"""A process that computes parts of an extraction: `python -m vhbench.video.worker PARENT`.

It reads lines of JSON from standard input: first a `Task`, then {"number", "videos": [[row, path], ...], "skip": {row:
reason}} for each part, which it writes into the folder of parts. It answers, a line of JSON each: {"ready": true},
{"at": row} before a video and {"done": row} after it, {"written": number}, or {"error": sentence, "kind": class}.
What a decoder does to its process so ends this one, and costs one video.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vhbench import errors
from vhbench.errors import VhbenchError
from vhbench.video.failures import VideoError, reason_of
from vhbench.video.networks import Choice
from vhbench.video.parts import Part, PartsFolder
from vhbench.video.recipe import Extractor


@dataclass(frozen=True)
class Task:
    """What is common to all parts.

    Attributes:
        network: which.
        frames: a video.
        dtype: of the features, as they are written.
        folder: of the parts.
    """

    network: Choice
    frames: int
    dtype: str
    folder: Path

    def to_json(self) -> dict[str, Any]:
        """Return the task as JSON values."""
        values = asdict(self)
        weights = self.network.weights
        values["network"]["weights"] = None if weights is None else str(weights)
        return {**values, "folder": str(self.folder)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Task:
        """Read what `to_json` returned."""
        network = values["network"]
        weights = network.pop("weights")
        choice = Choice(weights=None if weights is None else Path(weights), **network)
        return cls(choice, values["frames"], values["dtype"], Path(values["folder"]))


def make_part(
    extract: Extractor,
    dtype: str,
    videos: Sequence[tuple[int, Path]],
    skip: Mapping[int, str],
    say: Callable[[str, int], None],
) -> Part:
    """Compute the features of some videos.

    Args:
        extract: computes those of one.
        dtype: "float16" or "float32".
        videos: number and file of each.
        skip: number -> why a video is not to be tried.
        say: called with "at" and a number before each video, with "done" and a number after it.
    """
    features: list[np.ndarray] = []
    distinct, rows, reasons = [], [], {}
    for row, path in videos:
        if row in skip:
            reasons[row] = skip[row]
        else:
            say("at", row)
            try:
                found = extract(path)
                features.append(_as_stored(found.values, dtype))
                distinct.append(found.distinct)
                rows.append(row)
            except VideoError as error:
                reasons[row] = reason_of(error)
        say("done", row)
    values = np.stack(features) if features else np.empty((0, *extract.shape), dtype)
    return Part(values, np.array(distinct, dtype=np.int32), np.array(rows, dtype=np.int64), reasons)


def _as_stored(values: np.ndarray, dtype: str) -> np.ndarray:
    if dtype == "float16" and np.abs(values).max() > np.finfo(np.float16).max:
        raise VideoError("its features are too large for float16: use --dtype float32")
    return values.astype(dtype)


def main() -> None:
    """Answer requests until standard input ends."""
    from vhbench.system.processes import die_with

    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no answer

    def say(what: str, value: object) -> None:
        answers.write(json.dumps({what: value}) + "\n")
        answers.flush()

    die_with(int(sys.argv[1]))
    try:
        task = Task.from_json(json.loads(sys.stdin.readline()))
        extract, folder = Extractor(task.network, task.frames), PartsFolder(task.folder)
        say("ready", True)
        for line in sys.stdin:
            request = json.loads(line)
            videos = [(int(row), Path(path)) for row, path in request["videos"]]
            skip = {int(row): reason for row, reason in request["skip"].items()}
            folder.write(request["number"], make_part(extract, task.dtype, videos, skip, say))
            say("written", request["number"])
    except VhbenchError as error:
        answers.write(json.dumps({"error": str(error), "kind": type(error).__name__}) + "\n")
        answers.flush()


def error_of(answer: Mapping[str, str]) -> VhbenchError:
    """Return the error that a process has answered with."""
    kind = getattr(errors, answer["kind"], VhbenchError)
    error: VhbenchError = kind(answer["error"])
    return error


if __name__ == "__main__":
    main()
