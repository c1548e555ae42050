"""Videos that give no features: why, and the list of them beside the output."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from vhbench.errors import DataError
from vhbench.system.files import atomic_write
from vhbench.system.text import csv_cell, plain

LONGEST = 200  # characters of a reason


class VideoError(DataError):
    """A video has no frame that can be decoded; the message is the reason, without the video's name."""


def reason_of(error: BaseException) -> str:
    """Return an error as a reason on one line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return plain(text)[:LONGEST]


def failures_path(output: Path) -> Path:
    """Return where the failures of an extraction are listed: `feats.failed.csv` for `feats.h5`."""
    return output.with_name(f"{output.stem}.failed.csv")


def write_failures(output: Path, reasons: Mapping[str, str]) -> None:
    """Write name and reason of each video that gave no features, or remove the list where there is none.

    Raises:
        StoreError: it cannot be written.
    """
    path = failures_path(output)
    if not reasons:
        path.unlink(missing_ok=True)
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("name", "reason"))
    writer.writerows((csv_cell(name), csv_cell(reason)) for name, reason in reasons.items())
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())
