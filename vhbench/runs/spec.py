"""What a run is: everything that can change its numbers, and an identity made from it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from vhbench.errors import UsageError, unknown
from vhbench.method import Budget
from vhbench.plugins.entries import MethodEntry
from vhbench.plugins.source import Parameter

PRECISIONS = {
    "float32": "float32 throughout",
    "tf32": "a GPU's float32 products with factors of 11 bits",
    "bf16": "bfloat16 products with float32 weights",
}
HALF = "+half"
HALF_HELP = f"each with {HALF} behind it: training features of more than 16 bits are rounded to float16"
BUDGETS = {
    "paper": "the method's published number of epochs, all training videos",
    "quick": "a quarter of the published epochs, all training videos",
    "smoke": "one epoch, 256 training videos: does it run at all?",
}
SMOKE_VIDEOS = 256
KINDS = {"bool", "int", "float", "str", "None", "NoneType"}  # what a hyper-parameter's text can be read as
KIND_WORDS = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "None": "none",
    "NoneType": "none",
}


@dataclass(frozen=True)
class RunSpec:
    """The specification of one run.

    Attributes:
        method: registered name.
        params: every hyper-parameter with its value, JSON types only.
        bits: code length.
        seed: the run's seed.
        budget: {"epochs": int or None, "videos": int or None}, resolved against the method's own epochs.
        precision: of training, a name of `PRECISIONS`, with "+half" behind it where features are rounded to float16.
        protocol: the protocol's name.
        version: the protocol's version.
        splits: split name -> digests of its parts.
        normalize: feature scaling, as `vhbench.features.normalize.Normalization` writes it.
    """

    method: str
    params: Mapping[str, Any]
    bits: int
    seed: int
    budget: Mapping[str, int | None]
    precision: str
    protocol: str
    version: int
    splits: Mapping[str, Mapping[str, str]]
    normalize: str = "none"

    @cached_property
    def id(self) -> str:
        """The sha256 of the canonical JSON form."""
        return digest_of(self.to_json())

    @property
    def folder(self) -> str:
        """The run's folder below the results folder."""
        return f"{self.protocol}/{self.method}/{self.bits}b-s{self.seed}-{self.id[:8]}"

    def to_json(self) -> dict[str, Any]:
        """Return the specification as plain JSON values; features as they are go without saying."""
        values = asdict(self)
        if self.normalize == "none":
            del values["normalize"]
        return values


def digest_of(spec: Mapping[str, Any]) -> str:
    """Return the sha256 of a specification's canonical JSON form: the run's id.

    Raises:
        ValueError: it holds NaN or infinity.
    """
    text = json.dumps(spec, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def split_precision(text: str) -> tuple[str, bool]:
    """Return the precision of products, and whether training features are rounded to float16.

    Args:
        text: as in a specification, e.g. "bf16" or "bf16+half".

    Raises:
        UsageError: there is no such precision.
    """
    name = text.removesuffix(HALF)
    if name not in PRECISIONS:
        raise unknown("precision", text, [*PRECISIONS, *(known + HALF for known in PRECISIONS)])
    return name, name != text


def resolve_budget(name: str, epochs: int | None, published: int | None) -> Budget:
    """Turn a budget's name into numbers.

    Args:
        name: "paper", "quick" or "smoke".
        epochs: overrides the budget's epochs.
        published: the method's own number of epochs; None for a method that does not train in epochs.

    Raises:
        UsageError: unknown name, or epochs below 1.
    """
    if name not in BUDGETS:
        raise unknown("budget", name, BUDGETS)
    if epochs is not None and epochs < 1:
        raise UsageError(f"--epochs must be at least 1, not {epochs}.")
    videos = SMOKE_VIDEOS if name == "smoke" else None
    if published is None:
        return Budget(None, videos)
    if epochs is None:
        epochs = {"paper": published, "quick": max(1, round(published / 4)), "smoke": 1}[name]
    return Budget(epochs, videos)


def budget_name(epochs: int | None, videos: int | None, published: int | None) -> str:
    """Name a resolved budget: the shortest true description, e.g. "paper", "quick", "smoke" or "12 epochs"."""
    if epochs == published and videos is None:
        return "paper"
    for name in ("quick", "smoke"):
        if resolve_budget(name, None, published) == Budget(epochs, videos):
            return name
    words = [f"{epochs} epoch{'s' if epochs != 1 else ''}"] if epochs != published else []
    return ", ".join(words + ([f"{videos} videos"] if videos is not None else []))


def resolve_preset(entry: MethodEntry, preset: str, dataset: str) -> Mapping[str, Any]:
    """Return the hyper-parameters that a preset gives a method.

    Args:
        entry: the method.
        preset: "auto", the data set's where the method has published settings for it; "none"; or a preset's name. A
            method without presets has one published setting for all data sets: its defaults.
        dataset: what the protocol trains on.

    Raises:
        UsageError: the method has presets, but none of this name.
    """
    if preset == "auto":
        return entry.presets.get(dataset, {})
    if preset == "none" or not entry.presets:
        return {}
    if preset not in entry.presets:
        raise unknown(f"preset of {entry.name}", preset, ["auto", "none", *entry.presets])
    return entry.presets[preset]


def resolve_params(
    entry: MethodEntry, changed: Mapping[str, str], preset: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return all hyper-parameters of a method, the given ones parsed by annotation.

    Args:
        entry: the method.
        changed: name -> text, from `--set method.name=text`.
        preset: what stands in place of defaults; see `resolve_preset`.

    Raises:
        UsageError: an unknown name, or a text that does not fit the annotation.
    """
    given = preset or {}
    values = {name: _plain(given.get(name, p.default), p.annotation) for name, p in entry.params.items()}
    for name, text in changed.items():
        if name not in entry.params:
            hint = f"`vhbench describe {entry.name}` lists them."
            raise unknown(f"hyper-parameter of {entry.name}", name, entry.params, hint)
        values[name] = _parse(f"{entry.name}.{name}", entry.params[name], text)
    return values


def _plain(value: Any, annotation: str) -> Any:
    """Return a value; a whole number where a float is meant becomes one, so that 0 and 0.0 are the same run."""
    return float(value) if annotation == "float" and type(value) is int else value


def kinds_of(parameter: Parameter) -> list[str]:
    """Return as what a hyper-parameter's text is read: by its annotation, or its default where that says too little."""
    annotation = re.sub(r"(typing\.)?Optional\[(.*)\]", r"\2 | None", parameter.annotation)
    kinds = [kind.strip() for kind in annotation.split("|")]
    return kinds if set(kinds) <= KINDS else [type(parameter.default).__name__]


def _parse(label: str, parameter: Parameter, text: str) -> Any:
    """Parse a hyper-parameter's text; see `kinds_of`."""
    kinds = kinds_of(parameter)
    for kind in kinds:
        if kind in ("None", "NoneType") and text.lower() == "none":
            return None
        if kind == "bool" and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if kind == "str":
            return text
        try:
            if kind == "int":
                return int(text)
            if kind == "float" and float(text) - float(text) == 0:  # neither NaN nor infinity
                return float(text)
        except ValueError:
            continue
    wanted = " or ".join(KIND_WORDS.get(kind, kind) for kind in kinds)
    raise UsageError(f"{label} takes {wanted}, not {text!r}.")
