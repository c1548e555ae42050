"""Small pictures of videos, as addresses that hold the picture itself."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from vhbench.errors import DataError

LONGEST = 320  # pixels of the longer side
QUALITY = 80


class Thumbnails:
    """Finds the middle frame of videos; each is decoded once.

    Args:
        folder: where the videos lie under their names; None: nowhere.
    """

    def __init__(self, folder: Path | None = None):
        self._folder = folder
        self._known: dict[Path, str | None] = {}
        self._asked: set[str] = set()
        self._missing: set[str] = set()

    def of_name(self, name: str | None) -> str | None:
        """Return the picture of a video of the folder as a data URI; None where it is not there or shows nothing.

        Names may be other people's and lead nowhere else; links in the folder are its owner's and are followed.
        """
        if self._folder is None or name is None:
            return None
        path = self._folder / name
        inside = "\0" not in name and not Path(name).is_absolute() and ".." not in Path(name).parts
        address = self.of_file(path) if inside and path.is_file() else None
        self._asked.add(name)
        if address is None:
            self._missing.add(name)
        return address

    def of_file(self, path: Path) -> str | None:
        """Return the picture of a video file as a data URI; None where nothing of it can be decoded."""
        if path not in self._known:
            self._known[path] = _picture(path)
        return self._known[path]

    def words(self) -> str:
        """Say which pictures are missing and why; empty where none is."""
        if self._folder is None:
            return "there are no pictures of the gallery's videos: --videos says where these lie"
        if self._missing:
            return f"{len(self._missing)} of {len(self._asked)} videos are not to be found or seen in {self._folder}"
        return ""


def _picture(path: Path) -> str | None:
    from PIL import Image

    from vhbench.video.frames import read_pictures

    try:
        frame = read_pictures(path, 1, LONGEST)[0]
    except DataError:
        return None
    octets = io.BytesIO()
    Image.fromarray(frame).save(octets, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(octets.getvalue()).decode()}"
