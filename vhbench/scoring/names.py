"""What a retrieval number is called: `map@20[den=k,ties=expected,self=keep]`, and the presets that fill in the options.

A mean average precision means little without its choices: released video hashing code divides by K where the papers
print min(R, K), leaves the order of tied items to an unstable sort, and on FCVID finds each query in its own database.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from vhbench.errors import UsageError, unknown
from vhbench.scoring.metrics import METRICS, Definition

KINDS = tuple(dict.fromkeys(form.partition("@")[0] for form in METRICS))
DENOMINATORS = ("k", "min", "hits", "r")
TIES = ("expected", "best", "worst", "index")
SELF_MATCHES = ("keep", "drop")
EMPTIES = ("skip", "zero")
REFERENCES = {"chance": "chance", "cosine": "cosine of mean frames (float)", "attainable": "attainable"}
"""What scores are held against (`vhbench.scoring.references`): key -> name in tables."""
RADIUS = 2  # the one that the field reports

_FORM = re.compile(
    r"\s*(?P<kind>[^@\[\]\s]+)(@(r(?P<radius>\d{1,18})|(?P<k>\d{1,18})))?\s*(\[(?P<options>[^\[\]]*)\])?\s*",
    re.ASCII,
)


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
        kind: `map`, `precision`, `recall`, `ndcg` or `mrr`; `vhbench.scoring.metrics` says what each is.
        k: cut-off rank K, at least 1; None for a metric without one: `mrr`, `precision@r2`.
        den: what AP@K is divided by: `k`, `min` (min(R, K)), `hits` (relevant items in the top K) or `r` (R, all
            relevant items); None for all but map.
        ties: order of items at equal distance: `expected` (mean over all orders), `best`, `worst` (relevant ones first
            or last) or `index` (database order; the only one for which den=hits is defined).
        self_match: `keep` or `drop` the database item that is the query itself.
        radius: Hamming radius within which items count; None for a metric without one.
        empty: what becomes of a query without a relevant item: `skip` leaves it out of the mean, `zero` counts it as 0,
            as released code does. The full name says so only where it is `zero`.

    Raises:
        UsageError: there is no such metric, or a value does not exist or does not go with the others.
    """

    kind: str
    k: int | None = None
    den: str | None = None
    ties: str = "expected"
    self_match: str = "keep"
    radius: int | None = None
    empty: str = "skip"

    def __post_init__(self) -> None:
        options = self.definition.options
        if self.k is not None and self.k < 1:
            raise UsageError(f"{self.name}: the cut-off rank must be at least 1.")
        if self.radius is not None and self.radius < 0:
            raise UsageError(f"{self.name}: the Hamming radius must be at least 0.")
        if "den" in options:
            _check("denominator", str(self.den), DENOMINATORS)
        elif self.den is not None:
            raise UsageError(f"{self.name} has no option 'den': only map is divided by something to choose.")
        _check("order of ties", self.ties, TIES)
        if "ties" not in options and self.ties != "expected":
            raise UsageError(f"{self.name} has no option 'ties': it is the same for every order of tied items.")
        _check("self match", self.self_match, SELF_MATCHES)
        _check("treatment of queries without a relevant item", self.empty, EMPTIES)
        if self.den == "hits" and self.ties != "index":
            raise UsageError(f"den=hits is defined for ties=index only, not for ties={self.ties}.")

    @property
    def name(self) -> str:
        """The name without its conventions: `map@20`, `mrr`, `precision@r2`."""
        return _name(self.kind, self.k, self.radius)

    @property
    def definition(self) -> Definition:
        """Its options and its formula."""
        return _define(self.kind, self.k, self.radius)

    def __str__(self) -> str:
        values = {"den": self.den, "ties": self.ties, "self": self.self_match}
        named = [f"{option}={values[option]}" for option in self.definition.options]
        if self.empty != "skip":
            named.append(f"empty={self.empty}")
        return f"{self.name}[{','.join(named)}]"

    @classmethod
    def parse(cls, text: str, convention: str = "literature", in_database: bool = True) -> Metric:
        """Read a full or partial name: `map@20`, `map@20[den=min]`, `mrr[ties=best,self=drop]`, `precision@r2`.

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
            raise UsageError(f"Cannot read metric {text!r}: {_advice('map')}.")
        kind, k, radius = match["kind"], *(int(match[cut]) if match[cut] else None for cut in ("k", "radius"))
        defaults = {"den": preset.den, "ties": preset.ties, "self": preset.self_match if in_database else "keep"}
        options = {name: defaults[name] for name in _define(kind, k, radius).options} | {"empty": "skip"}
        for option in filter(None, (part.strip() for part in (match["options"] or "").split(","))):
            name, equals, value = (part.strip() for part in option.partition("="))
            _check("metric option", name, options)
            if not equals:
                raise UsageError(f"Metric option {name!r} in {text!r} has no value: write {name}=...")
            options[name] = value
        return cls(
            kind, k, options.get("den"), options.get("ties", "expected"), options["self"], radius, options["empty"]
        )


def find_convention(name: str) -> Convention:
    """Return the preset of this name, or raise UsageError."""
    return CONVENTIONS[_check("convention", name, CONVENTIONS)]


def record_metrics(ks: Iterable[int], in_database: bool, empty: bool = False) -> list[Metric]:
    """List what every run record stores.

    For each K the metrics with a cut-off rank, then the others, each in every preset; map in the literature's also with
    ties=best and ties=worst (what tie order could make of it), where queries sit in the database with self=drop (as the
    UVVH paper has it on YFCC), and where some queries have no relevant item with empty=zero (as released code has it).

    Args:
        ks: cut-off ranks.
        in_database: whether queries sit in the database.
        empty: whether some queries have no relevant item.
    """
    names = []
    for k in ks:
        names += [form.replace("@K", f"@{k}") for form in METRICS if form.endswith("@K")]
    names += [form.replace("@rN", f"@r{RADIUS}") for form in METRICS if not form.endswith("@K")]
    metrics = []
    for name in names:
        metrics += [Metric.parse(name, convention, in_database) for convention in CONVENTIONS]
        if name.startswith("map@"):
            also = ["ties=best", "ties=worst", *["self=drop"] * in_database, *["empty=zero"] * empty]
            metrics += [Metric.parse(f"{name}[{option}]") for option in also]
    return list(dict.fromkeys(metrics))


def recorded_metrics(scores: Iterable[str]) -> list[Metric]:
    """Return the metrics among a record's scores of its main split, in order; other versions' metrics are left out."""
    metrics = []
    for name in scores:
        if "/" in name:
            continue
        try:
            metrics.append(Metric.parse(name))
        except UsageError:
            continue
    return metrics


def _name(kind: str, k: int | None, radius: int | None) -> str:
    return kind + "".join(f"@{mark}{cut}" for mark, cut in (("", k), ("r", radius)) if cut is not None)


def _define(kind: str, k: int | None, radius: int | None) -> Definition:
    """Return what a metric is, or raise UsageError if there is none of this name."""
    form = _check("metric", kind, KINDS) + "@K" * (k is not None) + "@rN" * (radius is not None)
    if form not in METRICS:
        raise UsageError(f"There is no metric {_name(kind, k, radius)!r}: {_advice(kind)}.")
    return METRICS[form]


def _advice(kind: str) -> str:
    """Say how the metrics of a kind are written."""
    forms = [form for form in METRICS if form.partition("@")[0] == kind]
    names = [form.replace("@K", "@20").replace("@rN", f"@r{RADIUS}") for form in forms]
    return f"write it like {' or '.join(names)}, in full {Metric.parse(names[0])}"


def _check(what: str, name: str, valid: Iterable[str]) -> str:
    """Return the name if it is one of the valid ones, else raise UsageError with the nearest."""
    if name not in valid:
        raise unknown(what, name, valid)
    return name
