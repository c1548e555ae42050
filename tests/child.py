"""Run one vhbench command in a child process that `conftest.Child` starts; `arguments` and `log` are its globals."""

import os

from vhbench.cli import main

descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)  # noqa: F821
for stream in (1, 2):
    os.dup2(descriptor, stream)
main(arguments)  # noqa: F821
