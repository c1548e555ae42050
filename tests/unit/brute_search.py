"""The definition of a search: all distances, sorted, ties in the order of rows."""

import numpy as np


def brute(codes, queries, k):
    """Return rows and distances of the k nearest of packed codes, shape (queries, k)."""
    bits, asked = (np.unpackbits(array, axis=1).astype(np.float64) for array in (codes, queries))
    distances = asked @ (1 - bits).T + (1 - asked) @ bits.T
    rows = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return rows, np.take_along_axis(distances, rows, axis=1)
