"""What a retrieval number is called: `map@20[den=k,ties=expected,self=keep]`, and the presets that fill in the options.

A mean average precision means little without its choices: released video hashing code divides by K where the papers
print min(R, K), leaves the order of tied items to an unstable sort, and on FCVID finds each query in its own database.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from vhbench.errors import UsageError, unknown

KINDS = ("map", "precision", "recall")
DENOMINATORS = ("k", "min", "hits", "r")
TIES = ("expected", "best", "worst", "index")
SELF_MATCHES = ("keep", "drop")

_FORM = re.compile(r"\s*(?P<kind>[^@\[\]\s]+)@(?P<k>\d+)\s*(\[(?P<options>[^\[\]]*)\])?\s*")


@dataclass(frozen=True)
class Convention:
    """A preset of options: denominator of AP, order of ties, and what happens to the query's own database item."""

    den: str
    ties: str
    self_match: str


CONVENTIONS = {
    "literature": Convention(den="k", ties="expected", self_match="keep"),
    "strict": Convention(den="min", ties="expected", self_match="drop"),
}
"""`literature` is what released video hashing code reports, less its random tie order; `strict` is what the papers
print (Eq. 16 of UVVH), without the query among its own results. Where queries are not in the database, strict keeps."""


@dataclass(frozen=True)
class Metric:
    """A retrieval metric with all its conventions; `str(metric)` is its full name.

    Attributes:
        kind: `map`, `precision` or `recall`.
        k: cut-off rank K, at least 1.
        den: what AP@K is divided by: `k`, `min` (min(R, K)), `hits` (relevant items in the top K) or `r` (R, all
            relevant items); None for precision and recall.
        ties: order of items at equal distance: `expected` (mean over all orders), `best`, `worst` (relevant ones first
            or last) or `index` (database order; the only one for which den=hits is defined).
        self_match: `keep` or `drop` the database item that is the query itself.

    Raises:
        UsageError: an option has a value that does not exist or does not go with the others.
    """

    kind: str
    k: int
    den: str | None = None
    ties: str = "expected"
    self_match: str = "keep"

    def __post_init__(self) -> None:
        _check("metric", self.kind, KINDS)
        if self.k < 1:
            raise UsageError(f"{self.kind}@{self.k}: the cut-off rank must be at least 1.")
        if self.kind == "map":
            _check("denominator", str(self.den), DENOMINATORS)
        elif self.den is not None:
            raise UsageError(f"{self.kind}@{self.k} has no option 'den': only map is divided by something to choose.")
        _check("order of ties", self.ties, TIES)
        _check("self match", self.self_match, SELF_MATCHES)
        if self.den == "hits" and self.ties != "index":
            raise UsageError(f"den=hits is defined for ties=index only, not for ties={self.ties}.")

    def __str__(self) -> str:
        den = f"den={self.den}," if self.den else ""
        return f"{self.kind}@{self.k}[{den}ties={self.ties},self={self.self_match}]"

    @classmethod
    def parse(cls, text: str, convention: str = "literature", in_database: bool = True) -> Metric:
        """Read a full or partial name: `map@20`, `map@20[den=min]`, `precision@5[ties=best,self=drop]`.

        Args:
            text: the name; letter case and blanks do not matter.
            convention: preset that gives the options not named: `literature` or `strict`.
            in_database: whether queries sit in the database; if not, the preset's self=drop becomes self=keep.

        Raises:
            UsageError: the text is not of this form, or names something that does not exist.
        """
        preset = find_convention(convention)
        match = _FORM.fullmatch(text.lower())
        if not match:
            raise UsageError(
                f"Cannot read metric {text!r}: write it like map@20 or map@20[den=k,ties=expected,self=keep]."
            )
        kind = _check("metric", match["kind"], KINDS)
        options = {"den": preset.den} if kind == "map" else {}
        options |= {"ties": preset.ties, "self": preset.self_match if in_database else "keep"}
        for option in filter(None, (part.strip() for part in (match["options"] or "").split(","))):
            name, equals, value = (part.strip() for part in option.partition("="))
            _check("metric option", name, options)
            if not equals:
                raise UsageError(f"Metric option {name!r} in {text!r} has no value: write {name}=...")
            options[name] = value
        return cls(kind, int(match["k"]), options.get("den"), options["ties"], options["self"])


def find_convention(name: str) -> Convention:
    """Return the preset of this name, or raise UsageError."""
    return CONVENTIONS[_check("convention", name, CONVENTIONS)]


def record_metrics(ks: Iterable[int], in_database: bool) -> list[Metric]:
    """List what every run record stores.

    For each K: map in every preset, and with ties=best and ties=worst in the literature's (what tie order could make of
    it); precision and recall in every preset.

    Args:
        ks: cut-off ranks.
        in_database: whether queries sit in the database.
    """
    metrics = []
    for k in ks:
        metrics += [Metric.parse(f"map@{k}", convention, in_database) for convention in CONVENTIONS]
        metrics += [Metric.parse(f"map@{k}[ties={ties}]") for ties in ("best", "worst")]
        for kind in ("precision", "recall"):
            metrics += [Metric.parse(f"{kind}@{k}", convention, in_database) for convention in CONVENTIONS]
    return list(dict.fromkeys(metrics))


def _check(what: str, name: str, valid: Iterable[str]) -> str:
    """Return the name if it is one of the valid ones, else raise UsageError with the nearest."""
    if name not in valid:
        raise unknown(what, name, valid)
    return name
