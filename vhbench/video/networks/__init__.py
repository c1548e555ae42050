"""The networks that frames go through: those with a name here, and any in an ONNX file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vhbench.errors import UsageError, unknown
from vhbench.video.networks.network import EMBEDDED, USUAL, Network

LAYERS = {
    EMBEDDED: ("pooled",),
    "resnet50": ("pooled",),
    "vgg16": ("fc7-relu", "fc7", "fc6-relu", "fc6"),
}  # the first is the default


@dataclass(frozen=True)
class Choice:
    """Which network, as a user names it.

    Attributes:
        network: a name in LAYERS, or the path of an ONNX file.
        layer: the output to take; None takes the first.
        weights: the weights' file; None where the network brings its own.
        device: "cpu" or "cuda:N".
    """

    network: str = EMBEDDED
    layer: str | None = None
    weights: Path | None = None
    device: str = "cpu"

    @property
    def is_file(self) -> bool:
        """Whether it is an ONNX file."""
        return self.network.endswith(".onnx")


def check_choice(choice: Choice) -> None:
    """Raise UsageError where a network, or its layer, has no such name, or its weights are wanting or not wanted."""
    if choice.is_file:
        if choice.weights is not None:
            raise UsageError("--weights belongs to vgg16 and resnet50: an ONNX file holds its own.")
        return
    if choice.network not in LAYERS:
        raise unknown("network", choice.network, LAYERS, "The path of an ONNX file ends in .onnx.")
    if choice.layer is not None and choice.layer not in LAYERS[choice.network]:
        raise unknown(f"layer of {choice.network}", choice.layer, LAYERS[choice.network])
    if choice.network == EMBEDDED and choice.weights is not None:
        raise UsageError(f"--weights belongs to vgg16 and resnet50: {EMBEDDED} brings its own.")
    if choice.network != EMBEDDED and choice.weights is None:
        raise UsageError(
            f"{choice.network} needs its weights: add --weights FILE, a .pth or .safetensors file with the parameter "
            "names of torchvision."
        )


def open_network(choice: Choice) -> Network:
    """Make a network ready to compute.

    Raises:
        UsageError: there is no such network, layer or device, or a package is missing.
        DataError: its weights cannot be read, or are another network's.
    """
    check_choice(choice)
    if choice.is_file:
        from vhbench.video.networks.onnx_file import OnnxFile

        return OnnxFile(Path(choice.network), choice.layer, choice.device)
    if choice.network == EMBEDDED:
        from vhbench.video.networks.embedded import open_embedded

        return open_embedded(choice.device)
    from vhbench.video.networks.in_torch import InTorch

    layer = choice.layer or LAYERS[choice.network][0]
    assert choice.weights is not None
    return InTorch(choice.network, layer, choice.weights, choice.device, USUAL)
