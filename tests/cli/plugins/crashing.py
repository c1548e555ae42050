"""Methods that end their process in one way each, for tests of launchers that must survive it."""

import os
import signal
import time
from typing import ClassVar

import numpy as np

from vhbench.testing.fakes import FakeMethod


class Segfault(FakeMethod):
    """The interpreter crashes."""

    name = "segfault"

    def fit(self, train, ctx):
        print("the last words", flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)


class Killed(FakeMethod):
    """Something kills it whenever it is tried, as the system does to a process that takes too much memory."""

    name = "killed"

    def fit(self, train, ctx):
        os.kill(os.getpid(), signal.SIGKILL)


class Leaves(FakeMethod):
    """It ends the process as if all were well."""

    name = "leaves"

    def fit(self, train, ctx):
        os._exit(0)


class Exits(FakeMethod):
    """It ends the process with an exit code, as a library or a method may with any."""

    name = "exits"
    variants: ClassVar = {f"exits-{code}": ("The same with this one", {"code": code}) for code in (63, 65, 66, 130)}

    def __init__(self, bits, *, epochs=2, spread=1.0, code=255):
        super().__init__(bits, epochs=epochs, spread=spread)
        self.code = code

    def fit(self, train, ctx):
        os._exit(self.code)


class Talks(FakeMethod):
    """It prints, and works."""

    name = "talks"

    def fit(self, train, ctx):
        print("first line\nsecond line")
        return super().fit(train, ctx)


class Eats(FakeMethod):
    """It takes 300 MB and keeps them."""

    name = "eats"

    def fit(self, train, ctx):
        self._food = np.ones(300_000_000, np.uint8)
        time.sleep(600)


class Sleeps(FakeMethod):
    """It does not end."""

    name = "sleeps"

    def fit(self, train, ctx):
        time.sleep(600)
