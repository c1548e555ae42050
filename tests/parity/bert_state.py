"""What the parity tests of BTH, DKPH and BerVAE share: the programs' Transformer in our layout."""

from __future__ import annotations

import torch
from reading import Numbers, assert_close

from vhbench.methods.bert import Encoder

PARTS = {
    "frame_map": "embedding.frame_map",
    "blocks.0.attended": "transformer_blocks.0.attention.output_linear",
    "blocks.0.widen": "transformer_blocks.0.feed_forward.w_1",
    "blocks.0.narrow": "transformer_blocks.0.feed_forward.w_2",
}
NORMS = {"blocks.0.norm_attention": "input_sublayer", "blocks.0.norm_forward": "output_sublayer"}
QKV = "bert.transformer_blocks.0.attention.linear_layers"  # 0, 1, 2: queries, keys, values


def encoder_names() -> dict[str, str]:
    """Return the program's name of each of our encoder's parameters but `qkv`, which is three of its."""
    names = {f"{ours}.{leaf}": f"bert.{theirs}.{leaf}" for ours, theirs in PARTS.items() for leaf in ("weight", "bias")}
    for ours, theirs in NORMS.items():
        for leaf, other in (("scale", "a_2"), ("shift", "b_2")):
            names[f"{ours}.{leaf}"] = f"bert.transformer_blocks.0.{theirs}.norm.{other}"
    return names


def released(module: torch.nn.Module, numbers: Numbers, names: dict[str, str]) -> torch.nn.Module:
    """Return a network in float64 with the program's values.

    Args:
        module: ours, with an `encoder`.
        numbers: the program's.
        names: its names of what is not in the encoder.
    """
    module = module.double()
    own = dict(module.named_parameters())
    all_names = {**names, **{f"encoder.{ours}": theirs for ours, theirs in encoder_names().items()}}
    assert set(own) == {*all_names, "encoder.blocks.0.qkv.weight", "encoder.blocks.0.qkv.bias"}
    encoder: Encoder = module.encoder
    with torch.no_grad():
        for name, theirs in all_names.items():
            value = numbers[f"state/{theirs}"]
            assert own[name].shape == value.shape, name
            own[name].copy_(value)
        for leaf in ("weight", "bias"):
            parts = [numbers[f"state/{QKV}.{part}.{leaf}"] for part in range(3)]
            getattr(encoder.blocks[0].qkv, leaf).copy_(torch.cat(parts))
        assert (encoder.position - numbers["in/pos_embed"]).abs().max() < 1e-6  # the program's table is float32
        encoder.position = numbers["in/pos_embed"]
    return module


def assert_gradients(module: torch.nn.Module, numbers: Numbers, case: str, names: dict[str, str]) -> int:
    """Compare our gradients with the program's of a case.

    Returns:
        How many of the program's gradients were compared; that of the keys' bias, which is 0 but for rounding in both,
        counts too.
    """
    all_names = {**names, **{f"encoder.{ours}": theirs for ours, theirs in encoder_names().items()}}
    theirs = numbers.names(f"grad/{case}/")
    own = {all_names[name]: p.grad for name, p in module.named_parameters() if name in all_names}
    for leaf in ("weight", "bias"):
        gradient = getattr(module.encoder.blocks[0].qkv, leaf).grad
        parts = [None] * 3 if gradient is None else gradient.chunk(3)
        own |= {f"{QKV}.{part}.{leaf}": value for part, value in enumerate(parts)}
    for name in theirs:
        if name == f"{QKV}.1.bias":
            least = 1e-12 * own[f"{QKV}.1.weight"].abs().max()
            assert max(own[name].abs().max(), numbers[f"grad/{case}/{name}"].abs().max()) < least
        else:
            assert_close(own[name], numbers[f"grad/{case}/{name}"], what=f"{case} {name}")
    return len(theirs)
