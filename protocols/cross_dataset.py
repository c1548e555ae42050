"""Cross-data-set protocols `A-to-B`: learn on one data set, retrieve on another."""

from __future__ import annotations

from pathlib import Path

from vhbench.errors import DataError
from vhbench.protocol import Protocol, Split
from vhbench.protocols.demo import Demo


class CrossDataset(Protocol):
    """Train on data set A, retrieve on data set B; A's own retrieval comes along, so that the drop can be measured.

    The splits are named after the data set that is searched: B's is the main one, A's the second.

    Args:
        train: A, whose training videos are learnt from. Its budget is the default.
        test: B, whose queries and database are searched. Its K are reported.
    """

    def __init__(self, train: Protocol, test: Protocol):
        self._train = train
        self._test = test
        self.name = f"{train.name}-to-{test.name}"
        self.title = f"Train on {train.name}, retrieve on {test.name}"
        self.version = train.version + test.version - 1  # raised whenever either is
        self.ks = test.ks
        self.budget = train.budget
        self.synthetic = train.synthetic or test.synthetic

    def load(self, data: Path | None) -> list[Split]:
        """Open both data sets; see `Protocol.load`.

        Raises:
            DataError: their videos differ in frames or dimensions, or a data set cannot be opened.
        """
        a, b = self._train.load(data)[0], self._test.load(data)[0]
        ours, theirs = a.train.videos, b.database.videos
        if (ours.frames, ours.dim) != (theirs.frames, theirs.dim):
            raise DataError(
                f"{self.name} is impossible: videos of {self._train.name} have {ours.frames} frames of {ours.dim} "
                f"dimensions, those of {self._test.name} {theirs.frames} of {theirs.dim}."
            )
        return [
            Split(self._test.name, a.train, b.query, b.database, b.relevance),
            Split(self._train.name, a.train, a.query, a.database, a.relevance),
        ]

    def describe(self) -> list[tuple[str, str]]:
        """Return (heading, text) rows for `vhbench describe`."""
        return [*super().describe(), ("train", self._train.title), ("query and database", self._test.title)]


def protocols() -> list[Protocol]:
    """Return the protocols that this file offers."""
    return [CrossDataset(Demo("demo"), Demo("demo-shift"))]
