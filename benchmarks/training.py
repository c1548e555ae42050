"""Training epochs of the neural methods beside the plain loop that released code has.

    python -m vhbench.benchmarks.training [--method uvvh,ssth] [--videos 512] [--device cpu] [--epochs 3] [--quick]

Made-up videos of 25 frames of 4096 dimensions, held in memory (on a GPU: `ours` holds them there, as a run does where
they fit). Videos a second of each stage's fastest epoch, reading included:

- ours: `fit` in float32, and in bf16;
- same module: a DataLoader over single videos, torch's default Adam, the same network and loss, float32;
- torch's layers: that loop, and nn.Conv1d, nn.ConvTranspose1d and nn.LSTM in the place of vhbench's layers, and the
  reconstruction as an array instead of its multiplied-out error; nothing where a network has none of these layers.

Ratios are ours over the alternative. Bound: the operations of a step's matrix products at the rate at which torch
multiplies large square matrices of that precision, or the video's bytes read once at the memory's bandwidth, whichever
takes longer. Loss: the last epoch's, which differs by the draw of batches and by rounding. Keep the machine idle.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from vhbench.benchmarks import machine
from vhbench.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from vhbench.plugins.entries import MethodEntry
    from vhbench.training import NeuralMethod

FRAMES, DIM = 25, 4096
QUICK = {"videos": 64, "dim": 256, "side": 512}
VARIANTS = "uvh,uvvh-1"  # the same network and the same operations as uvvh


def neural_methods(names: str | None) -> list[MethodEntry]:
    """Return the methods that train a network: those named, or all."""
    from vhbench.plugins.registry import Registry
    from vhbench.training import NeuralMethod

    registry = Registry()
    if names:
        return [registry.method(name) for name in names.split(",")]
    entries = [entry for entry in registry.methods() if not entry.broken and entry.name not in VARIANTS.split(",")]
    return [entry for entry in entries if issubclass(entry.load(), NeuralMethod)]


def make(entry: MethodEntry, bits: int) -> NeuralMethod:
    """Return an unfitted method; UsageError where it trains no network."""
    from vhbench.training import NeuralMethod

    method = entry.make(bits)
    if not isinstance(method, NeuralMethod):
        raise UsageError(f"{entry.name} trains no network: `vhbench bench shallow` measures it.")
    return method


def made_up(videos: int, dim: int) -> np.ndarray:
    """Return features, float32 (videos, FRAMES, dim), not negative and mostly 0."""
    import numpy as np

    features = np.random.default_rng(0).standard_normal((videos, FRAMES, dim), dtype=np.float32)
    return np.maximum(features, 0, out=features)


def ours(
    method: NeuralMethod, features: np.ndarray, epochs: int, device: str, precision: str
) -> list[tuple[int, float, float]]:
    """Return the stage, the seconds and the loss of every epoch."""
    from vhbench.features.placement import place
    from vhbench.method import Budget, Epoch, FitContext
    from vhbench.videos import VideoSet

    reports: list[Epoch] = []
    train = VideoSet(features)
    if device != "cpu":
        train, _ = place(train, device)
    method.fit(train, FitContext(budget=Budget(epochs), device=device, precision=precision, report=reports.append))
    stages = [stage for stage, count in enumerate(method.stages(epochs)) for _ in range(count)]
    return [(stage, report.seconds, report.loss) for stage, report in zip(stages, reports, strict=True)]


def by_stage(epochs: Iterable[tuple[int, float, float]]) -> list[tuple[float, float]]:
    """Return, of each stage that has epochs, the seconds of the fastest one and the loss of the last."""
    stages: dict[int, list[tuple[float, float]]] = {}
    for stage, seconds, loss in epochs:
        stages.setdefault(stage, []).append((seconds, loss))
    return [(min(seconds for seconds, _ in each), each[-1][1]) for each in stages.values()]


def main() -> None:
    """Print the table of rates and the table of losses."""
    parser = machine.options(__doc__)
    parser.add_argument("--method", help="names, comma-separated; by default every network that there is")
    parser.add_argument("--videos", type=int, default=512)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--bits", type=int, default=64)
    parser.add_argument("--dim", type=int, default=DIM, help="feature dimensions a frame")
    parser.add_argument("--side", type=int, default=4096, help="of the square matrices that give the bound")
    parser.add_argument("--device", default="cpu")
    args = machine.parse(parser, QUICK)
    machine.start(args, "torch", device=args.device)
    import torch

    from vhbench.benchmarks import bounds, plain
    from vhbench.cost import measure

    torch.set_num_threads(args.threads)
    dim, side, videos = args.dim, args.side, args.videos
    features = made_up(videos, dim)
    dtypes = {"float32": torch.float32, "bf16": torch.bfloat16}
    rates = {name: bounds.matmul_rate(side, side, side, dtype, args.device) for name, dtype in dtypes.items()}
    bandwidth = bounds.memory_bandwidth(args.device)
    for name, rate in rates.items():
        print(f"{name}: torch multiplies {side} x {side} matrices at {rate / 1e9:,.0f} GFLOP/s")
    print(f"memory: {bandwidth / 1e9:,.1f} GB/s")
    print(f"{videos} videos of {FRAMES} x {dim}, {args.bits} bits, fastest of {args.epochs} epochs; videos/s\n")
    columns = "ours", "same module", "ratio", "torch's layers", "ratio", "bound", "of bound", "loss", "same module's"
    table = machine.Table("method, precision", *columns)
    for entry in neural_methods(args.method):
        settings = features, args.epochs, args.device
        changes = [plain.same]
        if plain.has_torch_layers(make(entry, args.bits).build(FRAMES, dim)):
            changes.append(plain.torch_layers)
        loops = [by_stage(plain.epochs_of(make(entry, args.bits), *settings, change)) for change in changes]
        flops = measure(make(entry, args.bits), FRAMES, dim).training.flops or (0,)
        for precision, rate in rates.items():
            stages = by_stage(ours(make(entry, args.bits), *settings, precision))
            for number, (seconds, loss) in enumerate(stages):
                work = flops[0] if number == 0 else flops[-1]
                bound = 1 / max(work / rate, 4 * FRAMES * dim / bandwidth)
                mine, others = videos / seconds, [videos / loop[number][0] for loop in loops]
                cells = [cell for other in others for cell in (other, machine.ratio(mine, other))]
                cells += [None, None] * (2 - len(loops))
                name = entry.name if len(stages) == 1 else f"{entry.name} stage {number + 1}"
                table.row(
                    f"{name}, {precision}", mine, *cells, bound, machine.share(mine, bound), f"{loss:.5g}",
                    f"{loops[0][number][1]:.5g}",
                )  # fmt: skip
    if args.device != "cpu":
        print(f"\npeak GPU memory: {torch.cuda.max_memory_allocated(args.device) / 2**20:,.0f} MiB")


if __name__ == "__main__":
    machine.run(main)
