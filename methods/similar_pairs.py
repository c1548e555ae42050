"""Which videos are alike because they lie near the same anchors: tags of pairs, and pairs drawn by their tags.

Li, Li, Lu, Zhou (BTH): Self-Supervised Video Hashing via Bidirectional Transformers, CVPR 2021; DKPH and MCMSH
draw from the same tags. The released programs hold three matrices of videos x videos; here each anchor has a list of
its videos, which gives the same tags in a few numbers a video.
"""

from __future__ import annotations

import numpy as np
import torch

from vhbench.methods.anchors import AnchorGraph
from vhbench.methods.lloyd import lloyd

SIMILAR, DISSIMILAR = 1, 2  # tags; 0 is neither
NEAREST = 5  # anchors of a video that tags depend on
BLOCK = 4096  # videos whose distances are computed at a time
LLOYD_ROUNDS = 16  # of k-means at most (released)
VIDEOS_AN_ANCHOR = 22  # at least (the paper: 45,585 // 2,000)
FEWEST = 10  # anchors, below which hardly a pair is dissimilar
TRIES = 32  # draws of a partner before all that may be drawn are listed


class SimilarityTags:
    """Tags of pairs of videos by the sets A_s of their s nearest anchors.

    A pair is similar (tag 1) where the A_3 of its videos intersect; dissimilar (tag 2), and hard to tell so, where
    their A_5 intersect but their A_4 do not; of tag 0 otherwise. A video is similar to itself.

    Args:
        nearest: each video's nearest anchors, nearest first, int64, shape (videos, 5), or (videos, p) where there are
            fewer anchors.
    """

    def __init__(self, nearest: np.ndarray):
        self.nearest = nearest
        # only through the fifth anchor of one of the two can a pair be dissimilar
        count = int(nearest.max()) + 1
        fourth, fifth = nearest[:, : NEAREST - 1], nearest[:, NEAREST - 1 :]
        hard = np.hstack([nearest, count + fifth]), np.hstack([fifth, count + fourth])
        self._lists = {SIMILAR: Lists(nearest[:, :3], nearest[:, :3])}
        if fifth.size:
            self._lists[DISSIMILAR] = Lists(*hard)

    def tags(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """Return the tags of the pairs (i, j), int64 of shape (pairs,).

        Args:
            i: positions of videos, shape (pairs,).
            j: those of the others, shape (pairs,).
        """
        near, middle, far = (self._shared(i, j, s) > 0 for s in (3, 4, 5))
        return np.where(near, SIMILAR, np.where(far & ~middle, DISSIMILAR, 0))

    def tagged(self, i: int, tag: int) -> np.ndarray:
        """Return all videos of a tag with video i, ascending."""
        if tag and tag not in self._lists:
            return np.empty(0, dtype=np.int64)
        others = np.unique(self._lists[tag].videos(i)) if tag else np.arange(len(self.nearest))
        chosen: np.ndarray = others[self.tags(np.full(len(others), i), others) == tag]
        return chosen

    def draw(self, rows: np.ndarray, tag: int, rng: np.random.Generator) -> np.ndarray:
        """Draw a partner for each video, uniformly among the videos of that tag with it.

        Args:
            rows: positions of videos, shape (n,).
            tag: 0, `SIMILAR` or `DISSIMILAR`.
            rng: for the draws.

        Returns:
            Positions, int64, shape (n,); -1 where a video has no such partner.
        """
        drawn, left = np.full(len(rows), -1), np.arange(len(rows))
        lists = self._lists.get(tag)
        for _ in range(TRIES if tag == 0 or lists else 0):
            i = rows[left]
            if lists:  # a video that stands in several of i's lists is taken that much more rarely
                j = lists.draw(i, rng)
                times = lists.times(i, j)
            else:
                j, times = rng.integers(len(self.nearest), size=len(i)), np.ones(len(i))
            taken = (self.tags(i, j) == tag) & (rng.random(len(i)) * times < 1)
            drawn[left[taken]] = j[taken]
            left = left[~taken]
        for place in left:
            others = self.tagged(rows[place], tag)
            if len(others):
                drawn[place] = rng.choice(others)
        return drawn

    def similar(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw a similar video for each; it may be the video itself, as in the released programs."""
        return self.draw(rows, SIMILAR, rng)

    def dissimilar(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw a video of tag 2 for each, one of tag 0 where there is none; -1 where all videos are similar to it."""
        drawn = self.draw(rows, DISSIMILAR, rng)
        none = np.flatnonzero(drawn < 0)
        drawn[none] = self.draw(rows[none], 0, rng)
        return drawn

    def pairs(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw a partner for every video: a similar one with probability 1/2, else a dissimilar one.

        Where all videos are similar to a video, its partner is similar; the released programs do not end there.

        Returns:
            Partners, int64, and +1 for similar or -1 for dissimilar ones, float32, both of shape (videos,).
        """
        rows = np.arange(len(self.nearest))
        partners = np.full(len(rows), -1)
        apart = np.flatnonzero(rng.random(len(rows)) < 0.5)
        partners[apart] = self.dissimilar(apart, rng)
        similar = partners < 0
        partners[similar] = self.similar(rows[similar], rng)
        return partners, np.where(similar, 1, -1).astype(np.float32)

    def _shared(self, i: np.ndarray, j: np.ndarray, width: int) -> np.ndarray:
        """Return how many of their `width` nearest anchors pairs share."""
        one, other = self.nearest[i, :width], self.nearest[j, :width]
        return (one[:, :, None] == other[:, None]).sum((1, 2))  # type: ignore[no-any-return]


class Lists:
    """Videos by key: each video stands in the lists of some keys, and looks for others in the lists of some.

    Args:
        stands: keys of each video's own lists, int64, shape (videos, n).
        looks: keys of the lists in which it looks, int64, shape (videos, m).
    """

    def __init__(self, stands: np.ndarray, looks: np.ndarray):
        self._stands, self._looks = stands, looks
        self._videos = np.argsort(stands, axis=None, kind="stable") // stands.shape[1]
        self._sizes = np.bincount(stands.ravel(), minlength=int(looks.max()) + 1)
        self._starts = np.cumsum(self._sizes) - self._sizes

    def videos(self, i: int) -> np.ndarray:
        """Return the videos in the lists of video i, some several times."""
        return np.concatenate([self._videos[self._starts[key] :][: self._sizes[key]] for key in self._looks[i]])

    def times(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """Return in how many lists of the videos i the videos j stand; both of shape (pairs,)."""
        return (self._looks[i][:, :, None] == self._stands[j][:, None]).sum((1, 2))  # type: ignore[no-any-return]

    def draw(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw an entry of each video's lists, all entries with the same probability."""
        sizes = self._sizes[self._looks[rows]]
        ends = sizes.cumsum(1)
        entry = rng.integers(ends[:, -1])
        which = (entry[:, None] >= ends).sum(1)
        each = np.arange(len(rows))
        inside = entry - ends[each, which] + sizes[each, which]
        return self._videos[self._starts[self._looks[rows, which]] + inside]  # type: ignore[no-any-return]


def find_anchors(points: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return up to `count` anchors of points by Lloyd's k-means, float32, shape (up to count, dim).

    As in the released programs: at most 16 rounds from points drawn at random, some twice; clusters that lose all
    points are dropped (51 of 2,000 in the anchors released for FCVID). Few points have fewer anchors: at most one to
    22 points, but 10 where there are so many points.

    Args:
        points: float32, shape (n, dim).
        count: anchors asked for.
        rng: draws the points to start from.
    """
    count = min(count, max(len(points) // VIDEOS_AN_ANCHOR, FEWEST), len(points))
    videos = torch.from_numpy(points)
    start = videos[torch.from_numpy(rng.integers(len(points), size=count))]
    return lloyd(videos, start, LLOYD_ROUNDS, keep_empty=False).centres.numpy()


def nearest_anchors(points: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Return each point's 5 nearest anchors, nearest first: int64, shape (n, 5), or all where there are fewer."""
    graph = AnchorGraph(anchors.astype(np.float64), NEAREST, 0.0)
    parts = np.split(points, range(BLOCK, len(points), BLOCK))
    return np.concatenate([graph.nearest(part)[0] for part in parts])
