"""CIBHash: its views, draws and both terms of its loss by loops in float64, and resuming."""

import numpy as np
import pytest
import torch

from vhbench.checkpoint import Checkpoint
from vhbench.method import FitContext
from vhbench.methods import cibhash
from vhbench.methods.cibhash import CIBHash, sampled, symmetric_kl, view_means
from vhbench.training import Moment
from vhbench.videos import VideoSet


def make(videos: int = 24, frames: int = 5, dim: int = 10, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((videos, 1, dim)) + 0.5 * rng.standard_normal((videos, frames, dim)) + 5).astype("f4")


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return sum(a * b) / np.sqrt(sum(a * a) * sum(b * b))


def slow_nt_xent(one: np.ndarray, two: np.ndarray, temperature: float) -> float:
    """The cross entropy of each vector's partner among all others."""
    both = np.concatenate([one, two])
    n, losses = len(one), []
    for i in range(2 * n):
        weights = [np.exp(cosine(both[i], both[j]) / temperature) if j != i else 0.0 for j in range(2 * n)]
        losses.append(-np.log(weights[(i + n) % (2 * n)] / sum(weights)))
    return np.mean(losses)


def slow_kl(one: np.ndarray, two: np.ndarray) -> float:
    """Both directions of the divergence of Bernoulli variables from their definition."""

    def one_way(p, q):
        return sum(a * np.log(a / b) + (1 - a) * np.log((1 - a) / (1 - b)) for a, b in zip(p, q, strict=True))

    return np.mean([(one_way(p, q) + one_way(q, p)) / 2 for p, q in zip(one, two, strict=True)])


def logistic(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def network(bits: int = 6, batch: int = 7, **params):
    method = CIBHash(bits, width=9, **params)
    torch.manual_seed(0)
    module = method.build(5, 10).double()
    module.mean.copy_(torch.from_numpy(make().mean(axis=(0, 1))))
    return method, module, torch.from_numpy(make(batch)).double()


def by_hand(module, means: np.ndarray) -> np.ndarray:
    weights = {name: value.detach().numpy() for name, value in module.named_parameters()}
    hidden = np.maximum((means - module.mean.numpy()) @ weights["hidden.weight"].T + weights["hidden.bias"], 0)
    return hidden @ weights["head.weight"].T + weights["head.bias"]


@pytest.mark.parametrize(("frames", "seen"), [(2, 1), (8, 4), (25, 13), (30, 15)])
def test_views_are_means_of_halves_of_the_frames(frames, seen):
    torch.manual_seed(0)
    videos = torch.eye(frames).double().expand(20, -1, -1)  # a mean then says which frames are in it
    for one in view_means(videos, 0.5):
        assert ((one * seen - 1).abs().lt(1e-12) | (one == 0)).all() and one.sum(1).allclose(torch.ones(20).double())
    a, b = view_means(videos, 0.5)
    assert ((a > 0) & (b > 0)).sum(1).tolist() == [frames % 2] * 20 and ((a > 0) | (b > 0)).all()
    assert len(a.unique(dim=0)) > 1, "each video has views of its own"


def test_draws_follow_the_probabilities():
    torch.manual_seed(0)
    logits = torch.tensor([-2.0, -0.5, 0.0, 1.0], dtype=torch.float64).expand(40_000, 4)
    codes = sampled(logits)
    assert set(codes.unique().tolist()) == {-1.0, 1.0}
    np.testing.assert_allclose((codes.mean(0) + 1) / 2, logistic(logits[0].numpy()), atol=0.01)


def test_the_draws_gradient_is_that_of_the_probability():
    logits = torch.linspace(-3, 3, 12, dtype=torch.float64).view(3, 4).requires_grad_()
    upstream = torch.arange(1.0, 13, dtype=torch.float64).view(3, 4)
    (sampled(logits) * upstream).sum().backward()
    p = logistic(logits.detach().numpy())
    np.testing.assert_allclose(logits.grad.numpy(), 2 * upstream.numpy() * p * (1 - p), atol=1e-12)


def test_the_divergence_by_its_definition():
    one, two = np.random.default_rng(0).standard_normal((2, 5, 6)) * 2
    found = symmetric_kl(torch.from_numpy(one), torch.from_numpy(two))
    assert found.item() == pytest.approx(slow_kl(logistic(one), logistic(two)), rel=1e-12)
    assert symmetric_kl(torch.tensor([[200.0]]), torch.tensor([[-200.0]])).item() == pytest.approx(200)


@pytest.mark.parametrize("batch", [2, 7])
def test_both_terms_by_loops(monkeypatch, batch):
    method, module, videos = network(batch=batch)
    drawn, kept = [], cibhash.sampled
    monkeypatch.setattr(cibhash, "sampled", lambda logits: drawn.append((logits, kept(logits))) or drawn[-1][1])
    torch.manual_seed(1)
    parts = method.loss(module, videos, Moment(0, 1))
    torch.manual_seed(1)
    means = [mean.numpy() for mean in view_means(videos, 0.5)]
    logits = [by_hand(module, mean) for mean in means]
    for (found, codes), wanted in zip(drawn, logits, strict=True):
        np.testing.assert_allclose(found.detach().numpy(), wanted, atol=1e-12)
        assert (codes.abs() == 1).all()
    codes = [codes.detach().numpy() for _, codes in drawn]
    assert parts["contrast"].item() == pytest.approx(slow_nt_xent(*codes, 0.3), rel=1e-12)
    assert parts["kl"].item() == pytest.approx(0.001 * slow_kl(*map(logistic, logits)), rel=1e-12)
    assert list(parts) == ["contrast", "kl"]


def test_gradients_of_the_networks_weights_by_differences(monkeypatch):
    """Through 2 p - 1 in place of the draw, which has the same slope."""
    monkeypatch.setattr(cibhash, "sampled", lambda logits: 2 * logits.sigmoid() - 1)
    method, module, videos = network(kl_weight=0.5)
    for parameter in module.parameters():
        parameter.requires_grad_(False)

    def total(weight):
        torch.manual_seed(3)
        logits = torch.func.functional_call(module, {"head.weight": weight}, (videos.mean(1),))
        parts = method.loss(lambda x: torch.func.functional_call(module, {"head.weight": weight}, (x,)), videos, None)
        return sum(parts.values()) + 0 * logits.sum()

    assert torch.autograd.gradcheck(total, [module.head.weight.clone().requires_grad_()])


def test_defaults_are_the_released_ones():
    method = CIBHash(8)
    assert (method.lr, method.epochs, method.temperature, method.kl_weight) == (1e-3, 60, 0.3, 0.001)


def test_codes_of_new_videos_by_hand():
    train, test = make(), make(seed=1)
    method = CIBHash(6, epochs=2, width=9).fit(VideoSet(train), FitContext())
    module = method.module_.double()
    np.testing.assert_allclose(module.mean.numpy(), train.astype("f8").mean(axis=(0, 1)), atol=1e-6)
    wanted = by_hand(module, test.astype("f8").mean(axis=1)) >= 0
    module.float()
    assert np.array_equal(method.encode(VideoSet(test)), wanted)


def test_the_two_views_come_to_agree():
    log = []
    CIBHash(16, epochs=30, batch_size=16, lr=1e-2, width=32).fit(VideoSet(make(64)), FitContext(report=log.append))
    assert log[-1].parts["contrast"] < 0.7 * log[0].parts["contrast"]


def test_resuming_equals_not_stopping(tmp_path):
    train = VideoSet(make(40))

    def fit(**ctx):
        return CIBHash(6, epochs=4, batch_size=8, width=9).fit(train, FitContext(**ctx))

    def stop(epoch):
        if epoch.number == 3:
            raise KeyboardInterrupt

    checkpoint = Checkpoint(tmp_path, "key", every=0)
    with pytest.raises(KeyboardInterrupt):
        fit(checkpoint=checkpoint, report=stop)
    assert checkpoint.load()["epoch"] == 2
    resumed, undisturbed = fit(checkpoint=checkpoint), fit()
    for one, other in zip(resumed.module_.parameters(), undisturbed.module_.parameters(), strict=True):
        assert torch.equal(one, other)


def test_one_frame_is_refused_before_training():
    assert "at least 2 frames" in (CIBHash.tags.conflict(bits=8, frames=1, dim=10, device="cpu") or "")
