"""Speed of the shared layers beside torch's own, in one run with the same number of threads.

    python benchmarks/layers.py [--batch 256] [--device cpu] [--threads N] [--repeat 3]

The largest layers of UVVH on 25 frames of 4096 dimensions: its first convolution, its last transposed convolution and
its LSTM. Each time is forward and backward, inputs' gradients included, in milliseconds, the best of --repeat after one
call to warm up. torch's convolutions get their input in their own layout, (batch, channels, length), for free. bf16 is
autocast, as in a run of that precision. Keep the machine idle.
"""

from __future__ import annotations

import argparse
import platform
import time
from pathlib import Path

import torch
from torch import nn

from vhbench.methods.layers import LSTM, TemporalConv, TemporalDeconv

FRAMES, STEPS, DIM, CHANNELS, KERNEL, STRIDE, HIDDEN = 25, 10, 4096, 512, 7, 2, 256


def milliseconds(layer: nn.Module, x: torch.Tensor, bf16: bool, repeat: int) -> float:
    """Return the wall time of one forward and backward pass."""
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


def cpu_name() -> str:
    """Return the processor's name as the system gives it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def main() -> None:
    """Print one line a layer and precision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    device = torch.device(args.device)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{cpu_name()}, {args.threads} threads"
    print(f"{where}; torch {torch.__version__}; batch {args.batch}")
    print(f"{'layer':<24}{'precision':<11}{'ours ms':>9}{'torch ms':>10}{'ratio':>7}")
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
    for name, ours, theirs in cases:
        for bf16 in (False, True):
            times = [milliseconds(layer.to(device), x, bf16, args.repeat) for layer, x in (ours, theirs)]
            precision = "bf16" if bf16 else "float32"
            print(f"{name:<24}{precision:<11}{times[0]:>9.1f}{times[1]:>10.1f}{times[1] / times[0]:>7.1f}", flush=True)


if __name__ == "__main__":
    main()
