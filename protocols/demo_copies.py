"""The embedded protocol `demo-copies`: near-duplicate retrieval. A query is a copy of one database video, and finds it.

The database, which is also the training set, is that of `demo`. The queries are copies of 300 of its videos, a quarter
each cropped, encoded again (JPEG of low quality, picture by picture), faster or slower, or with a logo in a corner. A
query's one relevant video is its source, so that AP@1 is whether the source comes first, and mrr the mean of 1 / its
rank.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vhbench.features import digest_rows
from vhbench.protocol import Part, Protocol, Relevance, Split
from vhbench.protocols import demo
from vhbench.protocols._demo_copies import COUNT, KINDS, SET, copies, sources
from vhbench.protocols._demo_features import BLOCK, DIM, describe, to_features
from vhbench.protocols._demo_store import digest, load_or_make
from vhbench.protocols._demo_video import COUNTS, FRAMES, frames
from vhbench.videos import VideoSet

VERSION = 1  # raise it with every change to the copies, and put the new digest below
EXPECTED = "6bfbc6768318cb508437e2a4b7d598234960ede8e1b2634730583de226c29d17"  # sha256 of the queries' stored bytes


class DemoCopies(Protocol):
    """300 copies of database videos as queries, each with its source alone as relevant; 1,240 videos searched.

    map@1 stands first in tables: with one relevant video, AP@K divided by K would be 1 / K at the best. K = 50 and 100
    are lists short enough to compare their videos more finely afterwards.
    """

    name = "demo-copies"
    title = "Near-duplicates: find the demo video that a crop, re-encoding, speed change or logo was made of"
    version = VERSION
    ks = (1, 50, 100)
    budget = "quick"
    synthetic = True
    dataset = SET

    def load(self, data: Path | None, *, allow_counts: bool = False) -> list[Split]:
        """Return the one split; makes the videos where they are not in the cache. neither argument is used."""
        stored = {"database": demo.load_stored(SET)[: COUNTS["database"]], "query": load_stored()}
        database, query = (
            Part(VideoSet(to_features(stored[role])), digest(stored[role]), digest_rows(stored[role]))
            for role in ("database", "query")
        )
        relevance = Relevance.from_labels(sources(), np.arange(COUNTS["database"]))
        return [Split(self.name, database, query, database, relevance)]

    def pictures(self, split: str, role: str, rows: np.ndarray) -> np.ndarray | None:
        """Draw the videos again: brightness, uint8 (len(rows), 16, 32, 32)."""
        return copies(np.asarray(rows)) if role == "query" else frames(SET, role, rows)

    def describe(self) -> list[tuple[str, str]]:
        """Return (heading, text) rows for `vhbench describe`."""
        return [
            *super().describe(),
            ("train", f"{COUNTS['database']} videos of {FRAMES} frames x {DIM} dimensions; they are also the database"),
            ("query", f"{COUNT} copies of as many of them, {COUNT // len(KINDS)} each: {', '.join(KINDS)}"),
            ("relevant", "the one database video that a query is a copy of"),
        ]


def protocols() -> list[Protocol]:
    """Return the protocol that this file offers."""
    return [DemoCopies()]


def load_stored() -> np.ndarray:
    """Return the queries' stored bytes (`load_or_make`): uint8 (300, 16, 128)."""
    return load_or_make(f"demo-copies-v{VERSION}", EXPECTED, make)


def make() -> np.ndarray:
    """Draw and describe the queries, a block at a time; returns what `load_stored` does."""
    starts = range(0, COUNT, BLOCK)
    return np.concatenate([describe(copies(np.arange(start, min(start + BLOCK, COUNT)))) for start in starts])
