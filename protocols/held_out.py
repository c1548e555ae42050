"""Protocols to tune on, `X-tune-JUDGE-SHARE-SEED`: X's training videos, some held out. X's queries take no part."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vhbench.datasets.manifest import ROLES
from vhbench.datasets.manifest_protocol import ManifestProtocol
from vhbench.datasets.opening import Opening
from vhbench.datasets.problems import equal_rows
from vhbench.errors import DataError, UsageError
from vhbench.protocol import Part, Protocol, Relevance, Source, Split
from vhbench.protocols.unseen_classes import draw, subset

LOSS, RETRIEVAL = JUDGES = ("loss", "retrieval")
FORM = re.compile(rf"(?P<base>.+)-tune-(?P<judge>{'|'.join(JUDGES)})-(?P<share>0\.\d{{1,6}})-(?P<seed>\d{{1,9}})")
FEWEST = 2  # videos of each part


class HeldOut(Protocol):
    """Hold some of a protocol's training videos out, to judge hyper-parameters on: what is reported must not do that.

    A training video that is also one of the protocol's queries is left out, and one that is also held out is not learnt
    from. The queries' labels are never opened where the protocol is a manifest's, and dropped at once elsewhere.

    - By loss: no label is used. The held-out videos are query and database, each relevant to itself alone: what is
      judged is the loss of the trained method on them, which the run records.
    - By retrieval: the held-out videos are asked for among the other training videos, by the training videos' labels.

    Args:
        base: the protocol; one that trains on a data set and searches another counts as the first.
        judge: "loss" or "retrieval".
        share: of the training videos that is held out.
        seed: which ones.
    """

    def __init__(self, base: Protocol, judge: str, share: float, seed: int):
        self._source = base.made_of[0] if len(base.made_of) > 1 else base
        self._judge, self._share, self._seed = judge, share, seed
        self.made_of = (self._source,)
        self.name = suffixed(self._source.name, judge, share, seed)
        self.title = f"Held-out training videos of {self._source.name}, to tune on"
        self.version = base.version
        self.ks = base.ks
        self.budget = base.budget
        self.synthetic = self._source.synthetic
        self.judged_by_loss = judge == LOSS

    def load(self, data: Path | None, *, allow_counts: bool = False) -> list[Split]:
        """Open the training videos and divide them; see `Protocol.load`.

        Raises:
            DataError: too few are left, or retrieval is to judge and they have no labels.
        """
        pool = self._pool(data, allow_counts)
        rows = pool.apart()
        count = round(self._share * len(rows))
        if count < FEWEST or len(rows) - count < FEWEST:
            raise DataError(
                f"{self.name} cannot hold {self._share:g} of {len(rows)} training videos of {self._source.name} out: "
                f"at least {FEWEST} are held out, and {FEWEST} left."
            )
        order = draw(len(rows), self._seed)
        held, others = (rows[np.sort(chosen)] for chosen in (order[:count], order[count:]))
        others = others[~pool.among(others, held)]
        train, query = subset(pool.part, others), subset(pool.part, held)
        if pool.labels is None:
            own = np.arange(count)
            database, relevance = query, Relevance.from_labels(own, own, own)
        else:
            database = train
            relevance = Relevance.from_labels(pool.labels[held], pool.labels[others], class_names=pool.class_names)
        left_out = len(pool.part.videos) - len(held) - len(others)
        notes = {**pool.notes, **({"left_out": left_out} if left_out else {})}
        return [Split(self.name, train, query, database, relevance, pool.synthetic, notes, pool.sources)]

    def _pool(self, data: Path | None, allow_counts: bool) -> _Pool:
        if isinstance(self._source, ManifestProtocol):
            return _of_manifest(self._source, data, allow_counts, labelled=self._judge == RETRIEVAL)
        split = self._source.load(data, allow_counts=allow_counts)[0]
        labels = None
        if self._judge == RETRIEVAL:
            give = getattr(self._source, "train_labels", None)
            if give is None:
                raise DataError(
                    f"{self._source.name} gives no labels of its training videos: let the loss be the judge "
                    "(--judge loss)."
                )
            labels = give(data)
        digests = split.query.row_digests
        return _Pool(split.train, digests, labels, (), split.synthetic, split.notes, split.sources)

    def describe(self) -> list[tuple[str, str]]:
        """Return (heading, text) rows for `vhbench describe`."""
        of, share = self._source.name, f"{self._share:g} of the training videos of {self._source.name}"
        judged = {
            LOSS: "the trained method's loss on the held-out videos; no label is used",
            RETRIEVAL: "retrieval of the held-out videos among the others, by the training videos' labels",
        }
        return [
            *super().describe(),
            ("train", f"the training videos of {of} that are not held out"),
            ("held out", f"{share}, drawn with seed {self._seed}; its queries take no part"),
            ("judged by", judged[self._judge]),
        ]


@dataclass(frozen=True)
class _Pool:
    """The training videos of a protocol.

    Attributes:
        part: the videos.
        queries: digests of the protocol's queries, as `Part.row_digests`.
        labels: of the videos, where they judge.
        class_names: names by class number.
        synthetic: some were made up.
        notes: what the record says of them.
        sources: the files behind them.
    """

    part: Part
    queries: np.ndarray | None
    labels: np.ndarray | None
    class_names: tuple[str, ...]
    synthetic: bool
    notes: Mapping[str, Any]
    sources: tuple[Source, ...]

    def apart(self) -> np.ndarray:
        """Return the positions of those that are no queries (int64), as far as digests are known."""
        own = self.part.row_digests
        if own is None or self.queries is None:
            return np.arange(len(self.part.videos))
        return np.flatnonzero(~equal_rows(own, self.queries))

    def among(self, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Say which positions hold the same video as one of others, bool (rows,), as far as digests are known."""
        own = self.part.row_digests
        return np.zeros(len(rows), dtype=bool) if own is None else equal_rows(own[rows], own[others])


def _of_manifest(manifest: ManifestProtocol, data: Path | None, allow_counts: bool, *, labelled: bool) -> _Pool:
    """Open the training videos of a manifest, and of the queries the features' digests.

    No label file is opened but that of the training videos; it holds all labels where one set of videos is divided, and
    then only theirs are used.
    """
    whole = Opening(manifest, data, allow_counts)
    queries = whole.videos("query").row_digests
    opening = whole if manifest.split else Opening(_training_alone(manifest, labelled), data, allow_counts)
    videos = opening.videos("train")
    labels = opening.labels("train") if labelled else None
    names = opening.class_names if labelled else ()
    part = opening.part(videos)
    return _Pool(part, queries, labels, names, opening.synthetic, opening.notes(), (videos.features,))


def _training_alone(manifest: ManifestProtocol, labelled: bool) -> ManifestProtocol:
    """Return a manifest in which every role has the files of the training videos."""
    own, table = copy.copy(manifest), manifest.tables["train"]
    if labelled:
        other = manifest.tables[manifest.labelled("train")]
        table = replace(table, labels=other.labels, label_key=other.label_key)
    own.tables = dict.fromkeys(ROLES, table)
    return own


def suffixed(base: str, judge: str, share: float, seed: int) -> str:
    """Return the name of the protocol that holds training videos of another out; see `HeldOut`."""
    return f"{base}-tune-{judge}-{share:.6f}".rstrip("0") + f"-{seed}"


def protocols() -> list[Protocol]:
    """Return the protocols that this file offers by name: none; `resolve` makes them."""
    return []


def resolve(name: str, find: Callable[[str], Protocol]) -> Protocol | None:
    """Return `X-tune-JUDGE-SHARE-SEED`; None for names of another form, or a share of 0.

    Raises:
        UsageError: X does not exist, or is of several splits.
    """
    form = FORM.fullmatch(name)
    if form is None or not float(form["share"]):
        return None
    base = find(form["base"])
    if base.folds:
        raise UsageError(
            f"{base.name} is of several splits, and what one trains on others ask for: tune on one of them, as on "
            f"{base.folds[0].name}, and report that one."
        )
    return HeldOut(base, form["judge"], float(form["share"]), int(form["seed"]))
