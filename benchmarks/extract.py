"""Frame features of videos: vhbench extract beside an eager torch loop over frames that OpenCV decoded by seeking.

    python -m vhbench.benchmarks.extract [--videos DIR] [--count 12] [--repeat 2] [--quick]

Without --videos it makes some: H.264, 320 x 240, 10 s, a whole picture every 2 s (as public data sets have them). Both
compute 25 frames a video with EfficientNet-Lite0, with as many processes or threads as --threads says:

- ours: `vhbench extract`, the command as a whole, with its start and the file that it writes;
- loop: one process that sets OpenCV to each of 25 frames, reads and resizes them, and gives all to eager torch.

Seconds a video: ours, the loop, their ratio; the parts of ours in one process (decoding, pictures, the network). The
bound is what the network alone takes, shared by the processes. OpenCV is needed by this part only.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vhbench.benchmarks import machine

FRAMES = 25
QUICK = {"count": 3, "repeat": 1}


def make_videos(folder: Path, count: int, seconds: int = 10) -> None:
    """Write H.264 videos of moving waves with noise."""
    import av
    import numpy as np

    y, x = np.mgrid[:240, :320]
    for number in range(count):
        rng = np.random.default_rng(number)
        noise = rng.integers(-12, 12, (240, 320, 3))
        with av.open(str(folder / f"{number:03}.mp4"), "w") as output:
            stream: Any = output.add_stream("libx264", rate=25, options={"preset": "veryfast", "g": "50"})
            stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
            for frame in range(25 * seconds):
                waves = [120 + 90 * np.sin(x / (9 + c + number % 5) + y / 17 + frame / (5 + c)) for c in range(3)]
                picture = (np.stack(waves, -1) + np.roll(noise, frame, 1)).clip(0, 255).astype(np.uint8)
                output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
            output.mux(stream.encode(None))


def loop(paths: list[Path], network: Any, threads: int) -> None:
    """Compute features as scripts do: seek, decode, resize, and eager torch."""
    import cv2
    import numpy as np
    import torch

    cv2.setNumThreads(threads)
    for path in paths:
        video = cv2.VideoCapture(str(path))
        total = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
        frames = []
        for part in range(FRAMES):
            video.set(cv2.CAP_PROP_POS_FRAMES, (2 * part + 1) * total // (2 * FRAMES))
            there, frame = video.read()
            if there:
                height, width = frame.shape[:2]
                scale = 256 / min(height, width)
                frame = cv2.resize(frame, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_CUBIC)
                top, left = (frame.shape[0] - 224) // 2, (frame.shape[1] - 224) // 2
                frames.append(frame[top : top + 224, left : left + 224, ::-1])
        inputs = torch.from_numpy((np.stack(frames).astype(np.float32) - 127) / 128).permute(0, 3, 1, 2)
        with torch.no_grad():
            network(inputs)


def parts_of_ours(paths: list[Path]) -> tuple[float, float, float]:
    """Return the processor seconds of one process for decoding, pictures and the network."""
    import numpy as np

    from vhbench.video.frames import Shown, sample
    from vhbench.video.networks import Choice, open_network
    from vhbench.video.networks.network import SHARE
    from vhbench.video.pictures import centre, upright

    network = open_network(Choice())
    decoding = preparing = computing = 0.0
    for path in paths:
        within = 0.0

        def prepare(shown: Shown) -> np.ndarray:
            nonlocal within
            start = time.process_time()
            picture = centre(*upright(*shown), network.size, SHARE)
            within += time.process_time() - start
            return picture

        start = time.process_time()
        chosen = sample(path, FRAMES, prepare)
        decoded = time.process_time()
        network(network.normalisation(np.stack(chosen.values)))
        computing += time.process_time() - decoded
        decoding += decoded - start - within
        preparing += within
    return decoding, preparing, computing


def main() -> None:
    """Print the comparison."""
    parser = machine.options(__doc__)
    parser.add_argument("--videos", type=Path, help="a folder of videos; by default some are made")
    parser.add_argument("--count", type=int, default=12, help="videos to make")
    parser.add_argument("--repeat", type=int, default=2)
    args = machine.parse(parser, QUICK)
    if not all(map(find_spec, ("av", "onnxruntime"))):
        print('Left out: this part reads videos, pip install "vhbench[video]".')
        return
    machine.start(args, "av", "onnxruntime", "torch", "opencv-python-headless")
    if find_spec("cv2") is None:
        print('Without the loop: it needs OpenCV, pip install "vhbench[bench]".')
    with tempfile.TemporaryDirectory() as folder:
        if args.videos is None:
            make_videos(Path(folder), args.count)
        compare(args.videos or Path(folder), args.threads, args.repeat)


def compare(folder: Path, threads: int, repeat: int) -> None:
    """Print both tables for the videos of a folder."""
    import torch

    from vhbench.video.extraction import Wish, extract
    from vhbench.video.listing import list_videos
    from vhbench.video.networks import Choice
    from vhbench.video.networks.embedded import weights_file
    from vhbench.video.networks.in_torch import filled
    from vhbench.video.networks.network import EMBEDDED

    torch.set_num_threads(threads)
    paths = [video.path for video in list_videos([folder]).videos]
    network = filled(EMBEDDED, "pooled", weights_file())
    parts = parts_of_ours(paths)  # the converted network is in the cache afterwards
    with tempfile.TemporaryDirectory() as out:

        def ours() -> None:
            output = Path(out) / "feats.h5"
            output.unlink(missing_ok=True)
            extract(Wish([folder], output, Choice(), FRAMES, jobs=threads))

        contestants: dict[str, Callable[[], object]] = {"ours": ours}
        if find_spec("cv2") is not None:
            contestants["loop"] = lambda: loop(paths, network, threads)
        times = machine.take_turns(contestants, repeat)
    count = len(paths)
    print(f"{count} videos, {FRAMES} frames each; seconds a video, best of {repeat}")
    table = machine.Table("", "ours", "loop", "ratio", "bound", "of bound", width=12)
    bound = parts[2] / threads
    for name, place, least in (("wall clock", 0, bound), ("cpu", 1, parts[2])):
        mine, other = times["ours"][place], times["loop"][place] if "loop" in times else None
        row = (mine / count, other and other / count, other and machine.ratio(other, mine))
        table.row(name, *row, least / count, machine.share(least, mine))
    print("\nours in one process; cpu seconds a video")
    table = machine.Table("", "decoding", "pictures", "network", "decoding of all", width=12)
    table.row("", *(part / count for part in parts), f"{100 * parts[0] / sum(parts):.0f} %")


if __name__ == "__main__":
    machine.run(main)
