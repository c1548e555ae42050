"""Opening the files of a manifest: what is expected of them, what was found, what a record says of the difference."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from vhbench.datasets.casting import Casting, of, taken
from vhbench.datasets.choices import chosen_frames, digest_of_choice
from vhbench.datasets.class_list import check_class_list, named_by_number
from vhbench.datasets.manifest import ROLES, Manifest, Table
from vhbench.datasets.marker import FILE, Marker, read_marker
from vhbench.datasets.stamps import Stamps
from vhbench.errors import DataError
from vhbench.features import (
    Features,
    Header,
    SampledFrames,
    check_alike,
    check_same_form,
    open_headers,
    read_header,
    read_labels,
)
from vhbench.features.beside import SideBySide, check_beside
from vhbench.features.label_arrays import shifted
from vhbench.features.names import read_class_names
from vhbench.features.stamp import Stamp
from vhbench.protocol import Part
from vhbench.videos import VideoSet

log = logging.getLogger(__name__)

Sets = tuple[tuple[Header, ...], ...]  # the files of `features`, then those of each entry of `beside`


@dataclass(frozen=True, eq=False)
class Videos:
    """Videos of one or more roles, each once.

    Attributes:
        features: of all videos in the files.
        rows: which of them, int64; None: all as they stand.
        places: int64, which of the roles' videos, one role after the other, these are.
        names: str (videos,); None where not all are known.
        groups: str (videos,), see `Opening.groups`; None where not all are known.
        stamp: how the features were computed; None where that is not known.
    """

    features: Features | SideBySide
    rows: np.ndarray | None
    places: np.ndarray
    names: np.ndarray | None
    groups: np.ndarray | None
    stamp: Stamp | None

    @property
    def row_digests(self) -> np.ndarray:
        """uint8 (videos, 32), as of the features."""
        return self.features.row_digests if self.rows is None else self.features.row_digests[self.rows]


class Opening:
    """One opening of a manifest's files. Each is looked for and read once; no feature is read before `features`.

    Every number that differs from the manifest's is looked up among the known variants; if it is none of them it is an
    error, or with `allow_counts` a note. Where the marker of synthetic files lies beside the features of a role, its
    count stands in for the manifest's.

    Args:
        protocol: the manifest.
        data: the data folder or None.
        allow_counts: accept other numbers.

    Attributes:
        synthetic: some of the files opened so far are made up.
    """

    def __init__(self, protocol: Manifest, data: Path | None, allow_counts: bool = False):
        self.synthetic = False
        self._protocol = protocol
        self._data = data
        self._allow = allow_counts
        self._variants: list[str] = []
        self._allowed: dict[str, list[int]] = {}
        self._problems: dict[str, str] = {}
        self._markers: list[Marker] = []
        self._zeros: dict[str, int] = {}
        self._kept: list[int] = []
        self._first: list[Header] = []
        self._sets: dict[str, Sets] = {}
        self._casting = Casting(protocol, self._find, lambda role: self.sets(role)[0], self._all_labels)
        self._read: dict[Table, np.ndarray] = {}
        self._written: dict[str, np.ndarray] = {}
        self._labels: dict[str, np.ndarray] = {}
        self._numbers: dict[str, int] = {}
        self._features: dict[tuple[Header, ...], Features] = {}
        self._videos: dict[tuple[Sets, bytes], Videos] = {}
        self._stamps = Stamps()

    def sets(self, role: str) -> Sets:
        """Return the headers of a role's feature files: of `features`, then of each that lies beside them.

        Raises:
            DataError: a file is missing or cannot be used, or there are not as many videos, frames or dimensions as
                there should be.
        """
        if role not in self._sets:
            table = self._protocol.tables[role]
            files = (table.features, *table.beside)
            places = [[self._find(file) for file in names] for names in files]
            sets = tuple(tuple(read_header(place, table.key) for place in among) for among in places)
            self._check_count(role, sets[0], self._marker_beside([place for among in places for place in among]))
            for beside in sets[1:]:
                check_beside(sets[0], beside)
            if self._sets and len(sets) != len(self._first):
                raise DataError(f"{self._protocol.path}: all tables need as many entries in `beside`.")
            for number, headers in enumerate(sets):
                self._first += [headers[0]] if number == len(self._first) else []
                for header in headers:
                    check_alike(self._first[number], header)
            self._check_sizes(sets)
            self._stamps.add(sets)
            self._sets[role] = sets
        return self._sets[role]

    def headers(self, role: str) -> tuple[Header, ...]:
        """Return the headers of all of a role's feature files; see `sets`."""
        return tuple(header for headers in self.sets(role) for header in headers)

    def rows(self, role: str) -> np.ndarray | None:
        """Return which of the videos in a role's files play this role; see `vhbench.datasets.casting.Casting.rows`."""
        return self._casting.rows(role)

    def names(self, role: str) -> np.ndarray | None:
        """Return the names of a role's videos, also where only another role of the same videos has them."""
        return self._known(role, self._casting.names)

    def groups(self, role: str) -> np.ndarray | None:
        """Return the group of each of a role's videos; see `vhbench.datasets.casting.Casting.groups`."""
        return self._known(role, self._casting.groups)

    def _known(self, role: str, texts: Callable[[str], np.ndarray | None]) -> np.ndarray | None:
        alike = [other for other in ROLES if other != role and self.same_videos(role, other)]
        known = (of(texts(each), self.rows(each)) for each in (role, *alike))
        return next((array for array in known if array is not None), None)

    def same_videos(self, role: str, other: str) -> bool:
        """Say whether two roles have the same videos in the same order."""
        ours, theirs = self.rows(role), self.rows(other)
        same = ours is theirs or (ours is not None and theirs is not None and np.array_equal(ours, theirs))
        return same and self.sets(role) == self.sets(other)

    def labels(self, role: str) -> np.ndarray:
        """Return a role's labels, int64 (videos,) or bool (videos, classes); class names as numbers, see `class_names`.

        Raises:
            DataError: a file is missing or cannot be used, or does not fit the features or the number of classes.
        """
        if role not in self._labels:
            labels = self._written_labels(role)
            if labels.dtype.kind == "U":
                self._name_classes(role)
                labels = np.array([self._numbers[name] for name in labels.tolist()], dtype=np.int64)
            places = self._label_places(role)
            self._check_classes(role, labels, places)
            self._check_numbering(role, labels)
            self._labels[role] = labels
        return self._labels[role]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names by class number, where the manifest or the label files read so far have names; for all roles."""
        if self._numbers or not self._class_list:
            return tuple(self._numbers)
        return named_by_number(self._class_list, self._labels.values())

    def videos(self, *roles: str) -> Videos:
        """Return the videos of several roles as one, each file and each video once; opens the features.

        Raises:
            DataError: see `vhbench.features.open_headers`.
        """
        sets = [self.sets(role) for role in roles]
        joined = tuple(
            tuple(dict.fromkeys(header for role in sets for header in role[number])) for number in range(len(sets[0]))
        )
        starts = dict(zip(joined[0], np.cumsum([0, *(header.shape[0] for header in joined[0])]).tolist(), strict=False))
        rows = np.concatenate(
            [
                taken(np.concatenate([starts[h] + np.arange(h.shape[0]) for h in headers[0]]), self.rows(role))
                for role, headers in zip(roles, sets, strict=True)
            ]
        )
        places = np.sort(np.unique(rows, return_index=True)[1])
        rows = rows[places]
        key = joined, rows.tobytes()
        if key not in self._videos:
            names, groups = (_joined([each(role) for role in roles], places) for each in (self.names, self.groups))
            features = self._open(joined)
            whole = np.array_equal(rows, np.arange(len(features)))
            stamp = self._stamps.of(joined)
            self._videos[key] = Videos(features, None if whole else rows, places, names, groups, stamp)
            self._count_zeros(self._videos[key], "+".join(roles))
        return self._videos[key]

    def part(self, videos: Videos, rows: np.ndarray | None = None) -> Part:
        """Return videos as a part, with the frames that the manifest keeps.

        Args:
            videos: the videos.
            rows: which of them (int); None: all.

        Raises:
            DataError: the manifest keeps frames that are not there.
        """
        features = videos.features
        frames = chosen_frames(self._protocol.keep_frames, features.shape[1])
        self._kept = [] if frames is None else frames.tolist()
        chosen = videos.rows if rows is None else taken(np.arange(len(features)), videos.rows)[rows]
        row_digests = features.row_digests.copy()
        row_digests[features.zero_rows] = 0
        return Part(
            VideoSet(features if frames is None else SampledFrames(features, frames), chosen),
            digest_of_choice(features.digest, frames, chosen),
            taken(row_digests, chosen),
            videos.stamp,
            names=of(videos.names, rows),
            groups=of(videos.groups, rows),
        )

    def notes(self) -> dict[str, Any]:
        """Return what a record says of the files opened so far, as JSON values; only what applies."""
        found = {
            "variants": list(self._variants),
            "allowed_counts": dict(self._allowed),
            "synthetic": [{"like": m.like, "scale": m.scale, "seed": m.seed} for m in self._markers],
            "zero_videos": dict(self._zeros),
            "frames_kept": list(self._kept),
            "stamp": stamp.to_json() if (stamp := self._stamps.first()) else None,
            "problems": {**self._problems, **({"stamp": text} if (text := self._stamps.problem()) else {})},
        }
        return {name: value for name, value in found.items() if value}

    def has_extra_column(self) -> bool:
        """Say whether database labels of a known variant have one column more than the query labels."""
        query, database = self.labels("query"), self.labels("database")
        known = any("classes" in self._protocol.variants[name] for name in self._variants)
        return known and query.ndim == database.ndim == 2 and database.shape[1] == query.shape[1] + 1

    def _label_places(self, role: str) -> list[Path]:
        return [self._find(file) for file in self._protocol.tables[role].labels]

    def _written_labels(self, role: str) -> np.ndarray:
        """Return a role's labels as its files have them; see `vhbench.features.read_labels`."""
        if role not in self._written:
            self._written[role] = taken(self._all_labels(role), self.rows(role))
        return self._written[role]

    def _all_labels(self, role: str) -> np.ndarray:
        """Return the labels of all videos in a role's files."""
        table = self._protocol.tables[role]
        if table not in self._read:
            places = self._label_places(role)
            self._marker_beside(places)
            self._read[table] = read_labels(places, table.label_key, self.sets(role)[0])
        return self._read[table]

    def _name_classes(self, role: str) -> None:
        """Number the names of queries and database in the alphabet's order; a role's further names go behind them."""
        names = self._written_labels(role)
        main: set[str] = set()
        for other in ("query", "database"):
            check_same_form(names, self._written_labels(other), self.title(role), self.title(other))
            main.update(self._written_labels(other).tolist())
        for group in (main, set(names.tolist())):
            for name in sorted(group - self._numbers.keys()):
                self._numbers[name] = len(self._numbers)

    def _check_numbering(self, role: str, labels: np.ndarray) -> None:
        """Compare a role's class numbers with those of the roles read so far."""
        for other, theirs in self._labels.items():
            if labels.ndim == theirs.ndim == 1 and not self._numbers and shifted(labels, theirs):
                self._contradict(
                    "shifted",
                    f"{self.title(role)} numbers classes from {labels.min()} to {labels.max()} and "
                    f"{self.title(other)} from {theirs.min()} to {theirs.max()}: one seems to count from 0 and the "
                    "other from 1",
                )

    def _contradict(self, kind: str, text: str) -> None:
        """Raise DataError, or note a problem where the user takes the files as they are."""
        if not self._allow:
            raise DataError(
                f"{self._protocol.path}: {text}. Number the classes alike; --allow-counts takes the files as they are "
                "and records it."
            )
        self._problems[kind] = text

    def title(self, role: str) -> str:
        """Return what messages call a role's label files."""
        table = self._protocol.tables[role]
        return f"[{table.title}] ({', '.join(table.labels)})"

    def _find(self, file: str) -> Path:
        return self._protocol.find(file, self._data)

    def _marker_beside(self, places: Sequence[Path]) -> Marker | None:
        """Return the marker that lies beside the files, also where they are links; note that they are made up."""
        found = None
        for folder in dict.fromkeys(folder for place in places for folder in (place.parent, place.resolve().parent)):
            if marker := read_marker(folder):
                self.synthetic = True
                found = found or marker
                if marker not in self._markers:
                    self._markers.append(marker)
        return found

    def _check_count(self, role: str, headers: Sequence[Header], marker: Marker | None) -> None:
        table = self._protocol.tables[role]
        expected, source = table.count, f"[{table.title}] in {self._protocol.path} says count"
        if marker and marker.like == self._protocol.folder and not self._protocol.split:
            expected, source = marker.counts[role], f"the marker {FILE} beside them says {role}"
        found = sum(header.shape[0] for header in headers)
        names = " and ".join(str(header.path) for header in headers)
        self._accept(
            table.title,
            f"{table.title} videos",
            expected,
            found,
            f"{source} = {expected}, but {names} have {found} videos",
        )

    def _open(self, sets: Sets) -> Features | SideBySide:
        for headers in sets:
            if headers not in self._features:
                self._features[headers] = open_headers(headers)
        if len(sets) == 1:
            return self._features[sets[0]]
        return SideBySide([self._features[headers] for headers in sets])

    def _count_zeros(self, videos: Videos, roles: str) -> None:
        """Note how many of the videos are zero throughout."""
        zero = videos.features.zero_rows
        if count := len(zero if videos.rows is None else np.intersect1d(zero, videos.rows)):
            self._zeros[roles] = count
            folder = self.headers(roles.partition("+")[0])[0].path.parent
            log.warning("%d videos of %s are zero throughout: `vhbench data verify`?", count, folder)

    def _check_sizes(self, sets: Sets) -> None:
        header = sets[0][0]
        frames, dim = header.shape[1], sum(headers[0].shape[2] for headers in sets)
        order = "the order of a file's axes is videos, frames, dimensions"
        if frames > dim and self._protocol.frames is None is self._protocol.dim:
            self._problems["axes"] = (
                f"videos have {frames} frames of {dim} dimensions, as if the axes were swapped ({order}); if that is "
                f"right, say frames = {frames} in the manifest"
            )
        for what, found in (("frames", frames), ("dim", dim)):
            expected = getattr(self._protocol, what)
            swapped = (self._protocol.frames or frames, self._protocol.dim or dim) == (dim, frames) != (frames, dim)
            text = f"{self._protocol.path} says {what} = {expected}, but {header.path} has {found}"
            text += f", as if its axes were swapped ({order})" if swapped else ""
            self._accept(what, what, expected, found, text)

    @cached_property
    def _class_list(self) -> tuple[str, ...]:
        """The classes' names in the order of their numbers, as far as the manifest names a file of them."""
        file = self._protocol.class_file
        return read_class_names(self._find(file)) if file else ()

    def _check_classes(self, role: str, labels: np.ndarray, places: Sequence[Path]) -> None:
        expected = self._protocol.classes
        span = int(labels.max()) - int(labels.min()) + 1  # of class numbers, from 0 or from 1; some may not occur
        found = labels.shape[1] if labels.ndim == 2 else max(len(self._numbers) or span, expected or 0)
        names = " and ".join(map(str, places))
        text = f"{self._protocol.path} says classes = {expected}, but {names} label {found} classes"
        self._accept("classes", f"{role} classes", expected, found, text)
        if self._class_list:
            known = (*self._labels.values(), labels)
            check_class_list(self._class_list, str(self._protocol.class_file), known, [*self._numbers], names)

    def _accept(self, key: str, what: str, expected: int | None, found: int, text: str) -> None:
        """Pass the number expected and those of known variants; note others, or raise DataError."""
        if expected in (None, found):
            return
        known = [name for name, numbers in self._protocol.variants.items() if numbers.get(key) == found]
        if known:
            self._variants += [name for name in known if name not in self._variants]
        elif self._allow:
            self._allowed[what] = [int(expected or 0), found]
        else:
            raise DataError(
                f"{text}: correct the manifest or get the right version of the files; "
                "--allow-counts takes them as they are and records it."
            )


def _joined(arrays: Sequence[np.ndarray | None], places: np.ndarray) -> np.ndarray | None:
    """Return the rows of arrays one after the other; None where one is not known."""
    known = [array for array in arrays if array is not None]
    return np.concatenate(known)[places] if len(known) == len(arrays) else None
