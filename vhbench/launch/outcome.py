"""How a run's process tells its launcher what came of the run: in a file that both have open, never by an exit code.

A method can end its process with any exit code, and so can a library. What ends a whole grid is believed only where the
harness itself says so: the worker's last act is to write it, together with a word that its launcher gave it.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import tempfile
from collections.abc import MutableMapping
from dataclasses import asdict, dataclass

from vhbench.errors import StoreError, UsageError, VhbenchError
from vhbench.system.files import parse_json

RECORDED = "recorded"  # done or failed
ELSEWHERE = "elsewhere"  # another process does it or has done it
STOPPED = "stopped"  # by what ends the whole grid, such as a full disk
INTERRUPTED = "interrupted"  # by a signal, or to go on in another turn
KINDS = ("", RECORDED, ELSEWHERE, STOPPED, INTERRUPTED)
VARIABLE = "VHBENCH_OUTCOME"
LONGEST = 1 << 16  # bytes


@dataclass(frozen=True)
class Outcome:
    """What a run's process has said.

    Attributes:
        kind: one of KINDS; empty where its process ended without a word.
        message: of what ends the grid, a sentence.
        exit_code: of what ends the grid, as in `vhbench.errors`.
    """

    kind: str = ""
    message: str = ""
    exit_code: int = 0

    @property
    def error(self) -> VhbenchError:
        """What ends the grid."""
        return UsageError(self.message) if self.exit_code == UsageError.exit_code else StoreError(self.message)


class Listener:
    """The launcher's end."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (open until `close`)
        self._word = secrets.token_hex(16)

    @property
    def descriptor(self) -> int:
        """What the run's process must inherit."""
        return self._file.fileno()

    @property
    def environment(self) -> dict[str, str]:
        """The variable by which the run's process finds it."""
        return {VARIABLE: f"{self.descriptor} {self._word}"}

    def hear(self) -> Outcome:
        """Return what was said; a file with anything else in it says nothing."""
        try:
            value = parse_json(os.pread(self.descriptor, LONGEST, 0))
            if value.pop("word") != self._word:
                return Outcome()
            found = Outcome(**value)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return Outcome()
        return found if found.kind in KINDS else Outcome()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class Teller:
    """The worker's end.

    Args:
        environment: of the process; the variable is taken out of it, so that nothing it starts finds it.
    """

    def __init__(self, environment: MutableMapping[str, str]):
        number, _, self._word = environment.pop(VARIABLE, "").partition(" ")
        self._descriptor = int(number) if number.isdecimal() else -1
        self._process = os.getpid()
        self._file = self._which()

    def tell(self, outcome: Outcome) -> None:
        """Say what came of the run; nobody listens where no launcher has started this process."""
        # a method may have closed the file, and opened another by its number; or forked, and gone on in both
        if self._word and self._file == self._which() and os.getpid() == self._process:
            with contextlib.suppress(OSError):
                os.pwrite(self._descriptor, json.dumps({**asdict(outcome), "word": self._word}).encode(), 0)

    def _which(self) -> tuple[int, int] | None:
        try:
            found = os.fstat(self._descriptor)
        except OSError:
            return None
        return found.st_dev, found.st_ino
