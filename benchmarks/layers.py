"""The shared layers of the neural methods beside torch's own, forward and backward.

    python -m vhbench.benchmarks.layers [--batch 256] [--device cpu] [--threads N] [--repeat 3] [--quick]

The largest layers of UVVH on 25 frames of 4096 dimensions: its first convolution, its last transposed convolution and
its LSTM. Each time is forward and backward, inputs' gradients included, in milliseconds, the best of --repeat after one
call to warm up. torch's convolutions get their input in their own layout, (batch, channels, length), for free. bf16 is
autocast, as in a run of that precision. Bound: the layer's operations at the rate at which torch multiplies square
matrices of that precision; for the backward pass twice those of the forward pass. Keep the machine idle.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from vhbench.benchmarks import machine

if TYPE_CHECKING:
    import torch
    from torch import nn

FRAMES, STEPS, DIM, CHANNELS, KERNEL, STRIDE, HIDDEN = 25, 10, 4096, 512, 7, 2, 256
QUICK_SIDE, SIDE = 512, 4096  # of the square matrices of the bound
QUICK = {"batch": 2, "repeat": 1}


def milliseconds(layer: nn.Module, x: torch.Tensor, bf16: bool, repeat: int) -> float:
    """Return the wall time of one forward and backward pass."""
    import torch

    x = x.detach().requires_grad_()
    times = []
    for _ in range(repeat + 1):
        layer.zero_grad(set_to_none=True)
        x.grad = None
        start = time.perf_counter()
        with torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
            out = layer(x)
        (out[0] if isinstance(out, tuple) else out).float().sum().backward()
        if x.is_cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return 1000 * min(times[1:])


def operations(batch: int) -> dict[str, int]:
    """Return the multiplications and additions of a forward pass of each layer."""
    return {
        "TemporalConv": 2 * batch * STEPS * KERNEL * DIM * CHANNELS,
        "TemporalDeconv": 2 * batch * STEPS * KERNEL * DIM * CHANNELS,
        "LSTM": 2 * batch * FRAMES * 4 * HIDDEN * (DIM + HIDDEN),
    }


def main() -> None:
    """Print one line a layer and precision."""
    parser = machine.options(__doc__)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeat", type=int, default=3)
    args = machine.parse(parser, QUICK)
    machine.start(args, "torch", device=args.device)
    import torch
    from torch import nn

    from vhbench.benchmarks import bounds
    from vhbench.methods.layers import LSTM, TemporalConv, TemporalDeconv

    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    print(f"batch {args.batch}, best of {args.repeat}, milliseconds")
    frames = torch.randn(args.batch, FRAMES, DIM, device=device)
    steps = torch.randn(args.batch, STEPS, CHANNELS, device=device)
    cases = [
        (
            "TemporalConv",
            (TemporalConv(DIM, CHANNELS, KERNEL, STRIDE), frames),
            (nn.Conv1d(DIM, CHANNELS, KERNEL, STRIDE), frames.transpose(1, 2).contiguous()),
        ),
        (
            "TemporalDeconv",
            (TemporalDeconv(CHANNELS, DIM, KERNEL, STRIDE), steps),
            (nn.ConvTranspose1d(CHANNELS, DIM, KERNEL, STRIDE), steps.transpose(1, 2).contiguous()),
        ),
        ("LSTM", (LSTM(DIM, HIDDEN), frames), (nn.LSTM(DIM, HIDDEN, batch_first=True), frames)),
    ]
    table = machine.Table("layer", "ours ms", "torch ms", "ratio", "bound ms", "of bound")
    side = QUICK_SIDE if args.quick else SIDE
    for precision, dtype in (("float32", torch.float32), ("bf16", torch.bfloat16)):
        rate = bounds.matmul_rate(side, side, side, dtype, args.device)
        for name, ours, theirs in cases:
            bf16 = dtype == torch.bfloat16
            mine, other = (milliseconds(layer.to(device), x, bf16, args.repeat) for layer, x in (ours, theirs))
            bound = 3000 * operations(args.batch)[name] / rate
            row = mine, other, machine.ratio(other, mine), bound, machine.share(bound, mine)
            table.row(f"{name}, {precision}", *row)
        print(f"  bound: torch multiplies {side} x {side} matrices at {rate / 1e9:,.0f} GFLOP/s in {precision}")


if __name__ == "__main__":
    machine.run(main)
