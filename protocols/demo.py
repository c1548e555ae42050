"""The embedded protocols `demo` and `demo-shift`: real retrieval on videos made on the spot, without a download.

A video shows one of scikit-learn's handwritten digits, moving over a crop of one of its photographs. Its class is the
digit and the motion; a digit that moves left visits the same places as one that moves right, so part of a class shows
only in the order of the frames. Queries show other handwritten images than the database and the training set.
`demo-shift` has another photograph, larger digits and dimmer light.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vhbench.features import digest_rows
from vhbench.protocol import Part, Protocol, Relevance, Split
from vhbench.protocols._demo_features import BLOCK, DIM, describe, to_features
from vhbench.protocols._demo_store import digest, load_or_make
from vhbench.protocols._demo_video import CLASSES, COUNTS, FRAMES, LOOKS, class_names, frames, labels
from vhbench.videos import VideoSet

VERSION = 1  # raise it with every change to the videos or their description, and put the new digests below
EXPECTED = {  # sha256 of each set's stored bytes, the database before the queries
    "demo": "082cea96a9e497098ff2460254f14525b8cffd5ff1fad166375e6555335993ca",
    "demo-shift": "dbb7aa0905199c0c26d1a7f2bca037a62584c3389300d6de7787ea6a6532cec5",
}
TITLES = {
    "demo": "Handwritten digits moving over a photograph; class = digit and motion; needs no download",
    "demo-shift": "The demo with another photograph, larger digits and dimmer light; needs no download",
}


class Demo(Protocol):
    """One of the demo sets: 1,240 training videos that are also the database, 300 queries, 20 classes.

    Videos have 16 frames of 128 dimensions. As on UCF101 in the field, the training videos are the database.

    Args:
        name: "demo" or "demo-shift".
    """

    version = VERSION
    budget = "quick"
    synthetic = True
    classes = CLASSES

    def __init__(self, name: str):
        self.name = name
        self.title = TITLES[name]

    def load(self, data: Path | None, *, allow_counts: bool = False) -> list[Split]:
        """Return the one split; makes the videos where they are not in the cache. neither argument is used."""
        database, query = (
            Part(VideoSet(to_features(stored)), digest(stored), digest_rows(stored))
            for stored in np.split(load_stored(self.name), [COUNTS["database"]])
        )
        relevance = Relevance.from_labels(labels("query"), labels("database"), class_names=class_names())
        return [Split(self.name, database, query, database, relevance)]

    def train_labels(self, data: Path | None) -> np.ndarray:
        """Return the training videos' labels, int64 (videos,), for protocols that hold classes out."""
        return labels("database")

    def pictures(self, split: str, role: str, rows: np.ndarray) -> np.ndarray | None:
        """Draw the videos again: brightness, uint8 (len(rows), 16, 32, 32)."""
        return frames(self.name, role, rows)

    def describe(self) -> list[tuple[str, str]]:
        """Return (heading, text) rows for `vhbench describe`."""
        return [
            *super().describe(),
            ("train", f"{COUNTS['database']} videos of {FRAMES} frames x {DIM} dimensions; they are also the database"),
            ("query", f"{COUNTS['query']} videos of other handwritten images"),
            ("classes", f"{CLASSES}: {', '.join(class_names())}"),
        ]


def protocols() -> list[Protocol]:
    """Return the protocols that this file offers."""
    return [Demo(name) for name in LOOKS]


def load_stored(name: str) -> np.ndarray:
    """Return a set's stored bytes (`load_or_make`): uint8 (1540, 16, 128), the database before the queries."""
    return load_or_make(f"{name}-v{VERSION}", EXPECTED[name], lambda: make(name))


def make(name: str) -> np.ndarray:
    """Draw and describe a set's videos, a block at a time; returns what `load_stored` does."""
    blocks = [
        describe(frames(name, role, np.arange(start, min(start + BLOCK, COUNTS[role]))))
        for role in ("database", "query")
        for start in range(0, COUNTS[role], BLOCK)
    ]
    return np.concatenate(blocks)
