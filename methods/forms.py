"""Options that say which form a method has: as its authors' program does it, or as their paper describes it."""

from __future__ import annotations

from vhbench.errors import MethodError

FORMS = ("released", "described")


def check_forms(**options: str) -> None:
    """Raise MethodError where an option is neither "released" nor "described"."""
    for name, value in options.items():
        if value not in FORMS:
            raise MethodError(f"{name}={value!r} is unknown: choose {' or '.join(map(repr, FORMS))}.")
