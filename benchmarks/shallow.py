"""Fits of the shallow methods, streamed from a file, beside scikit-learn on the loaded file.

    python -m vhbench.benchmarks.shallow [--file FILE] [--scale 0.2] [--bits 64] [--methods itq,pcah,sh,agh,mfh]
        [--cold] [--threads N] [--quick]

- ours: `fit` of the method on a feature file, 25 frames x 4096 dimensions of float32 a video; without --file made up,
  --scale times as many videos as FCVID's 45,585. The file is in the page cache, as the first line says, or with
  --cold dropped from it before each reading, which needs a file on a real disk.
- script: what released scripts do: load the file, average frames, then scikit-learn's PCA (`pcah`, `sh`), PCA and a
  plain numpy ITQ (`itq`), or scikit-learn's KMeans with as many clusters and iterations (`agh`). mfh has none, and
  none is run on a file that would fill half of the memory.
- bounds: `dd` reads the bytes; "products" are the operations that `describe` states, at the rate of large square
  matrices in float32. "reading" is the share of dd's speed that vhbench's reading reaches when nothing is learnt,
  "fit" the share of the larger bound that the whole fit reaches.

Each figure is of a fresh process; peak memory has the interpreter and the libraries in it. Keep the machine idle.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vhbench.benchmarks import machine

if TYPE_CHECKING:
    import numpy as np

    from vhbench.videos import VideoSet

FCVID, FRAMES, DIM = 45_585, 25, 4096
QUICK = {"scale": 0.005, "bits": 16}
ANCHORS, ROUNDS = 300, 5  # of agh's k-means
SCRIPTS = ("itq", "pcah", "sh", "agh")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = machine.options(__doc__)
    parser.add_argument("--file", type=Path, help="a contiguous HDF5 or .npy feature file")
    parser.add_argument("--scale", type=float, default=0.2, help="videos to make up, as a part of FCVID's")
    parser.add_argument("--bits", type=int, default=64)
    parser.add_argument("--methods", default="itq,pcah,sh,agh,mfh")
    parser.add_argument("--cold", action="store_true", help="drop the file from the page cache before each reading")
    parser.add_argument("--measure", metavar="WHAT", help=argparse.SUPPRESS)
    return machine.parse(parser, QUICK)


def make_file(path: Path, videos: int) -> None:
    """Write features of 20 classes in blocks; their variances fall as 1, 1/2, 1/3, ..., like real ones'."""
    import numpy as np

    rng = np.random.default_rng(0)
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(videos, FRAMES, DIM))
    scale = (np.arange(1, DIM + 1) ** -0.5).astype(np.float32)
    centres = rng.standard_normal((20, 1, DIM), dtype=np.float32)
    for start in range(0, videos, 64):
        part = out[start : start + 64]
        part[:] = rng.standard_normal(part.shape, dtype=np.float32) + centres[rng.integers(0, 20, len(part))]
        part *= scale
    out.flush()


def measure(what: str, path: Path, bits: int, cold: bool) -> dict[str, float]:
    """Fit once in this process: ours, or the script's way for `script-METHOD`."""
    if what.startswith("script-"):
        import sklearn.cluster
        import sklearn.decomposition  # noqa: F401  not part of the time

        timing = best_of(1, cold, path, script, what.removeprefix("script-"), path, bits)
        return {"seconds": timing.wall, "peak_mb": machine.peak_mb()}
    import numpy as np

    from vhbench.features import open_features
    from vhbench.videos import VideoSet

    videos = VideoSet(open_features([path]))
    fit_once(what, videos.subset(np.arange(2 * bits)), bits)  # imports
    fit, peak = best_of(1, cold, path, fit_once, what, videos, bits), machine.peak_mb()
    reading = best_of(1 if cold else 2, cold, path, read, videos, what)
    return {"seconds": fit.wall, "peak_mb": peak, "read": reading.wall}


def best_of(repeat: int, cold: bool, path: Path, function: Callable[..., Any], *args: Any) -> machine.Timing:
    """Time a function that reads the file; with `cold` the system has forgotten the file before."""
    from vhbench.benchmarks import bounds

    before = (lambda: bounds.drop_from_cache(path)) if cold else None
    return machine.take_turns({"": lambda: function(*args)}, repeat, before)[""]


def fit_once(name: str, videos: VideoSet, bits: int) -> None:
    """Fit a method with its published hyper-parameters."""
    from vhbench.method import FitContext
    from vhbench.plugins.registry import Registry

    Registry().method(name).make(bits).fit(videos, FitContext())


def read(videos: VideoSet, name: str) -> None:
    """Read as the method does, and learn nothing."""
    from vhbench.methods.mfh import videos_a_block

    if name == "mfh":
        for _ in videos.arrays(videos_a_block(videos)):
            pass
    else:
        videos.mean_frames()


def script(name: str, path: Path, bits: int) -> np.ndarray:
    """Return the training codes (or, for agh, the anchors) as a released script would find them."""
    import numpy as np
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA

    means = load(path).mean(axis=1)
    if name == "agh":
        return np.asarray(
            KMeans(min(ANCHORS, len(means) // 2), n_init=1, max_iter=ROUNDS, random_state=0).fit(means).cluster_centers_
        )
    projected = PCA(bits).fit_transform(means)
    if name == "itq":
        rotation, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((bits, bits)))
        for _ in range(50):
            left, _, right = np.linalg.svd(np.sign(projected @ rotation).T @ projected)
            rotation = right.T @ left.T
        projected = projected @ rotation
    return np.asarray(projected > 0)


def load(path: Path) -> np.ndarray:
    """Load the whole file into memory."""
    import h5py
    import numpy as np

    if path.suffix == ".npy":
        loaded: np.ndarray = np.load(path, allow_pickle=False)
        return loaded
    with h5py.File(path) as file:
        (name,) = file
        features: np.ndarray = file[name][:]
        return features


def in_process(what: str, args: argparse.Namespace) -> dict[str, Any]:
    """Call `measure` in a fresh process."""
    options = ["--measure", what, "--file", args.file, "--bits", args.bits, "--threads", args.threads]
    options += ["--cold"] if args.cold else []
    words = [sys.executable, "-m", "vhbench.benchmarks.shallow", *map(str, options)]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    """Measure and print."""
    args = parse()
    if args.measure:
        machine.set_threads(args.threads)
        print(json.dumps(measure(args.measure, args.file, args.bits, args.cold)))
        return
    machine.start(args, "numpy", "scipy", "scikit-learn")
    with tempfile.TemporaryDirectory() as folder:
        if args.file is None:
            args.file = Path(folder) / "features.npy"
            make_file(args.file, max(4 * args.bits, round(args.scale * FCVID)))
        compare(args)


def compare(args: argparse.Namespace) -> None:
    """Print a row a method."""
    from vhbench.benchmarks import bounds
    from vhbench.features import open_features
    from vhbench.videos import VideoSet

    videos = VideoSet(open_features([args.file]))
    loads = videos.nbytes < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2
    rate = bounds.matmul_rate()
    if args.cold:
        bounds.drop_from_cache(args.file)
    else:
        bounds.read_with_dd(args.file)
    cached = 100 * bounds.share_in_cache(args.file)
    print(f"{videos}, {videos.nbytes / 1e9:.2f} GB, {cached:.0f} % in the page cache; {args.bits} bits")
    columns = ("ours s", "script s", "ratio", "read s", "dd s", "products s", "reading", "fit", "ours MB", "script MB")
    table = machine.Table("method", *columns, width=6)
    for name in args.methods.split(","):
        mine = in_process(name, args)
        theirs = in_process(f"script-{name}", args) if name in SCRIPTS and loads else None
        beside = (theirs["seconds"], machine.ratio(theirs["seconds"], mine["seconds"])) if theirs else (None, None)
        dd = best_of(1 if args.cold else 3, args.cold, args.file, bounds.read_with_dd, args.file).wall
        products = operations(name, args.bits, videos) / rate
        shares = machine.share(dd, mine["read"]), machine.share(max(dd, products), mine["seconds"])
        peaks = mine["peak_mb"], theirs["peak_mb"] if theirs else None
        table.row(name, mine["seconds"], *beside, mine["read"], dd, products, *shares, *peaks)
    print(f"products: {rate / 1e9:,.0f} GFLOP/s in float32")


def operations(name: str, bits: int, videos: VideoSet) -> float:
    """Return the operations of a fit that grow with the videos, as `describe` states them."""
    from vhbench.plugins.registry import Registry

    method: Any = Registry().method(name).make(bits)
    fit, _ = method.operations(videos.frames, videos.dim)
    return float(fit * len(videos))


if __name__ == "__main__":
    machine.run(main)
