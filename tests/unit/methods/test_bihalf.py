"""Bi-half: its layer, its gradient and its loss by loops in float64, its steps by hand, and resuming."""

import numpy as np
import pytest
import torch

from vhbench.checkpoint import Checkpoint
from vhbench.method import Budget, FitContext
from vhbench.methods.bihalf import BiHalf, bi_half
from vhbench.training import Moment
from vhbench.videos import VideoSet


def make(videos: int = 24, frames: int = 3, dim: int = 10, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((videos, 1, dim)) + 0.3 * rng.standard_normal((videos, frames, dim)) + 5).astype("f4")


def slow_codes(values: np.ndarray) -> np.ndarray:
    """+1 for the half of each column with the larger values, by sorting rows."""
    codes = np.full(values.shape, -1.0)
    for k in range(values.shape[1]):
        for i in sorted(range(len(values)), key=lambda i: -values[i, k])[: len(values) // 2]:
            codes[i, k] = 1.0
    return codes


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return sum(a * b) / np.sqrt(sum(a * a) * sum(b * b))


def slow_loss(codes: np.ndarray, x: np.ndarray) -> float:
    half = len(x) // 2
    return np.mean([(cosine(codes[i], codes[half + i]) - cosine(x[i], x[half + i])) ** 2 for i in range(half)])


def slow_gradient(values: np.ndarray, x: np.ndarray, gamma: float) -> np.ndarray:
    """The loss' slope by the codes from differences, as if they were real numbers, and the pull of gamma."""
    codes, slope = slow_codes(values), np.zeros_like(values)
    for index in np.ndindex(*values.shape):
        step = np.zeros_like(values)
        step[index] = 1e-6
        slope[index] = (slow_loss(codes + step, x) - slow_loss(codes - step, x)) / 2e-6
    return slope + gamma * (values - codes) / values.size


def network(bits: int = 4, batch: int = 8):
    method = BiHalf(bits)
    torch.manual_seed(0)
    module = method.build(3, 10).double()
    module.mean.copy_(torch.from_numpy(make().mean(axis=(0, 1))))
    return method, module, torch.from_numpy(make(batch)).double()


@pytest.mark.parametrize("batch", [2, 7, 8])
def test_codes_split_each_column_in_halves(batch):
    values = np.random.default_rng(0).standard_normal((batch, 5))
    found = bi_half(torch.from_numpy(values), 6.0).numpy()
    assert np.array_equal(found, slow_codes(values))
    assert (found.sum(axis=0) == -(batch % 2)).all()


@pytest.mark.parametrize("batch", [2, 7, 8])
def test_loss_and_gradient_by_loops(batch):
    method, module, videos = network(batch=batch)
    x = (videos.mean(1) - module.mean).numpy()
    weight, bias = module.layer.weight.detach().numpy(), module.layer.bias.detach().numpy()
    values = x @ weight.T + bias
    (loss,) = method.loss(module, videos, Moment(0, 1)).values()
    assert loss.item() == pytest.approx(slow_loss(slow_codes(values), x), rel=1e-12)
    loss.backward()
    slope = slow_gradient(values, x, 6.0)
    np.testing.assert_allclose(module.layer.weight.grad.numpy(), slope.T @ x, rtol=0, atol=1e-8)
    np.testing.assert_allclose(module.layer.bias.grad.numpy(), slope.sum(axis=0), rtol=0, atol=1e-8)


def test_steps_are_those_of_descent_with_momentum_and_decay():
    features = make(16)
    method = BiHalf(4, epochs=3, batch_size=16, lr=0.01, weight_decay=0.1, gamma=2.0)
    method.fit(VideoSet(features), FitContext())
    ctx = FitContext()
    with torch.random.fork_rng():
        torch.manual_seed(ctx.torch_seed("init"))
        start = BiHalf(4).build(3, 10)
    means = features.astype(np.float64).mean(axis=1)
    x_all = means - means.mean(axis=0)
    weight, bias = start.layer.weight.detach().double().numpy(), start.layer.bias.detach().double().numpy()
    speeds = np.zeros_like(weight), np.zeros_like(bias)
    for epoch in range(3):
        x = x_all[ctx.rng(f"shuffle {epoch}").permutation(16)]
        slope = slow_gradient(x @ weight.T + bias, x, 2.0)
        speeds = 0.9 * speeds[0] + slope.T @ x + 0.1 * weight, 0.9 * speeds[1] + slope.sum(0) + 0.1 * bias
        weight, bias = weight - 0.01 * speeds[0], bias - 0.01 * speeds[1]
    np.testing.assert_allclose(method.module_.layer.weight.detach().numpy(), weight, rtol=0, atol=1e-5)
    np.testing.assert_allclose(method.module_.layer.bias.detach().numpy(), bias, rtol=0, atol=1e-5)


def test_defaults_are_the_released_ones():
    method = BiHalf(4)
    assert (method.lr, method.weight_decay, method.batch_size, method.gamma) == (1e-4, 5e-4, 64, 6)
    (group,) = method.optimizer(method.build(3, 10)).param_groups
    assert (group["momentum"], group["nesterov"], group["dampening"]) == (0.9, False, 0)


def test_codes_of_new_videos_by_hand():
    train, test = make(), make(seed=1)
    method = BiHalf(4, epochs=2).fit(VideoSet(train), FitContext())
    weight, bias = (p.detach().double().numpy() for p in method.module_.layer.parameters())
    wanted = (test.astype("f8").mean(1) - train.astype("f8").mean((0, 1))) @ weight.T + bias >= 0
    assert np.array_equal(method.encode(VideoSet(test)), wanted)


def test_resuming_equals_not_stopping_and_checkpoints_hold_no_videos(tmp_path):
    train, test = VideoSet(make(40)), VideoSet(make(seed=1))
    undisturbed = BiHalf(4, epochs=4, batch_size=8).fit(train, FitContext())
    checkpoint = Checkpoint(tmp_path, "key", every=0)
    with pytest.raises(KeyboardInterrupt):
        BiHalf(4, epochs=4, batch_size=8).fit(train, FitContext(checkpoint=checkpoint, report=stop_after(3)))
    state = checkpoint.load()
    assert state["epoch"] == 2 and set(state["module"]) == {"mean", "layer.weight", "layer.bias"}
    resumed = BiHalf(4, epochs=4, batch_size=8).fit(train, FitContext(checkpoint=checkpoint))
    for one, other in zip(resumed.module_.parameters(), undisturbed.module_.parameters(), strict=True):
        assert torch.equal(one, other)
    assert np.array_equal(resumed.encode(test), undisturbed.encode(test))


def stop_after(number: int):
    """Return a report that ends the training after an epoch."""

    def stop(epoch):
        if epoch.number == number:
            raise KeyboardInterrupt

    return stop


def test_a_budget_of_one_epoch():
    seen = []
    BiHalf(4).fit(VideoSet(make()), FitContext(budget=Budget(epochs=1), report=seen.append))
    assert [epoch.number for epoch in seen] == [1] and set(seen[0].parts) == {"similarity"}
