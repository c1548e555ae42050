"""Networks that torch computes: those with weights of the user's, and the embedded one on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vhbench.system.files import sha256_of
from vhbench.video.networks.network import EMBEDDED, Normalisation
from vhbench.video.networks.weights import fill, read_weights

if TYPE_CHECKING:
    from torch import nn

SIZE = 224


class InTorch:
    """A network of torch; see `vhbench.video.networks.Network`.

    Args:
        name: of the network.
        layer: the output to take.
        weights: their file.
        device: "cpu" or "cuda:N".
        normalisation: of the pictures.

    Raises:
        DataError: the weights cannot be read, or are another network's.
    """

    def __init__(self, name: str, layer: str, weights: Path, device: str, normalisation: Normalisation):
        import torch

        self.name, self.layer, self.size, self.normalisation = name, layer, SIZE, normalisation
        self._device = device
        self._module = filled(name, layer, weights).to(device)
        self.dim = _dim(name)
        self.weights = sha256_of(weights)
        self.versions = {"torch": torch.__version__}

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Compute the features of pictures; on a CPU with one thread, so that jobs share the cores."""
        import torch

        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with torch.inference_mode():
                features: np.ndarray = self._module(torch.from_numpy(inputs).to(self._device)).cpu().numpy()
        finally:
            torch.set_num_threads(threads)
        return features


def filled(name: str, layer: str, weights: Path) -> nn.Module:
    """Return a network with its weights.

    Raises:
        DataError: the weights cannot be read, or are another network's.
    """
    import torch

    state = read_weights(weights)
    with torch.device("meta"):
        network = _class(name)(layer)
    fill(network, state, weights, name)
    return network


def _class(name: str) -> Callable[[str], nn.Module]:
    from vhbench.video.networks.efficientnet_lite0 import EfficientNetLite0
    from vhbench.video.networks.resnet50 import ResNet50
    from vhbench.video.networks.vgg16 import Vgg16

    classes: dict[str, Callable[[str], nn.Module]] = {
        EMBEDDED: lambda layer: EfficientNetLite0(),
        "resnet50": lambda layer: ResNet50(),
        "vgg16": Vgg16,
    }
    return classes[name]


def _dim(name: str) -> int:
    from vhbench.video.networks import efficientnet_lite0, resnet50, vgg16

    return {EMBEDDED: efficientnet_lite0.DIM, "resnet50": resnet50.DIM, "vgg16": vgg16.DIM}[name]
