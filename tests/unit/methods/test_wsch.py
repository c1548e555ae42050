"""WSCH: what parity with its program does not hold: passes and stages, one optimiser, clusters, resuming, sizes."""

import numpy as np
import pytest
import torch
from resuming import assert_resumes
from torch.nn import functional

from vhbench.errors import MethodError
from vhbench.method import Budget, FitContext
from vhbench.methods import wsch
from vhbench.methods.two_views import two_views
from vhbench.methods.wsch import WSCH, cluster, nearest_centre, reconstruction
from vhbench.videos import VideoSet

BITS, DIM = 4, 6
SMALL = {
    "width": 8,
    "decoder_width": 4,
    "heads": 2,
    "ssd_head_width": 4,
    "ssd_state": 3,
    "batch_size": 8,
    "clusters": 5,
}


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def data(frames: int = 10, videos: int = 24) -> VideoSet:
    return VideoSet(np.random.default_rng(0).standard_normal((videos, frames, DIM)).astype(np.float32))


def make(**params) -> WSCH:
    return WSCH(BITS, **{**SMALL, "epochs": 2, "stage1_epochs": 2, **params})


def trained(method: WSCH, **ctx) -> tuple[WSCH, dict[int, dict[str, float]]]:
    told: dict[int, dict[str, float]] = {}
    return method.fit(data(), FitContext(report=lambda epoch: told.update({epoch.number: epoch.parts}), **ctx)), told


def test_an_epoch_of_the_second_stage_is_two_passes():
    _, told = trained(make())
    further = [set(parts) - {"recon"} for parts in told.values()]
    assert further == [set(), set(), *2 * [{"cluster"}, {"contrastive"}]]


@pytest.mark.parametrize(("epochs", "passes"), [(300, (100, 600)), (75, (25, 150)), (3, (1, 6)), (1, (0, 2))])
def test_a_budget_counts_the_second_stages_epochs(epochs, passes):
    assert WSCH(BITS).stages(epochs) == passes
    assert make(epochs=10, stage1_epochs=15).stages(10) == (15, 20)


def test_both_stages_have_one_optimiser_whose_moments_go_on():
    made = []

    class Watched(WSCH):
        def optimizer(self, module):
            made.append(super().optimizer(module))
            return made[-1]

    method = Watched(BITS, **SMALL, epochs=2, stage1_epochs=2)
    method.fit(data(), FitContext())
    assert len(made) == 2
    assert made[0] is made[1]
    counts = {int(state["step"]) for state in made[0].state.values()}
    assert counts == {3 * 6}  # 3 batches in each of 2 + 2 x 2 passes
    assert method.module_.adam is None


@pytest.mark.parametrize("killed", range(1, 6))
def test_a_resumed_training_is_the_undisturbed_one_bit_for_bit(tmp_path, killed):
    assert_resumes(make, data(), tmp_path, killed)


def test_clusters_are_made_of_both_views_of_all_videos_and_go_on_from_the_centres_before(monkeypatch):
    calls = []

    def watched(points, count, before, seed):
        calls.append((points, count, before, cluster(points, count, before, seed)))
        return calls[-1][3]

    monkeypatch.setattr(wsch, "cluster", watched)
    method, _ = trained(make())
    assert len(calls) == 2
    for points, count, _, _ in calls:
        assert points.shape == (2 * 24, BITS)
        assert count == 5
        assert set(np.unique(points)) <= {-1, 0, 1}
    assert calls[0][2] is None
    assert np.array_equal(calls[1][2], calls[0][3])
    assert np.array_equal(method.module_.centres.numpy(), calls[1][3])


def test_few_videos_have_as_many_clusters():
    method, _ = trained(make(clusters=800))
    assert method.module_.centres.shape == (24, BITS)


def test_equal_points_are_clustered_too():
    assert np.array_equal(cluster(np.ones((6, 2), np.float32), 3, None, 0), np.ones((3, 2)))


def test_the_reconstruction_loss_is_that_of_every_hidden_frame():
    videos = torch.randn(5, 9, DIM).double()
    videos[1, 4] = 0
    views = two_views(5, 9, 0.6)
    predicted = torch.randn(10, DIM).double().requires_grad_()
    ours = reconstruction(videos, views, predicted)
    theirs = 0.0
    for view, frame in zip(views, predicted.chunk(2), strict=True):
        cosines = [
            functional.cosine_similarity(frame[n], videos[n, t], dim=0) for n in range(5) for t in view.hidden[n]
        ]
        theirs = theirs + 1 - torch.stack(cosines).mean()
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(*(torch.autograd.grad(loss, predicted)[0] for loss in (ours, theirs)))


def test_the_cluster_loss_by_hand():
    view, centres = torch.tensor([[1.0, 1.0], [1.0, -0.5]]), torch.tensor([[1.0, 1.0], [1.0, -1.0], [0.0, 1.0]])
    expected = 0.0
    for row in view.tolist():
        cosines = [(row[0] * c[0] + row[1] * c[1]) / (np.hypot(*row) * np.hypot(*c)) for c in centres.tolist()]
        powers = np.exp(np.array(cosines) / 0.2)
        expected -= np.log(powers.max() / powers.sum()) / 2
    assert nearest_centre(view, centres, 0.2).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("frames", [2, 8, 25, 30])
def test_any_number_of_frames_from_two_on(frames):
    videos = data(frames)
    method = make(epochs=1, stage1_epochs=1).fit(videos, FitContext(budget=Budget(epochs=1)))
    codes = method.encode(videos)
    assert codes.shape == (24, BITS)
    frame_codes = method.module_.hash(method.module_.encoder(next(videos.batches(24))))
    assert np.array_equal(codes, (frame_codes.sum(1) >= 0).numpy())


def test_what_cannot_be_built_is_said():
    with pytest.raises(MethodError, match="mask_ratio must hide at least one of 8 frames"):
        make(mask_ratio=0.1).build(8, DIM)
    with pytest.raises(MethodError, match="2 x width equally: 16 is no multiple of 5"):
        make(ssd_head_width=5).build(8, DIM)
