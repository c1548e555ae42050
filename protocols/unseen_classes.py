"""Unseen-class protocols `X-unseen`: learn on some classes, retrieve among videos of the others."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from vhbench.datasets.manifest_protocol import ManifestProtocol
from vhbench.datasets.opening import Opening
from vhbench.errors import DataError, UsageError
from vhbench.features import match_forms
from vhbench.protocol import Part, Protocol, Relevance, Split
from vhbench.protocols.demo import Demo
from vhbench.protocols.standard import standard

SHARE = (40, 239)  # of so many classes so many are held out: FCVID's in Table IV of the UVVH paper
QUERIES = 1000
MOST_CLASSES = 2**14  # whose columns still fit into memory
ENDINGS = {"-unseen": False, "-unseen-all": True}  # of a name -> learn from all videos of the seen classes


class UnseenClasses(Protocol):
    """Hold classes out: train on videos of the other classes only, retrieve among videos of the held-out ones only.

    Queries stay queries and database videos stay database videos. A video with labels of both kinds is left out.

    Args:
        base: the protocol to take the videos from.
        train_labels: gives the labels of `base`'s training videos from the data folder, int (videos,) or multi-hot
            (videos, classes) as in `Relevance`. They choose the training videos and go no further.
        held_out: the classes to hold out, or how many to draw; None: 40 of every 239, rounded.
        seed: which classes are drawn; not used where they are listed.
    """

    def __init__(
        self,
        base: Protocol,
        train_labels: Callable[[Path | None], np.ndarray],
        held_out: int | Sequence[int] | None = None,
        seed: int = 0,
    ):
        self._base = base
        self.made_of = (base,)
        self._train_labels = train_labels
        self._held_out = held_out
        self._seed = seed
        self.name = f"{base.name}-unseen"
        self.title = f"Retrieve {self._number} classes of {base.name} that training never saw"
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
        train, query, database = _multi_hot(
            self._base.name, self._train_labels(data), relevance.query_labels, relevance.database_labels
        )
        held, seen = self._divide(train.shape[1])
        rows = {
            "training": _rows(train, only=seen, never=held),
            "query": _rows(query, only=held, never=seen),
            "database": _rows(database, only=held, never=seen),
        }
        for role, chosen in rows.items():
            if not len(chosen):
                raise DataError(f"{self.name} has no {role} videos: hold other classes of {self._base.name} out.")
        self._check_apart(train[rows["training"]], query[rows["query"]], database[rows["database"]])
        return [
            replace(
                base,
                name=self.name,
                train=subset(base.train, rows["training"]),
                query=subset(base.query, rows["query"]),
                database=subset(base.database, rows["database"]),
                relevance=Relevance.from_labels(
                    relevance.query_labels[rows["query"]],
                    relevance.database_labels[rows["database"]],
                    _new_index(relevance.self_index, rows["query"], rows["database"], len(database)),
                    relevance.class_names,
                ),
                notes={**base.notes, "held_out": held.tolist()},
            )
        ]

    def held_out_classes(self, classes: int) -> np.ndarray:
        """Return the held-out ones of `classes` classes in rising order (int64).

        Raises:
            DataError: there are not that many classes, or none is left to train on.
        """
        wanted = _share(classes) if self._held_out is None else self._held_out
        if isinstance(wanted, int):
            held = np.sort(draw(classes, self._seed)[:wanted])
            fits = 0 < wanted < classes
        else:
            held = np.unique(np.asarray(wanted, dtype=np.int64))
            fits = 0 < len(held) < classes and 0 <= held[0] <= held[-1] < classes
        if not fits:
            raise DataError(f"{self.name} cannot hold out {wanted} of {classes} classes of {self._base.name}.")
        return held

    @property
    def _number(self) -> int | str:
        """How many classes are held out, for people."""
        if isinstance(self._held_out, Sequence):
            return len(self._held_out)
        classes = getattr(self._base, "classes", None)
        return self._held_out or (_share(classes) if classes else "about a sixth of the")

    def _divide(self, classes: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the held-out classes and the others."""
        held = self.held_out_classes(classes)
        return held, np.setdiff1d(np.arange(classes), held)

    def _check_apart(self, train: np.ndarray, *asked: np.ndarray) -> None:
        """Raise AssertionError unless training and retrieval share no class; checked on every load."""
        if any((train.any(axis=0) & labels.any(axis=0)).any() for labels in asked):
            raise AssertionError(f"{self.name}: training saw a held-out class")

    def describe(self) -> list[tuple[str, str]]:
        """Return (heading, text) rows for `vhbench describe`."""
        return [
            *super().describe(),
            ("videos of", self._base.title),
            ("held-out classes", self._held_out_text()),
            *self._roles(),
        ]

    def _held_out_text(self) -> str:
        classes = getattr(self._base, "classes", None)
        if isinstance(self._held_out, Sequence):
            return f"{', '.join(map(str, self._held_out))} (counted from 0)"
        if classes:
            held = ", ".join(map(str, self.held_out_classes(classes)))
            return f"{self._number} of {classes}, drawn with seed {self._seed}: {held} (counted from 0)"
        share = f"{self._held_out}" if self._held_out else f"{SHARE[0]} of every {SHARE[1]}"
        return f"{share}, drawn with seed {self._seed} when the data are opened, which tell how many there are"

    def _roles(self) -> list[tuple[str, str]]:
        """Return which videos play which role, as rows of `describe`."""
        of = self._base.name
        return [
            ("train", f"the training videos of {of}, seen classes only"),
            ("query", f"the queries of {of}, held-out classes only"),
            ("database", f"the database of {of}, held-out classes only"),
        ]


class UnseenVideos(UnseenClasses):
    """Hold classes of a data set out and draw the queries among their videos, as in Table IV of the UVVH paper.

    The paper holds 40 of FCVID's 239 classes out and draws 1,000 queries from their videos; the rest is the database.
    Elsewhere as large a share of the classes is held out. Where the held-out classes have fewer than 2,000 videos, half
    of them are queries. Which classes the paper chose is not published, nor whether all videos take part:

    - `X-unseen` learns from X's training videos of the seen classes and searches X's query and database videos of the
      held-out ones, so that on FCVID the halves stay apart.
    - `X-unseen-all` learns from all of X's videos of the seen classes and searches all of the held-out ones.

    A video with labels of both kinds is left out, and one that lies in two files counts once.

    Args:
        base: the data set; it needs labels for its training videos.
        train_on_all: the second of the two readings.
        held_out: the classes to hold out, or how many to draw; None: 40 of every 239, rounded.
        seed: which classes and which queries are drawn.
    """

    def __init__(
        self,
        base: ManifestProtocol,
        train_on_all: bool = False,
        held_out: int | Sequence[int] | None = None,
        seed: int = 0,
    ):
        super().__init__(base, base.train_labels, held_out, seed)
        self._manifest = base
        self._all = train_on_all
        if train_on_all:
            self.name += "-all"
            self.title += "; all its videos take part"

    def load(self, data: Path | None, *, allow_counts: bool = False) -> list[Split]:
        """Open the data set's files and choose videos; see `Protocol.load`.

        Raises:
            DataError: the training videos have no labels, the held-out classes do not exist, or there are no training
                videos or fewer than two held-out ones.
        """
        opening = Opening(self._manifest, data, allow_counts)
        found = ["database"] if self._manifest.queries_in_database else ["query", "database"]
        taught, searched = (["train", *found], ["train", *found]) if self._all else (["train"], found)
        labels = ([opening.labels(self._manifest.labelled(role)) for role in roles] for roles in (taught, searched))
        train, pool = _multi_hot(self._base.name, *labels)
        videos = opening.videos(*taught), opening.videos(*searched)
        train, pool = train[videos[0].places], pool[videos[1].places]
        held, seen = self._divide(train.shape[1])
        rows = _rows(train, only=seen, never=held)
        unseen = _rows(pool, only=held, never=seen)
        if not len(rows) or len(unseen) < 2:
            raise DataError(
                f"{self.name} has {len(rows)} training and {len(unseen)} held-out videos: hold other classes of "
                f"{self._base.name} out."
            )
        order = draw(len(unseen), self._seed, 1)
        count = min(QUERIES, len(unseen) // 2)
        query, database = (unseen[np.sort(chosen)] for chosen in (order[:count], order[count:]))
        self._check_apart(train[rows], pool[query], pool[database])
        return [
            Split(
                self.name,
                opening.part(videos[0], rows),
                opening.part(videos[1], query),
                opening.part(videos[1], database),
                Relevance.from_labels(
                    *match_forms(pool[query], pool[database], "the queries", "the database"),
                    class_names=opening.class_names,
                ),
                opening.synthetic,
                {**opening.notes(), "held_out": held.tolist()},
                tuple(dict.fromkeys(each.features for each in videos)),
            )
        ]

    def _roles(self) -> list[tuple[str, str]]:
        of = self._base.name
        searched = f"all videos of {of}" if self._all else f"the query and database videos of {of}"
        few = f"half of them where there are fewer than {2 * QUERIES:,}"
        return [
            ("train", f"{'all' if self._all else 'the training'} videos of {of}, seen classes only"),
            ("searched", f"{searched}, held-out classes only"),
            ("query", f"{QUERIES:,} of these, drawn with seed {self._seed}, or {few}"),
            ("database", "the others of these"),
            ("needs", self._needs()),
        ]

    def _needs(self) -> str:
        """Say which labels choose the training videos."""
        try:
            files = self._manifest.tables[self._manifest.labelled("train")].labels
        except DataError as error:
            return f"labels of the training videos, so it cannot be run: {error}"
        return f"labels of the training videos ({', '.join(files)}), which choose them and go no further"


def protocols() -> list[Protocol]:
    """Return the protocols that this file offers by name; `resolve` makes others."""
    demo = Demo("demo")
    return [UnseenClasses(demo, demo.train_labels, held_out=6), UnseenVideos(standard("fcvid"))]


def resolve(name: str, find: Callable[[str], Protocol]) -> Protocol | None:
    """Return `X-unseen` or `X-unseen-all`, made of the data set X; None for other names.

    Raises:
        UsageError: X does not exist or is no data set with files.
    """
    for ending, train_on_all in ENDINGS.items():
        if name.endswith(ending):
            base = find(name.removesuffix(ending))
            if not isinstance(base, ManifestProtocol):
                raise UsageError(
                    f"{name} is not possible: classes are held out of data sets in files, as fcvid-unseen."
                )
            return UnseenVideos(base, train_on_all)
    return None


def _share(classes: int) -> int:
    """Return how many of so many classes are held out, at least one."""
    part, whole = SHARE
    return max(1, (2 * classes * part + whole) // (2 * whole))


def draw(count: int, *seed: int) -> np.ndarray:
    """Return the numbers below `count` in random order, int64.

    Raw bits are drawn, because numpy may change what its generators' methods make of them.
    """
    entropy = seed[0] if len(seed) == 1 else list(seed)
    return np.argsort(np.random.PCG64(entropy).random_raw(count), kind="stable")


def _multi_hot(name: str, *groups: np.ndarray | list[np.ndarray]) -> list[np.ndarray]:
    """Return labels as bool (videos, classes), the classes those of all groups together; a group may be several arrays.

    Raises:
        DataError: their numbers of classes differ, or are far too large.
    """
    arrays = [group if isinstance(group, list) else [group] for group in groups]
    if len({labels.shape[1:] for group in arrays for labels in group}) > 1:
        raise DataError(f"{name}: the label files differ in their number of classes, so no class can be held out.")
    joined = [np.concatenate(group) for group in arrays]
    if joined[0].ndim == 2:
        return [labels != 0 for labels in joined]
    highest = max(int(labels.max()) for labels in joined)
    if highest >= MOST_CLASSES:
        raise DataError(f"{name}: a class has the number {highest}: number the classes from 0 up to hold some out.")
    return [labels[:, None] == np.arange(1 + highest) for labels in joined]


def _rows(labels: np.ndarray, *, only: np.ndarray, never: np.ndarray) -> np.ndarray:
    """Return the videos that have one of the classes `only` and none of `never`, in their order."""
    return np.flatnonzero(labels[:, only].any(axis=1) & ~labels[:, never].any(axis=1))


def subset(part: Part, rows: np.ndarray) -> Part:
    """Return the videos at some positions of a part; the digest follows them."""
    content = part.digest.encode() + rows.astype("<i8").tobytes()
    return part.subset(rows, hashlib.sha256(content).hexdigest())


def _new_index(index: np.ndarray | None, query: np.ndarray, database: np.ndarray, items: int) -> np.ndarray | None:
    """Translate `self_index` to the chosen rows; -1 where the query's own item was not chosen."""
    if index is None:
        return None
    place = np.full(items + 1, -1)  # the last one serves queries that had no item
    place[database] = np.arange(len(database))
    new: np.ndarray = place[index[query]]
    return new
