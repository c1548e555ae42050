"""Reading features where they lie, beside dd and beside host memory.

    python -m vhbench.benchmarks.reading [FILE] [--repeat 5] [--block 24] [--cold] [--quick]

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
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from vhbench.benchmarks import machine

if TYPE_CHECKING:
    from vhbench.videos import VideoSet

BATCH = 256
BLOCK = 24.0  # MiB
SHAPE = (1000, 25, 4096)  # of the features made where no file is given
QUICK_SHAPE = (100, 25, 4096)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = machine.options(__doc__)
    parser.add_argument("file", type=Path, nargs="?", help="a contiguous HDF5 or .npy feature file that fits in memory")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--block", type=float, default=BLOCK, help="MiB at a time; vhbench's by default")
    parser.add_argument("--cold", action="store_true", help="in order: drop the file from the page cache each time")
    return parser.parse_args()


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
    import numpy as np

    for _ in videos.batches(BATCH, np.random.default_rng(0)):
        pass


def show(times: dict[str, machine.Timing], size: int) -> None:
    """Print a table; the first contestant is the yardstick."""
    first = next(iter(times.values()))
    table = machine.Table("", "wall s", "MB/s", "of first's", "cpu s", "of first's", width=12)
    for name, (wall, cpu) in times.items():
        table.row(name, wall, size / 1e6 / wall, wall / first.wall, cpu, cpu / first.cpu)


def main() -> None:
    """Run the comparison on the file given, or on one made for it."""
    args = parse()
    machine.start(args, "numpy", "h5py", "torch")
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        if args.file is None:
            args.file = Path(folder) / "features.npy"
            shape = QUICK_SHAPE if args.quick else SHAPE
            np.save(args.file, np.random.default_rng(0).random(shape, dtype=np.float32))
        compare(args)


def compare(args: argparse.Namespace) -> None:
    """Run and print the comparison."""
    from vhbench.benchmarks import bounds
    from vhbench.features import open_features
    from vhbench.videos import VideoSet

    videos, size = VideoSet(open_features([args.file])), args.file.stat().st_size
    block_bytes = int(args.block * 2**20)
    block = max(1, block_bytes * len(videos) // size)
    print(f"{args.file}: {videos}, {size / 1e9:.2f} GB; best of {args.repeat}, {args.block:g} MiB at a time\n")

    bounds.read_with_dd(args.file)
    prepare = (lambda: bounds.drop_from_cache(args.file)) if args.cold else None
    if prepare:
        prepare()
    print(f"in order, {100 * bounds.share_in_cache(args.file):.0f} % of the file in the page cache:")
    contestants = {
        "dd": lambda: bounds.read_with_dd(args.file),
        "vhbench": lambda: read_in_order(videos, block),
        "one buffer": lambda: read_into_one_buffer(args.file, block_bytes),
    }
    times = machine.take_turns(contestants, args.repeat, prepare)
    show(times, size)
    speed, cpu = (100 * a / b for a, b in zip(times["dd"], times["vhbench"], strict=True))
    print(f"vhbench reads at {speed:.0f} % of dd's speed, the bound (by processor time {cpu:.0f} %)")

    read_epoch(videos)  # imports torch, and warms the cache again
    peak = machine.peak_mb()
    in_memory = videos.resident()
    print(
        f"\none shuffled epoch in batches of {BATCH}, {100 * bounds.share_in_cache(args.file):.0f} % in the page cache:"
    )
    epochs = {"memory": lambda: read_epoch(in_memory), "file": lambda: read_epoch(videos)}
    show(machine.take_turns(epochs, args.repeat), size)
    print(f"\npeak memory before the videos were held in memory: {peak:.0f} MB, interpreter and libraries included")


if __name__ == "__main__":
    machine.run(main)
