"""Made-up data sets in exactly the files of the field's, so that anyone can try the full-size path without a download.

Names, keys and counts are those of the standard manifests; the videos come from `vhbench.datasets.made_up_videos`.
Everything is written by streaming into a folder beside the final one, which takes its name when all is there: a
half-made data set is never taken for a whole one. The marker `synthetic.toml` says of the files for ever what they are.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from vhbench.datasets.made_up_videos import VideoMaker, Videos, choose, gzip_ratio, write_features, write_labels
from vhbench.datasets.manifest import ROLES, Table
from vhbench.datasets.manifest_protocol import ManifestProtocol, load_manifest
from vhbench.datasets.marker import Marker, read_marker, write_marker
from vhbench.errors import DataError, StoreError, UsageError, unknown
from vhbench.features import LABEL_KEYS, read_header
from vhbench.system.files import TEMPORARY, sync_folder, write_error
from vhbench.system.locks import lock

FEWEST = 3  # videos of a class that a scaled role keeps, where the real one has as many
SEVERAL = ("fcvid", "yfcc")  # data sets whose videos may have several labels
LIKE = ("fcvid", "activitynet", "yfcc", "ucf101", "hmdb51")

ByteProgress = Callable[[int, int], None]  # bytes of features made so far, and in all


@dataclass(frozen=True)
class Plan:
    """What files a made-up data set has; `plan` makes one.

    Attributes:
        marker: what will be said of them.
        source: where their videos come from.
        features: name -> (key, videos).
        labels: name -> (key, videos).
        gzip: chunked and compressed instead of contiguous.
    """

    marker: Marker
    source: VideoMaker
    features: Mapping[str, tuple[str, Videos]]
    labels: Mapping[str, tuple[str, Videos]]
    gzip: bool

    @property
    def nbytes(self) -> int:
        """Size of the uncompressed features in bytes."""
        return 4 * self.source.frames * self.source.dim * sum(len(videos.rows) for _, videos in self.features.values())


def plan_data_set(
    like: str, *, scale: float = 1.0, seed: int = 0, gzip: bool = False, protocol: ManifestProtocol | None = None
) -> Plan:
    """Lay out a made-up data set; makes nothing.

    Its videos are the first ones of those of the full size, which depend on the seed, the data set and the role alone.
    Where queries sit in the database and have files of their own, they are copies of database videos.

    Args:
        like: one of `LIKE`.
        scale: of each role's videos, what part to make; at least 3 a class where the real one has as many.
        seed: another seed makes other videos.
        gzip: chunked and compressed instead of contiguous.
        protocol: instead of the standard one of that name; it must say counts, frames, dim and classes.

    Raises:
        UsageError: there is no such data set, or the scale is not above 0 and at most 1.
    """
    if protocol is None:
        protocol = standard_manifest(like)
    if not 0 < scale <= 1:
        raise UsageError(f"--scale is the part of the real number of videos to make, above 0 up to 1, not {scale:g}.")
    several = like in SEVERAL
    if protocol.frames is None or protocol.dim is None or protocol.classes is None:
        raise UsageError(f"{protocol.path} must say `frames`, `dim` and `classes`.")
    source = VideoMaker(like, seed, classes=protocol.classes, frames=protocol.frames, dim=protocol.dim, several=several)
    videos = _choose_videos(protocol, protocol.classes, scale, seed)
    features: dict[str, tuple[str, Videos]] = {}
    labels: dict[str, tuple[str, Videos]] = {}
    for role, table in protocol.tables.items():
        features |= {name: (table.key, part) for name, part in _split(videos[role], table.features)}
        labels |= {name: (_label_key(table, name), part) for name, part in _split(videos[role], table.labels)}
    counts = {role: len(videos[role].rows) for role in ROLES}
    return Plan(Marker(like, scale, seed, counts), source, features, labels, gzip)


def standard_manifest(like: str) -> ManifestProtocol:
    """Return the standard protocol of a data set that can be imitated.

    Raises:
        UsageError: there is none of that name.
    """
    if like not in LIKE:
        raise unknown("data set", like, LIKE, "`vhbench data synth --help` lists them.")
    return load_manifest(Path(str(resources.files("vhbench.protocols"))) / "manifests" / f"{like}.toml")


def make_data_set(plan: Plan, data: Path, progress: ByteProgress = lambda done, total: None) -> bool:
    """Make a data set in DATA/<name>, or find it there.

    Needs about 150 MB of memory at any size. Nothing is ever overwritten. Stopped by Ctrl-C or a full disk it removes
    what it wrote; what a kill leaves lies in DATA/.tmp-<name>, which the next call removes.

    Args:
        plan: which.
        data: the folder that `--data` will name; made if need be.
        progress: called after each block.

    Returns:
        False where this very data set was there already.

    Raises:
        DataError: the folder holds something else, or another process is at work on it.
        StoreError: the disk has too little room or the folder cannot be written.
    """
    target = (data / plan.marker.like).resolve()
    try:
        if _is_there(plan, target, data):
            return False
        with _workplace(target) as folder, _stoppable() as check_stop:
            if _is_there(plan, target, data):
                return False  # another process made it meanwhile
            _check_room(plan, folder, target)
            _write_all(plan, folder, progress, check_stop)
            folder.rename(target)
            sync_folder(target.parent)
    except OSError as error:
        raise write_error(target, error) from error
    return True


def _choose_videos(protocol: ManifestProtocol, classes: int, scale: float, seed: int) -> dict[str, Videos]:
    """Return each role's videos; roles that name the same files share them."""
    chosen: dict[str, Videos] = {}
    for role in ("train", "database", "query"):
        table = protocol.tables[role]
        same = next((other for other in chosen if protocol.tables[other].features == table.features), None)
        if same:
            chosen[role] = chosen[same]
            continue
        if table.count is None:
            raise UsageError(f"[{role}] in {protocol.path} must say `count`.")
        count = max(round(scale * table.count), min(table.count, FEWEST * classes), len(table.features))
        if role == "query" and protocol.queries_in_database:
            database = chosen["database"]
            rows = choose(f"{protocol.name}/query", seed, count, len(database.rows))
            chosen[role] = Videos(database.stream, database.rows[rows])
        else:
            chosen[role] = Videos(role, np.arange(count))
    return chosen


def _split(videos: Videos, names: Sequence[str]) -> Iterator[tuple[str, Videos]]:
    """Yield file names with the videos of each: as equally many as can be."""
    if names:
        for name, rows in zip(names, np.array_split(videos.rows, len(names)), strict=True):
            yield name, Videos(videos.stream, rows)


def _label_key(table: Table, name: str) -> str:
    """Return the manifest's variable name, or the one by which the field knows the file."""
    stem = Path(name).stem
    return table.label_key or (stem if stem in LABEL_KEYS else LABEL_KEYS[0])


def _is_there(plan: Plan, target: Path, data: Path) -> bool:
    """Say whether the data set is there already, whole.

    Raises:
        DataError: other files are there.
    """
    advice = "Remove that folder to make them again, or name another with --data."
    if marker := read_marker(target):
        if marker != plan.marker:
            made = f"scale {marker.scale:g} and seed {marker.seed}"
            raise DataError(f"{target} holds synthetic files already, of {made}. {advice}")
        _check_whole(plan, target, advice)
        return True
    found = sorted(target.iterdir()) if target.is_dir() else [target] if target.exists() else []
    found += [path for name in (*plan.features, *plan.labels) if (path := data / name).exists()]
    if found:
        raise DataError(
            f"{found[0]} exists and is not known to be synthetic: made-up files never go beside or over others. "
            "Name another folder with --data."
        )
    return False


def _check_whole(plan: Plan, target: Path, advice: str) -> None:
    for name, (key, videos) in plan.features.items():
        try:
            header = read_header(target / name, key)
        except DataError as error:
            raise DataError(f"{error} It is a synthetic file. {advice}") from error
        if header.shape != (len(videos.rows), plan.source.frames, plan.source.dim):
            raise DataError(f"{target / name} is not the synthetic file that was made there. {advice}")
        if plan.gzip != (header.offset is None):
            raise DataError(f"{target} holds these files {'contiguous' if plan.gzip else 'compressed'}. {advice}")
    for name in plan.labels:
        if not (target / name).exists():
            raise DataError(f"{target / name}, a synthetic file, is missing. {advice}")


@contextlib.contextmanager
def _workplace(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside `target` that no other process uses; it is removed unless it was renamed."""
    folder = target.parent / f"{TEMPORARY}{target.name}"
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems know no locks
            if not lock(descriptor):
                raise DataError(f"Another process is making {target}: wait for it.")
        if not folder.exists() or folder.stat().st_ino != os.fstat(descriptor).st_ino:
            raise DataError(f"Another process has just been at work on {target}: run the same command again.")
        for left in folder.iterdir():
            left.unlink()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _stoppable() -> Iterator[Callable[[], None]]:
    """Yield a function that ends the work if a signal has asked for it: HDF5 crashes if one breaks off its writing."""
    asked: list[int] = []

    def check() -> None:
        if asked:
            raise KeyboardInterrupt if asked[0] == signal.SIGINT else SystemExit(128 + asked[0])

    if threading.current_thread() is not threading.main_thread():  # no other thread gets signals
        yield check
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda number, _: asked.append(number)) for number in numbers}
    try:
        yield check
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


def _check_room(plan: Plan, folder: Path, target: Path) -> None:
    """Say before the work that the disk will not do."""
    needed = plan.nbytes * (gzip_ratio(plan.source) if plan.gzip else 1)
    needed += sum(len(videos.rows) for _, videos in plan.labels.values()) * plan.source.classes
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise StoreError(
            f"The disk is too full: {target} takes {needed / 1e9:.3g} GB and {target.parent} has {free / 1e9:.3g} GB "
            "free. Free space, name a folder on another disk with --data or make fewer videos with --scale."
        )


def _write_all(plan: Plan, folder: Path, progress: ByteProgress, check_stop: Callable[[], None]) -> None:
    """Write every file to disk, the marker last."""
    done = 0
    for name, (key, videos) in plan.labels.items():
        write_labels(folder / name, key, plan.source, videos)
    for name, (key, videos) in plan.features.items():
        with contextlib.closing(write_features(folder / name, key, plan.source, videos, plan.gzip)) as blocks:
            for nbytes in blocks:
                check_stop()
                done += nbytes
                progress(done, plan.nbytes)
    check_stop()
    write_marker(folder, plan.marker)
    sync_folder(folder)
