"""Standard streams as the commands need them, whatever the caller has made of them."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Any


class _Messages(io.FileIO):
    """Standard error: a message that nobody can take, as its reader has gone or its disk is full, ends no run."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


def ready_streams() -> None:
    """Let anything be printed, and no file that is opened later take the number of a stream that is closed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 (for the whole process)
    if sys.stderr is sys.__stderr__:
        encoding = sys.stderr.encoding if sys.stderr is not None else "utf-8"
        messages = io.BufferedWriter(_Messages(2, "w", closefd=False))
        sys.stderr = io.TextIOWrapper(messages, encoding=encoding, line_buffering=True)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a locale without UTF-8 must not end a run at its table
            with contextlib.suppress(OSError, ValueError):
                os.set_blocking(stream.fileno(), True)
