"""A run of a class, without a registry, on a protocol of two splits."""

import numpy as np

from vhbench.grid.cells import Cell
from vhbench.grid.runner import run_cell
from vhbench.grid.settings import Observer, Settings
from vhbench.plugins.entries import MethodEntry
from vhbench.plugins.source import Parameter
from vhbench.protocol import Part, Protocol, Relevance, Split
from vhbench.runs.spec import RunSpec
from vhbench.testing import toy_videos


class TwoSplits(Protocol):
    """Queries inside the database; a second split asks other queries of the same database."""

    name, title, ks = "two", "Two splits", (5,)

    def __init__(self):
        self.videos, self.labels = toy_videos(n=60, frames=6, dim=20, classes=4)

    def load(self, data):
        database = Part(self.videos, "database")
        splits = []
        for name, rows in (("two", np.arange(0, 30)), ("two-odd", np.arange(1, 60, 2))):
            relevance = Relevance.from_labels(self.labels[rows], self.labels, rows)
            splits.append(Split(name, database, Part(self.videos.subset(rows), f"rows of {name}"), database, relevance))
        return splits


def cell_of(method, store, *, bits=16, seed=0, budget=None, **params):
    """Plan one run of a class, without a registry."""
    protocol = TwoSplits()
    known = {name: Parameter(name, p.default) for name, p in method.hyper_parameters().items()}
    entry = MethodEntry(method.name, "built-in", params=known, target=method)
    values = {**{name: p.default for name, p in known.items()}, **params}
    budget = budget or {"epochs": 2, "videos": None}
    splits = protocol.load(None)
    digests = {split.name: split.digests() for split in splits}
    spec = RunSpec(method.name, values, bits, seed, budget, "float32", "two", 1, digests)
    return Cell(spec, entry, protocol, splits, "missing", store.read(spec))


def do(method, store, observer=None, **options):
    return run_cell(cell_of(method, store, **options), store, Settings("cpu"), observer or Observer())
