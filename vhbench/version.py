"""The version of vhbench, which every record names."""

__version__ = "0.1.0"
