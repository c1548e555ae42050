"""Opening the files of a manifest: what is expected of them, what was found, what a record says of the difference."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vhbench.datasets.manifest import Manifest
from vhbench.datasets.marker import FILE, Marker, read_marker
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
from vhbench.features.label_arrays import shifted
from vhbench.features.stamp import Stamp, read_stamp
from vhbench.features.stamp import check_alike as check_stamps
from vhbench.protocol import Part
from vhbench.videos import VideoSet

log = logging.getLogger(__name__)


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
        self._first: Header | None = None
        self._headers: dict[str, tuple[Header, ...]] = {}
        self._written: dict[str, np.ndarray] = {}
        self._labels: dict[str, np.ndarray] = {}
        self._numbers: dict[str, int] = {}
        self._features: dict[tuple[Header, ...], Features] = {}
        self._stamps: dict[Path, Stamp | None] = {}

    def headers(self, role: str) -> tuple[Header, ...]:
        """Return the headers of a role's feature files.

        Raises:
            DataError: a file is missing or cannot be used, or there are not as many videos, frames or dimensions as
                there should be.
        """
        if role not in self._headers:
            table = self._protocol.tables[role]
            places = [self._find(file) for file in table.features]
            headers = tuple(read_header(place, table.key) for place in places)
            self._check_count(role, headers, self._marker_beside(places))
            self._check_stamps([header.path for header in headers])
            self._first = self._first or headers[0]
            for header in headers:
                check_alike(self._first, header)
            self._check_sizes(headers[0])
            self._headers[role] = headers
        return self._headers[role]

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
        """Names by class number, where the label files read so far have names: the same in all roles."""
        return tuple(self._numbers)

    def features(self, *roles: str) -> Features:
        """Return the features of several roles as one, each file once.

        Raises:
            DataError: see `vhbench.features.open_headers`.
        """
        headers = tuple(dict.fromkeys(header for role in roles for header in self.headers(role)))
        if headers not in self._features:
            features = open_headers(headers)
            self._features[headers] = features
            if count := len(features.zero_rows):
                self._zeros["+".join(roles)] = count
                log.warning(
                    "%d videos of %s are zero throughout: `vhbench data verify`?", count, headers[0].path.parent
                )
        return self._features[headers]

    def part(self, features: Features, rows: np.ndarray | None = None) -> Part:
        """Return videos of opened features as a part, with the frames that the manifest keeps.

        Args:
            features: the videos.
            rows: which videos (int); None: all.

        Raises:
            DataError: the manifest keeps more frames than there are.
        """
        keep = self._protocol.keep_frames
        frames = None if keep is None else kept_frames(features.shape[1], keep)
        self._kept = [] if frames is None else frames.tolist()
        digest = digest_of_choice(features.digest, frames, rows)
        row_digests = features.row_digests.copy()
        row_digests[features.zero_rows] = 0
        row_digests = row_digests if rows is None else row_digests[rows]
        videos = VideoSet(features if frames is None else SampledFrames(features, frames), rows)
        return Part(videos, digest, row_digests, self._stamp_of(features))

    def notes(self) -> dict[str, Any]:
        """Return what a record says of the files opened so far, as JSON values; only what applies."""
        found = {
            "variants": list(self._variants),
            "allowed_counts": dict(self._allowed),
            "synthetic": [{"like": m.like, "scale": m.scale, "seed": m.seed} for m in self._markers],
            "zero_videos": dict(self._zeros),
            "frames_kept": list(self._kept),
            "stamp": next((stamp.to_json() for stamp in self._stamps.values() if stamp), None),
            "problems": dict(self._problems),
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
            headers, places = self.headers(role), self._label_places(role)
            self._marker_beside(places)
            self._written[role] = read_labels(places, self._protocol.tables[role].label_key, headers)
        return self._written[role]

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
        return f"[{role}] ({', '.join(self._protocol.tables[role].labels)})"

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
        expected, source = self._protocol.tables[role].count, f"[{role}] in {self._protocol.path} says count"
        if marker and marker.like == self._protocol.folder:
            expected, source = marker.counts[role], f"the marker {FILE} beside them says {role}"
        found = sum(header.shape[0] for header in headers)
        names = " and ".join(str(header.path) for header in headers)
        self._accept(role, f"{role} videos", expected, found, f"{source} = {expected}, but {names} have {found} videos")

    def _check_stamps(self, places: Sequence[Path]) -> None:
        """Compare how a role's features were computed with those of the roles read so far."""
        for place in (place for place in places if place not in self._stamps):
            self._stamps[place] = read_stamp(place)
            for other, stamp in self._stamps.items():
                check_stamps(stamp, self._stamps[place], (str(other), str(place)))
        stamped, unknown = (next((p for p, s in self._stamps.items() if bool(s) is b), None) for b in (True, False))
        if stamped and unknown:
            self._problems["stamp"] = (
                f"{stamped} says how its features were computed and {unknown} does not: whether they go together is "
                "not known"
            )

    def _stamp_of(self, features: Features) -> Stamp | None:
        """Return how opened features were computed, where all of their files say so."""
        files = next(headers for headers, opened in self._features.items() if opened is features)
        stamps = [self._stamps.get(header.path) for header in files]
        return stamps[0] if all(stamps) else None

    def _check_sizes(self, header: Header) -> None:
        frames, dim = header.shape[1:]
        order = "the order of a file's axes is videos, frames, dimensions"
        if frames > dim and self._protocol.frames is None is self._protocol.dim:
            self._problems["axes"] = (
                f"videos have {frames} frames of {dim} dimensions, as if the axes were swapped ({order}); if that is "
                f"right, say frames = {frames} in the manifest"
            )
        for what, found in (("frames", header.shape[1]), ("dim", header.shape[2])):
            expected = getattr(self._protocol, what)
            swapped = (self._protocol.frames or frames, self._protocol.dim or dim) == (dim, frames) != (frames, dim)
            text = f"{self._protocol.path} says {what} = {expected}, but {header.path} has {found}"
            text += f", as if its axes were swapped ({order})" if swapped else ""
            self._accept(what, what, expected, found, text)

    def _check_classes(self, role: str, labels: np.ndarray, places: Sequence[Path]) -> None:
        expected = self._protocol.classes
        span = int(labels.max()) - int(labels.min()) + 1  # of class numbers, from 0 or from 1; some may not occur
        found = labels.shape[1] if labels.ndim == 2 else max(len(self._numbers) or span, expected or 0)
        names = " and ".join(map(str, places))
        text = f"{self._protocol.path} says classes = {expected}, but {names} label {found} classes"
        self._accept("classes", f"{role} classes", expected, found, text)

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


def kept_frames(present: int, kept: int) -> np.ndarray:
    """Return the frames in the middles of `kept` equal stretches: floor((j + 0.5) * present / kept) for each j, int64.

    Raises:
        DataError: there are not so many.
    """
    if kept > present:
        raise DataError(f"keep_frames is {kept}, but the videos have {present} frames.")
    frames: np.ndarray = (2 * np.arange(kept) + 1) * present // (2 * kept)
    return frames


def digest_of_choice(digest: str, frames: np.ndarray | None, rows: np.ndarray | None = None) -> str:
    """Return the digest of some frames of some videos of features with this digest; None stands for all."""
    for what, chosen in (("frames", frames), ("rows", rows)):
        if chosen is not None:
            digest = hashlib.sha256(f"{digest} {what} ".encode() + chosen.astype("<i8").tobytes()).hexdigest()
    return digest
