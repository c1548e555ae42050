"""What BTH and DKPH do beside their losses: two trainings, anchors between them, pairs, and where they resume."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from resuming import assert_resumes

from vhbench.errors import MethodError
from vhbench.method import Budget, FitContext
from vhbench.methods.bth import BTH
from vhbench.methods.dkph import DKPH
from vhbench.methods.similar_pairs import SimilarityTags, find_anchors, nearest_anchors
from vhbench.training import Moment, Training
from vhbench.videos import VideoSet

BITS, DIM, VIDEOS = 6, 10, 26
SMALL = {"epochs": 2, "stage1_epochs": 2, "batch_size": 8, "width": 8}


def videos(frames: int = 5) -> VideoSet:
    return VideoSet(np.random.default_rng(0).random((VIDEOS, frames, DIM), dtype=np.float32))


@pytest.mark.parametrize("kind", [BTH, DKPH])
@pytest.mark.parametrize("killed", [1, 2, 3])
def test_a_resumed_training_is_the_undisturbed_one_bit_for_bit(tmp_path, kind, killed):
    assert_resumes(lambda: kind(BITS, **SMALL), videos(), tmp_path, killed)


def begun(method, train, number, ctx=None):
    """Return a training at the beginning of an epoch."""
    ctx = ctx or FitContext(seed=1)
    torch.manual_seed(7)
    module = method.build(train.frames, train.dim)
    training = Training(method, module, train, ctx)
    return module, training, training.start_epoch(number)


@pytest.mark.parametrize("kind", [BTH, DKPH])
def test_anchors_are_of_the_clean_videos_states_and_the_weights_are_new(kind):
    method, train = kind(BITS, **SMALL), videos()
    torch.manual_seed(7)
    module = method.build(train.frames, train.dim)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with torch.no_grad():
        points = module.eval().encoder(torch.cat(list(train.batches(99)))).mean(1).numpy()
    training = Training(method, module, train, FitContext(seed=1))
    moment = training.start_epoch(2)
    assert (moment.stage, moment.epoch) == (1, 0)
    expected = find_anchors(points, 2000, FitContext(seed=1).rng("anchors"))
    np.testing.assert_allclose(module.anchors, expected, rtol=1e-4, atol=1e-5)
    assert np.array_equal(module.near, nearest_anchors(points, module.anchors.numpy()))
    new = [name for name, value in module.state_dict().items() if not torch.equal(value, before[name])]
    assert {name for name in before if name.endswith("weight")} <= set(new)
    assert module.training


def test_each_epoch_draws_other_pairs_whose_frames_follow_each_other():
    method, train = BTH(BITS, **SMALL), videos()
    module, training, moment = begun(method, train, 2)
    first = module.partners.clone()
    tags = SimilarityTags(module.near.numpy()).tags(np.arange(VIDEOS), first.numpy())
    assert ((tags == 1) == (module.similar == 1).numpy()).all()
    inputs = method.inputs(module, train, moment)
    held = np.concatenate(list(train.arrays(99)))
    assert np.array_equal(np.concatenate(list(inputs.arrays(9))), np.concatenate([held, held[first]], 1))
    training.start_epoch(3)
    assert not torch.equal(module.partners, first)
    again, _, _ = begun(method, train, 2)
    assert torch.equal(again.partners, first)


@pytest.mark.parametrize("kind", [BTH, DKPH])
def test_a_batch_of_pairs_knows_its_anchors_and_signs(kind, monkeypatch):
    method, train = kind(BITS, **SMALL), videos()
    module, _, moment = begun(method, train, 2)
    rows = torch.tensor([4, 20, 11])
    batch = next(method.inputs(module, train, moment).subset(rows.numpy()).batches(3))
    calls = []
    monkeypatch.setattr(method, "pair_loss", lambda *args: calls.append(args) or {})
    method.loss(module, batch, replace(moment, rows=rows))
    _, target, hidden, pairs = calls[0]
    assert target.shape == (6, 5, DIM) and hidden.shape == (6, 5, 8)
    for place, i in enumerate(rows.tolist()):
        j = int(module.partners[i])
        assert pairs.similar[place] == module.similar[i]
        for half, video in enumerate((i, j)):
            assert torch.equal(pairs.anchors[place, half], module.anchors[module.near[video, 0]])


@pytest.mark.parametrize(
    ("epochs", "asked", "budget", "stages"),
    [
        (56, 56, 56, (56, 56)),
        (40, 15, 40, (15, 40)),
        (56, 56, 1, (1, 1)),
        (49, 56, 7, (8, 7)),
        (100, 4, 2, (1, 2)),
        (10, 0, 10, (0, 10)),
    ],
)
def test_a_budget_shortens_both_trainings(epochs, asked, budget, stages):
    assert tuple(BTH(BITS, epochs=epochs, stage1_epochs=asked).stages(budget)) == stages


def test_the_schedule_starts_anew_in_the_second_training():
    method = BTH(BITS)
    factors = [method.lr_factor(Moment(epoch, 56, stage=stage)) for stage in (0, 1) for epoch in (0, 20, 55)]
    assert factors == [1, 0.9, 0.9**2] * 2


@pytest.mark.parametrize("kind", [BTH, DKPH])
@pytest.mark.parametrize("frames", [2, 8, 30])
def test_even_and_few_frames(kind, frames):
    method = kind(BITS, **SMALL).fit(videos(frames), FitContext(budget=Budget(1)))
    assert method.encode(videos(frames)).shape == (VIDEOS, BITS)


@pytest.mark.parametrize("kind", [BTH, DKPH])
def test_two_videos_train(kind):
    few = videos().subset(np.arange(2))
    assert kind(BITS, **SMALL).fit(few, FitContext(budget=Budget(1))).encode(few).shape == (2, BITS)


@pytest.mark.parametrize("kind", [BTH, DKPH])
def test_an_unknown_target_is_refused_before_training(kind):
    with pytest.raises(MethodError, match="target='clean' is unknown"):
        kind(BITS, target="clean").fit(videos(), FitContext())
