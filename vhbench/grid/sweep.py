"""Sweeps: several values of a hyper-parameter, as `--set` writes them or as lists, and every combination of them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from vhbench.errors import UsageError
from vhbench.plugins.entries import MethodEntry
from vhbench.plugins.registry import Registry
from vhbench.plugins.source import Parameter
from vhbench.runs.spec import kinds_of, resolve_params

Texts = str | Sequence[str]
"""Values of a hyper-parameter: a text as `--set` takes it, which `split` divides, or a list of values as they are."""


def spread(params: Mapping[str, Mapping[str, Texts]], registry: Registry) -> dict[str, dict[str, tuple[str, ...]]]:
    """Return the values of each hyper-parameter, each checked: method, as it was named -> name -> texts.

    Args:
        params: the same, as the user wrote them.
        registry: finds the methods.

    Raises:
        UsageError: an unknown name, a value that the hyper-parameter does not take, or a text that may be several.
    """
    return {method: _spread_one(registry.method(method), values) for method, values in params.items()}


def _spread_one(entry: MethodEntry, values: Mapping[str, Texts]) -> dict[str, tuple[str, ...]]:
    found = {}
    for name, given in values.items():
        if name not in entry.params:
            resolve_params(entry, {name: ""})  # says what is known
        texts = split(f"{entry.name}.{name}", entry.params[name], given)
        for text in texts:
            resolve_params(entry, {name: text})
        found[name] = texts
    return found


def split(label: str, parameter: Parameter, given: Texts) -> tuple[str, ...]:
    """Divide what was given for a hyper-parameter into its values.

    Commas divide numbers, true, false and none: `1e-4,3e-4`. A text may hold commas itself: there, and anywhere else,
    bars within brackets divide: `[mirror|literal]`.

    Args:
        label: the hyper-parameter, for messages.
        parameter: what it is.
        given: a text, or a list, which is as it stands.

    Raises:
        UsageError: a value is empty, there is none, or a text with commas may be one value or several.
    """
    if not isinstance(given, str):
        if not given:
            raise UsageError(f"{label} has an empty list of values: give one at least, or leave it out.")
        return tuple(dict.fromkeys(given))
    if given.startswith("[") and given.endswith("]"):
        parts = given[1:-1].split("|")
    elif "," not in given or ("str" in kinds_of(parameter) and "," in str(parameter.default)):
        return (given,)
    elif "str" in kinds_of(parameter):
        raise UsageError(
            f"{label} takes a text, and {given!r} may be one text or several: write '[{given}]' for one, "
            f"'[{given.replace(',', '|')}]' for several."
        )
    else:
        parts = given.split(",")
    values = tuple(dict.fromkeys(part.strip() for part in parts))
    if not all(values):
        raise UsageError(f"{label} has an empty value in {given!r}: several values are written 1e-4,3e-4 or [a|b].")
    return values


def combinations(values: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    """Return every combination of the values of some hyper-parameters, the last one changing first."""
    return [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]
