"""MCMSH against the numbers of the authors' program (README.md): stages, codes, losses, gradients, dropout; float64."""

import numpy as np
import pytest
import torch
from reading import Numbers, assert_close, copy_state
from torch import nn
from torch.nn import functional

from vhbench.methods import mcmsh
from vhbench.methods.mcmsh import MCMSH
from vhbench.training import Moment

NUMBERS = Numbers("mcmsh")
BITS, VIDEOS = 16, 6
WHICH = ("item", "pair", "similar", "dissimilar1", "dissimilar2")
RANGES = {"long": "lrd", "middle": "mrd", "short": "srd"}
WEIGHTS = {"anchor": 0.8, "pairwise": 0.1, "margin": 0.01, "quantization": 0.01}
TERMS = {"anchor": "anchor", "pairwise": "sim", "margin": "quad", "quantization": "quant"}


def names_of_range(ours: str, theirs: str) -> dict[str, str]:
    names = {
        f"{ours}.{a}.{part}": f"{theirs}.{b}.{part}"
        for a, b in (("into", "fc1"), ("out", "fc2"))
        for part in ("weight", "bias")
    }
    for a, b in (("squeeze", "conv"), ("widen", "deconv")):
        names[f"{ours}.gate.{a}.weight"] = f"{theirs}.{b}.weight"
    for a, b in (("squeezed_norm", "bn1"), ("norm", "bn2")):
        for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            names[f"{ours}.gate.{a}.{part}"] = f"{theirs}.{b}.{part}"
    return names


def names() -> dict[str, str]:
    pairs = {"project": "mc_mlp.preproj", "binary": "binary"}
    for ours, theirs in (("tokens", "token_mixer"), ("channels", "channel_mixer")):
        pairs |= {f"{ours}.into": f"mc_mlp.{theirs}.mlp.fc1", f"{ours}.out": f"mc_mlp.{theirs}.mlp.fc2"}
    all_names = {f"{a}.{part}": f"{b}.{part}" for a, b in pairs.items() for part in ("weight", "bias")}
    contexts = {"tokens.context": "token_mixer.", "channels.context": "channel_mixer.", "last": ""}
    for ours, theirs in contexts.items():
        for a, b in RANGES.items():
            all_names |= names_of_range(f"{ours}.{a}", f"mc_mlp.{theirs}{b}")
    return all_names


class Shaped:
    """The numbers, with layers over the length as matrices where the program has convolutions of kernel 1."""

    def __getitem__(self, key: str) -> torch.Tensor:
        value = NUMBERS[key]
        return value.squeeze(2) if key.endswith((".fc1.weight", ".fc2.weight")) and value.ndim == 3 else value


@pytest.fixture
def made(monkeypatch):
    """The method, its network with the program's weights, the batch of five videos each, and the moment."""
    method = MCMSH(BITS, width=32, squeeze=8)
    _, frames, dim = NUMBERS["in/item"].shape
    module = method.build(frames, dim).double()
    alpha = module._buffers.pop("alpha")  # the program keeps it elsewhere
    copy_state(module, Shaped(), names())
    module.register_buffer("alpha", torch.full_like(alpha, (int(NUMBERS["in/alpha_epoch"]) + 1) ** 0.5))
    # two rows of the training set a video: itself and its pair, each next to an anchor of its own
    module.anchors = torch.cat([NUMBERS["in/anchor1"], NUMBERS["in/anchor2"]])
    module.near = torch.arange(2 * VIDEOS).unsqueeze(1)
    module.others = torch.arange(VIDEOS, 2 * VIDEOS).unsqueeze(1).expand(-1, 4)
    module.similar = NUMBERS["in/is_similar"]
    monkeypatch.setattr(mcmsh, "corrupted_pair", lambda item, pair: [item, pair])  # its videos are corrupted
    return (
        method,
        module,
        torch.cat([NUMBERS[f"in/{which}"] for which in WHICH], 1),
        Moment(8, 56, torch.arange(VIDEOS)),
    )


def test_stages_in_evaluation(made):
    method, module, _, _ = made
    module.eval()
    frames = NUMBERS["in/item"]
    projected = functional.linear(frames, module.project.weight)
    pre = (projected + module.project.bias).relu()
    mixed = module.tokens.mlp(pre.transpose(1, 2))
    tokens = module.tokens(pre)
    channels = module.channels(tokens.transpose(1, 2))
    encoded = module.encode(projected)
    ours = {
        "stage_preproj": pre,
        "token_mlp": mixed,
        "stage_token": tokens,
        "stage_channel": channels.transpose(1, 2),
        "encoder": encoded,
        "frame_logits": module.binary(encoded),
        "h": module.steep_mean(encoded),
        "b": module.steep_mean(encoded).sign(),
    }
    for a, b in RANGES.items():
        ours[f"token_{b}"] = getattr(module.tokens.context, a)(mixed.transpose(1, 2)).transpose(1, 2)
        ours[f"final_{b}"] = getattr(module.last, a)(channels).transpose(1, 2)
    assert torch.equal(method.codes(module, frames), ours["b"] > 0)
    module.alpha.fill_(1)
    ours["h_alpha1"] = module.steep_mean(encoded)
    assert set(ours) == set(NUMBERS.names("out/eval/item/"))
    for name, value in ours.items():
        assert_close(value, NUMBERS[f"out/eval/item/{name}"], what=name)


@pytest.mark.parametrize("which", WHICH)
def test_what_each_of_the_five_videos_becomes(made, which):
    _, module, _, _ = made
    module.eval()
    projected = functional.linear(NUMBERS[f"in/{which}"], module.project.weight)
    assert_close(module.steep_mean(module.encode(projected)), NUMBERS[f"out/eval/{which}/h"])


def assert_terms(parts: dict[str, torch.Tensor], mode: str) -> torch.Tensor:
    assert parts.keys() == TERMS.keys()
    for name, theirs in TERMS.items():
        assert_close(parts[name] / WEIGHTS[name], NUMBERS[f"out/{mode}/loss_{theirs}"], what=name)
    total = torch.stack(list(parts.values())).sum()
    assert_close(total, NUMBERS[f"out/{mode}/loss_total"])
    return total


def assert_gradients(module: nn.Module, mode: str) -> None:
    gradients = {theirs: dict(module.named_parameters()).get(ours) for ours, theirs in names().items()}
    numbers = Shaped()
    for name in NUMBERS.names(f"grad/{mode}/"):
        assert_close(gradients[name].grad, numbers[f"grad/{mode}/{name}"], what=name)


def test_losses_and_gradients_in_evaluation(made):
    method, module, videos, moment = made
    module.eval()
    assert_terms(method.loss(module, videos, moment), "eval").backward()
    assert_gradients(module, "eval")


class Kept(nn.Module):
    """Drops what the program dropped, input after input."""

    def __init__(self, number: int, name: str):
        super().__init__()
        shape = NUMBERS[f"in/train/dropout_shape/{number}"].tolist()
        packed = (NUMBERS[f"in/train/dropout_keep/{which}/{number}:mc_mlp.{name}"].numpy() for which in WHICH)
        count = int(np.prod(shape))
        self.masks = iter([torch.from_numpy(np.unpackbits(bits)[:count].reshape(shape)) for bits in packed])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * next(self.masks) / 0.5


def test_losses_and_gradients_in_training_with_the_programs_dropout(made, monkeypatch):
    method, module, videos, moment = made
    for start, mixer, name in ((0, module.tokens, "token_mixer"), (2, module.channels, "channel_mixer")):
        for place in range(2):
            mixer.dropouts[place] = Kept(start + place, f"{name}.mlp.dropout{place + 1}")
    encoded = []
    terms = method.terms
    monkeypatch.setattr(method, "terms", lambda m, x, rows: encoded.extend(x) or terms(m, x, rows))
    module.train()
    assert_terms(method.loss(module, videos, moment), "train").backward()
    assert_gradients(module, "train")
    assert_close(encoded[0], NUMBERS["out/train/item/encoder"])
    for which, x in zip(WHICH, encoded, strict=True):
        assert_close(module.steep_mean(x), NUMBERS[f"out/train/{which}/h"], what=which)
    norm = module.last.long.gate.squeezed_norm
    for part in ("running_mean", "running_var"):
        assert_close(getattr(norm, part), NUMBERS[f"out/train/after_five_forwards/mc_mlp.lrd.bn1.{part}"], what=part)
    assert norm.num_batches_tracked == NUMBERS["out/train/after_five_forwards/mc_mlp.lrd.bn1.num_batches_tracked"]


def test_the_quantisation_term_has_no_gradient_as_released_and_one_as_described(made):
    method, module, videos, moment = made
    module.eval()
    assert not method.loss(module, videos, moment)["quantization"].requires_grad
    method.quantization = "described"
    described = method.loss(module, videos, moment)["quantization"]
    assert_close(described / 0.01, NUMBERS["out/eval/loss_quant"])
    described.backward()
    assert module.binary.weight.grad.abs().max() > 0
