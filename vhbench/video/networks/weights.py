"""Weights of networks in other people's files: read without executing anything, and held against a network's names."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from vhbench.errors import DataError
from vhbench.system.files import open_regular
from vhbench.system.text import plain

if TYPE_CHECKING:
    from torch import Tensor, nn

NAMED = 3  # parameters that a message names


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a `.safetensors` file or one that `torch.save` wrote: name -> tensor, on the CPU.

    Raises:
        DataError: it cannot be read, or holds anything but tensors.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        with open_regular(path) as file:
            if path.suffix == ".safetensors":
                return load(file.read())
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of files in old forms
                state = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path} with weights.") from error
    except OSError as error:
        raise DataError(f"Cannot read the weights in {path}: {error.strerror or error}.") from error
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{path} holds more than weights, or is damaged: nothing in it was executed. Take a file that holds a "
            "state_dict of tensors only."
        ) from error
    except (SafetensorError, RuntimeError, ValueError, EOFError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no file of weights ({plain(error)[:100]}): download it again.") from error
    values = state.values() if isinstance(state, dict) else [None]
    if not all(isinstance(value, torch.Tensor) and value.device.type == "cpu" for value in values):
        raise DataError(f"{path} does not hold a state_dict, which maps names to tensors.")
    weights: dict[str, Tensor] = state
    return weights


def fill(network: nn.Module, weights: dict[str, Tensor], path: Path, name: str) -> None:
    """Give a network its weights, and make it one that only computes.

    Args:
        network: its parameters may be on torch's `meta` device.
        weights: as `read_weights` returns them.
        path: their file, for the message.
        name: of the network, for the message.

    Raises:
        DataError: names or shapes are another network's.
    """
    own = network.state_dict()
    counters = {key for key in own if key.endswith("num_batches_tracked")}  # old files lack them; nothing uses them
    faults = [f"{key!r} is missing" for key in own if key not in weights and key not in counters]
    faults += [f"{key!r} is not known" for key in weights if key not in own]
    faults += [
        f"{key!r} has the shape {tuple(weights[key].shape)}, not {tuple(value.shape)}"
        for key, value in own.items()
        if key in weights and weights[key].shape != value.shape
    ]
    if faults:
        more = f", and {len(faults) - NAMED} more" if len(faults) > NAMED else ""
        raise DataError(f"{path} holds the weights of another network than {name}: {', '.join(faults[:NAMED])}{more}.")
    import torch

    missing = {key: torch.zeros(own[key].shape, dtype=own[key].dtype) for key in counters - weights.keys()}
    network.load_state_dict({**weights, **missing}, strict=True, assign=True)
    network.float().eval().requires_grad_(False)
