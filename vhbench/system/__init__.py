"""The ground: files, locks, the machine."""
