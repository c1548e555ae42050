"""Published numbers: other people's results in one schema, each with its source and its convention."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from vhbench.errors import DataError
from vhbench.scoring.names import DENOMINATORS, SELF_MATCHES, TIES
from vhbench.system.files import read_text

UNKNOWN, BEST, INFERRED, OTHER_SETTINGS = "unknown", "best on test", "inferred", "other-settings"
WORDS = {
    "den": (*DENOMINATORS, UNKNOWN),
    "ties": (*TIES, "numpy", UNKNOWN),
    "self_match": (*SELF_MATCHES, UNKNOWN),
    "kind": ("printed", "plot-read", "log", "derived", "claim"),
    "selection": ("last epoch", "fixed epoch", BEST, UNKNOWN),
}
DOUBTS = ("contradicted", "impossible", "implausible", INFERRED, OTHER_SETTINGS)

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_METRIC = re.compile(r"(map|map-gain)@[1-9]\d*|map-gmean@[1-9]\d*-[1-9]\d*")


@dataclass(frozen=True)
class PublishedRow:
    """One published number. `results/published/README.md` says more about every value.

    Attributes:
        method: our registered name, or the same style for methods that vhbench does not have.
        method_as_printed: the source's own name.
        protocol: vhbench's name where the protocol is the same, else a key of its own (`fcvid-4000q`).
        bits: code length.
        metric: `map@K`; `map-gmean@5-100`, the geometric mean over K = 5, 20, 40, 60, 80, 100; `map-gain@K`, a relative
            change of map@K in percent.
        value: the number.
        over: for a gain, the method or the protocol that it is relative to; else empty.
        den: what AP@K was divided by: as in `vhbench.scoring.Metric`, or "unknown".
        ties: order of tied items: as there, "numpy" (however an unstable argsort left them) or "unknown".
        self_match: "keep" or "drop" the query among its own results ("keep" where it is not in the database), or
            "unknown".
        kind: "printed" in a table or text, "plot-read" off a figure, from a result file or "log", "derived" by
            arithmetic from printed numbers, or a "claim" of a relative gain.
        selection: which epoch was scored: "last epoch", "fixed epoch", "best on test" or "unknown".
        doubt: why not to trust it: words of DOUBTS; empty if nothing speaks against it.
        source: publication or repository, and where in it.
        note: facts about this number.
        file: name of its CSV file without the ending.
        printed: the value as text, with its digits.
    """

    method: str
    method_as_printed: str
    protocol: str
    bits: int
    metric: str
    value: float
    over: str
    den: str
    ties: str
    self_match: str
    kind: str
    selection: str
    doubt: tuple[str, ...]
    source: str
    note: str
    file: str
    printed: str

    @property
    def full_metric(self) -> str:
        """The metric with its conventions: `map@20[den=k,ties=numpy,self=keep]`."""
        return f"{self.metric}[den={self.den},ties={self.ties},self={self.self_match}]"


COLUMNS = tuple(field.name for field in fields(PublishedRow) if field.name not in ("file", "printed"))
"""The header of every file."""


def read_published(folder: Path | str | None = None) -> list[PublishedRow]:
    """Read every CSV file of a folder of published numbers, in order of file and line.

    Args:
        folder: by default `results/published` of the source checkout that vhbench runs from.

    Raises:
        DataError: there is no such folder, it holds no CSV file, or a file breaks the schema; the message names the
            file and the line.
    """
    folder = default_folder() if folder is None else Path(folder)
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder} with published numbers.")
    paths = sorted(folder.glob("*.csv"))
    if not paths:
        raise DataError(f"{folder} holds no CSV files with published numbers.")
    return [row for path in paths for row in _read_file(path)]


def default_folder() -> Path:
    """Return `results/published` of the source checkout that vhbench runs from.

    Raises:
        DataError: vhbench does not run from a source checkout.
    """
    folder = Path(__file__).resolve().parents[2] / "results" / "published"
    if not folder.is_dir():
        raise DataError(
            "The published numbers are not part of the installed package: "
            "name the folder results/published of a source checkout."
        )
    return folder


def _read_file(path: Path) -> Iterator[PublishedRow]:
    seen: dict[tuple[object, ...], int] = {}
    for line, cells in _lines(path):
        try:
            row = _row(path.stem, cells)
        except ValueError as error:
            raise DataError(f"{path}, line {line}: {error}.") from error
        key = (row.source, row.method, row.protocol, row.bits, row.metric, row.over)
        if key in seen:
            raise DataError(f"{path}, line {line}: same source, method, protocol, bits and metric as line {seen[key]}.")
        seen[key] = line
        yield row


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the cells of every line after the header, which is checked."""
    try:
        reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
        if next(reader, None) != list(COLUMNS):
            raise DataError(f"{path}, line 1: the columns must be {','.join(COLUMNS)}.")
        for cells in reader:
            yield reader.line_num, cells
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text.") from error
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not CSV ({error}).") from error


def _row(file: str, cells: Sequence[str]) -> PublishedRow:
    """Build a row; raise ValueError with what is wrong."""
    if len(cells) != len(COLUMNS):
        raise ValueError(f"{len(cells)} cells where there are {len(COLUMNS)} columns")
    text = dict(zip(COLUMNS, cells, strict=True))
    for column in ("method", "protocol"):
        _require(_NAME.fullmatch(text[column]), column, text[column], "lower-case words joined by hyphens")
    for column in ("method_as_printed", "source"):
        _require(text[column].strip(), column, text[column], "some text")
    _require(re.fullmatch(r"[1-9]\d*", text["bits"]), "bits", text["bits"], "a whole number above 0")
    metric = text["metric"]
    _require(_METRIC.fullmatch(metric), "metric", metric, "map@K, map-gain@K or map-gmean@K-K")
    gain = metric.startswith("map-gain@")
    value = _number(text["value"])
    if gain:
        _require(math.isfinite(value), "value", text["value"], "a number")
        _require(_NAME.fullmatch(text["over"]), "over", text["over"], "the method or protocol that the gain is over")
    else:
        _require(0 <= value <= 1, "value", text["value"], "a number from 0 to 1")
        _require(not text["over"], "over", text["over"], f"empty, as {metric} is not a gain")
    for column, words in WORDS.items():
        _require(text[column] in words, column, text[column], f"one of {', '.join(words)}")
    doubt = tuple(text["doubt"].split())
    _require(set(doubt) <= set(DOUBTS), "doubt", text["doubt"], f"empty or words of {', '.join(DOUBTS)}")
    typed = {"bits": int(text["bits"]), "value": value, "doubt": doubt, "file": file, "printed": text["value"]}
    return PublishedRow(**{**text, **typed})  # type: ignore[arg-type]


def _number(text: str) -> float:
    """Return the number, or NaN where the text is not a plain decimal."""
    return float(text) if re.fullmatch(r"-?\d+(\.\d+)?", text) else math.nan


def _require(condition: object, column: str, found: str, wanted: str) -> None:
    if not condition:
        raise ValueError(f"{column} is {found!r} but must be {wanted}")
