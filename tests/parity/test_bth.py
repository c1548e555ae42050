"""BTH against the numbers of its authors' program (README.md), in float64."""

import pytest
import torch
from bert_state import assert_gradients, released
from reading import Numbers, assert_close

from vhbench.methods import anchored_pairs, bth
from vhbench.methods.bth import BTH
from vhbench.training import Moment

NUMBERS = Numbers("bth")
NAMES = {
    f"{ours}.{leaf}": f"{theirs}.{leaf}"
    for ours, theirs in (("binary", "binary"), ("read_out", "restore"))
    for leaf in ("weight", "bias")
}
METHOD = BTH(16, width=32)
SIMILAR = NUMBERS["in/is_similar"]
ANCHORS = torch.stack([NUMBERS[f"in/anchor{half}"] for half in (1, 2)], 1)
ALL = 22  # gradients: of all parameters


def halves(name: str) -> torch.Tensor:
    """Return both videos of each pair, (12, ...): a pair's videos follow each other."""
    return torch.stack([NUMBERS[name.format(half)] for half in (1, 2)], 1).flatten(0, 1)


@pytest.fixture
def module():
    return released(METHOD.build(25, 48), NUMBERS, NAMES).eval()


@pytest.fixture
def stored(module, monkeypatch):
    """Have a batch be the program's: its pairs, and its corrupted frames, with the target that is asked for."""
    seen, clean = halves("in/mask_input{}"), halves("in/clean{}")

    def corrupted(videos, target):
        assert torch.equal(videos, clean[: len(videos)])
        return seen, seen if target == "released" else clean

    monkeypatch.setattr(anchored_pairs, "corrupted", corrupted)
    module.anchors = ANCHORS.flatten(0, 1)
    module.near = torch.arange(12)[:, None]  # video 2 i and its partner 2 i + 1
    module.similar = torch.stack([SIMILAR, SIMILAR], 1).flatten()
    module.partners = torch.arange(12) + 1
    rows = torch.arange(0, 12, 2)
    return clean.view(6, 50, 48), Moment(0, 1, rows, stage=1)


def test_each_stage_of_the_network(module):
    seen = halves("in/mask_input{}")
    hidden = module.encoder(seen)
    codes = module.frame_states(hidden)
    assert_close(module.encoder.embed(seen)[::2], NUMBERS["out/eval/view1/embedding"])
    embedded = module.encoder.embed(seen)[::2]
    assert_close(module.encoder.blocks[0].attend(embedded), NUMBERS["out/eval/view1/after_attention"])
    assert_close(hidden, halves("out/eval/view{}/encoder"))
    assert_close(module.binary(hidden), halves("out/eval/view{}/hash_logits"))
    assert torch.equal(codes, halves("out/eval/view{}/codes"))
    assert_close(codes.mean(1), halves("out/eval/view{}/mean_code"))
    assert torch.equal(METHOD.codes(module, seen), halves("out/eval/view{}/b") > 0)
    assert_close(module.read_out(codes), halves("out/eval/view{}/reconstruction"))


def assert_losses(parts, case):
    weights = {"recon": ("rec", 0.92), "pairwise": ("nei", 0.08), "anchor": ("anchor", 0.8)}
    for ours, (theirs, weight) in weights.items():
        assert_close(parts[ours] / weight, NUMBERS[f"out/{case}/loss_{theirs}"], what=ours)
    assert_close(sum(parts.values()), NUMBERS[f"out/{case}/loss_total"])


@pytest.mark.parametrize(("case", "target"), [("released", "released"), ("clean", "described")])
def test_the_loss_and_all_gradients(module, stored, case, target):
    parts = BTH(16, width=32, target=target).gradient(module, *stored)
    assert_losses(parts, f"eval/{case}")
    assert assert_gradients(module, NUMBERS, f"eval/{case}", NAMES) == ALL


def test_the_first_trainings_gradients(module, stored):
    _, moment = stored
    parts = METHOD.gradient(module, halves("in/clean{}"), Moment(0, 1, moment.rows, stage=0))
    assert_close(sum(parts.values()), NUMBERS["out/eval/released/loss_rec"])
    assert assert_gradients(module, NUMBERS, "eval/stage1_rec_only", NAMES) == ALL


def test_the_loss_and_gradients_with_the_programs_dropout(module, stored, monkeypatch):
    folder = "in/train/dropout_keep/view1/"
    kept = [
        torch.stack([NUMBERS[f"in/train/dropout_keep/view{half}/{name}"] for half in (1, 2)], 1).flatten(0, 1)
        for name in sorted(NUMBERS.names(folder))
    ]

    def dropout(x, p, training, inplace):
        assert training and p == 0.1
        return x * kept.pop(0) / 0.9

    monkeypatch.setattr(torch.nn.functional, "dropout", dropout)
    states = []
    monkeypatch.setattr(bth, "frame_sign", lambda x, sign=bth.frame_sign: states.append(sign(x)) or states[-1])
    module.train()
    module.encoder.register_forward_hook(lambda _, seen, hidden: states.append(hidden))
    assert_losses(METHOD.gradient(module, *stored), "train")
    assert not kept
    assert_close(states[0][::2], NUMBERS["out/train/view1/encoder"])
    assert torch.equal(states[1][::2], NUMBERS["out/train/view1/codes"])
    assert assert_gradients(module, NUMBERS, "train", NAMES) == 5


def test_five_steps_of_adam(module, stored):
    optimizer = METHOD.optimizer(module)
    losses = []
    for _ in range(5):
        module.zero_grad()
        losses.append(sum(METHOD.gradient(module, *stored).values()))
        optimizer.step()
    assert_close(torch.stack(losses), NUMBERS["out/eval/adam_lr3e-4_losses"])
    assert_close(module.binary.weight, NUMBERS["out/eval/adam_after5/binary.weight"])
