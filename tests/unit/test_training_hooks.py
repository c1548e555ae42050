"""What a method may do beside its loss: each hook against plain torch, and the same numbers over a resume."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from vhbench.checkpoint import Checkpoint
from vhbench.cost import measure
from vhbench.method import Budget, FitContext
from vhbench.training import NeuralMethod
from vhbench.videos import VideoSet

FRAMES, DIM, BITS = 4, 6, 3


class Plain(NeuralMethod):
    """A linear autoencoder of mean frames: no random numbers but the order of the videos."""

    name = "plain"

    def __init__(self, bits, *, epochs=4, batch_size=8, lr=1e-2, weight_decay=0.0):
        self.bits, self.epochs, self.batch_size, self.lr, self.weight_decay = bits, epochs, batch_size, lr, weight_decay

    def build(self, frames, dim):
        return nn.Sequential(nn.Linear(dim, self.bits), nn.Linear(self.bits, dim))

    def optimizer(self, module):
        return torch.optim.SGD(module.parameters(), lr=self.lr)

    def loss(self, module, videos, moment):
        x = videos.mean(1)
        return {"recon": (module(x) - x).square().mean()}

    def codes(self, module, videos):
        return module[0](videos.mean(1)) >= 0


class Scheduled(Plain):
    def lr_factor(self, moment):
        return 0.5**moment.epoch / (1 + moment.step)


class Clipped(Plain):
    def before_step(self, module, moment):
        nn.utils.clip_grad_norm_(module.parameters(), 1e-2)


class TwoOptimizers(Plain):
    def optimizer(self, module):
        return torch.optim.Adam(module[0].parameters(), lr=self.lr), torch.optim.SGD(
            module[1].parameters(), lr=3 * self.lr, momentum=0.9
        )


class OwnGradient(Plain):
    """Its loss has no gradient: the method estimates one from differences along a random direction."""

    def gradient(self, module, videos, moment):
        direction = torch.randn(DIM)
        with torch.no_grad():
            parts = self.loss(module, videos, moment)
            module[1].bias += 1e-3 * direction
            moved = self.loss(module, videos, moment)["recon"]
            module[1].bias -= 1e-3 * direction
        module[1].bias.grad = (moved - parts["recon"]) / 1e-3 * direction
        return parts


class Averaged(Plain):
    """Keeps a mean of the weights, which every step renews and every epoch puts in the weights' place."""

    def build(self, frames, dim):
        module = super().build(frames, dim)
        module.register_buffer("mean", torch.zeros(self.bits, dim), persistent=False)
        return module

    def after_step(self, module, moment):
        module.mean.mul_(0.5).add_(module[0].weight, alpha=0.5)

    def end_epoch(self, module, train, moment):
        with torch.no_grad():
            module[0].weight.copy_(module.mean)


class Views(Plain):
    """Two masked views of a batch, and a bank of each video's last code."""

    def prepare(self, module, train, ctx):
        module.register_buffer("bank", torch.zeros(len(train), self.bits), persistent=False)

    def loss(self, module, videos, moment):
        rank = torch.rand(videos.shape[:2]).argsort(1).unsqueeze(2)
        one, two = (module[0]((videos * seen).mean(1)) for seen in (rank < 2, rank >= 2))
        before = module.bank[moment.rows]
        module.bank[moment.rows] = one.detach()
        return {**super().loss(module, videos, moment), "agree": ((one - two) ** 2).mean() + (before * two).mean()}


class Staged(Plain):
    """Two stages: the second starts from new weights and from centres that the first has found."""

    def optimizer(self, module):
        return torch.optim.Adam(module.parameters(), lr=self.lr)

    def stages(self, epochs):
        return 2, epochs

    def start_stage(self, module, train, moment):
        if moment.stage == 1:
            with torch.no_grad():
                centres = module[0](torch.from_numpy(train.mean_frames()))[: 2 + int(moment.rng("centres").integers(3))]
            module.register_buffer("centres", centres, persistent=False)
            module.load_state_dict(self.build(FRAMES, DIM).state_dict())

    def loss(self, module, videos, moment):
        parts = super().loss(module, videos, moment)
        if moment.stage == 1:
            parts["near"] = torch.cdist(module[0](videos.mean(1)), module.centres).min(1).values.mean()
        return parts


def every_hook():
    """Return the toy method of the plugin file."""
    path = Path(__file__).parents[1] / "cli" / "plugins" / "every_hook.py"
    spec = importlib.util.spec_from_file_location("every_hook", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.EveryHook


EveryHook = every_hook()
METHODS = [Scheduled, Clipped, TwoOptimizers, OwnGradient, Averaged, Views, Staged, EveryHook]


@pytest.fixture
def data() -> VideoSet:
    features = np.random.default_rng(0).standard_normal((25, FRAMES, DIM))
    return VideoSet(features)  # batches of 8, 8 and 8; the last one, of a single video, is left out


def short(kind) -> NeuralMethod:
    return kind(BITS, epochs=4, batch_size=8, **({"stage1_epochs": 2} if kind is EveryHook else {}))


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize("killed", [1, 2, 3, 4])
def test_a_resumed_training_is_the_undisturbed_one_bit_for_bit(data, tmp_path, kind, killed):
    def kill(epoch):
        if epoch.number == killed + 1:
            raise Killed

    ctx = FitContext(seed=3, checkpoint=Checkpoint(tmp_path, "key", every=0))
    whole, losses = short(kind), {}
    whole.fit(data, FitContext(seed=3, report=lambda epoch: losses.update({epoch.number: epoch.parts})))
    if killed >= len(losses):
        return
    with pytest.raises(Killed):
        short(kind).fit(data, replace(ctx, report=kill))
    assert ctx.checkpoint.load()["epoch"] == killed
    again = {}
    resumed = short(kind).fit(data, replace(ctx, report=lambda epoch: again.update({epoch.number: epoch.parts})))
    assert again == {number: parts for number, parts in losses.items() if number > killed}
    one, two = (dict([*m.module_.named_parameters(), *m.module_.named_buffers()]) for m in (whole, resumed))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def by_hand(method, data, seed, step):
    """Train with plain torch: `step(number of the epoch, of the step, module, videos)`; return the module."""
    ctx = FitContext(seed=seed)
    torch.manual_seed(ctx.torch_seed("init"))
    module = method.build(FRAMES, DIM)
    for epoch in range(method.epochs):
        torch.manual_seed(ctx.torch_seed(f"epoch {epoch}"))
        order = ctx.rng(f"shuffle {epoch}").permutation(len(data))
        for number in range(3):
            rows = order[8 * number : 8 * number + 8]
            step(epoch, 3 * epoch + number, module, torch.cat(list(data.subset(rows).batches(8))), rows)
    return module


def assert_trained_as(method, data, step):
    with torch.random.fork_rng():
        expected = by_hand(method, data, 5, step).state_dict()
    found = method.fit(data, FitContext(seed=5)).module_.state_dict()
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-6, atol=1e-7)


def descend(module, videos, lr):
    x = videos.mean(1)
    gradients = torch.autograd.grad((module(x) - x).square().mean(), list(module.parameters()))
    with torch.no_grad():
        for weight, gradient in zip(module.parameters(), gradients, strict=True):
            weight -= lr * gradient


def test_a_schedule_multiplies_the_learning_rate_at_each_step(data):
    def step(epoch, number, module, videos, rows):
        descend(module, videos, 1e-2 * 0.5**epoch / (1 + number))

    assert_trained_as(Scheduled(BITS), data, step)


def test_gradients_are_clipped_before_the_step(data):
    def step(epoch, number, module, videos, rows):
        x = videos.mean(1)
        gradients = torch.autograd.grad((module(x) - x).square().mean(), list(module.parameters()))
        norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
        assert norm > 1e-2
        with torch.no_grad():
            for weight, gradient in zip(module.parameters(), gradients, strict=True):
                weight -= 1e-2 * 1e-2 / (norm + 1e-6) * gradient

    assert_trained_as(Clipped(BITS), data, step)


def test_each_optimiser_steps_its_own_parameters(data):
    state = {}

    def step(epoch, number, module, videos, rows):
        if not state:
            state["optimizers"] = TwoOptimizers(BITS).optimizer(module)
        x = videos.mean(1)
        module.zero_grad()
        (module(x) - x).square().mean().backward()
        for optimizer in state["optimizers"]:
            optimizer.step()

    assert_trained_as(TwoOptimizers(BITS), data, step)


def test_a_method_gives_its_own_gradient(data):
    def step(epoch, number, module, videos, rows):
        x, direction = videos.mean(1), torch.randn(DIM)
        with torch.no_grad():
            error = module(x) - x
            difference = ((error + 1e-3 * direction).square().mean() - error.square().mean()) / 1e-3
            module[1].bias -= 1e-2 * difference * direction

    method = OwnGradient(BITS)
    with torch.random.fork_rng():
        expected = by_hand(method, data, 5, step)
    found = method.fit(data, FitContext(seed=5)).module_
    torch.testing.assert_close(found[1].bias, expected[1].bias, rtol=1e-3, atol=1e-4)
    assert torch.equal(found[0].weight, expected[0].weight)  # it gave that weight no gradient


def test_hooks_after_a_step_and_an_epoch(data):
    mean = torch.zeros(BITS, DIM)

    def step(epoch, number, module, videos, rows):
        descend(module, videos, 1e-2)
        with torch.no_grad():
            mean.mul_(0.5).add_(0.5 * module[0].weight)
            if number % 3 == 2:
                module[0].weight.copy_(mean)

    assert_trained_as(Averaged(BITS), data, step)


def test_views_are_masked_by_the_runs_own_numbers_and_a_bank_keeps_each_video(data):
    bank = torch.zeros(len(data), BITS)

    def step(epoch, number, module, videos, rows):
        seen = torch.rand(len(videos), FRAMES).argsort(1) < 2
        one, two = (module[0]((videos * mask.unsqueeze(2)).mean(1)) for mask in (seen, ~seen))
        x = videos.mean(1)
        loss = (module(x) - x).square().mean() + (one - two).square().mean() + (bank[rows] * two).mean()
        bank[rows] = one.detach()
        gradients = torch.autograd.grad(loss, list(module.parameters()))
        with torch.no_grad():
            for weight, gradient in zip(module.parameters(), gradients, strict=True):
                weight -= 1e-2 * gradient

    method = Views(BITS)
    assert_trained_as(method, data, step)
    torch.testing.assert_close(method.module_.bank, bank, rtol=1e-5, atol=1e-6)


def test_a_stage_begins_with_a_fresh_optimiser_and_its_own_count(data):
    seen, optimizers = [], []

    class Watched(Staged):
        def optimizer(self, module):
            optimizers.append(super().optimizer(module))
            return optimizers[-1]

        def loss(self, module, videos, moment):
            seen.append((moment.stage, moment.epoch, moment.epochs, moment.step, moment.steps))
            return super().loss(module, videos, moment)

    told = []
    Watched(BITS, epochs=3).fit(data, FitContext(report=told.append))
    assert seen == [(0, step // 3, 2, step, 6) for step in range(6)] + [(1, step // 3, 3, step, 9) for step in range(9)]
    assert [(epoch.number, epoch.total) for epoch in told] == [(number, 5) for number in range(1, 6)]
    steps = [{int(state["step"]) for state in optimizer.state.values()} for optimizer in optimizers]
    assert steps == [{6}, {9}]
    assert [set(epoch.parts) for epoch in told] == [{"recon"}] * 2 + [{"recon", "near"}] * 3


def test_a_smaller_budget_shortens_the_stages(data):
    told = []
    method = EveryHook(BITS, epochs=8, batch_size=8, stage1_epochs=4)
    method.fit(data, FitContext(budget=Budget(epochs=2), report=told.append))
    assert [epoch.number for epoch in told] == [1, 2, 3]


@pytest.mark.parametrize("kind", [Scheduled, TwoOptimizers, Staged])
def test_cost_is_measured_by_the_same_loop(kind):
    method = kind(BITS)
    cost = measure(method, FRAMES, DIM)
    assert cost.epochs == sum(method.stages(method.epochs))
    weights = 4 * (2 * BITS * DIM + BITS + DIM)
    moments = {Scheduled: 0, TwoOptimizers: 4 * (2 * BITS * DIM + 2 * BITS + BITS * DIM + DIM), Staged: 2 * weights}
    steps = {Scheduled: 0, TwoOptimizers: 2 * 4, Staged: 4 * 4}  # Adam counts each parameter's steps
    assert cost.training_bytes == 2 * weights + moments[kind] + steps[kind]
