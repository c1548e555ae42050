"""Speed of reading features where they lie, side by side in one run with equal cache state.

    python benchmarks/reading.py [FILE] [--repeat 5] [--block 24] [--cold]

Without FILE it makes 0.4 GB of features in the temporary folder. For more: `vhbench data synth --like fcvid --scale 0.1
--data /tmp/synth`, then FILE is /tmp/synth/fcvid/fcv_train_feats.h5.

- in order: `VideoSet.arrays`, as shallow methods read, against `dd bs=1M` of the whole file to /dev/null. dd reads into
  one buffer that stays in the processor's cache; vhbench's blocks are arrays that a method may keep. A third figure
  reads into one buffer of the block's size, which shows what of the difference is memory.
- shuffled: one epoch of `VideoSet.batches(256, rng)` from the file against the same epoch from host memory.

The contestants take turns, and the best of each counts: other work on the machine only ever slows one down. Beside the
wall clock stands the processor time, of all threads and of dd's process, which other work disturbs less. The page cache
is warm (the file is read once before), so that none waits for the disk; --cold drops the file from the cache before
each reading in order, which needs no privileges but does need a file on a real disk.
"""

from __future__ import annotations

import argparse
import ctypes
import mmap
import os
import platform
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from vhbench.features import open_features
from vhbench.videos import BLOCK_BYTES, VideoSet

BATCH = 256
SHAPE = (1000, 25, 4096)  # of the features made where no file is given


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, nargs="?", help="a contiguous HDF5 or .npy feature file that fits in memory")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--block", type=float, default=BLOCK_BYTES / 2**20, help="MiB at a time; vhbench's by default")
    parser.add_argument("--cold", action="store_true", help="in order: drop the file from the page cache each time")
    return parser.parse_args()


def read_with_dd(path: Path) -> None:
    """Read the file's bytes as fast as the system does."""
    subprocess.run(["dd", f"if={path}", "of=/dev/null", "bs=1M", "status=none"], check=True)


def read_in_order(videos: VideoSet, size: int) -> None:
    """Stream the videos."""
    for _ in videos.arrays(size):
        pass


def read_into_one_buffer(path: Path, size: int) -> None:
    """Read the file into one buffer of as many bytes again and again."""
    buffer = bytearray(size)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def read_epoch(videos: VideoSet) -> None:
    """Stream the videos shuffled, in the same order each time."""
    for _ in videos.batches(BATCH, np.random.default_rng(0)):
        pass


def cpu_seconds() -> float:
    """Return the processor time of this process and of the children that have ended."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def best(contestants: dict[str, Callable[[], None]], repeat: int, before: Callable[[], None]) -> dict[str, list[float]]:
    """Return each contestant's shortest wall clock and shortest processor time in seconds; they take turns."""
    times = {name: [float("inf"), float("inf")] for name in contestants}
    for _ in range(repeat):
        for name, function in contestants.items():
            before()
            wall, cpu = time.perf_counter(), cpu_seconds()
            function()
            found = time.perf_counter() - wall, cpu_seconds() - cpu
            times[name] = [min(pair) for pair in zip(times[name], found, strict=True)]
    return times


def show(times: dict[str, list[float]], size: int) -> None:
    """Print a table; the first contestant is the yardstick."""
    first = next(iter(times.values()))
    print(f"  {'':12}   wall s     MB/s  of first's    cpu s  of first's")
    for name, (wall, cpu) in times.items():
        shares = wall / first[0], cpu / first[1]
        print(f"  {name:12} {wall:8.2f} {size / 1e6 / wall:8.0f} {shares[0]:11.2f} {cpu:8.2f} {shares[1]:11.2f}")


def nothing() -> None:
    """Leave everything as it is."""


def drop_from_cache(path: Path) -> None:
    """Have the system forget the file's pages."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def share_in_cache(path: Path) -> float:
    """Return which part of the file is in the page cache."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as memory:
        pages = -(-len(memory) // mmap.PAGESIZE)
        states = (ctypes.c_ubyte * pages)()
        first = ctypes.c_char.from_buffer(memory)
        failed = ctypes.CDLL(None).mincore(ctypes.c_void_p(ctypes.addressof(first)), len(memory), states)
        del first
        return float("nan") if failed else np.count_nonzero(np.frombuffer(states, np.uint8) & 1) / pages


def main() -> None:
    """Run the comparison on the file given, or on one made for it."""
    args = parse()
    with tempfile.TemporaryDirectory() as folder:
        if args.file is None:
            args.file = Path(folder) / "features.npy"
            np.save(args.file, np.random.default_rng(0).random(SHAPE, dtype=np.float32))
        compare(args)


def compare(args: argparse.Namespace) -> None:
    """Run and print the comparison."""
    features = open_features([args.file])
    videos, size = VideoSet(features), args.file.stat().st_size
    block_bytes = int(args.block * 2**20)
    block = max(1, block_bytes * len(videos) // size)
    print(f"machine: {platform.node()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    print(f"{args.file}: {videos}, {size / 1e9:.2f} GB; best of {args.repeat}, {args.block:g} MiB at a time\n")

    read_with_dd(args.file)
    prepare = (lambda: drop_from_cache(args.file)) if args.cold else nothing
    prepare()
    print(f"in order, {100 * share_in_cache(args.file):.0f} % of the file in the page cache:")
    contestants = {
        "dd": lambda: read_with_dd(args.file),
        "vhbench": lambda: read_in_order(videos, block),
        "one buffer": lambda: read_into_one_buffer(args.file, block_bytes),
    }
    times = best(contestants, args.repeat, prepare)
    show(times, size)
    speed, cpu = (100 * a / b for a, b in zip(times["dd"], times["vhbench"], strict=True))
    print(f"  vhbench reads at {speed:.0f} % of dd's speed (by processor time {cpu:.0f} %)")

    read_epoch(videos)  # imports torch, and warms the cache again
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    in_memory = videos.resident()
    print(f"\none shuffled epoch in batches of {BATCH}, {100 * share_in_cache(args.file):.0f} % in the page cache:")
    show(
        best({"memory": lambda: read_epoch(in_memory), "file": lambda: read_epoch(videos)}, args.repeat, nothing), size
    )
    print(f"\npeak memory before the videos were held in memory: {peak:.0f} MB, interpreter and libraries included")


if __name__ == "__main__":
    main()
