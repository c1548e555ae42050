"""Which videos an extraction takes, and what they are called."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vhbench.errors import UsageError

# of files in folders; a file that is named itself may have any ending
ENDINGS = {
    ".264", ".265", ".3g2", ".3gp", ".amv", ".apng", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".gif",
    ".gxf", ".h264", ".h265", ".hevc", ".ivf", ".m1v", ".m2t", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg",
    ".mkv", ".mov", ".mp4", ".mpe", ".mpeg", ".mpg", ".mts", ".mxf", ".nut", ".obu", ".ogg", ".ogv", ".qt",
    ".rm", ".rmvb", ".ts", ".vob", ".webm", ".wmv", ".wtv", ".y4m",
}  # fmt: skip


@dataclass(frozen=True)
class Video:
    """A video file.

    Attributes:
        name: its path below the folder that was given, with slashes; its file's name where the file was given. What is
            not UTF-8 in it stands as backslash escapes.
        path: the file.
        size: bytes; -1 where it cannot be looked at.
    """

    name: str
    path: Path
    size: int


@dataclass(frozen=True)
class Listing:
    """The videos of an extraction.

    Attributes:
        videos: in the order of their names.
        left_out: names of files in folders that do not end as a video's.
        start: number of the first video of this shard.
        stop: number of the one after its last.
    """

    videos: tuple[Video, ...]
    left_out: tuple[str, ...]
    start: int
    stop: int

    @property
    def own(self) -> tuple[Video, ...]:
        """The videos of this shard."""
        return self.videos[self.start : self.stop]

    @property
    def classes(self) -> list[str]:
        """The classes, sorted: the first folder of each video's name; empty where a video lies in none."""
        if not all("/" in video.name for video in self.videos):
            return []
        return sorted({video.name.partition("/")[0] for video in self.videos})

    @property
    def digest(self) -> str:
        """Hexadecimal sha256 of the names and sizes of all videos, those of other shards too."""
        text = "".join(f"{video.name}\0{video.size}\n" for video in self.videos)
        return hashlib.sha256(text.encode()).hexdigest()


def list_videos(paths: Sequence[Path], shard: tuple[int, int] = (1, 1)) -> Listing:
    """List the videos in folders, and those that are named themselves.

    Args:
        paths: folders, looked through to the bottom but for hidden ones, and files.
        shard: (number from 1, of how many): consecutive parts of nearly the same length.

    Raises:
        UsageError: a path is not there, there is no video, two have one name, or there is no such shard.
    """
    number, total = shard
    if not 1 <= number <= total:
        raise UsageError(f"--shard takes a number and how many there are, as 3/16, not {number}/{total}.")
    found: dict[str, Video] = {}
    left_out: list[str] = []
    for given in paths:
        for name, path in _files(given, left_out):
            video = Video(name, path, _size(path))
            other = found.setdefault(name, video)
            if other.path.absolute() != path.absolute():
                raise UsageError(
                    f"Two videos would have the name {name}: {other.path} and {path}. Name a folder above both."
                )
    if not found:
        where = ", ".join(map(str, paths))
        ends = f": its files do not end as a video's ({left_out[0]})" if left_out else ""
        raise UsageError(f"There are no videos in {where}{ends}. Name folders with videos, or the files themselves.")
    videos = tuple(found[name] for name in sorted(found))
    bounds = [len(videos) * part // total for part in (number - 1, number)]
    return Listing(videos, tuple(left_out), bounds[0], bounds[1])


def _files(given: Path, left_out: list[str]) -> Iterator[tuple[str, Path]]:
    """Yield name and path of each video that a path stands for."""
    if not given.is_dir():
        if not os.path.lexists(given):
            raise UsageError(f"There is no file or folder {given}.")
        yield _text(given.name), given
        return
    entered = {os.path.realpath(given)}
    for folder, folders, files in os.walk(given, followlinks=True, onerror=_refuse):
        kept = []
        for name in sorted(folders):
            real = os.path.realpath(Path(folder, name))
            if not name.startswith(".") and real not in entered:  # a link may lead back up
                entered.add(real)
                kept.append(name)
        folders[:] = kept
        for file in files:
            path = Path(folder, file)
            if file.startswith("."):
                continue
            if path.suffix.lower() in ENDINGS:
                yield _text(path.relative_to(given).as_posix()), path
            else:
                left_out.append(_text(path.relative_to(given).as_posix()))


def _refuse(error: OSError) -> None:
    raise UsageError(f"Cannot look into the folder {error.filename}: {error.strerror}.") from error


def _text(name: str) -> str:
    return name.encode(errors="backslashreplace").decode()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
