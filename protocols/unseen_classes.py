"""Unseen-class protocols `X-unseen`: learn on some classes, retrieve among videos of the others."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from vhbench.errors import DataError
from vhbench.protocol import Part, Protocol, Relevance, Split
from vhbench.protocols.demo import Demo


class UnseenClasses(Protocol):
    """Hold classes out: train on videos of the other classes only, retrieve among videos of the held-out ones only.

    A video with labels of both kinds is left out.

    Args:
        base: the protocol to take the videos from.
        train_labels: gives the labels of `base`'s training videos from the data folder, int (videos,) or multi-hot
            (videos, classes) as in `Relevance`. They choose the training videos and go no further.
        held_out: the classes to hold out, or how many to draw.
        seed: which classes are drawn; not used where they are listed.
    """

    def __init__(
        self,
        base: Protocol,
        train_labels: Callable[[Path | None], np.ndarray],
        held_out: int | Sequence[int],
        seed: int = 0,
    ):
        self._base = base
        self._train_labels = train_labels
        self._held_out = held_out
        self._seed = seed
        number = held_out if isinstance(held_out, int) else len(held_out)
        self.name = f"{base.name}-unseen"
        self.title = f"Retrieve {number} classes of {base.name} that training never saw"
        self.version = base.version
        self.ks = base.ks
        self.budget = base.budget
        self.synthetic = base.synthetic

    def load(self, data: Path | None, *, allow_counts: bool = False) -> list[Split]:
        """Open the base protocol's data and choose its videos; see `Protocol.load`.

        Raises:
            DataError: the held-out classes do not exist, or leave no training, query or database videos.
        """
        base = self._base.load(data, allow_counts=allow_counts)[0]
        relevance = base.relevance
        train, query, database = self._multi_hot(
            self._train_labels(data), relevance.query_labels, relevance.database_labels
        )
        classes = train.shape[1]
        held = self.held_out_classes(classes)
        seen = np.setdiff1d(np.arange(classes), held)
        rows = {
            "training": _rows(train, only=seen, never=held),
            "query": _rows(query, only=held, never=seen),
            "database": _rows(database, only=held, never=seen),
        }
        for role, chosen in rows.items():
            if not len(chosen):
                raise DataError(f"{self.name} has no {role} videos: hold other classes of {self._base.name} out.")
        taught = train[rows["training"]].any(axis=0)
        asked = query[rows["query"]].any(axis=0) | database[rows["database"]].any(axis=0)
        if (taught & asked).any():
            raise AssertionError(f"{self.name}: training saw a held-out class")
        return [
            Split(
                self.name,
                _subset(base.train, rows["training"]),
                _subset(base.query, rows["query"]),
                _subset(base.database, rows["database"]),
                Relevance.from_labels(
                    relevance.query_labels[rows["query"]],
                    relevance.database_labels[rows["database"]],
                    _new_index(relevance.self_index, rows["query"], rows["database"], len(database)),
                    relevance.class_names,
                ),
            )
        ]

    def held_out_classes(self, classes: int) -> np.ndarray:
        """Return the held-out ones of `classes` classes in rising order (int64).

        Raises:
            DataError: there are not that many classes, or none is left to train on.
        """
        if isinstance(self._held_out, int):
            # raw bits, because numpy may change what its generators' methods make of them
            order = np.argsort(np.random.PCG64(self._seed).random_raw(classes), kind="stable")
            held = np.sort(order[: self._held_out])
            fits = 0 < self._held_out < classes
        else:
            held = np.unique(np.asarray(self._held_out, dtype=np.int64))
            fits = 0 < len(held) < classes and 0 <= held[0] <= held[-1] < classes
        if not fits:
            raise DataError(f"{self.name} cannot hold out {self._held_out} of {classes} classes of {self._base.name}.")
        return held

    def _multi_hot(self, *roles: np.ndarray) -> list[np.ndarray]:
        """Return labels as bool (videos, classes), the classes those of all roles together."""
        if len({labels.shape[1:] for labels in roles}) > 1:
            raise DataError(f"{self.name}: the label files of {self._base.name} differ in their number of classes.")
        if roles[0].ndim == 2:
            return [labels != 0 for labels in roles]
        classes = np.arange(1 + max(int(labels.max()) for labels in roles))
        return [labels[:, None] == classes for labels in roles]

    def describe(self) -> list[tuple[str, str]]:
        """Return (heading, text) rows for `vhbench describe`."""
        drawn = isinstance(self._held_out, int)
        held = f"{self._held_out} drawn with seed {self._seed}" if drawn else str(self._held_out)
        return [*super().describe(), ("videos of", self._base.title), ("held-out classes", held)]


def protocols() -> list[Protocol]:
    """Return the protocols that this file offers."""
    demo = Demo("demo")
    return [UnseenClasses(demo, demo.train_labels, held_out=6)]


def _rows(labels: np.ndarray, *, only: np.ndarray, never: np.ndarray) -> np.ndarray:
    """Return the videos that have one of the classes `only` and none of `never`, in their order."""
    return np.flatnonzero(labels[:, only].any(axis=1) & ~labels[:, never].any(axis=1))


def _subset(part: Part, rows: np.ndarray) -> Part:
    """Choose videos of a part; the digest follows the rows."""
    content = part.digest.encode() + rows.astype("<i8").tobytes()
    return Part(part.videos.subset(rows), hashlib.sha256(content).hexdigest())


def _new_index(index: np.ndarray | None, query: np.ndarray, database: np.ndarray, items: int) -> np.ndarray | None:
    """Translate `self_index` to the chosen rows; -1 where the query's own item was not chosen."""
    if index is None:
        return None
    place = np.full(items + 1, -1)  # the last one serves queries that had no item
    place[database] = np.arange(len(database))
    new: np.ndarray = place[index[query]]
    return new
