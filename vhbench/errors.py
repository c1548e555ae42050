"""The errors that a user's input can cause: one clear sentence each, never a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LONGEST = 100  # of what a user wrote, in a message


class VhbenchError(Exception):
    """Something the user can put right. The message says what, where and what to do.

    The command line prints the message alone and ends with `exit_code`.
    """

    exit_code = 2


class UsageError(VhbenchError):
    """A wrong name, option or value."""


class DataError(VhbenchError):
    """Missing, unreadable or contradictory feature or label files."""


class StoreError(VhbenchError):
    """Results cannot be written or read back."""

    exit_code = 1


class DeviceError(VhbenchError):
    """A GPU answers no longer: this process can do no further run on it."""

    exit_code = 1


class MethodError(VhbenchError):
    """A method broke its contract or could not be trained: its run is recorded as failed, the grid goes on."""


def unknown(kind: str, name: str, valid: Iterable[str], hint: str = "") -> UsageError:
    """Build the error for a name that does not exist, with the nearest valid names.

    Args:
        kind: what the name stands for, e.g. "method".
        name: what the user wrote.
        valid: every name that would have been accepted.
        hint: a last sentence, e.g. the command that lists them.
    """
    names = sorted(valid)
    folded = {name.lower(): name for name in names}
    near = [folded[key] for key in difflib.get_close_matches(name.lower(), folded, n=3, cutoff=0.5)]
    if near:
        advice = f"did you mean {' or '.join(repr(n) for n in near)}?"
    elif names:
        advice = f"choose from {', '.join(names[:20])}{', …' if len(names) > 20 else ''}."
    else:
        advice = "there are none."
    shown = repr(name if len(name) <= LONGEST else f"{name[:LONGEST]}…")
    return UsageError(f"Unknown {kind} {shown}: {advice}{' ' + hint if hint else ''}")
