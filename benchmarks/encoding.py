"""Encoding a file of videos beside the plain loop, reading alone and computing alone; one training for all lengths.

    python -m vhbench.benchmarks.encoding [--method uvvh,ssth,itq] [--videos 1024] [--device cpu] [--repeat 3] [--quick]

Made-up videos of 25 frames of 4096 dimensions in a .npy file in the page cache. Seconds, contestants in turns:

- ours: `encode`, which reads the next batch while it computes on this one;
- plain: a DataLoader over single videos of the mapped file, batches of 256, the same network, codes copied batch by
  batch (methods that train a network);
- reading, computing: what `ours` does of either alone. Bound: the longer of the two, as if they overlapped entirely.

Then methods of nested codes: a grid of four lengths, which trains and encodes once, against four runs by themselves.
Keep the machine idle.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vhbench.benchmarks import machine
from vhbench.benchmarks.training import DIM, made_up

if TYPE_CHECKING:
    from vhbench.method import Method
    from vhbench.training import NeuralMethod
    from vhbench.videos import VideoSet

BATCH = 256
TRAIN = 128  # videos; enough for every method to learn 64 bits
LENGTHS = (8, 16, 32, 64)
QUICK = {"videos": 128, "dim": 256, "repeat": 1}


def plain(method: NeuralMethod, path: Path, device: str) -> None:
    """Encode as released code does."""
    import numpy as np
    import torch
    from torch.utils.data import DataLoader

    from vhbench.benchmarks.plain import Videos

    codes = []
    with torch.no_grad():
        for _, batch in DataLoader(Videos(np.load(path, mmap_mode="r", allow_pickle=False)), BATCH):
            codes.append(method.codes(method.module_, batch.to(device)).cpu().numpy())
    np.concatenate(codes)


def read(videos: VideoSet, neural: bool) -> None:
    """Read the videos as `encode` does and compute nothing."""
    for _ in videos.batches(BATCH) if neural else ():
        pass
    if not neural:
        videos.mean_frames()


def contestants(method: Method, path: Path, device: str) -> dict[str, Callable[[], object]]:
    """Return what is timed for a fitted method."""
    from vhbench.features import open_features
    from vhbench.training import NeuralMethod
    from vhbench.videos import VideoSet

    videos = VideoSet(open_features([path]))
    neural = isinstance(method, NeuralMethod)
    held = videos.resident(device)
    found: dict[str, Callable[[], object]] = {
        "ours": partial(method.encode, videos),
        "reading": partial(read, videos, neural),
        "computing": partial(method.encode, held),
    }
    if isinstance(method, NeuralMethod):
        found["plain"] = partial(plain, method, path, device)
    return found


def compare_encoding(names: str, path: Path, train: VideoSet, device: str, repeat: int) -> None:
    """Print a row a method."""
    import warnings

    from vhbench.method import Budget, FitContext
    from vhbench.plugins.registry import Registry

    warnings.filterwarnings("ignore", "The given NumPy array is not writable")
    table = machine.Table("method", "ours", "plain", "ratio", "reading", "computing", "of bound", width=12)
    for name in names.split(","):
        entry = Registry().method(name)
        method = entry.make(64).fit(train, FitContext(budget=Budget(epochs=1), device=device))
        turns = {
            key: timing.wall for key, timing in machine.take_turns(contestants(method, path, device), repeat).items()
        }
        bound = max(turns["reading"], turns["computing"])
        other = turns.get("plain")
        table.row(
            name, turns["ours"], other, other and machine.ratio(other, turns["ours"]), turns["reading"],
            turns["computing"], machine.share(bound, turns["ours"]),
        )  # fmt: skip


def compare_lengths(folder: Path, videos: int, dim: int) -> None:
    """Print how long four lengths take together and each by itself."""
    import vhbench
    from vhbench.testing import make_protocol

    manifest = make_protocol(folder / "data", videos=videos, queries=videos // 4, frames=25, dim=dim)
    run = partial(vhbench.run, protocol=manifest, device="cpu")
    for name in ("pcah", "agh"):  # opens the files, and imports and compiles what is needed
        run(name, bits=LENGTHS[-1:], out=folder / "first")
    print(f"\nnested codes, lengths {', '.join(map(str, LENGTHS))}: {videos} videos; training, encoding and scoring")
    table = machine.Table("method", "grid s", "alone s", "ratio", width=12)
    for name in ("pcah", "agh"):
        together = machine.best_of(1, partial(run, name, bits=LENGTHS, out=folder / f"{name}-grid"))
        alone = [machine.best_of(1, partial(run, name, bits=[b], out=folder / f"{name}-{b}")).wall for b in LENGTHS]
        table.row(name, together.wall, sum(alone), machine.ratio(sum(alone), together.wall))


def main() -> None:
    """Print both tables."""
    parser = machine.options(__doc__)
    parser.add_argument("--method", default="uvvh,ssth,bl1,itq", help="names, comma-separated")
    parser.add_argument("--videos", type=int, default=1024)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dim", type=int, default=DIM, help="feature dimensions a frame")
    parser.add_argument("--repeat", type=int, default=3)
    args = machine.parse(parser, QUICK)
    machine.start(args, "torch", device=args.device)
    import numpy as np
    import torch

    from vhbench.videos import VideoSet

    torch.set_num_threads(args.threads)
    dim, videos, repeat = args.dim, args.videos, args.repeat
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.npy"
        features = made_up(videos, dim)
        np.save(path, features)
        print(f"{videos} videos of 25 x {dim}, 64 bits, best of {repeat}; seconds")
        compare_encoding(args.method, path, VideoSet(features[:TRAIN]), args.device, repeat)
        del features
        compare_lengths(Path(folder), videos, dim)


if __name__ == "__main__":
    machine.run(main)
