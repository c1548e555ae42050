"""`train.jsonl`, a line an epoch: written by the run, read to know how far it is and how its loss fell."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from vhbench.method import Epoch
from vhbench.runs.record import TRAIN_LOG
from vhbench.system.files import atomic_write, set_aside

log = logging.getLogger(__name__)


def log_epoch(folder: Path, epoch: Epoch) -> None:
    """Append an epoch; lines of this and later epochs, from before a kill, are dropped.

    A log that is damaged is set aside, and its sound lines stay.

    Args:
        folder: the run's.
        epoch: the epoch.

    Raises:
        StoreError: it cannot be written.
    """
    path = folder / TRAIN_LOG
    lines, damaged = _lines(folder) if epoch.number > 1 else ({}, False)
    if damaged:
        log.warning("%s is damaged: set aside as %s", path, set_aside(path).name)
    kept = [line for number, line in lines.items() if number < epoch.number]
    new = {"epoch": epoch.number, "loss": epoch.loss, **epoch.parts, "seconds": round(epoch.seconds, 3)}
    with atomic_write(path) as file:
        file.write("".join(f"{json.dumps(line)}\n" for line in [*kept, new]).encode())


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Return the epochs of a run, in order: "epoch", "loss", the terms of the loss, "seconds".

    Args:
        folder: the run's; one without a log gives [].

    Raises:
        ValueError: the log is damaged.
        OSError: it cannot be read.
    """
    lines, damaged = _lines(folder)
    if damaged:
        raise ValueError(f"{folder / TRAIN_LOG} is damaged")
    return [*lines.values()]


def last_epoch(folder: Path, total: int | None) -> Epoch | None:
    """Return the last epoch in a run's log, or None where there is none or it cannot be read.

    Args:
        folder: the run's.
        total: how many epochs it trains; None where that is not known, and the epoch's total is then 0.

    Raises:
        ValueError: the log is damaged.
    """
    try:
        lines = read_log(folder)
    except OSError:
        return None
    if not lines:
        return None
    number, loss, seconds = (lines[-1][name] for name in ("epoch", "loss", "seconds"))
    return Epoch(number, max(number, total) if total else 0, loss, {}, seconds)


def _lines(folder: Path) -> tuple[dict[int, dict[str, Any]], bool]:
    """Return the sound lines by epoch, and whether there are others."""
    try:
        texts = (folder / TRAIN_LOG).read_bytes().decode(errors="replace").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return {}, False
    lines = [line for text in texts if (line := _line(text)) is not None]
    return {line["epoch"]: line for line in lines}, len(lines) < len(texts)


def _line(text: str) -> dict[str, Any] | None:
    """Return what a line says of an epoch, or None if it is not what `log_epoch` writes."""
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(line, dict) or not {"epoch", "loss", "seconds"} <= line.keys():
        return None
    numbers = all(isinstance(value, int | float) for value in line.values())  # infinity too
    return line if numbers and type(line["epoch"]) is int else None
