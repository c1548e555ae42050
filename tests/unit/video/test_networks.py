"""The networks: names, numbers and refusals."""

import os
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from video.networks import by_hand, small_network

from vhbench.errors import DataError, UsageError
from vhbench.video.networks import Choice, check_choice, open_network
from vhbench.video.networks.embedded import weights_file
from vhbench.video.networks.in_torch import InTorch
from vhbench.video.networks.network import EMBEDDED, LITE
from vhbench.video.networks.resnet50 import ResNet50
from vhbench.video.networks.vgg16 import Vgg16


@pytest.fixture(scope="module")
def pictures():
    """Pictures of blobs in colours, uint8 (7, 224, 224, 3)."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (7, 7, 7, 3), dtype=np.uint8)
    return coarse.repeat(32, axis=1).repeat(32, axis=2)


def test_the_embedded_network_is_the_same_in_onnxruntime_and_in_torch(pictures):
    ours = open_network(Choice())
    torchs = InTorch(EMBEDDED, "pooled", weights_file(), "cpu", LITE)
    assert ours.weights == torchs.weights and ours.weights.startswith("57934424")  # the package's file says so too
    inputs = LITE(pictures)
    assert inputs.dtype == np.float32 and inputs.min() >= -127 / 128 and inputs.max() <= 1
    one, other = ours(inputs), torchs(inputs)
    assert one.shape == (7, ours.dim) == (7, 1280)
    np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)
    assert one.std() > 0.1 and (one >= 0).all() and one.max() <= 6
    np.testing.assert_allclose(ours(inputs[:1]), one[:1], atol=1e-5)


def parameters(network):
    return sum(value.numel() for value in network.parameters())


def test_networks_have_torchvisions_names_and_published_sizes():
    """Parameters as the papers' networks have them: 138 357 544 of VGG-16, 25 557 032 of ResNet-50."""
    with torch.device("meta"):
        vgg, resnet = Vgg16("fc7"), ResNet50()
    assert (parameters(vgg), parameters(resnet)) == (138_357_544, 25_557_032)
    names = vgg.state_dict()
    assert len(names) == 32 and names["features.28.weight"].shape == (512, 512, 3, 3)
    assert names["classifier.0.weight"].shape == (4096, 25088) and "classifier.6.bias" in names
    names = resnet.state_dict()
    assert len(names) == 320 and names["layer4.2.conv3.weight"].shape == (2048, 512, 1, 1)
    assert names["layer3.0.downsample.1.running_var"].shape == (1024,) and names["fc.weight"].shape == (1000, 2048)


def random_weights(make):
    with torch.device("meta"):
        network = make()
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for name, value in network.state_dict().items():
        if name.endswith(("running_var", "bn1.weight", "bn2.weight", "bn3.weight", "downsample.1.weight")):
            weights[name] = 0.5 + torch.rand(value.shape, generator=generator)
        elif value.dtype == torch.int64:
            weights[name] = torch.zeros(value.shape, dtype=torch.int64)
        else:
            fan = value[0].numel() if value.ndim > 1 else 100
            weights[name] = torch.randn(value.shape, generator=generator) * (2 / fan) ** 0.5
    return weights


@pytest.fixture(scope="module")
def resnet_weights(tmp_path_factory):
    weights = random_weights(ResNet50)
    path = tmp_path_factory.mktemp("weights") / "resnet50.pth"
    torch.save(weights, path)
    return path


def resnet_by_hand(weights, x):
    """Compute ResNet-50's pooled features with functions alone, in float64 (He et al., table 1)."""
    w = {name: value.double() for name, value in weights.items()}
    conv = torch.nn.functional.conv2d

    def norm(x, name):
        mean, variance = w[f"{name}.running_mean"], w[f"{name}.running_var"]
        scale = w[f"{name}.weight"] / (variance + 1e-5).sqrt()
        return (x - mean[:, None, None]) * scale[:, None, None] + w[f"{name}.bias"][:, None, None]

    x = norm(conv(x, w["conv1.weight"], None, 2, 3), "bn1").relu()
    x = torch.nn.functional.max_pool2d(x, 3, 2, 1)
    for stage, blocks in enumerate((3, 4, 6, 3), 1):
        for block in range(blocks):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = norm(conv(x, w[f"{name}.conv1.weight"]), f"{name}.bn1").relu()
            y = norm(conv(y, w[f"{name}.conv2.weight"], None, stride, 1), f"{name}.bn2").relu()
            y = norm(conv(y, w[f"{name}.conv3.weight"]), f"{name}.bn3")
            if block == 0:
                x = norm(conv(x, w[f"{name}.downsample.0.weight"], None, stride), f"{name}.downsample.1")
            x = (x + y).relu()
    return x.mean((2, 3))


def test_resnet50_computes_what_its_paper_says(resnet_weights, pictures):
    network = open_network(Choice("resnet50", weights=resnet_weights))
    inputs = network.normalisation(pictures[:1])
    expected = resnet_by_hand(torch.load(resnet_weights, weights_only=True), torch.from_numpy(inputs).double())
    assert (network.layer, network.dim) == ("pooled", 2048)
    np.testing.assert_allclose(network(inputs), expected.numpy(), rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_vgg16_gives_each_of_its_layers(tmp_path, pictures):
    """The four outputs are a chain: each follows from the one before by the paper's definition, in float64."""
    weights = random_weights(lambda: Vgg16("fc7"))
    save_file(weights, tmp_path / "vgg16.safetensors")
    layers = {}
    for layer in ("fc6", "fc6-relu", "fc7", "fc7-relu"):
        network = open_network(Choice("vgg16", layer, tmp_path / "vgg16.safetensors"))
        inputs = network.normalisation(pictures[:1])
        layers[layer] = network(inputs).astype(float)
        assert layers[layer].shape == (1, 4096) == (1, network.dim)
    x = torch.from_numpy(inputs).double()
    for number, channels in enumerate((64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)):
        if not channels:
            x = torch.nn.functional.max_pool2d(x, 2)
            continue
        place = 2 * number - sum(1 for other in (2, 5, 9, 13) if other < number)
        x = torch.nn.functional.conv2d(
            x, weights[f"features.{place}.weight"].double(), weights[f"features.{place}.bias"].double(), padding=1
        ).relu()
    six = x.flatten(1).numpy() @ weights["classifier.0.weight"].double().numpy().T
    six += weights["classifier.0.bias"].numpy()
    seven = np.maximum(six, 0) @ weights["classifier.3.weight"].double().numpy().T
    seven += weights["classifier.3.bias"].numpy()
    for layer, expected in (("fc6", six), ("fc6-relu", np.maximum(six, 0)), ("fc7", seven)):
        assert np.abs(layers[layer] - expected).max() < 1e-4 * np.abs(expected).max()
    np.testing.assert_array_equal(layers["fc7-relu"], np.maximum(layers["fc7"], 0))


def test_any_network_in_an_onnx_file(tmp_path):
    pictures = np.random.default_rng(1).integers(0, 256, (7, 8, 8, 3), dtype=np.uint8)
    for how in ({}, {"batch": 3}, {"maps": True}):
        network = open_network(Choice(str(small_network(tmp_path / "small.onnx", **how))))
        assert (network.size, network.dim) == (8, 4)
        features = network(network.normalisation(pictures))
        np.testing.assert_allclose(features, by_hand(pictures), atol=1e-4)
    assert network.layer == "maps"
    assert open_network(Choice(str(tmp_path / "small.onnx"), "vectors")).layer == "vectors"


def refusal(error, **choice):
    with pytest.raises(error) as caught:
        open_network(Choice(**choice))
    return str(caught.value)


def test_networks_that_are_not_there(tmp_path):
    assert "did you mean 'resnet50'" in refusal(UsageError, network="resnet-50")
    assert "did you mean 'fc6-relu'" in refusal(UsageError, network="vgg16", layer="fc6_relu")
    assert "needs its weights" in refusal(UsageError, network="vgg16")
    assert "brings its own" in refusal(UsageError, weights=tmp_path)
    assert "no network" in refusal(DataError, network=str(tmp_path / "absent.onnx"))
    small_network(tmp_path / "small.onnx")
    assert "vectors" in refusal(UsageError, network=str(tmp_path / "small.onnx"), layer="vector")
    with pytest.raises(UsageError, match="holds its own"):
        check_choice(Choice(str(tmp_path / "small.onnx"), weights=tmp_path))
    (tmp_path / "text.onnx").write_text("not a network")
    assert "no ONNX network" in refusal(DataError, network=str(tmp_path / "text.onnx"))
    os.mkfifo(tmp_path / "pipe.onnx")
    assert "named pipe" in refusal(DataError, network=str(tmp_path / "pipe.onnx"))


def test_weights_that_are_another_networks(tmp_path, resnet_weights):
    assert "no file" in refusal(DataError, network="resnet50", weights=tmp_path / "absent.pth")
    said = refusal(DataError, network="vgg16", weights=resnet_weights)
    assert "another network than vgg16" in said and "'features.0.weight' is missing" in said and "more" in said
    torch.save({"fc.weight": torch.zeros(3)}, tmp_path / "few.pth")
    assert "another network than resnet50" in refusal(DataError, network="resnet50", weights=tmp_path / "few.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    assert "state_dict" in refusal(DataError, network="resnet50", weights=tmp_path / "list.pth")
    for name in ("text.pth", "text.safetensors"):
        (tmp_path / name).write_text("not weights")
        assert name in refusal(DataError, network="resnet50", weights=tmp_path / name)


class Malicious:
    def __init__(self, path):
        self._path = path

    def __reduce__(self):
        return os.mkdir, (str(self._path),)


@pytest.mark.parametrize("by_torch", [True, False])
def test_nothing_in_a_file_of_weights_is_executed(tmp_path, by_torch):
    path, trace = tmp_path / "weights.pth", tmp_path / "trace"
    if by_torch:
        torch.save({"conv1.weight": Malicious(trace)}, path)
    else:
        path.write_bytes(pickle.dumps({"conv1.weight": Malicious(trace)}))
    assert "nothing in it was executed" in refusal(DataError, network="resnet50", weights=path)
    assert not trace.exists()
