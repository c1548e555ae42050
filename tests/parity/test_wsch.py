"""WSCH against the numbers of the authors' program (README.md): stages, codes, losses, gradients, k-means; float64."""

import numpy as np
import pytest
import torch
from reading import Numbers, assert_close, copy_state
from sklearn.cluster import KMeans
from torch.nn import functional

from vhbench.methods import wsch as wsch_file
from vhbench.methods.ssd import causal_convolution
from vhbench.methods.two_views import View
from vhbench.methods.wsch import WSCH, cluster
from vhbench.training import Moment

NUMBERS = Numbers("wsch")
BITS = 16
NAMES = {
    "encoder.frame_norm.weight": "En.Norm.weight",
    "encoder.frame_norm.bias": "En.Norm.bias",
    "encoder.project.weight": "En.in_proj.weight",
    "encoder.block_norm.weight": "En.Norm1.weight",
    "encoder.block.expand.weight": "En.expand_proj.weight",
    "encoder.block.taps": "En.conv.weight",
    "encoder.block.select.weight": "En.ssm.x_proj.weight",
    "encoder.block.step_bias": "En.ssm.dt_bias",
    "encoder.block.log_decay": "En.ssm.A_log",
    "encoder.block.skip": "En.ssm.D",
    "encoder.block.output.weight": "En.out_proj.weight",
    "encoder.block.output.bias": "En.out_proj.bias",
    "encoder.attention_norm.weight": "En.norm1.weight",
    "encoder.attention_norm.bias": "En.norm1.bias",
    "hash.linear.weight": "hash.linear.weight",
    "hash.linear.bias": "hash.linear.bias",
    "hash.norm.weight": "hash.ln.weight",
    "hash.norm.bias": "hash.ln.bias",
    "decoder.mask_token": "De.mask_token",
    "decoder.widen.weight": "De.encoder_to_decoder.weight",
    "decoder.norm.weight": "De.norm.weight",
    "decoder.norm.bias": "De.norm.bias",
    "decoder.read_out.weight": "De.out_proj.weight",
    "decoder.read_out.bias": "De.out_proj.bias",
}
for ours, theirs in (("encoder.attention", "En.att1"), ("decoder.attention", "De.att")):
    for part, name in (("query", "q"), ("key", "k"), ("value", "v"), ("output", "output")):
        NAMES[f"{ours}.{part}.weight"] = f"{theirs}.linear_{name}.weight"
    NAMES[f"{ours}.output.bias"] = f"{theirs}.linear_output.bias"
STAGE1, PASS_A, PASS_B = Moment(0, 1), Moment(0, 2, stage=1), Moment(1, 2, stage=1)


@pytest.fixture
def wsch():
    """The method and its network with the program's weights and centres."""
    method = WSCH(BITS, width=32, decoder_width=24, ssd_head_width=32, ssd_state=8, clusters=7)
    _, frames, dim = NUMBERS["in/x"].shape
    module = method.build(frames, dim).double()
    copy_state(module, NUMBERS, NAMES)
    module.centres = NUMBERS["state/cluster_centers"]
    for attention in (module.encoder.attention, module.decoder.attention):
        attention.root = float(np.float32(attention.root))  # the program holds it as float32
    return method, module


def views(case: str) -> tuple[View, View]:
    masks = NUMBERS[f"in/{case}/mask"].unbind(1)
    return tuple(View(*(kept.nonzero()[:, 1].view(len(mask), -1) for kept in (~mask, mask))) for mask in masks)


@pytest.mark.parametrize("case", ["p90", "p60"])
def test_views_codes_and_reconstructions(wsch, case):
    _, module = wsch
    for number, view in enumerate(views(case), 1):
        folder = f"out/{case}/view{number}/"
        encoded = module.encoder(view.seen(NUMBERS["in/x"]))
        codes = module.hash(encoded)
        frame = module.decoder(codes, view.hidden.shape[1])
        ours = {
            "encoder": encoded,
            "hash_linear": module.hash.linear(encoded),
            "hash_logits": module.hash.logits(encoded),
            "codes": codes,
            "normalised_mean_code": functional.normalize(codes.mean(1), dim=1),
            "reconstruction": frame.unsqueeze(1).expand(-1, view.hidden.shape[1], -1),
        }
        assert set(ours) == {name for name in NUMBERS.names(folder) if not name.startswith("stage_")}
        for name, value in ours.items():
            assert_close(value, NUMBERS[folder + name], what=folder + name)


def test_stages_of_the_encoder(wsch):
    encoder = wsch[1].encoder
    block = encoder.block
    t = encoder.project(encoder.frame_norm(views("p60")[0].seen(NUMBERS["in/x"])))
    normed = encoder.block_norm(t)
    x, z = block.expand(normed).chunk(2, 2)
    x = causal_convolution(x, block.taps)
    ours = {
        "in_proj": t,
        "rmsnorm": normed,
        "conv": x,
        "gate_z": z,
        "ssd": block.scan(x, block.select(x)),
        "after_ssm_block": t + block(normed),
    }
    for name, value in ours.items():
        assert_close(value, NUMBERS[f"out/p60/view1/stage_{name}"], what=name)


@pytest.mark.parametrize(
    ("case", "moment", "gradients", "terms"),
    [
        ("p90", STAGE1, "p90/stage1_rec", {"recon": "loss_rec"}),
        ("p60", PASS_A, "p60/passA", {"recon": "loss_rec", "cluster": "loss_cluster_sum_of_views"}),
        ("p60", PASS_B, "p60/passB", {"recon": "loss_rec", "contrastive": "loss_dcl"}),
    ],
)
def test_losses_and_gradients(wsch, case, moment, gradients, terms):
    method, module = wsch
    parts = method.terms(module, NUMBERS["in/x"], views(case), moment)
    assert parts.keys() == terms.keys()
    weights = {"recon": 1, "cluster": 0.02, "contrastive": 1}
    for name, theirs in terms.items():
        assert_close(parts[name] / weights[name], NUMBERS[f"out/{case}/{theirs}"], what=theirs)
    total = sum(parts.values())
    if moment.stage:
        assert_close(total, NUMBERS[f"out/p60/loss_pass{'AB'[moment.epoch]}"])
    total.backward()
    grads = {NAMES[name]: parameter.grad for name, parameter in module.named_parameters()}
    for name in NUMBERS.names(f"grad/{gradients}/"):
        assert_close(grads[name], NUMBERS[f"grad/{gradients}/{name}"], what=name)


def test_codes_of_all_frames(wsch):
    method, module = wsch
    encoded = module.encoder(NUMBERS["in/x"])
    assert_close(encoded, NUMBERS["out/inference/encoder"])
    mean = module.hash(encoded).mean(1)
    assert_close(functional.normalize(mean, dim=1), NUMBERS["out/inference/normalised_mean_code"])
    assert torch.equal(method.codes(module, NUMBERS["in/x"]), NUMBERS["out/inference/b"] > 0)


def test_clusters_begin_anew_and_go_on_from_the_centres_before(monkeypatch):
    fitted = []
    monkeypatch.setattr(wsch_file, "KMeans", lambda *a, **named: fitted.append(KMeans(*a, **named)) or fitted[-1])
    first = cluster(NUMBERS["in/kmeans/codes"].float().numpy(), 7, None, 0)
    assert np.array_equal(first, NUMBERS["out/kmeans/first_centers_sign"])
    centres = torch.from_numpy(fitted[0].cluster_centers_)
    assert_close(centres, NUMBERS["out/kmeans/first_centers_raw"], 1e-6)  # both are float32
    again = cluster(NUMBERS["in/kmeans/codes_next_epoch"].float().numpy(), 7, first, 0)
    assert np.array_equal(again, NUMBERS["out/kmeans/next_centers_sign"])
    assert_close(torch.from_numpy(fitted[1].cluster_centers_), NUMBERS["out/kmeans/next_centers_raw"], 1e-6)
    assert np.array_equal(fitted[1].labels_, NUMBERS["out/kmeans/next_labels"])
