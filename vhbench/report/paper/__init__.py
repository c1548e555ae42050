"""A paper's tables beside runs of our own."""
