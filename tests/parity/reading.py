"""What the parity tests share: reading the released programs' numbers, and comparing with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn


class Numbers:
    """The arrays of one released program by name, as float64 tensors where they are real numbers.

    Args:
        name: of the `.npz` file beside this one.
    """

    def __init__(self, name: str):
        with np.load(Path(__file__).parent / f"{name}.npz", allow_pickle=False) as file:
            self._arrays = {key: file[key] for key in file}

    def __getitem__(self, key: str) -> torch.Tensor:
        value = torch.from_numpy(np.asarray(self._arrays[key]))
        return value.double() if value.is_floating_point() else value

    def names(self, prefix: str) -> list[str]:
        """Return the names of the arrays in a folder, without the folder."""
        return [key.removeprefix(prefix) for key in self._arrays if key.startswith(prefix)]


def assert_close(ours: torch.Tensor, theirs: torch.Tensor, tolerance: float = 1e-9, what: str = "") -> None:
    """Compare arrays; `tolerance` is a share of the greatest magnitude in theirs."""
    assert ours.shape == theirs.shape, (what, ours.shape, theirs.shape)
    away = (ours.detach().double() - theirs.double()).abs().max()
    assert away <= tolerance * theirs.double().abs().max(), f"{what}: off by {away:.3g}"


@torch.no_grad()
def copy_state(module: nn.Module, numbers: Numbers, names: dict[str, str]) -> None:
    """Give a module's parameters and buffers the program's values.

    Args:
        module: ours, in float64.
        numbers: the program's.
        names: its name (after `state/`) of each of our parameters and buffers; all of ours must be named.
    """
    own = dict(module.state_dict())
    assert set(own) == set(names), set(own) ^ set(names)
    for name, theirs in names.items():
        value = numbers[f"state/{theirs}"]
        assert own[name].shape == value.shape, (name, own[name].shape, value.shape)
        own[name].copy_(value)
