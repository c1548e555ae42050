"""S5VH against the numbers of its authors' program (README.md): every stage, loss term and gradient, in float64."""

import pytest
import torch
from reading import Numbers, assert_close, copy_state

from vhbench.methods import conmh, s5vh
from vhbench.methods.conmh import stacked
from vhbench.methods.mamba import Mamba
from vhbench.methods.s5vh import S5VH, label_logits
from vhbench.methods.two_views import View, frame_sign, video_code
from vhbench.training import Moment

BITS, CLUSTERS, VIDEOS = 16, 10, 6
NUMBERS = Numbers("s5vh")
MAMBA = {
    "a_log": "A_log",
    "d": "D",
    "in_proj.weight": "in_proj.weight",
    "conv.weight": "conv1d.weight",
    "conv.bias": "conv1d.bias",
    "x_proj.weight": "x_proj.weight",
    "dt_proj.weight": "dt_proj.weight",
    "dt_proj.bias": "dt_proj.bias",
    "out_proj.weight": "out_proj.weight",
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
    "classifier": "classifier",
}


def released_names(module) -> dict[str, str]:
    """Return the program's name of each of our parameters; what it does not use, its second Mambas too, is no one's."""
    names = {"decoder.mask_token": "mask_token"}
    for name in module.state_dict():
        if name == "labels":
            continue
        owner, _, leaf = name.rpartition(".")
        part, _, inner = name.partition(".layers.")
        number, _, layer = inner.partition(".")
        if layer.startswith("mamba."):
            names[name] = f"{part}.blocks.{number}.mamba1.{MAMBA[layer.removeprefix('mamba.')]}"
        elif layer:
            names[name] = f"{part}.blocks.{number}.{layer}"
        elif owner in LAYERS:
            names[name] = f"{LAYERS[owner]}.{leaf}"
    return names


@pytest.fixture
def network(monkeypatch):
    """The method, its network with the program's weights and labels in evaluation mode, and the views."""
    method = S5VH(
        BITS,
        mask_ratio=0.5,
        tau=0.1,
        contrastive_weight=1.0,
        cluster_weight=0.1,
        clusters=CLUSTERS,
        blocks=2,
        width=32,
        decoder_width=24,
    )
    module = method.build(25, 48).double().eval()
    copy_state(module, NUMBERS, released_names(module))
    module.encoder.positions.copy_(NUMBERS["in/pos_embed_encoder"])
    module.decoder.positions.copy_(NUMBERS["in/pos_embed_decoder"])
    module.register_buffer("labels", NUMBERS["in/cluster_label_onehot"].clone(), persistent=False)
    positions = torch.arange(25).expand(VIDEOS, 25)
    masks = NUMBERS["in/mask"].unbind(1)
    views = tuple(View(*(positions[m].view(VIDEOS, -1) for m in (~mask, mask))) for mask in masks)
    monkeypatch.setattr(conmh, "two_views", lambda *_: views)
    return method, module, views


def moment(epoch: int) -> Moment:
    return Moment(epoch, 500, torch.arange(VIDEOS))  # as many as it trains, so that the warm-up is not shortened


def test_mamba_alone():
    mamba = Mamba(32).double()
    copy_state(mamba, NUMBERS, {ours: f"encoder.blocks.0.mamba1.{theirs}" for ours, theirs in MAMBA.items()})
    assert_close(mamba(NUMBERS["in/mamba_x"]), NUMBERS["out/mamba_y"])


def test_each_stage_of_each_view(network):
    _, module, views = network
    both = stacked(views)
    tokens = both.seen(module.embed(NUMBERS["in/x"]).repeat(2, 1, 1))
    latent = module.encoder(tokens)
    logits = module.logits(tokens)
    codes = frame_sign(logits)
    ours = {
        "block_input": tokens,
        "after_block1": module.encoder.layers[0](tokens),
        "encoder": latent,
        "hash_linear": module.hash(latent),
        "hash_logits": logits,
        "codes": codes,
        "mean_code": codes.mean(1),
        "cluster_logits": module.classifier(codes.mean(1)),
        "reconstruction": module.decoder.read_out(module.decode(codes, both)),
    }
    for number, only_view_1 in ((1, set()), (2, {"block_input", "after_block1"})):
        folder = f"out/view{number}/"
        assert set(NUMBERS.names(folder)) == set(ours) - only_view_1
        for name in NUMBERS.names(folder):
            assert_close(ours[name].chunk(2)[number - 1], NUMBERS[folder + name], what=name)


def test_loss_terms_and_all_gradients_of_the_warm_up(network):
    method, module, _ = network
    terms = method.loss(module, NUMBERS["in/x"], moment(49))
    loss = sum(terms.values())
    loss.backward()
    assert_close(terms["recon"], NUMBERS["out/warmup/loss_rec"])
    assert_close(terms["contrastive"], NUMBERS["out/warmup/loss_dcl"])
    assert_close(terms["cluster"], method.cluster_weight * NUMBERS["out/warmup/loss_cluster"])
    assert_close(loss, NUMBERS["out/warmup/loss_total"])
    assert torch.equal(module.labels, NUMBERS["in/cluster_label_onehot"])
    theirs = released_names(module)
    assert set(NUMBERS.names("grad/warmup/")) == set(theirs.values())
    for name, parameter in module.named_parameters():
        assert_close(parameter.grad, NUMBERS[f"grad/warmup/{theirs[name]}"], what=name)


def test_labels_move_after_the_warm_up(network):
    method, module, _ = network
    logits = label_logits(module, module.embed(NUMBERS["in/x"]))
    loss = sum(method.loss(module, NUMBERS["in/x"], moment(50)).values())
    assert_close(logits, NUMBERS["out/label_pred_eval"])
    assert_close(loss, NUMBERS["out/after_warmup_eval/loss_total"])
    assert_close(module.labels, NUMBERS["out/after_warmup_eval/new_labels"])


def test_training_with_the_programs_stochastic_depth(network, monkeypatch):
    method, module, _ = network
    keep = NUMBERS["in/train/droppath_keep"]
    draws = iter([torch.cat([keep[0], keep[1]]).view(-1, 1, 1), keep[2].view(-1, 1, 1)])
    monkeypatch.setattr(s5vh, "kept", lambda *_: next(draws))
    loss = sum(method.loss(module.train(), NUMBERS["in/x"], moment(50)).values())
    loss.backward()
    assert next(draws, None) is None
    assert_close(loss, NUMBERS["out/train_after_warmup/loss_total"])
    assert_close(module.labels, NUMBERS["out/train_after_warmup/new_labels"])
    theirs = {name: ours for ours, name in released_names(module).items()}
    for name in NUMBERS.names("grad/train_after_warmup/"):
        gradient = module.get_parameter(theirs[name]).grad
        assert_close(gradient, NUMBERS[f"grad/train_after_warmup/{name}"], what=name)


def test_a_video_is_hashed_from_all_its_frames(network):
    method, module, _ = network
    tokens = module.embed(NUMBERS["in/x"])
    logits = module.logits(tokens)
    assert_close(module.hash(module.encoder(tokens)), NUMBERS["out/inference/hash_linear_no_ln"])
    assert_close(logits, NUMBERS["out/inference/hash_logits"])
    assert torch.equal(video_code(frame_sign(logits)), NUMBERS["out/inference/b"] > 0)
    assert torch.equal(method.codes(module, NUMBERS["in/x"]), NUMBERS["out/inference/b"] > 0)
