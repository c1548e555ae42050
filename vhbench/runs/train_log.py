"""`train.jsonl`, a line an epoch: written by the run, read to know how far it is and how its loss fell."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from pathlib import Path
from typing import Any

from vhbench.method import Epoch
from vhbench.runs.form import MOST
from vhbench.runs.record import TRAIN_LOG
from vhbench.system.files import (
    LARGEST_TEXT,
    NotAFileError,
    atomic_write,
    parse_json,
    read_bytes,
    read_error,
    set_aside,
)
from vhbench.system.text import plain

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
    try:
        lines, fault = _lines(folder) if epoch.number > 1 else ({}, "")
    except OSError as error:
        raise read_error(path, error) from error
    if fault:
        log.warning("%s is damaged (%s): set aside as %s", path, fault, set_aside(path).name)
    kept = [line for number, line in lines.items() if number < epoch.number]
    numbers = {"loss": epoch.loss, **epoch.parts, "seconds": round(epoch.seconds, 3)}
    new = {"epoch": epoch.number, **{name: x if math.isfinite(x) else None for name, x in numbers.items()}}
    with atomic_write(path) as file:
        file.write("".join(f"{json.dumps(line)}\n" for line in [*kept, new]).encode())


def read_log(folder: Path, digest: str | None = None) -> list[dict[str, Any]]:
    """Return the epochs of a run, in order: "epoch", "loss", the terms of the loss, "seconds"; None: not finite.

    Args:
        folder: the run's; one without a log gives [].
        digest: the log's sha256, of a run whose record has it; a log that goes on has none.

    Raises:
        ValueError: the log is damaged, or not the one of this digest.
        OSError: it cannot be read.
    """
    lines, fault = _lines(folder, digest)
    if fault:
        raise ValueError(f"{folder / TRAIN_LOG} is damaged ({fault})")
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
    number = lines[-1]["epoch"]
    loss, seconds = (math.nan if (value := lines[-1][name]) is None else value for name in ("loss", "seconds"))
    return Epoch(number, max(number, total) if total else 0, loss, {}, seconds)


def _lines(folder: Path, digest: str | None = None) -> tuple[dict[int, dict[str, Any]], str]:
    """Return the sound lines by epoch, and what is wrong with the log; empty where nothing is."""
    try:
        content = read_bytes(folder / TRAIN_LOG, links=False, limit=LARGEST_TEXT)
    except (FileNotFoundError, NotADirectoryError):
        return {}, ""
    except NotAFileError as error:
        return {}, str(error.strerror)
    if digest and hashlib.sha256(content).hexdigest() != digest:
        return {}, "it was changed after its run, or the run was begun again"
    lines, fault = {}, ""
    for number, text in enumerate(content.splitlines(), 1):
        try:
            line = _line(text)
        except ValueError:
            fault = fault or f"line {number} is none of a training log"
        else:
            lines[line["epoch"]] = line
    return lines, fault


def _line(text: bytes) -> dict[str, Any]:
    """Return what a line says of an epoch; raise ValueError if it is not what `log_epoch` writes."""
    line = parse_json(text, constant=lambda _: None)
    if not isinstance(line, dict) or not {"epoch", "loss", "seconds"} <= line.keys():
        raise ValueError
    if type(line["epoch"]) is not int or not 0 < line["epoch"] <= MOST:
        raise ValueError
    if not all(x is None or (isinstance(x, int | float) and not isinstance(x, bool)) for x in line.values()):
        raise ValueError
    return {plain(name): x for name, x in line.items()}
