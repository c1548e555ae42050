"""The peephole LSTM against a per-element loop in float64, written out from the formula; the read-out's error."""

import math

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

from vhbench.errors import MethodError
from vhbench.methods.recurrent import BN_EPS, Decoder, PeepholeLSTM, ReadOut, target

BATCH, STEPS, CHANNELS, HIDDEN = 5, 4, 3, 2


def make(channels: int = CHANNELS, hidden: int = HIDDEN, **flags) -> PeepholeLSTM:
    """A cell in float64 with no parameter or statistic left at a value that hides a mistake."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        cell = PeepholeLSTM(channels, hidden, STEPS, **flags).double()
        with torch.no_grad():
            for parameter in cell.parameters():
                parameter.add_(0.5 * torch.randn_like(parameter))
            cell.running_mean.normal_(std=0.3)
            cell.running_var.uniform_(0.1, 2)
    return cell


def inputs(batch: int = BATCH, channels: int = CHANNELS) -> torch.Tensor:
    return torch.randn(batch, STEPS, channels, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def start(batch: int = BATCH, hidden: int = HIDDEN) -> tuple[torch.Tensor, torch.Tensor]:
    h, c = torch.randn(2, batch, hidden, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    return h, c


def logistic(a: float) -> float:
    return 1 / (1 + math.exp(-a))


def loop(cell, x, state=None):
    """Return hidden states, last cell, and each step's mean and (biased) variance over the batch, one number a time."""
    p = {name: value.detach().numpy() for name, value in [*cell.named_parameters(), *cell.named_buffers()]}
    batch = len(x) if x is not None else len(state[0])
    h, c = (s.numpy().copy() for s in state) if state is not None else np.zeros((2, batch, cell.hidden))
    hidden = np.zeros((batch, cell.steps, cell.hidden))
    means, variances = np.zeros((2, cell.steps, cell.hidden))

    def before(gate: int, n: int, unit: int, t: int) -> float:
        row = gate * cell.hidden + unit
        total = p["bias"][row]
        for j in range(cell.hidden):
            total += p["weight_hh"][row, j] * h[n, j]
        for j in range(cell.channels):
            total += p["weight_ih"][row, j] * x[n, t, j].item()
        return total

    for t in range(cell.steps):
        raw, normed, after = np.zeros((3, batch, cell.hidden))
        for n in range(batch):
            for u in range(cell.hidden):
                i = logistic(before(0, n, u, t) + p["peepholes"][0, u] * c[n, u])
                f = logistic(before(1, n, u, t) + p["peepholes"][1, u] * c[n, u])
                raw[n, u] = f * c[n, u] + i * math.tanh(before(3, n, u, t))
        for u in range(cell.hidden):
            means[t, u] = sum(raw[:, u]) / batch
            variances[t, u] = sum((value - means[t, u]) ** 2 for value in raw[:, u]) / batch
            mean, var = (
                (means if cell.training else p["running_mean"]),
                (variances if cell.training else p["running_var"]),
            )
            for n in range(batch):
                scaled = (raw[n, u] - mean[t, u]) / math.sqrt(var[t, u] + BN_EPS)
                normed[n, u] = p["gamma"][t, u] * scaled + p["beta"][t, u]
                o = logistic(before(2, n, u, t) + p["peepholes"][2, u] * normed[n, u])
                hidden[n, t, u] = o * (math.tanh(normed[n, u]) if cell.tanh else normed[n, u])
                after[n, u] = (1 if hidden[n, t, u] >= 0 else -1) if cell.binary else hidden[n, t, u]
        h, c = after, normed
    return hidden, c, means, variances


# the formula


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("tanh", [False, True])
@pytest.mark.parametrize(("channels", "started"), [(CHANNELS, False), (CHANNELS, True), (0, True)])
def test_equals_the_loop(training, binary, tanh, channels, started):
    cell = make(channels, binary=binary, tanh=tanh).train(training)
    x = inputs() if channels else None
    state = start() if started else None
    hidden, last, _, _ = loop(cell, x, state)
    found = cell(x, state)
    np.testing.assert_allclose(found[0].detach().numpy(), hidden, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found[1].detach().numpy(), last, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("tanh", [False, True])
@pytest.mark.parametrize("channels", [CHANNELS, 0])
def test_gradients_by_finite_differences(training, tanh, channels):
    cell = make(channels, tanh=tanh).train(training)
    names = [name for name, _ in cell.named_parameters()]

    def run(h, c, *rest):
        x, parameters = (rest[0], rest[1:]) if channels else (None, rest)
        by_name = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(cell, by_name, (x, (h, c)))

    given = [*start(), *([inputs()] if channels else [])]
    given = [tensor.requires_grad_() for tensor in given]
    assert torch.autograd.gradcheck(run, (*given, *cell.parameters()), fast_mode=True)


def test_every_parameter_has_a_gradient():
    cell = make(binary=True)
    hidden, last = cell(inputs())
    (hidden.sum() + last.sum()).backward()
    assert all(p.grad.abs().sum() > 0 for p in cell.parameters())


# binary feedback


class Recurrent(TorchFunctionMode):
    """Collect what the recurrent weights are multiplied with."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.addmm:
            self.seen.append(args[1].detach())
        return func(*args, **(kwargs or {}))


def fed_back(cell: PeepholeLSTM) -> torch.Tensor:
    with Recurrent() as mode:
        cell(inputs(50))
    return torch.stack(mode.seen, 1)


@pytest.mark.parametrize("training", [True, False])
def test_binary_feedback_is_binary_at_every_step(training):
    seen = fed_back(make(binary=True).train(training))
    assert seen.shape == (50, STEPS, HIDDEN)
    assert not seen[:, 0].any()  # nothing before the first step
    assert (seen[:, 1:].abs() == 1).all()
    assert all(set(seen[:, t].unique().tolist()) == {-1.0, 1.0} for t in range(1, STEPS))


def test_feedback_is_real_valued_otherwise():
    cell = make()
    seen = fed_back(cell)
    assert torch.equal(seen[:, 1:], cell(inputs(50))[0][:, :-1])


def test_binary_hidden_states_are_returned_before_the_sign():
    hidden, _ = make(binary=True)(inputs())
    assert (hidden.abs() != 1).all()


def test_gradient_passes_the_sign_where_the_hidden_state_is_within_one():
    cell, x = make(binary=True).eval(), inputs(200)
    hidden, _ = cell(x)
    assert (hidden[:, :-1].abs() > 1).any()  # both sides of the rule are met
    assert (hidden[:, :-1].abs() <= 1).any()
    wanted = torch.autograd.grad(unrolled(cell, x).sum(), list(cell.parameters()))
    found = torch.autograd.grad(hidden.sum(), list(cell.parameters()))
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def unrolled(cell, x):
    """Hidden states of a binary cell in eval mode; the gradient of the sign is written without an autograd function."""
    h = c = torch.zeros(len(x), cell.hidden, dtype=x.dtype)
    states = []
    for t in range(cell.steps):
        i, f, o, g = (x[:, t] @ cell.weight_ih.t() + h @ cell.weight_hh.t() + cell.bias).chunk(4, 1)
        i, f = (i + c * cell.peepholes[0]).sigmoid(), (f + c * cell.peepholes[1]).sigmoid()
        c = f * c + i * g.tanh()
        c = (c - cell.running_mean[t]) / (cell.running_var[t] + BN_EPS).sqrt() * cell.gamma[t] + cell.beta[t]
        states.append((o + c * cell.peepholes[2]).sigmoid() * c)
        linear = states[-1] * (states[-1].abs() <= 1)
        h = linear + (torch.where(states[-1] >= 0, 1.0, -1.0) - linear).detach()
    return torch.stack(states, 1)


# statistics


def test_each_step_has_statistics_of_its_own():
    cell = make()
    x = inputs()
    _, _, means, variances = loop(cell, x)
    cell(x)
    np.testing.assert_allclose(cell.running_mean.numpy(), means, rtol=1e-9)
    np.testing.assert_allclose(cell.running_var.numpy(), variances * BATCH / (BATCH - 1), rtol=1e-9)
    assert len({round(m, 6) for m in cell.running_mean[:, 0].tolist()}) == STEPS


def test_running_statistics_average_ten_batches_then_follow_by_a_tenth():
    cell = make()
    generator = torch.Generator().manual_seed(3)
    seen = []
    for _ in range(12):
        x = torch.randn(BATCH, STEPS, CHANNELS, dtype=torch.float64, generator=generator)
        seen.append(loop(cell, x)[2])
        cell(x)
        if len(seen) == 10:
            np.testing.assert_allclose(cell.running_mean.numpy(), np.mean(seen, axis=0), rtol=1e-9)
    wanted = np.mean(seen[:10], axis=0)
    for mean in seen[10:]:
        wanted = 0.9 * wanted + 0.1 * mean
    np.testing.assert_allclose(cell.running_mean.numpy(), wanted, rtol=1e-9)


def test_eval_changes_nothing_and_treats_each_video_by_itself():
    cell = make(binary=True).eval()
    before = {name: value.clone() for name, value in cell.state_dict().items()}
    x = inputs()
    together = cell(x)[0]
    alone = torch.cat([cell(x[n : n + 1])[0] for n in range(BATCH)])
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=0)
    assert all(torch.equal(value, before[name]) for name, value in cell.state_dict().items())


def test_a_dead_unit_stays_finite():
    cell = PeepholeLSTM(CHANNELS, HIDDEN, STEPS)
    x = torch.ones(BATCH, STEPS, CHANNELS)  # all videos alike: no variance in any unit
    hidden, last = cell(x)
    (hidden.square().sum() + last.sum()).backward()
    assert hidden.abs().max() < 1e-2
    assert all(p.grad.isfinite().all() for p in cell.parameters())


# start values and precision


def test_initial_weights():
    torch.manual_seed(0)
    cell = PeepholeLSTM(300, 40, STEPS)
    bound = math.sqrt(6 / (300 + 40))
    for w in cell.weight_ih.chunk(4):
        assert 0.95 * bound < w.abs().max() <= bound
        assert w.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
    for u in cell.weight_hh.chunk(4):
        torch.testing.assert_close(u @ u.t(), 1.21 * torch.eye(40), rtol=0, atol=1e-5)
    assert 0.09 < cell.peepholes.abs().max() <= 0.1
    assert cell.bias.tolist() == [0] * 40 + [1] * 40 + [0] * 80
    assert (cell.gamma == 1).all()
    assert not cell.beta.any()


def test_autocast_lowers_the_precision_of_the_input_product_only():
    torch.manual_seed(0)
    cell = PeepholeLSTM(64, 8, STEPS).eval()
    x = torch.randn(3, STEPS, 64)
    with torch.autocast("cpu", torch.bfloat16):
        hidden, last = cell(x)
    assert hidden.dtype == last.dtype == torch.float32
    exact = cell(x)[0]
    assert 0 < (hidden - exact).abs().max() < 0.05

    free = PeepholeLSTM(0, 8, STEPS).eval()
    state = torch.randn(3, 8), torch.zeros(3, 8)
    with torch.autocast("cpu", torch.bfloat16):
        lowered = free(None, state)[0]
    assert torch.equal(lowered, free(None, state)[0])


# wrong use


@pytest.mark.parametrize("shape", [(2, STEPS + 1, CHANNELS), (2, STEPS, CHANNELS + 1), (STEPS, CHANNELS)])
def test_input_of_another_shape_is_an_error(shape):
    with pytest.raises(MethodError, match=rf"\(batch, {STEPS}, {CHANNELS}\)"):
        make()(torch.zeros(shape, dtype=torch.float64))


def test_missing_or_unwanted_input_is_an_error():
    with pytest.raises(MethodError, match="no input"):
        make()(None, start())
    with pytest.raises(MethodError, match="takes no input"):
        make(0)(inputs(), start())
    with pytest.raises(MethodError, match="initial state"):
        make(0)(None)


# read-out


def read_out(heads: int = 1) -> tuple[ReadOut, torch.Tensor, torch.Tensor]:
    """A read-out, hidden states and what they should reconstruct, in float64."""
    generator = torch.Generator().manual_seed(4)
    layer = ReadOut(3, 7, heads).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(generator=generator)
    rows = torch.randn(11, heads * 7, dtype=torch.float64, generator=generator) + 2
    return layer, torch.randn(11, 3, dtype=torch.float64, generator=generator), rows


@pytest.mark.parametrize("heads", [1, 4])
def test_error_equals_the_mean_squared_distance(heads):
    layer, hidden, rows = read_out(heads)
    w, b = (p.detach().numpy() for p in layer.parameters())
    wanted = np.mean([np.sum((v - w @ h - b) ** 2) for v, h in zip(rows.numpy(), hidden.numpy(), strict=True)])
    assert layer.error(hidden, target(rows)).item() == pytest.approx(wanted, rel=1e-12)


def test_gradients_of_the_error_equal_those_of_the_plain_formula():
    layer, hidden, rows = read_out()
    hidden.requires_grad_()
    given = [hidden, *layer.parameters()]
    found = torch.autograd.grad(layer.error(hidden, target(rows)), given)
    wanted = torch.autograd.grad((rows - layer(hidden)).square().sum(1).mean(), given)
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_under_autocast_only_the_large_product_is_lowered():
    layer, hidden, rows = (part.float() for part in read_out())
    exact = layer.error(hidden, target(rows))
    with torch.autocast("cpu", torch.bfloat16):
        lowered = target(rows)
        error = layer.error(hidden, lowered)
    assert lowered.rows.dtype == torch.bfloat16
    assert error.dtype == lowered.mean.dtype == lowered.power.dtype == torch.float32
    assert error.item() == pytest.approx(exact.item(), rel=0.01)


def test_each_head_starts_glorot_uniform_and_at_a_given_mean():
    torch.manual_seed(0)
    layer = ReadOut(20, 300, heads=3)
    bound = math.sqrt(6 / (20 + 300))
    for head in layer.weight.chunk(3):
        assert 0.99 * bound < head.abs().max() <= bound
    assert not layer.bias.any()
    mean = torch.arange(300.0)
    layer.start_at(mean)
    assert torch.equal(layer.bias, mean.repeat(3))


def test_a_decoder_sees_its_code_and_a_zero_cell():
    torch.manual_seed(0)
    decoder = Decoder(HIDDEN, STEPS, 7).eval()
    code = torch.tensor([[1.0, -1.0], [-1.0, -1.0]])
    assert torch.equal(decoder(code), decoder.lstm(None, (code, torch.zeros(2, HIDDEN)))[0])
    assert not torch.equal(decoder(code), decoder(code, torch.ones(2, HIDDEN)))
    assert (decoder.lstm.channels, decoder.lstm.steps, decoder.lstm.tanh) == (0, STEPS, True)
