"""Protocol, Split and Relevance: which videos a method learns from, and which queries are asked of which database."""

from __future__ import annotations

import abc
import hashlib
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from vhbench.features import check_same_form, number_names, read_array
from vhbench.features.label_arrays import summary
from vhbench.features.stamp import Stamp
from vhbench.videos import VideoSet


@dataclass(frozen=True)
class Part:
    """The videos of one role of a split.

    Attributes:
        videos: their frame features.
        digest: hexadecimal sha256 that changes when the features, the choice of rows or their order change.
        row_digests: uint8 (videos, 32), a sha256 of each video's features, or zeros where they are nothing but zeros;
            by these, videos are found that play two roles. None where they would take another reading.
        names: str (videos,), for people; methods never see them, since they may tell classes. None where not known.
        groups: str (videos,), which videos belong together, as clips of one scene do. None where not known.
        stamp: how the features were computed; None where that is not known.
    """

    videos: VideoSet
    digest: str
    row_digests: np.ndarray | None = None
    stamp: Stamp | None = None
    names: np.ndarray | None = None
    groups: np.ndarray | None = None

    def subset(self, rows: np.ndarray, digest: str) -> Part:
        """Return the videos at these positions (int), in this order, under a digest of their own."""
        arrays = {name: getattr(self, name) for name in ("row_digests", "names", "groups")}
        chosen = {name: None if array is None else array[rows] for name, array in arrays.items()}
        return replace(self, videos=self.videos.subset(rows), digest=digest, **chosen)


@dataclass(frozen=True)
class Relevance:
    """Which database items answer which query: those that share at least one label. Methods never see it.

    Attributes:
        query_labels: int (queries,) or multi-hot bool (queries, classes).
        database_labels: int (items,) or multi-hot bool (items, classes).
        digest: hexadecimal sha256 of labels and self_index.
        self_index: int64 (queries,), the database row that is the query itself, -1 where there is none;
            None where queries do not sit in the database.
        class_names: names by class number; empty if unknown.
    """

    query_labels: np.ndarray
    database_labels: np.ndarray
    digest: str
    self_index: np.ndarray | None = None
    class_names: tuple[str, ...] = ()

    @classmethod
    def from_labels(
        cls,
        query_labels: np.ndarray,
        database_labels: np.ndarray,
        self_index: np.ndarray | None = None,
        class_names: tuple[str, ...] = (),
    ) -> Relevance:
        """Build a Relevance and its digest, which depends on the values and shapes but not on the dtypes.

        Args:
            query_labels: class numbers or names (queries,), or multi-hot (queries, classes); what an array means,
                `vhbench.features.read_array` says.
            database_labels: the same form for the database.
            self_index: as the attribute.
            class_names: as the attribute; names given as labels number the classes by themselves.

        Raises:
            DataError: an array has no clear meaning, or the two are of different forms.
        """
        query = read_array(query_labels, "query_labels", len(query_labels))
        database = read_array(database_labels, "database_labels", len(database_labels))
        check_same_form(query, database, "query_labels", "database_labels")
        if query.dtype.kind == "U":
            class_names, (query, database) = number_names(query, database)
        index = None if self_index is None else np.asarray(self_index, dtype=np.int64)
        content = hashlib.sha256()
        for array in (query, database, index):
            content.update(b"none " if array is None else f"{array.shape} ".encode())
            if array is not None:
                content.update(array.astype("u1" if array.dtype == np.bool_ else "<i8").tobytes())
        return cls(query, database, content.hexdigest(), index, class_names)

    def summary(self) -> str:
        """Say in a few words what labels there are: "3 classes, one a video"."""
        return summary(self.query_labels, self.database_labels, self.class_names)


class Source(typing.Protocol):
    """Files that videos come from."""

    def check_unchanged(self) -> None:
        """Raise DataError where a file is not what it was when it was opened."""


@dataclass(frozen=True)
class InDomain:
    """The run that a cross-data-set run is measured against: trained where this one only searches.

    Attributes:
        protocol: its protocol's name.
        version: its protocol's version.
        splits: its digests, split name -> role -> digest.
    """

    protocol: str
    version: int
    splits: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Split:
    """One training set and one retrieval task.

    Attributes:
        name: of the data set that is searched.
        train: the videos to learn from.
        query: the videos asked for.
        database: the videos searched.
        relevance: which database videos answer which query.
        synthetic: some of the features opened were made up; every record and table says so.
        notes: JSON values that the record keeps: which variant of the files was opened, counts let pass, and the like.
        sources: the files behind the videos.
        in_domain: the run to compare with, where training and retrieval are on different data sets.
    """

    name: str
    train: Part
    query: Part
    database: Part
    relevance: Relevance
    synthetic: bool = False
    notes: Mapping[str, Any] = field(default_factory=dict)
    sources: tuple[Source, ...] = ()
    in_domain: InDomain | None = None

    def check_unchanged(self) -> None:
        """Raise DataError where a file is not what it was when the split was opened: no number may come of it."""
        for source in self.sources:
            source.check_unchanged()

    def digests(self) -> dict[str, str]:
        """Return what identifies the split's data in a run's specification."""
        return {
            "train": self.train.digest,
            "query": self.query.digest,
            "database": self.database.digest,
            "relevance": self.relevance.digest,
        }


class Protocol(abc.ABC):
    """A named evaluation. Cheap to construct; `load` opens the data.

    Attributes:
        name: what `--protocol` takes.
        title: one line for `vhbench list protocols`.
        version: raised when a split changes; numbers of different versions never meet in one table.
        ks: the K of mAP@K, precision@K and recall@K.
        budget: name of the training budget used unless the user says otherwise.
        synthetic: all features are made up, whatever is opened; see also `Split.synthetic`.
        made_of: the protocols whose videos it takes; it trains on the first one's.
        dataset: the data set that it trains on, where it does not bear its name; see `trained_on`.
        judged_by_loss: a run records the loss of the trained method on the query videos (`vhbench.grid.held_out`).
        folds: protocols that are run in its place and averaged: the same videos, divided otherwise; () for itself.
    """

    name: str
    title: str
    version: int = 1
    ks: tuple[int, ...] = (5, 20, 40, 60, 80, 100)
    budget: str = "paper"
    synthetic: bool = False
    made_of: tuple[Protocol, ...] = ()
    dataset: str = ""
    judged_by_loss: bool = False
    folds: tuple[Protocol, ...] = ()

    @property
    def trained_on(self) -> str:
        """The data set that methods learn from here: by this name they have published settings."""
        return self.dataset or (self.made_of[0].trained_on if self.made_of else self.name)

    @abc.abstractmethod
    def load(self, data: Path | None, *, allow_counts: bool = False) -> list[Split]:
        """Open the data and return the splits, the main one first; all share one training part.

        Args:
            data: the folder given by `--data` or `$VHBENCH_DATA`, or None.
            allow_counts: accept files of another size than the protocol expects; the splits' notes then say so.

        Raises:
            DataError: files are missing, unreadable or contradict each other.
        """

    def pictures(self, split: str, role: str, rows: np.ndarray) -> np.ndarray | None:
        """Return frames to look at, for the report; needed only where a protocol can show its videos.

        Args:
            split: the split's name.
            role: "query" or "database".
            rows: which videos of that part (int).

        Returns:
            uint8 (len(rows), frames, height, width) or, in colour, (len(rows), frames, height, width, 3); None where
            there is nothing to show. A split that bears the name of a protocol in `made_of` is shown by that one.
        """
        for protocol in self.made_of:
            if protocol.name == split:
                return protocol.pictures(split, role, rows)
        return None

    def describe(self) -> list[tuple[str, str]]:
        """Return (heading, text) rows for `vhbench describe`."""
        return [
            ("title", self.title),
            ("version", str(self.version)),
            ("K", ", ".join(map(str, self.ks))),
            ("default budget", self.budget),
        ]
