"""SSTH: its loss by hand, the binary bottleneck, what the options change."""

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

from vhbench.method import Budget, FitContext
from vhbench.methods.ssth import SSTH
from vhbench.testing.toy import toy_videos
from vhbench.training import Moment
from vhbench.videos import VideoSet

VIDEOS, FRAMES, DIM, BITS = 5, 4, 6, 3
MOMENT = Moment(0, 44)


def make(**params):
    """A method and its network in float64, with no parameter or statistic at a value that hides a mistake."""
    method = SSTH(BITS, **params)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = method.build(FRAMES, DIM).double()
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    return method, module


def videos(n: int = VIDEOS) -> torch.Tensor:
    return torch.randn(n, FRAMES, DIM, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) + 1


def values(terms):
    return {name: value.item() for name, value in terms.items()}


def decoder_starts(method, module, x):
    """Return the state that each decoder's LSTM starts from."""
    starts = {}
    handles = [
        decoder.lstm.register_forward_pre_hook(lambda _, args, name=name: starts.update({name: args[1]}))
        for name, decoder in module.named_children()
        if name != "encoder"
    ]
    method.loss(module, x, MOMENT)
    for handle in handles:
        handle.remove()
    return starts


# loss


@pytest.mark.parametrize("leak", [False, True])
def test_loss_by_hand(leak):
    method, module = make(mean_weight=7.0, leak_cell=leak)
    x = videos()
    with torch.no_grad():
        hidden, cell = module.encoder(x)
        state = torch.where(hidden[:, -1] >= 0, 1.0, -1.0).double(), cell if leak else torch.zeros_like(cell)
        played, rewound, mean = (
            decoder.read_out(decoder.lstm(None, state)[0]).numpy()
            for decoder in (module.play, module.rewind, module.mean)
        )
    v = x.numpy()
    sums = dict.fromkeys(("forward", "reverse", "mean"), 0.0)
    for n in range(VIDEOS):
        for j in range(FRAMES):
            sums["forward"] += np.sum((v[n, j] - played[n, j]) ** 2)
            sums["reverse"] += np.sum((v[n, FRAMES - 1 - j] - rewound[n, j]) ** 2)
        sums["mean"] += 7.0 * np.sum((v[n].mean(axis=0) - mean[n, 0]) ** 2)
    wanted = {name: value / 3 / (VIDEOS * FRAMES) for name, value in sums.items()}
    assert values(method.loss(module, x, MOMENT)) == pytest.approx(wanted, rel=1e-9)


def test_without_its_weight_there_is_no_mean_decoder():
    method, module = make(mean_weight=0.0)
    assert [name for name, _ in module.named_children()] == ["encoder", "play", "rewind"]
    assert method.loss(module, videos(), MOMENT).keys() == {"forward", "reverse"}


def test_every_parameter_learns():
    method, module = make()
    sum(method.loss(module, videos(50), MOMENT).values()).backward()
    still = [name for name, p in module.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still


def test_loss_under_autocast_is_close():
    torch.manual_seed(0)
    method = SSTH(BITS)
    module, x = method.build(FRAMES, 200).eval(), torch.rand(VIDEOS, FRAMES, 200)
    exact = values(method.loss(module, x, MOMENT))
    with torch.autocast("cpu", torch.bfloat16):
        lowered = method.loss(module, x, MOMENT)
    assert {value.dtype for value in lowered.values()} == {torch.float32}
    assert values(lowered) == pytest.approx(exact, rel=0.02)


# the binary bottleneck


@pytest.mark.parametrize("leak", [False, True])
def test_decoders_start_from_the_code_and_a_zero_cell_unless_it_leaks(leak):
    method, module = make(leak_cell=leak)
    module.eval()
    x = videos()
    hidden, cell = module.encoder(x)
    starts = decoder_starts(method, module, x)
    assert starts.keys() == {"play", "rewind", "mean"}
    for code, start in starts.values():
        assert torch.equal(code, torch.where(hidden[:, -1] >= 0, 1.0, -1.0).double())
        assert torch.equal(start, cell if leak else torch.zeros_like(cell))


@pytest.mark.parametrize("leak", [False, True])
def test_nothing_real_valued_crosses_the_bottleneck_unless_the_cell_leaks(leak):
    method, module = make(leak_cell=leak)
    module.eval()
    x = videos()
    before, code = values(method.loss(module, x, MOMENT)), method.codes(module, x)
    hidden = module.encoder(x)[0][:, -1]
    with torch.no_grad():  # the last cell doubles, and keeps its sign
        module.encoder.gamma[-1] *= 2
        module.encoder.beta[-1] *= 2
    assert not torch.isclose(module.encoder(x)[0][:, -1], hidden).any()
    assert torch.equal(method.codes(module, x), code)
    after = values(method.loss(module, x, MOMENT))
    assert all((after[name] != before[name]) == leak for name in before)


class Recurrent(TorchFunctionMode):
    """Collect what recurrent weights are multiplied with."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.addmm:
            self.seen.append(args[1].detach())
        return func(*args, **(kwargs or {}))


def test_the_encoder_feeds_bits_back_at_every_step():
    method, module = make()
    with Recurrent() as mode:
        method.loss(module, videos(50), MOMENT)
    encoder = torch.stack(mode.seen[:FRAMES])  # it runs first
    assert not encoder[0].any()
    assert (encoder[1:].abs() == 1).all()


def test_codes_are_the_sign_of_the_last_hidden_state_with_running_statistics():
    method, module = make()
    method.loss(module, videos(50), MOMENT)  # moves the statistics
    module.eval()
    x = videos()
    codes = method.codes(module, x)
    assert codes.dtype == torch.bool
    assert torch.equal(codes, module.encoder(x)[0][:, -1] >= 0)
    assert torch.equal(codes, torch.cat([method.codes(module, x[n : n + 1]) for n in range(VIDEOS)]))
    assert 0 < codes.float().mean() < 1


# training


@pytest.mark.parametrize("start_at_mean", [True, False])
def test_read_outs_start_at_the_mean_frame_or_at_zero(start_at_mean):
    frames = np.random.default_rng(0).random((9, FRAMES, DIM), dtype=np.float32)
    method = SSTH(BITS, start_at_mean=start_at_mean)
    module = method.build(FRAMES, DIM)
    method.prepare(module, VideoSet(frames), FitContext())
    wanted = frames.mean(axis=(0, 1)) if start_at_mean else np.zeros(DIM)
    for decoder in (module.play, module.rewind, module.mean):
        np.testing.assert_allclose(decoder.read_out.bias.detach().numpy(), wanted, rtol=1e-6)


def test_every_term_falls_on_a_small_set():
    train, _ = toy_videos(60, frames=6, dim=40)
    told = []
    SSTH(16, lr=3e-3, batch_size=20).fit(train, FitContext(budget=Budget(epochs=25), report=told.append))
    first, last = told[0].parts, told[-1].parts
    assert all(last[name] < 0.75 * first[name] for name in first), (first, last)
