"""Cross-data-set protocols `A-to-B`: learn on one data set, retrieve on another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from vhbench.errors import DataError, UsageError
from vhbench.features.stamp import check_alike as check_stamps
from vhbench.protocol import InDomain, Protocol, Split
from vhbench.protocols.demo import Demo
from vhbench.protocols.standard import standard

BETWEEN = "-to-"


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
        self.made_of = (train, test)
        self.name = f"{train.name}-to-{test.name}"
        self.title = f"Train on {train.name}, retrieve on {test.name}"
        self.version = train.version + test.version - 1  # raised whenever either is
        self.ks = test.ks
        self.budget = train.budget
        self.synthetic = train.synthetic or test.synthetic

    def load(self, data: Path | None, *, allow_counts: bool = False) -> list[Split]:
        """Open both data sets; see `Protocol.load`.

        Raises:
            DataError: their videos differ in frames or dimensions, or a data set cannot be opened.
        """
        a, *_ = self._train.load(data, allow_counts=allow_counts)
        in_domain = self._test.load(data, allow_counts=allow_counts)
        b = in_domain[0]
        ours, theirs = a.train.videos, b.database.videos
        if (ours.frames, ours.dim) != (theirs.frames, theirs.dim):
            raise DataError(
                f"{self.name} is impossible: videos of {self._train.name} have {ours.frames} frames of {ours.dim} "
                f"dimensions, those of {self._test.name} {theirs.frames} of {theirs.dim}."
            )
        check_stamps(a.train.stamp, b.database.stamp, (self._train.name, self._test.name))
        main = replace(
            b,
            name=self._test.name,
            train=a.train,
            synthetic=a.synthetic or b.synthetic,
            sources=a.sources + b.sources,
            in_domain=InDomain(
                self._test.name, self._test.version, {split.name: split.digests() for split in in_domain}
            ),
        )
        return [main, replace(a, name=self._train.name)]

    def describe(self) -> list[tuple[str, str]]:
        """Return (heading, text) rows for `vhbench describe`."""
        return [
            *super().describe(),
            ("train", self._train.title),
            ("query and database", self._test.title),
            ("scored too", f"{self._train.name}, with the same model"),
            ("compared with", f"the run on {self._test.name}, all else equal, if the results folder has it"),
        ]


def protocols() -> list[Protocol]:
    """Return the protocols that this file offers by name; `resolve` makes all others."""
    fcvid, yfcc = standard("fcvid"), standard("yfcc")
    return [CrossDataset(Demo("demo"), Demo("demo-shift")), CrossDataset(fcvid, yfcc), CrossDataset(yfcc, fcvid)]


def resolve(name: str, find: Callable[[str], Protocol]) -> Protocol | None:
    """Return `A-to-B`, made of the protocols A and B; None for names of another form.

    Raises:
        UsageError: A or B does not exist, they are the same, or there are more than two.
    """
    if BETWEEN not in name:
        return None
    names = name.split(BETWEEN)
    if len(names) != 2 or names[0] == names[1]:
        raise UsageError(f"{name!r} must name two different data sets, as in fcvid-to-yfcc.")
    return CrossDataset(find(names[0]), find(names[1]))
