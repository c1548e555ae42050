"""Fits of the shallow methods, streamed from a file, beside scikit-learn on the loaded file.

    python -m vhbench.benchmarks.shallow [--file FILE] [--scale 0.2] [--bits 64] [--methods itq,pcah,sh,agh,mfh]
        [--threads N] [--quick]

- ours: `fit` of the method on a feature file, 25 frames x 4096 dimensions of float32 a video; without --file made up,
  --scale times as many videos as FCVID's 45,585. The file is in the page cache, as the first line says.
- script: what released scripts do: load the file, average frames, then scikit-learn's PCA (`pcah`, `sh`), PCA and a
  plain numpy ITQ (`itq`), or scikit-learn's KMeans with as many clusters and iterations (`agh`). mfh has none.
- bound: `dd` reads the bytes once (mfh reads them twice, and dd then counts twice). "reading" is the share of it that
  vhbench's reading reaches when nothing is learnt, "fit" that of the whole fit.

Each figure is of a fresh process; peak memory has the interpreter and the libraries in it. A fit is also timed on half
of the videos, and what it takes beyond reading split into a part that grows with the file and one that does not
(eigenvectors, k-means of a sample, rotations). The second table puts these together for all of FCVID; it is
extrapolated and says so. It needs half of the videos to be more than dimensions, as from --scale 0.2 on. Keep the
machine idle.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vhbench.benchmarks import machine

if TYPE_CHECKING:
    import numpy as np

    from vhbench.videos import VideoSet

FCVID, FRAMES, DIM = 45_585, 25, 4096
QUICK = {"scale": 0.005, "bits": 16}
PASSES = {"mfh": 2}  # over the file; 1 for all others
ANCHORS, ROUNDS = 300, 20  # of agh's k-means
SCRIPTS = ("itq", "pcah", "sh", "agh")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = machine.options(__doc__)
    parser.add_argument("--file", type=Path, help="a contiguous HDF5 or .npy feature file")
    parser.add_argument("--scale", type=float, default=0.2, help="videos to make up, as a part of FCVID's")
    parser.add_argument("--bits", type=int, default=64)
    parser.add_argument("--methods", default="itq,pcah,sh,agh,mfh")
    parser.add_argument("--measure", metavar="WHAT", help=argparse.SUPPRESS)
    return machine.parse(parser, QUICK)


def make_file(path: Path, videos: int) -> None:
    """Write features of 20 classes in blocks."""
    import numpy as np

    rng = np.random.default_rng(0)
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(videos, FRAMES, DIM))
    centres = rng.standard_normal((20, 1, DIM), dtype=np.float32)
    for start in range(0, videos, 64):
        part = out[start : start + 64]
        part[:] = rng.standard_normal(part.shape, dtype=np.float32) + centres[rng.integers(0, 20, len(part))]
    out.flush()


def measure(what: str, path: Path, bits: int) -> dict[str, float]:
    """Fit once in this process: ours, or the script's way for `script-METHOD`."""
    if what.startswith("script-"):
        import sklearn.cluster
        import sklearn.decomposition  # noqa: F401  not part of the time

        timing = machine.best_of(1, script, what.removeprefix("script-"), path, bits)
        return {"seconds": timing.wall, "cpu": timing.cpu, "peak_mb": machine.peak_mb()}
    import numpy as np

    from vhbench.features import open_features
    from vhbench.videos import VideoSet

    videos = VideoSet(open_features([path]))
    half = videos.subset(np.arange(len(videos) // 2))
    fit_once(what, videos.subset(np.arange(2 * bits)), bits)  # imports
    fit = machine.best_of(1, fit_once, what, videos, bits)
    found = {"seconds": fit.wall, "cpu": fit.cpu, "peak_mb": machine.peak_mb()}
    for name, part in (("", videos), ("half_", half)):
        found[f"{name}read"] = machine.best_of(2, read, part, what).wall
    return {**found, "half_seconds": machine.best_of(1, fit_once, what, half, bits).wall}


def fit_once(name: str, videos: VideoSet, bits: int) -> None:
    """Fit a method with its published hyper-parameters."""
    from vhbench.method import FitContext
    from vhbench.registry import Registry

    Registry().method(name).make(bits).fit(videos, FitContext())


def read(videos: VideoSet, name: str) -> None:
    """Read as the method does, and learn nothing."""
    if name in PASSES:
        for _ in range(PASSES[name]):
            for _ in videos.arrays(max(1, (24 << 20) // (4 * videos.frames * videos.dim))):
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
    words = [sys.executable, "-m", "vhbench.benchmarks.shallow", *map(str, options)]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    """Measure and print."""
    args = parse()
    if args.measure:
        machine.set_threads(args.threads)
        print(json.dumps(measure(args.measure, args.file, args.bits)))
        return
    machine.start(args, "numpy", "scipy", "scikit-learn")
    with tempfile.TemporaryDirectory() as folder:
        if args.file is None:
            args.file = Path(folder) / "features.npy"
            make_file(args.file, max(4 * args.bits, round(args.scale * FCVID)))
        compare(args)


def compare(args: argparse.Namespace) -> None:
    """Print a row a method, and what it would be at FCVID's size."""
    from vhbench.benchmarks import bounds
    from vhbench.features import open_features
    from vhbench.videos import VideoSet

    videos = VideoSet(open_features([args.file]))
    bounds.read_with_dd(args.file)
    once = machine.best_of(3, bounds.read_with_dd, args.file).wall
    cached = 100 * bounds.share_in_cache(args.file)
    print(f"{videos}, {videos.nbytes / 1e9:.2f} GB, {cached:.0f} % in the page cache; {args.bits} bits")
    columns = (
        "ours s",
        "script s",
        "ratio",
        "read s",
        "compute s",
        "bound s",
        "reading",
        "fit",
        "ours MB",
        "script MB",
    )
    table = machine.Table("method", *columns, width=6)
    found = {}
    for name in args.methods.split(","):
        mine = found[name] = in_process(name, args)
        theirs = in_process(f"script-{name}", args) if name in SCRIPTS else None
        bound = PASSES.get(name, 1) * once
        beside = (theirs["seconds"], machine.ratio(theirs["seconds"], mine["seconds"])) if theirs else (None, None)
        split = mine["read"], max(0.0, mine["seconds"] - mine["read"]), bound
        shares = machine.share(bound, mine["read"]), machine.share(bound, mine["seconds"])
        table.row(
            name, mine["seconds"], *beside, *split, *shares, mine["peak_mb"], theirs["peak_mb"] if theirs else None
        )
    print(f"bound: dd reads {videos.nbytes / 1e9 / once:.2f} GB/s")
    if len(videos) // 2 > videos.dim:
        extrapolate(found, videos, once)


def extrapolate(found: dict[str, dict[str, Any]], videos: VideoSet, once: float) -> None:
    """Print what the fits would take on all of FCVID."""
    factor = FCVID / len(videos)
    print(f"\nEXTRAPOLATED to FCVID's {FCVID:,} videos from these {len(videos):,} and half of them, not measured:")
    columns = ("fit s", "read s", "compute s", "of it fixed", "bound s", "fit")
    table = machine.Table("method", *columns, width=6)
    for name, figures in found.items():
        whole, half = (figures[f"{p}seconds"] - figures[f"{p}read"] for p in ("", "half_"))
        growing = max(0.0, 2 * (whole - half)) * factor
        fixed = max(0.0, 2 * half - whole)
        reading, bound = figures["read"] * factor, PASSES.get(name, 1) * once * factor
        total = reading + growing + fixed
        table.row(name, total, reading, growing + fixed, fixed, bound, machine.share(bound, total))


if __name__ == "__main__":
    machine.run(main)
