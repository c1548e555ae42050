"""The demo's videos as clips for real files: named, grouped and large enough for a network that knows photographs.

As UCF101's, a clip is called v_CLASS_gGG_cCC. The clips of a group show one handwritten image at one place of the
photograph and differ in the digit's brightness and by a pixel in its path; no two groups share a handwritten image. A
clip's pictures depend on its name alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vhbench.protocols._demo_video import (
    CLASSES,
    DIGITS,
    LOOKS,
    MOTIONS,
    SIDE,
    Scenes,
    class_names,
    crops,
    digit_images_of,
    draw,
    film,
    ink_and_drift,
)

VERSION = 1  # raise it with every change to the pictures
LOOK = LOOKS["demo"]
LARGER = 4  # times the demo's side
TIMES = 2  # that each picture is shown: 32 frames, more than are usually taken of a video
CLIPS = 2  # of a group
GROUPS = 34  # of a class: each digit has 178 handwritten images or more for its five classes
USUAL = 20  # clips of a class
ORDER = ("growing", "moving left", "moving right", "moving down", "circling")  # first what a frame tells most of
MOST = CLASSES * GROUPS * CLIPS


@dataclass(frozen=True)
class Clip:
    """One clip.

    Attributes:
        kind: its class, as `_demo_video.labels` numbers them.
        group: from 1 to GROUPS.
        number: in its group, from 1 to CLIPS.
    """

    kind: int
    group: int
    number: int

    @property
    def folder(self) -> str:
        """Its class's name, "4-moving-left"."""
        return class_names()[self.kind].replace(" ", "-")

    @property
    def name(self) -> str:
        """The name of its file without the ending, "v_4-moving-left_g01_c02"."""
        return f"v_{self.folder}_g{self.group:02}_c{self.number:02}"

    @property
    def is_first(self) -> bool:
        """Whether every choice of clips begins with it."""
        return self == clips(1)[0]

    def pictures(self) -> np.ndarray:
        """Draw its frames: brightness, uint8 (32, 128, 128)."""
        from PIL import Image

        size, smooth = (LARGER * SIDE, LARGER * SIDE), Image.Resampling.BICUBIC
        large = [np.asarray(Image.fromarray(picture).resize(size, smooth)) for picture in film(LOOK, self.scene())[0]]
        return np.repeat(np.stack(large), TIMES, axis=0)

    def scene(self) -> Scenes:
        """Return what the one video shows."""
        group = f"clips/{self.kind}/{self.group}"
        ink, drift = ink_and_drift(LOOK, f"{group}/{self.number}", 1)
        return Scenes(np.array([self.kind]), np.array([self._image()]), crops(LOOK, group, 1), ink, drift)

    def _image(self) -> int:
        """Return which of scikit-learn's handwritten images it shows."""
        digit, motion = divmod(self.kind, len(MOTIONS))
        images = digit_images_of(DIGITS[digit])
        order = np.argsort(draw(f"clips/digit {digit}", len(images), 2**31), kind="stable")
        return int(images[order[(self.group - 1) * len(MOTIONS) + motion]])


def clips(count: int) -> list[Clip]:
    """Return `count` clips, from 1 to MOST, in 2 to 20 classes of equally many, USUAL where that is possible."""
    classes = min(max(count // USUAL, 2), CLASSES)
    kinds = [class_names().index(f"{digit} {motion}") for motion in ORDER for digit in DIGITS]
    chosen = [divmod(i, classes) for i in range(count)]
    return sorted(
        (Clip(kinds[kind], j // CLIPS + 1, j % CLIPS + 1) for j, kind in chosen),
        key=lambda clip: (clip.kind, clip.group, clip.number),
    )
