"""Toy videos with classes to find: label-free for the method, with labels for the test."""

from __future__ import annotations

import numpy as np

from vhbench.videos import VideoSet

VIDEO_NOISE = 0.6  # a video's own deviation from its class, the same in all its frames
FRAME_NOISE = 0.4
END_WEIGHT = 0.5  # how far a video has moved from its class's pattern to the next class's by its last frame


def toy_videos(
    n: int = 144, frames: int = 16, dim: int = 144, classes: int = 6, seed: int = 0
) -> tuple[VideoSet, np.ndarray]:
    """Make videos that look like the field's features: not negative, sparse, class-structured.

    A video starts at its class's pattern and drifts towards the next class's, so the order of its frames says a little
    more about its class than their mean does.

    Args:
        n: videos.
        frames: frames a video.
        dim: feature dimensions a frame.
        classes: classes, equally frequent.
        seed: other seeds give other videos of other classes.

    Returns:
        The videos, float32 in read-only memory; their labels, int64 (n,).
    """
    rng = np.random.default_rng([seed, n, frames, dim, classes])
    labels = rng.permutation(np.arange(n) % classes)
    patterns = rng.standard_normal((classes, dim))
    drift = np.linspace(0, END_WEIGHT, frames)[None, :, None]
    features = patterns[labels][:, None] * (1 - drift) + patterns[(labels + 1) % classes][:, None] * drift
    features += VIDEO_NOISE * rng.standard_normal((n, 1, dim))
    features += FRAME_NOISE * rng.standard_normal((n, frames, dim))
    features = np.maximum(features, 0).astype(np.float32)
    features.setflags(write=False)
    return VideoSet(features), labels


def lopsided_videos(n: int = 256, frames: int = 8, dim: int = 32, seed: int = 0) -> VideoSet:
    """Make videos a third of whose variance lies in one direction, along which they fall into two groups.

    A code all of whose bits say which group a video is in reconstructs that third and nothing else: networks that
    learn a code by reconstruction find it first, and some never leave it. Frames have a mean squared norm of 17; the
    other two thirds of it are spread over the other directions, falling slowly.

    Args:
        n: videos.
        frames: frames a video.
        dim: feature dimensions a frame.
        seed: other seeds give other videos.

    Returns:
        The videos, float32 in read-only memory.
    """
    rng = np.random.default_rng([seed, n, frames, dim])
    variances = np.arange(1, dim) ** -0.3
    variances = np.concatenate([[1 / 3], 2 / 3 * variances / variances.sum()])
    group = rng.permutation(np.where(np.arange(n) % 2, 1.0, -1.0))
    video, frame = rng.standard_normal((n, 1, dim)), rng.standard_normal((n, frames, dim))
    features = np.sqrt(0.8) * video + np.sqrt(0.2) * frame
    features[..., 0] = (group[:, None] + 0.2 * features[..., 0]) / np.sqrt(1.04)
    directions, _ = np.linalg.qr(rng.standard_normal((dim, dim)))
    features = ((features * np.sqrt(17 * variances)) @ directions.T).astype(np.float32)
    features.setflags(write=False)
    return VideoSet(features)
