"""The mixer layer of MCMSH: MLPs over frames and over features, each followed by gates of three ranges.

github.com/haoyanbin918/MCMSH ("released"). Everything here works on (batch, units, length): a gate opens units by what
lies along the length, so the length is features where units are frames, and frames where units are features.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

HIDDEN = 2  # hidden units of an MLP per unit (released)
TOKEN_SQUEEZE = 4  # frames a unit of the gates over frames (released)
MIDDLE = 3  # places that the middle range takes together (released)
LONG_STD = 1e-3  # of the long range's first weights (released)


class Mixer(nn.Module):
    """x plus the context of an MLP over units.

    Args:
        units: frames or features.
        length: the other of the two.
        squeezed: units inside the gates.
        groups: of the gates' convolutions.
        dropout: rate after both layers of the MLP.
    """

    def __init__(self, units: int, length: int, squeezed: int, groups: int, dropout: float):
        super().__init__()
        self.into, self.out = nn.Linear(units, HIDDEN * units), nn.Linear(HIDDEN * units, units)
        self.dropouts = nn.ModuleList([nn.Dropout(dropout), nn.Dropout(dropout)])
        self.context = Context(units, length, squeezed, groups)

    def mlp(self, x: torch.Tensor) -> torch.Tensor:
        """Map (batch, length, units) to the same shape."""
        hidden = self.dropouts[0](functional.gelu(self.into(x)))
        out: torch.Tensor = self.dropouts[1](self.out(hidden))
        return out.to(x.dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (batch, units, length) to the same shape."""
        context: torch.Tensor = self.context(self.mlp(x.transpose(1, 2)).transpose(1, 2))
        return x + context


class Context(nn.Module):
    """The sum of three ranges; arguments as of `Mixer`."""

    def __init__(self, units: int, length: int, squeezed: int, groups: int):
        super().__init__()
        self.long = Range(length, LongGate(units, squeezed))
        self.middle = Range(length, Gate(units, squeezed, groups, length // MIDDLE))
        self.short = Range(length, Gate(units, squeezed, groups))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (batch, units, length) to the same shape."""
        out: torch.Tensor = self.long(x) + self.middle(x) + self.short(x)
        return out


class Range(nn.Module):
    """A linear layer over the length, a gate's factors, another linear layer over the length."""

    def __init__(self, length: int, gate: nn.Module):
        super().__init__()
        self.into = nn.Linear(length, length)
        self.gate = gate
        self.out = nn.Linear(length, length)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (batch, units, length) to the same shape."""
        u = self.into(x).to(x.dtype)
        with torch.autocast(x.device.type, enabled=False):  # batch norm
            u = u * self.gate(u)
        return self.out(u).to(x.dtype)  # type: ignore[no-any-return]


class LongGate(nn.Module):
    """One factor a unit, from the mean over the length."""

    def __init__(self, units: int, squeezed: int):
        super().__init__()
        self.squeeze = nn.Linear(units, squeezed, bias=False)
        self.squeezed_norm = nn.BatchNorm1d(squeezed)
        self.widen = nn.Linear(squeezed, units, bias=False)
        self.norm = nn.BatchNorm1d(units)
        for layer in (self.squeeze, self.widen):
            nn.init.normal_(layer.weight, std=LONG_STD)

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        """Map (batch, units, length) to factors between 0 and 1, (batch, units, 1)."""
        z = self.squeezed_norm(self.squeeze(u.mean(2))).relu()
        factors: torch.Tensor = self.norm(self.widen(z)).sigmoid()
        return factors.unsqueeze(2)


class Gate(nn.Module):
    """One factor for each unit and place, from convolutions of kernel 3 over the length.

    Args:
        units: as of `Mixer`.
        squeezed: as there.
        groups: as there.
        pooled: places that the length is pooled to before the convolutions, and spread from after them; 0 for none.
    """

    def __init__(self, units: int, squeezed: int, groups: int, pooled: int = 0):
        super().__init__()
        self.pooled = pooled
        self.squeeze = nn.Conv1d(units, squeezed, 3, padding=1, groups=groups, bias=False)
        self.squeezed_norm = nn.BatchNorm1d(squeezed)
        self.widen = nn.Conv1d(squeezed, units, 3, padding=1, groups=groups, bias=False)
        self.norm = nn.BatchNorm1d(units)
        nn.init.kaiming_normal_(self.squeeze.weight, mode="fan_out")
        nn.init.xavier_normal_(self.widen.weight)

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        """Map (batch, units, length) to factors between 0 and 1 of the same shape."""
        length = u.shape[2]
        z = u @ averages(length, self.pooled, u) if self.pooled else u
        factors: torch.Tensor = self.norm(self.widen(self.squeezed_norm(self.squeeze(z)).relu())).sigmoid()
        return factors @ averages(self.pooled, length, u) if self.pooled else factors


def averages(before: int, after: int, like: torch.Tensor) -> torch.Tensor:
    """Return torch's adaptive average pooling as a matrix, (before, after): on CPUs the product takes a tenth of it."""
    return functional.adaptive_avg_pool1d(torch.eye(before, dtype=like.dtype, device=like.device), after)
