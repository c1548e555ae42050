"""The job: from videos to one feature file, by several processes, to be continued after a kill.

Videos stand in the order of their names and are computed one by one, so the file is the same whatever the number of
processes and however often the job was broken off.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vhbench.errors import DataError, StoreError, UsageError, unknown
from vhbench.features.stamp import Stamp
from vhbench.system import locks
from vhbench.system.processes import cores
from vhbench.video.failures import VideoError, failures_path, read_failures, write_failures
from vhbench.video.listing import Listing, Video, list_videos
from vhbench.video.networks import Choice
from vhbench.video.parts import PartsFolder, part_ranges
from vhbench.video.recipe import Extractor, check_frames, extractor_for
from vhbench.video.worker import Task, make_part
from vhbench.video.writing import Content, read_content, write_features

DTYPES = ("float16", "float32")
ON_A_GPU = 8  # processes by default: each takes some of its memory, and a few decoders keep it busy
Progress = Callable[[int, int], None]  # videos done so far, and in all


@dataclass(frozen=True)
class Wish:
    """What a user asks for.

    Attributes:
        videos: folders and files.
        output: the feature file.
        network: which.
        frames: a video (m).
        dtype: "float16" or "float32".
        jobs: processes; None: one a core, with a GPU 8 at most.
        shard: (number from 1, of how many).
    """

    videos: Sequence[Path]
    output: Path
    network: Choice
    frames: int = 25
    dtype: str = "float16"
    jobs: int | None = None
    shard: tuple[int, int] = (1, 1)


@dataclass(frozen=True)
class Outcome:
    """What became of an extraction.

    Attributes:
        names: of the videos in the file, in order.
        shape: of the features, (n, m, d).
        distinct: int32 (n,), different frames of each.
        reasons: name -> why a video gave no features.
        left_out: names of files in folders that do not end as a video's.
        is_new: whether the file was not there before.
    """

    names: list[str]
    shape: tuple[int, int, int]
    distinct: np.ndarray
    reasons: dict[str, str]
    left_out: tuple[str, ...]
    is_new: bool


def extract(wish: Wish, progress: Progress = lambda done, total: None) -> Outcome:
    """Compute frame features of videos and write them as one file.

    Args:
        wish: what.
        progress: called after each video.

    Raises:
        UsageError: there are no videos, or no such network, layer, weights or device.
        DataError: the weights cannot be read, or the output, or parts of it, are of another extraction.
        StoreError: something cannot be written, or no video gave features.
    """
    if wish.dtype not in DTYPES:
        raise unknown("dtype", wish.dtype, DTYPES)
    if wish.jobs is not None and wish.jobs < 1:
        raise UsageError(f"--jobs takes a number from 1, not {wish.jobs}.")
    check_frames(wish.frames)
    listing = list_videos(wish.videos, wish.shard)
    extractor = Extractor(wish.network, wish.frames)
    if wish.output.exists():
        return _is_there(wish, listing, extractor)
    folder = wish.output.with_name(f"{wish.output.name}.parts")
    with locks.hold(folder) as mine:
        if not mine:
            raise StoreError(
                f"Another process is extracting to {wish.output}: wait for it, or choose another --output."
            )
        return _Job(wish, listing, extractor, PartsFolder(folder)).run(progress)


def features_of(
    videos: Sequence[Path],
    stamp: Stamp,
    *,
    weights: Path | None = None,
    network: Path | None = None,
    device: str = "cpu",
) -> np.ndarray:
    """Compute features of a few videos by the recipe of a stamp.

    Args:
        videos: files.
        stamp: the recipe.
        weights: of its network, where that needs a file.
        network: the ONNX file, where its network is one.
        device: "cpu" or "cuda:N".

    Returns:
        float32 (n, m, d).

    Raises:
        DataError: a video cannot be decoded, or the recipe cannot be followed here.
        UsageError: the network needs a file that was not named, or a package is missing.
    """
    compute = extractor_for(stamp, weights=weights, network=network, device=device)
    found = []
    for path in videos:
        try:
            found.append(compute(path).values)
        except VideoError as error:
            raise DataError(f"{path} gives no features: {error}.") from error
    return np.stack(found) if found else np.empty((0, *compute.shape), np.float32)


class _Job:
    """One extraction at work.

    Args:
        wish: what.
        listing: its videos.
        extractor: computes features.
        parts: keeps them until all are there.
    """

    def __init__(self, wish: Wish, listing: Listing, extractor: Extractor, parts: PartsFolder):
        self._wish, self._listing, self._extractor, self._parts = wish, listing, extractor, parts
        self._ranges = part_ranges(len(listing.own))

    def run(self, progress: Progress) -> Outcome:
        """Make the parts that are missing, put all together and remove them."""
        wish, shape = self._wish, self._extractor.shape
        self._parts.begin(self._plan())
        missing = self._parts.missing(self._ranges, shape, wish.dtype)
        total = len(self._listing.own)
        done = total - sum(len(self._ranges[number]) for number in missing)
        if missing:
            progress(done, total)

        def count(row: int) -> None:
            nonlocal done
            done += 1
            progress(done, total)

        most = cores() if wish.network.device == "cpu" else min(cores(), ON_A_GPU)
        jobs = wish.jobs or most
        if jobs > 1 and missing:  # for one video too: a decoder that crashes must not end this process
            from vhbench.video.pool import make_parts

            task = Task(wish.network, wish.frames, wish.dtype, self._parts.path.absolute())
            make_parts(task, {number: self._videos(number) for number in missing}, jobs, count)
        else:
            self._make_parts(missing, count)
        return self._put_together()

    def _make_parts(self, missing: Sequence[int], count: Callable[[int], None]) -> None:
        def say(what: str, row: int) -> None:
            if what == "done":
                count(row)

        for number in missing:
            part = make_part(self._extractor, self._wish.dtype, self._videos(number), {}, say)
            self._parts.write(number, part)

    def _videos(self, number: int) -> list[tuple[int, Path]]:
        own = self._listing.own
        return [(row, own[row].path.absolute()) for row in self._ranges[number]]

    def _plan(self) -> dict[str, object]:
        wish = self._wish
        return {
            **self._extractor.stamp.to_json(),
            "videos": self._listing.digest,
            "dtype": wish.dtype,
            "shard": list(wish.shard),
        }

    def _put_together(self) -> Outcome:
        wish, shape = self._wish, self._extractor.shape
        rows: list[int] = []
        distinct: list[int] = []
        reasons: dict[str, str] = {}
        own: Sequence[Video] = self._listing.own
        for part in self._parts.all(len(self._ranges), shape, wish.dtype):
            rows += part.rows.tolist()
            distinct += part.distinct.tolist()
            reasons |= {own[row].name: reason for row, reason in part.reasons.items()}
        names = [own[row].name for row in rows]
        is_part = wish.shard[1] > 1
        write_failures(wish.output, dict(sorted(reasons.items())))
        if not names and not is_part:
            self._parts.remove()
            raise StoreError(
                f"None of the {len(own)} videos gave features; {failures_path(wish.output)} says why of each."
            )
        content = Content(
            shape=(len(names), *shape), dtype=wish.dtype, names=names, distinct=np.array(distinct, dtype=np.int32),
            classes=self._listing.classes, stamp=self._extractor.stamp, videos=self._listing.digest,
            shard=f"{wish.shard[0]}/{wish.shard[1]}" if is_part else "", blocks=self._blocks,
        )  # fmt: skip
        write_features(wish.output, content)
        self._parts.remove()
        return Outcome(names, content.shape, content.distinct, reasons, self._listing.left_out, True)

    def _blocks(self) -> Iterator[np.ndarray]:
        for part in self._parts.all(len(self._ranges), self._extractor.shape, self._wish.dtype):
            yield part.features


def _is_there(wish: Wish, listing: Listing, extractor: Extractor) -> Outcome:
    """Return what an output holds that is there already.

    Raises:
        DataError: it is not what was asked for.
    """
    try:
        content = read_content(wish.output)
    except DataError as error:
        raise DataError(f"{error} Choose another --output, or remove it.") from error
    shard = f"{wish.shard[0]}/{wish.shard[1]}" if wish.shard[1] > 1 else ""
    differences = content.stamp.differences(extractor.stamp)
    differences += ["its videos"] * (content.videos != listing.digest) + ["its shard"] * (content.shard != shard)
    differences += ["its dtype"] * (content.dtype != wish.dtype)
    if differences:
        raise DataError(
            f"{wish.output} is there already and differs in: {', '.join(differences)}. Choose another --output, or "
            "remove it."
        )
    with contextlib.suppress(OSError):
        wish.output.with_name(f"{wish.output.name}.parts").rmdir()
    reasons = read_failures(wish.output)
    return Outcome(content.names, content.shape, content.distinct, reasons, listing.left_out, False)
