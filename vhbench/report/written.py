"""How numbers, metrics and lists of them are written in tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Form:
    """How numbers are written.

    Attributes:
        percent: in percent with one digit behind the point, else as fractions with three.
        difference: each line as its difference to the line that all are tested against.
    """

    percent: bool = False
    difference: bool = False

    def number(self, value: float, sign: str = "") -> str:
        """Return a value as text; with the sign "+" a difference."""
        return f"{100 * value:{sign}.1f}" if self.percent else f"{value:{sign}.3f}"

    def interval(self, ends: tuple[float, float] | None, sign: str = "") -> str:
        """Return an interval as text, empty where there is none."""
        return f"[{self.number(ends[0], sign)}, {self.number(ends[1], sign)}]" if ends else ""


AS_FRACTIONS = Form()


def in_words(metric: str) -> str:
    """Return a metric's short name as papers write it."""
    kind, at, rest = metric.partition("[")[0].partition("@")
    return {"map": "mAP", "ndcg": "nDCG", "mrr": "MRR"}.get(kind, kind) + at + rest


def unique(values: Iterable[T]) -> list[T]:
    """Return each value once, in order."""
    return list(dict.fromkeys(values))


def span(numbers: Sequence[int]) -> str:
    """Return "2", or "2-5" from the first to the last."""
    return "-".join(map(str, unique([numbers[0], numbers[-1]])))


def at_lengths(part: Iterable[Any], every: Iterable[Any]) -> dict[str, str]:
    """Return at which code lengths a line has what a note says of it: label -> " at 16, 32 bits"; "" where at all.

    Args:
        part: the numbers that the note is on; each has a `label` and `bits`.
        every: all numbers of the table or figure.
    """
    meant, lengths = _lengths(part), _lengths(every)
    return {
        label: "" if len(bits) == len(lengths[label]) else f" at {', '.join(map(str, bits))} bits"
        for label, bits in meant.items()
    }


def _lengths(numbers: Iterable[Any]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for label, bits in unique((number.label, number.bits) for number in numbers):
        found.setdefault(label, []).append(bits)
    return found
