"""ConMH against the numbers of its authors' program (README.md): every stage, loss term and gradient, in float64."""

import pytest
import torch
from reading import Numbers, assert_close, copy_state

from vhbench.methods import conmh
from vhbench.methods.conmh import ConMH, hidden_error, stacked
from vhbench.methods.transformer import sine_positions
from vhbench.methods.two_views import frame_sign, video_code, views_of
from vhbench.training import Moment

BITS = 16
NUMBERS = Numbers("conmh")
CASES = pytest.mark.parametrize("case", ["p75", "p50"])
BLOCK = {
    "norm1": "norm1",
    "attention.query_key_value": "attn.qkv",
    "attention.out": "attn.proj",
    "norm2": "norm2",
    "mlp.0": "mlp.fc1",
    "mlp.2": "mlp.fc2",
}
LAYERS = {
    "encoder.embed": "encoder.patch_embed",
    "encoder.norm": "encoder.norm",
    "encoder.head": "encoder.head",
    "decoder.norm": "decoder.norm",
    "decoder.read_out": "decoder.head",
    "hash": "binary",
    "norm": "ln",
    "enlarge": "encoder_to_decoder",
}


def released_names(module) -> dict[str, str]:
    """Return the program's name of each of our parameters."""
    names = {"decoder.mask_token": "mask_token"}
    for name in module.state_dict():
        owner, _, leaf = name.rpartition(".")
        part, _, inner = owner.partition(".layers.")
        number, _, layer = inner.partition(".")
        if layer == "attention" and leaf in ("query_bias", "value_bias"):
            names[name] = f"{part}.blocks.{number}.attn.{leaf[0]}_bias"
        elif layer:
            names[name] = f"{part}.blocks.{number}.{BLOCK[layer]}.{leaf}"
        elif owner in LAYERS:
            names[name] = f"{LAYERS[owner]}.{leaf}"
    return names


def network(case: str):
    """Return the method with a case's settings and its network with the program's weights."""
    temperature, tau, weight = NUMBERS[f"in/{case}/T_tau_a"].tolist()
    method = ConMH(
        BITS,
        mask_ratio={"p75": 0.75, "p50": 0.5}[case],
        temperature=temperature,
        tau=tau,
        contrastive_weight=weight,
        blocks=2,
        heads=3,
        width=32,
        decoder_width=24,
    )
    module = method.build(25, 48).double()
    copy_state(module, NUMBERS, released_names(module))
    module.encoder.positions.copy_(NUMBERS["in/pos_embed_encoder"])
    module.decoder.positions.copy_(NUMBERS["in/pos_embed_decoder"])
    views = views_of(NUMBERS[f"in/{case}/perm"].long(), method.mask_ratio)
    return method, module, views


def test_the_positions_are_the_programs():
    for part, width in (("encoder", 32), ("decoder", 24)):
        assert_close(sine_positions(25, width).double(), NUMBERS[f"in/pos_embed_{part}"], 1e-7)


@CASES
def test_each_stage_of_each_view(case):
    _, module, views = network(case)
    both = stacked(views)
    latent = module.encoder(both.seen(module.embed(NUMBERS["in/x"]).repeat(2, 1, 1)))
    before = module.hash(latent)
    logits = module.logits(both.seen(module.embed(NUMBERS["in/x"]).repeat(2, 1, 1)))
    codes = frame_sign(logits)
    frames = module.decoder.read_out(module.decode(codes, both))
    ours = {
        "encoder": latent,
        "hash_linear": before,
        "hash_logits": logits,
        "codes": codes,
        "mean_code": codes.mean(1),
        "reconstruction": frames,
    }
    for number in (1, 2):
        folder = f"out/{case}/view{number}/"
        assert set(NUMBERS.names(folder)) == set(ours)
        for name, value in ours.items():
            assert_close(value.chunk(2)[number - 1], NUMBERS[folder + name], what=name)


@CASES
def test_loss_terms_and_all_gradients(case, monkeypatch):
    method, module, views = network(case)
    monkeypatch.setattr(conmh, "two_views", lambda *_: views)
    terms = method.loss(module, NUMBERS["in/x"], Moment(0, 1))
    loss = sum(terms.values())
    loss.backward()
    assert_close(terms["recon"], NUMBERS[f"out/{case}/loss_mse1"] + NUMBERS[f"out/{case}/loss_mse2"])
    assert_close(terms["contrastive"], method.contrastive_weight * NUMBERS[f"out/{case}/loss_dcl"])
    assert_close(loss, NUMBERS[f"out/{case}/loss_total"])
    theirs = released_names(module)
    assert set(NUMBERS.names(f"grad/{case}/")) == set(theirs.values())
    for name, parameter in module.named_parameters():
        assert_close(parameter.grad, NUMBERS[f"grad/{case}/{theirs[name]}"], what=name)


@CASES
def test_each_views_error(case):
    _, module, views = network(case)
    videos = NUMBERS["in/x"]
    for number, view in enumerate(views, 1):
        states = module.decode(frame_sign(module.logits(view.seen(module.embed(videos)))), view)
        error = hidden_error(videos, videos, [view], states, module.decoder.read_out)
        assert_close(error / (view.hidden.numel() * videos.shape[2]), NUMBERS[f"out/{case}/loss_mse{number}"])


def test_six_steps_of_adam(monkeypatch):
    method, module, views = network("p75")
    monkeypatch.setattr(conmh, "two_views", lambda *_: views)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    for theirs in NUMBERS["out/p75/adam_lr1e-3_losses"]:
        loss = sum(method.loss(module, NUMBERS["in/x"], Moment(0, 1)).values())
        assert_close(loss, theirs)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert_close(module.hash.weight, NUMBERS["out/p75/adam_after6/binary.weight"])


def test_a_video_is_hashed_from_all_its_frames():
    method, module, _ = network("p75")
    latent = module.encoder(module.embed(NUMBERS["in/x"]))
    logits = module.logits(module.embed(NUMBERS["in/x"]))
    assert_close(latent, NUMBERS["out/inference/encoder"])
    assert_close(logits, NUMBERS["out/inference/hash_logits"])
    assert torch.equal(frame_sign(logits), NUMBERS["out/inference/codes"])
    assert torch.equal(video_code(frame_sign(logits)), NUMBERS["out/inference/b"] > 0)
    assert torch.equal(method.codes(module, NUMBERS["in/x"]), NUMBERS["out/inference/b"] > 0)
