"""`python -m vhbench` is the command `vhbench`."""

from vhbench.cli import main

main()
