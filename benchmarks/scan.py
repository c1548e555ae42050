"""Mamba's selective scan beside its plain form and a parallel one, forward and backward.

    python -m vhbench.benchmarks.scan [--batch 64] [--lengths 13,25,64] [--device cpu] [--threads N] [--repeat 3]
        [--quick]

512 channels of 16 states, the size of S5VH's encoder. Ours goes through the steps one after the other, in pieces that
fit the caches, and has a backward pass of its own. Plain is the same loop left to autograd. Parallel is the scan of
Hillis and Steele: in round j each step takes up the one 2^j before it, so that 25 steps take 5 rounds, each over all
states. Times are wall clock in milliseconds, inputs' gradients included, the best of --repeat.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from vhbench.benchmarks import machine

if TYPE_CHECKING:
    import torch

CHANNELS, STATES = 512, 16
QUICK = {"batch": 2, "lengths": [13], "repeat": 1}


def plain(x: torch.Tensor, step: torch.Tensor, a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    """Return the scan as `selective_scan` defines it, one step after the other."""
    import torch

    h, outputs = x.new_zeros(len(x), *a.shape), []
    for t in range(x.shape[1]):
        h = (step[:, t].unsqueeze(2) * a).exp() * h + (step[:, t] * x[:, t]).unsqueeze(2) * b[:, t].unsqueeze(1)
        outputs.append((h @ c[:, t].unsqueeze(2)).squeeze(2))
    return torch.stack(outputs, 1)


def parallel(x: torch.Tensor, step: torch.Tensor, a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    """Return the scan as `selective_scan` defines it, in log2(length) rounds."""
    import torch

    decay, h, span = (step.unsqueeze(3) * a).exp(), (step * x).unsqueeze(3) * b.unsqueeze(2), 1
    while span < x.shape[1]:
        h = torch.cat([h[:, :span], torch.addcmul(h[:, span:], decay[:, span:], h[:, :-span])], 1)
        decay = torch.cat([decay[:, :span], decay[:, span:] * decay[:, :-span]], 1)
        span *= 2
    return (h @ c.unsqueeze(3)).squeeze(3)


def inputs(batch: int, length: int, device: str) -> list[torch.Tensor]:
    """Return x, step, a, b and c as a new S5VH has them: steps of about 0.7, a from -1 to -16."""
    import torch

    x, step, b, c = (torch.randn(batch, length, n) for n in (CHANNELS, CHANNELS, STATES, STATES))
    a = -torch.arange(1, STATES + 1).float().repeat(CHANNELS, 1)
    step = torch.nn.functional.softplus(step / 4)
    return [tensor.to(device).requires_grad_() for tensor in (x, step, a, b, c)]


def main() -> None:
    """Print one line a length."""
    parser = machine.options(__doc__)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lengths", type=machine.numbers, default=[13, 25, 64])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeat", type=int, default=3)
    args = machine.parse(parser, QUICK)
    machine.start(args, "torch", device=args.device)
    import torch

    from vhbench.methods.mamba import selective_scan

    torch.set_num_threads(args.threads)
    scans = {"ours": selective_scan, "plain": plain, "parallel": parallel}

    def run(name: str, tensors: list[torch.Tensor]) -> None:
        torch.autograd.grad(scans[name](*tensors).sum(), tensors)
        if tensors[0].is_cuda:
            torch.cuda.synchronize()

    print(f"batch {args.batch}, best of {args.repeat}, milliseconds")
    table = machine.Table("steps", "ours ms", "plain ms", "plain/ours", "parallel ms", "par/ours", width=8)
    for length in args.lengths:
        tensors = inputs(args.batch, length, args.device)
        for name in scans:
            run(name, tensors)
        turns = {name: partial(run, name, tensors) for name in scans}
        taken = {name: 1000 * timing.wall for name, timing in machine.take_turns(turns, args.repeat).items()}
        ours, one, other = taken["ours"], taken["plain"], taken["parallel"]
        table.row(length, ours, one, machine.ratio(one, ours), other, machine.ratio(other, ours))


if __name__ == "__main__":
    machine.run(main)
