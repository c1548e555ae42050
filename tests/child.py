"""Run one vhbench command in a child process that `conftest.Child` starts.

Its globals: `arguments`; `log`, which gets all that is printed; `environment`, since the server that forks this process
has that of the test which started it; `first`, lines of Python to execute before.
"""

import os
import signal

from vhbench.cli import main

signal.signal(signal.SIGINT, signal.default_int_handler)  # as on a terminal: a shell's background job ignores it
descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)  # noqa: F821
for stream in (1, 2):
    os.dup2(descriptor, stream)
os.environ.update(environment)  # noqa: F821
exec(first)  # noqa: F821
main(arguments)  # noqa: F821
