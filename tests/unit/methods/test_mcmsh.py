"""MCMSH: what parity with its program does not hold: quintuples, anchors, corruption, schedules, resuming, sizes."""

import math

import numpy as np
import pytest
import torch
from resuming import assert_resumes
from torch.nn import functional

from vhbench.errors import MethodError
from vhbench.method import FitContext
from vhbench.methods.corruption import draw_corruption
from vhbench.methods.mcmsh import MCMSH, corrupted_pair, margins, quintuples, reduced
from vhbench.methods.similar_pairs import SimilarityTags
from vhbench.training import Moment
from vhbench.videos import VideoSet

BITS, DIM = 4, 6
SMALL = {"width": 8, "squeeze": 4, "batch_size": 8, "epochs": 3}


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def data(frames: int = 8, videos: int = 24) -> VideoSet:
    return VideoSet(np.random.default_rng(0).standard_normal((videos, frames, DIM)).astype(np.float32))


def make(**params) -> MCMSH:
    return MCMSH(BITS, **{**SMALL, **params})


def tag(near: np.ndarray, i: int, j: int) -> int:
    """The rule by sets, one pair at a time."""
    three, four, five = (set(near[i, :s]) & set(near[j, :s]) for s in (3, 4, 5))
    return 1 if three else 2 if five and not four else 0


def test_every_video_is_compared_with_four_that_the_rules_allow():
    near = np.argsort(np.random.default_rng(1).random((60, 40)), axis=1)[:, :5]
    rng, tags = np.random.default_rng(2), SimilarityTags(near)
    has_dissimilar = [any(tag(near, i, j) == 2 for j in range(60)) for i in range(60)]
    for _ in range(20):
        others, similar = quintuples(tags, rng)
        for i, (partner, near_one, *apart) in enumerate(others):
            assert (tag(near, i, partner) == 1) == (similar[i] == 1)
            assert tag(near, i, near_one) == 1
            assert all(tag(near, i, j) == (2 if has_dissimilar[i] else 0) for j in apart)


class Clashing(SimilarityTags):
    """Draws given videos, and calls two similar where they are equal."""

    def __init__(self, *draws):
        self.nearest, self.draws = np.zeros((3, 5), dtype=np.int64), iter(draws)

    def pairs(self, rng):
        return np.arange(3), np.ones(3, dtype=np.float32)

    def similar(self, rows, rng):
        return rows

    def dissimilar(self, rows, rng):
        asked, drawn = next(self.draws)
        assert rows.tolist() == asked
        return np.array(drawn)

    def tags(self, i, j):
        return (i == j).astype(int)


def test_the_second_dissimilar_video_is_drawn_once_more_where_it_is_similar_to_the_first():
    tags = Clashing(([0, 1, 2], [1, 2, 0]), ([0, 1, 2], [1, 0, 0]), ([0, 2], [2, 0]))
    others, _ = quintuples(tags, np.random.default_rng(0))
    assert others[:, 2:].tolist() == [[1, 2], [2, 0], [0, 0]]


def test_a_video_to_which_all_are_similar_gets_any_others():
    others, similar = quintuples(SimilarityTags(np.tile(np.arange(5), (7, 1))), np.random.default_rng(0))
    assert others.shape == (7, 4)
    assert others.min() >= 0
    assert others.max() < 7
    assert (similar == 1).all()


def test_anchors_are_reduced_to_their_leading_principal_components():
    anchors = np.random.default_rng(0).standard_normal((9, DIM)).astype(np.float32) * np.arange(1, DIM + 1) + 3
    centred = anchors.astype(np.float64) - anchors.mean(0, dtype=np.float64)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(np.abs(reduced(anchors, 3)), np.abs(u * s)[:, :3], rtol=1e-5, atol=1e-5)
    wide = reduced(anchors, 8)
    np.testing.assert_allclose(np.abs(wide[:, :DIM]), np.abs(u * s), rtol=1e-5, atol=1e-5)
    assert (wide[:, DIM:] == 0).all()
    few = reduced(anchors[:2], 8)
    assert few.shape == (2, 8)
    assert (reduced(anchors[:1], 8) == 0).all()
    assert np.linalg.norm(few[0] - few[1]) == pytest.approx(np.linalg.norm(anchors[0] - anchors[1]), rel=1e-5)


def test_corruption_after_the_linear_map_is_corruption_before_it():
    item, pair = torch.randn(2, 3, 8, DIM).double()
    weight = torch.randn(5, DIM).double()
    torch.manual_seed(3)
    ours = torch.cat(corrupted_pair(functional.linear(item, weight), functional.linear(pair, weight)))
    torch.manual_seed(3)
    before = draw_corruption(6, 8).apply(torch.cat([item, pair]))
    assert not torch.equal(before, torch.cat([item, pair]))
    torch.testing.assert_close(ours, functional.linear(before, weight))


def test_margins_by_hand():
    item, similar = torch.tensor([[1.0, 1, 1, 1]]), torch.tensor([[1.0, 1, 1, 0]])  # distance 1
    one, other = torch.tensor([[1.0, 1, 0, 0]]), torch.tensor([[0.0, 0, 0, 0]])  # from the item 2, from each other 2
    assert margins(item, similar, one, other).item() == pytest.approx(0, abs=1e-5)  # 1 + 1 - 2, and 1 / 16 + 1 - 2
    assert margins(item, one, similar, similar).item() == pytest.approx((1 + 2 - 1) + (1 / 16 + 2 - 0), abs=1e-5)


def test_the_learning_rate_falls_every_20_epochs():
    rates = [3e-4 * MCMSH(BITS).lr_factor(Moment(epoch, 56)) for epoch in (0, 19, 20, 40, 55, 200, 400)]
    np.testing.assert_allclose(rates, [3e-4, 3e-4, 2.7e-4, 2.43e-4, 2.43e-4, 3e-4 * 0.9**10, 1e-4])


def test_codes_are_made_with_the_last_epochs_alpha_also_by_a_saved_model(tmp_path):
    videos = data()
    method = make().fit(videos, FitContext())
    assert method.module_.alpha.item() == pytest.approx(math.sqrt(3))
    encoded = [
        method.module_.encode(functional.linear(batch, method.module_.project.weight)) for batch in videos.batches(24)
    ]
    expected = (math.sqrt(3) * method.module_.binary(encoded[0])).tanh().mean(1) >= 0
    assert np.array_equal(method.encode(videos), expected.numpy())
    method.save(tmp_path / "model")
    loaded = MCMSH.load(tmp_path / "model")
    assert loaded.module_.alpha.item() == method.module_.alpha.item()
    assert np.array_equal(loaded.encode(videos), method.encode(videos))


@pytest.mark.parametrize("killed", [1, 2])
def test_a_resumed_training_is_the_undisturbed_one_bit_for_bit(tmp_path, killed):
    assert_resumes(make, data(), tmp_path, killed)


@pytest.mark.parametrize("frames", [4, 8, 25, 30])
@pytest.mark.parametrize("quantization", ["released", "described"])
def test_any_number_of_frames_from_four_on(frames, quantization):
    codes = make(epochs=1, quantization=quantization).fit(data(frames), FitContext()).encode(data(frames))
    assert codes.shape == (24, BITS)


def test_first_weights_of_the_gates():
    module = MCMSH(BITS).build(25, 64)
    long, short = module.channels.context.long.gate, module.channels.context.short.gate
    assert long.squeeze.weight.shape == (16, 256)
    assert long.squeeze.weight.std().item() == pytest.approx(1e-3, rel=0.1)
    assert short.squeeze.weight.shape == (16, 16, 3)
    assert short.squeeze.weight.std().item() == pytest.approx(
        math.sqrt(2 / (16 * 3)), rel=0.1
    )  # torch: fan of all units
    assert module.tokens.context.middle.gate.squeeze.weight.shape == (6, 25, 3)
    assert module.tokens.context.middle.gate.pooled == 256 // 3
    assert short.squeeze.bias is None


def test_what_cannot_be_built_is_said():
    with pytest.raises(MethodError, match="width must be a multiple of squeeze; 8 is none of 3"):
        make(squeeze=3).build(8, DIM)
    with pytest.raises(MethodError, match="quantization='no' is unknown: choose 'released' or 'described'"):
        make(quantization="no").build(8, DIM)
