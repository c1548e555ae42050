"""BL1: UVVH's loss on random single frames, and codes pooled over the frames."""

import numpy as np
import pytest
import torch

from vhbench.errors import MethodError
from vhbench.method import FitContext
from vhbench.methods import bl1
from vhbench.methods.bl1 import BL1
from vhbench.testing.toy import toy_videos
from vhbench.training import Moment
from vhbench.videos import VideoSet

FIRST, LAST = Moment(0, 80), Moment(79, 80)  # of the deterministic and of the probabilistic stage


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    """Few units, so that a step takes milliseconds; nothing else changes."""
    monkeypatch.setattr(bl1, "WIDTHS", (6, 5))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def make(frames=7, dim=3, bits=4, **params):
    method = BL1(bits, **{"dropout": 0.0, **params})
    return method, method.build(frames, dim).double()


def videos(n=5, frames=7, dim=3):
    return torch.randn(n, frames, dim, dtype=torch.float64)


def seen_frames(method, module, batch, moment=FIRST):
    """The frames that the encoder reads in one step of training."""
    seen = []
    handle = module.encoder.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    method.loss(module, batch, moment)
    handle.remove()
    return seen[0]


def test_each_step_takes_different_frames_of_each_video():
    method, module = make(frames_per_video=3)
    batch = videos()
    draws = []
    for _ in range(20):
        frames = seen_frames(method, module, batch)
        assert frames.shape == (15, 1, 3)
        for own, chosen in zip(batch, frames.view(5, 3, 3), strict=True):
            positions = [int((own == frame).all(1).nonzero()) for frame in chosen]
            assert len(set(positions)) == 3
            draws.append(frozenset(positions))
    assert {position for draw in draws for position in draw} == set(range(7))
    assert len(set(draws)) > 10


@pytest.mark.parametrize("frames_per_video", [7, 8])
def test_short_videos_are_taken_whole(frames_per_video):
    method, module = make(frames_per_video=frames_per_video)
    batch = videos()
    assert torch.equal(seen_frames(method, module, batch), batch.reshape(35, 1, 3))


def test_loss_terms_by_hand():
    method, module = make(frames_per_video=7, kl_weight=0.5, recon_weight=2.0)
    batch = videos(2)
    state = torch.get_rng_state()
    terms = method.loss(module, batch, LAST)
    mu, log_sigma = (part.detach().numpy() for part in module.encoder(batch.reshape(14, 1, 3)))
    torch.set_rng_state(state)
    z = mu + np.exp(log_sigma) * torch.randn(14, 4, dtype=torch.float64).numpy()
    decoded = module.decoder(torch.from_numpy(np.where(z >= 0, 1.0, -1.0))).detach().numpy()[:, 0]
    recon = kl = 0.0
    for i, frame in enumerate(batch.reshape(14, 3).numpy()):
        recon += sum((frame[d] - decoded[i, d]) ** 2 for d in range(3)) / 14
        for j in range(4):
            variance = np.exp(2 * log_sigma[i, j])
            kl += 0.5 * (mu[i, j] ** 2 + variance - 1 - np.log(variance)) / 14
    assert terms.keys() == {"recon", "kl"}
    assert terms["recon"].item() == pytest.approx(2.0 * recon, rel=1e-12)
    assert terms["kl"].item() == pytest.approx(0.5 * kl, rel=1e-12)


def test_the_first_stage_neither_samples_nor_weighs_the_prior():
    method, module = make(frames_per_video=7)
    batch = videos()
    first, again = (method.loss(module, batch, FIRST) for _ in range(2))
    assert first.keys() == {"recon"} and torch.equal(first["recon"], again["recon"])
    assert not torch.equal(*(method.loss(module, batch, LAST)["recon"] for _ in range(2)))


def test_codes_are_the_sign_of_the_mean_relaxed_code_of_all_frames():
    method, module = make()
    module.eval()
    batch = videos(6)
    codes = method.codes(module, batch).numpy()
    for i, video in enumerate(batch):
        total = np.zeros(4)
        for frame in video:
            total += np.tanh(module.encoder(frame.view(1, 1, 3))[0].detach().numpy()[0])
        np.testing.assert_array_equal(codes[i], total >= 0)
    order = torch.randperm(7)
    np.testing.assert_array_equal(method.codes(module, batch[:, order]).numpy(), codes)


def test_training_starts_at_the_mean_frame():
    method, module = make()
    frames = np.random.default_rng(0).random((6, 7, 3), dtype=np.float32)
    method.prepare(module, VideoSet(frames), FitContext())
    mean = frames.reshape(-1, 3).astype(np.float64).mean(0)
    np.testing.assert_allclose(module.decoder.read_out.bias.detach().numpy(), mean, rtol=1e-6)


def test_the_loss_falls():
    told = []
    train, _ = toy_videos()
    BL1(8, epochs=20, warmup=1.0, batch_size=64, lr=0.01).fit(train, FitContext(report=told.append))
    assert told[-1].loss < 0.9 * told[0].loss


def test_no_frames_are_refused():
    with pytest.raises(MethodError, match="frames_per_video is 0"):
        BL1(4, frames_per_video=0).build(7, 3)
