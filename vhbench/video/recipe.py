"""How features are computed: a network and how many frames; its stamp; and a video's features by it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vhbench.errors import DataError, UsageError
from vhbench.features.stamp import Stamp
from vhbench.version import __version__
from vhbench.video.extra import import_extra
from vhbench.video.failures import VideoError
from vhbench.video.frames import Shown, sample
from vhbench.video.networks import LAYERS, Choice, open_network
from vhbench.video.networks.network import SHARE, Network
from vhbench.video.pictures import HDR_RULE, centre, upright

SAMPLING = re.compile(r"([1-9][0-9]{0,5}) frames at the centres of equal parts of those shown")
MOST_FRAMES = 100_000


def check_frames(frames: int) -> None:
    """Raise UsageError unless so many frames can be chosen from a video."""
    if not 1 <= frames <= MOST_FRAMES:
        raise UsageError(f"--frames takes 1 to {MOST_FRAMES}, not {frames}.")


@dataclass(frozen=True)
class Features:
    """A video's features.

    Attributes:
        values: float32 (m, d).
        distinct: how many different frames they come from.
    """

    values: np.ndarray
    distinct: int


class Extractor:
    """Computes features of videos.

    Args:
        network: which.
        frames: a video (m).

    Raises:
        UsageError, DataError: as for `open_network`.
    """

    def __init__(self, network: Choice, frames: int):
        check_frames(frames)
        import_extra("av")
        self._network, self._frames = open_network(network), frames

    @property
    def shape(self) -> tuple[int, int]:
        """Of a video's features: (m, d)."""
        return self._frames, self._network.dim

    @property
    def stamp(self) -> Stamp:
        """How the features are computed."""
        return _stamp(self._network, self._frames)

    def __call__(self, path: Path) -> Features:
        """Compute the features of a video.

        Raises:
            VideoError: no frame can be decoded, or the network makes no numbers of one.
            DataError: the network cannot compute.
        """
        size = self._network.size
        chosen = sample(path, self._frames, lambda shown: _input(shown, size))
        _, first, places = np.unique(chosen.positions, return_index=True, return_inverse=True)
        pictures = np.stack([chosen.values[number] for number in first])
        values = self._network(self._network.normalisation(pictures))[places]
        if not np.isfinite(values).all():
            raise VideoError("the network makes infinite or undefined numbers of it")
        return Features(values, chosen.distinct)


def _input(shown: Shown, size: int) -> np.ndarray:
    return centre(*upright(*shown), size, SHARE)


def _stamp(network: Network, frames: int) -> Stamp:
    import PIL

    av = import_extra("av")
    return Stamp(
        network=network.name,
        weights=network.weights,
        layer=network.layer,
        sampling=f"{frames} frames at the centres of equal parts of those shown",
        preprocessing=f"the middle {SHARE:g} of the shorter side, bicubic, {network.size} x {network.size}; "
        f"{network.normalisation.text}; {HDR_RULE}",
        versions={"vhbench": __version__, "av": av.__version__, "pillow": PIL.__version__, **network.versions},
    )


def extractor_for(stamp: Stamp, *, weights: Path | None, network: Path | None, device: str = "cpu") -> Extractor:
    """Return what computes features with the recipe of a stamp.

    Args:
        stamp: the recipe.
        weights: of its network, where that needs a file.
        network: the ONNX file, where its network is one.
        device: "cpu" or "cuda:N".

    Raises:
        DataError: the recipe cannot be followed here; the message says in what.
        UsageError: the network needs a file that was not named.
    """
    found = SAMPLING.fullmatch(stamp.sampling)
    if found is None:
        raise DataError(f"This vhbench does not know how frames were chosen ({stamp.sampling!r}).")
    if network is None and stamp.network not in LAYERS:
        raise UsageError(f"The features come from the network {stamp.network}: name its ONNX file with --network.")
    choice = Choice(str(network) if network else stamp.network, stamp.layer, weights, device)
    extractor = Extractor(choice, int(found[1]))
    if differences := stamp.differences(extractor.stamp):
        raise DataError(f"The features come from another recipe than can be followed here: {', '.join(differences)}.")
    return extractor
