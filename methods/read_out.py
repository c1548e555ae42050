"""The squared error of frames that a linear read-out rebuilds, without a rebuilt frame, which is large."""

from __future__ import annotations

import torch
from torch import nn


def pack(videos: torch.Tensor) -> torch.Tensor:
    """Return the frames in contiguous memory, in autocast's precision where it is on: every product reads them so."""
    if torch.is_autocast_enabled(videos.device.type):
        videos = videos.to(torch.get_autocast_dtype(videos.device.type))
    return videos.contiguous()


def squared_error(
    videos: torch.Tensor, size: torch.Tensor, total: torch.Tensor, states: torch.Tensor, read_out: nn.Linear
) -> torch.Tensor:
    """Return the sum of ||v - W h - b||^2 over frames.

    Multiplied out, it needs the product of all frames v with W, and sums over frames of v, h and h h^T.

    Args:
        videos: frames v, contiguous, shape (batch, frames, dim).
        size: the sum of ||v||^2.
        total: the sum of v, shape (dim,).
        states: h, shape (batch, frames, bits).
        read_out: W and b.
    """
    return error_of_products(videos @ read_out.weight, size, total, states, read_out)


def error_of_products(
    products: torch.Tensor, size: torch.Tensor, total: torch.Tensor, states: torch.Tensor, read_out: nn.Linear
) -> torch.Tensor:
    """Return the same from the products of the frames with W, of the states' shape; further arguments as there."""
    products = products.to(states.dtype)
    with torch.autocast(states.device.type, enabled=False):
        weight, bias, h = read_out.weight, read_out.bias, states.flatten(0, 1)
        decoded = ((h.T @ h) * (weight.T @ weight)).sum() + 2 * (h.sum(0) @ (weight.T @ bias)) + len(h) * (bias @ bias)
        return size - 2 * ((products * states).sum() + total @ bias) + decoded
