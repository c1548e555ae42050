"""The commands as Python functions, each also an attribute of `vhbench`."""
