"""DKPH against the numbers of its authors' program (README.md), in float64."""

import pytest
import torch
from bert_state import assert_gradients, released
from reading import Numbers, assert_close

from vhbench.methods import anchored_pairs
from vhbench.methods.anchored_pairs import Pairs
from vhbench.methods.dkph import DKPH
from vhbench.methods.two_views import frame_sign
from vhbench.training import Moment

NUMBERS = Numbers("dkph")
PARTS = {"hash": "hid_b", "temporal": "temporal", "read_out": "decoder"}
NAMES = {f"{ours}.{leaf}": f"{theirs}.{leaf}" for ours, theirs in PARTS.items() for leaf in ("weight", "bias")}
METHOD = DKPH(16, width=32)
ALL = 24  # gradients: of all parameters


def halves(name: str) -> torch.Tensor:
    """Return both videos of each pair, (12, ...): a pair's videos follow each other."""
    return torch.stack([NUMBERS[name.format(half)] for half in (1, 2)], 1).flatten(0, 1)


@pytest.fixture
def module():
    return released(METHOD.build(25, 48), NUMBERS, NAMES).eval()


def test_each_stage_of_the_network(module):
    seen = halves("in/mask_input{}")
    hidden = module.encoder(seen)
    codes, changes = frame_sign(module.logits(hidden)), module.changes(hidden)
    assert_close(hidden, halves("out/view{}/encoder"))
    assert_close(module.logits(hidden), halves("out/view{}/hash_logits"))
    assert torch.equal(codes, halves("out/view{}/code"))
    assert torch.equal(METHOD.codes(module, seen), halves("out/view{}/code") > 0)
    assert_close(changes, halves("out/view{}/temporal"))
    assert_close(module.read_out(codes[:, None] + changes), halves("out/view{}/reconstruction"))


@pytest.mark.parametrize(("case", "target"), [("released", "released"), ("clean", "described")])
def test_the_loss_and_all_gradients(module, monkeypatch, case, target):
    seen, clean = halves("in/mask_input{}"), halves("in/clean{}")
    monkeypatch.setattr(anchored_pairs, "corrupted", lambda videos, t: (seen, seen if t == "released" else videos))
    module.anchors, module.near = halves("in/anchor{}"), torch.arange(12)[:, None]
    module.similar, module.partners = NUMBERS["in/is_similar"].repeat_interleave(2), torch.arange(12) + 1
    moment = Moment(0, 1, torch.arange(0, 12, 2), stage=1)
    parts = DKPH(16, width=32, target=target).gradient(module, clean.view(6, 50, 48), moment)
    weights = {"recon": ("rec", 1), "pairwise": ("bsim", 0.11), "anchor": ("anchor", 0.9), "triplet": ("triplet", 0.09)}
    for ours, (theirs, weight) in weights.items():
        assert_close(parts[ours] / weight, NUMBERS[f"out/{case}/loss_{theirs}"], what=ours)
    assert_close((parts["anchor"] + parts["triplet"]) / 0.9, NUMBERS[f"out/{case}/loss_tsim"])
    assert_close(sum(parts.values()), NUMBERS[f"out/{case}/loss_total"])
    assert assert_gradients(module, NUMBERS, case, NAMES) == ALL


def test_a_similar_pairs_triplet_is_the_margin_and_has_no_gradient(module):
    hidden = torch.randn(4, 25, 32, dtype=torch.float64, requires_grad=True)
    pairs = Pairs(torch.ones(2, dtype=torch.float64), torch.randn(2, 2, 32, dtype=torch.float64))
    triplet = METHOD.pair_loss(module, torch.randn(4, 25, 48).double(), hidden, pairs)["triplet"]
    (gradient,) = torch.autograd.grad(triplet, hidden)
    assert_close(triplet, torch.tensor(0.9 * 0.1 * 0.5, dtype=torch.float64))
    assert not gradient.any()
