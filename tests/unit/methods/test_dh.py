"""DH: the objective by hand, the two stages, and the autoencoder that feeds them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from vhbench.checkpoint import Checkpoint
from vhbench.cost import SyntheticFrames
from vhbench.method import Budget, FitContext
from vhbench.methods.dh import DH, Decoder, Encoder, Network, reconstruction
from vhbench.testing.toy import toy_videos
from vhbench.training import Moment
from vhbench.videos import VideoSet

LAST = Moment(89, 90, torch.arange(5))  # of the second stage


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def make(bits=3, frames=4, dim=6, hidden=5, videos=5, **params) -> tuple[DH, Network]:
    """A network in float64 whose second stage has begun on videos with random vectors."""
    method = DH(bits, hidden=hidden, **params)
    module = method.build(frames, dim).double()
    module.register_buffer("vectors", torch.randn(videos, hidden, dtype=torch.float64) + 2, persistent=False)
    module.initialise_layers()
    with torch.no_grad():
        for parameter in module.layers.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return method, module


def numpy_of(tensor) -> np.ndarray:
    return tensor.detach().numpy()


def test_the_objective_by_hand():
    """With loops, on a batch of 5 out of 8 training videos: the objective over all of them, divided by 8."""
    method, module = make(videos=8, variance_weight=0.7, orthogonality_weight=0.2, norm_weight=0.05)
    terms = method.loss(module, module.vectors[:5].unsqueeze(1), LAST)
    x = numpy_of(module.vectors)
    mean = x.mean(0)
    weights = [numpy_of(layer.weight) for layer in module.layers if isinstance(layer, nn.Linear)]
    biases = [numpy_of(layer.bias) for layer in module.layers if isinstance(layer, nn.Linear)]
    assert [w.shape for w in weights] == [(5, 5), (5, 5), (3, 5)]
    quantization = variance = orthogonality = norm = 0.0
    for row in x[:5]:
        h = row - mean
        for w, c in zip(weights, biases, strict=True):
            h = np.array([np.tanh(sum(w[i, j] * h[j] for j in range(len(h))) + c[i]) for i in range(len(w))])
        quantization += 8 / 5 * 0.5 * sum(((1 if value >= 0 else -1) - value) ** 2 for value in h)
        variance -= 8 / 5 * 0.5 * 0.7 * sum(value**2 for value in h) / 8
    for w, c in zip(weights, biases, strict=True):
        for i in range(len(w)):
            for j in range(len(w)):
                orthogonality += 0.5 * 0.2 * (w[i] @ w[j] - (i == j)) ** 2
        norm += 0.5 * 0.05 * (sum(value**2 for value in w.flat) + sum(value**2 for value in c))
    objective = {"quantization": quantization, "variance": variance, "orthogonality": orthogonality, "norm": norm}
    wanted = {name: value / 8 for name, value in objective.items()}
    assert {name: value.item() for name, value in terms.items()} == pytest.approx(wanted, rel=1e-10)


def test_gradients_by_finite_differences():
    method, module = make()
    layers = list(module.layers.parameters())

    def loss(*_):
        return sum(method.loss(module, module.vectors.unsqueeze(1), LAST).values())

    assert torch.autograd.gradcheck(loss, layers)


def test_layers_start_at_principal_directions_and_truncated_identities():
    module = DH(2, hidden=6).build(4, 6).double()
    vectors = torch.randn(40, 6, dtype=torch.float64) * torch.tensor([1.0, 5.0, 0.5, 3.0, 2.0, 0.1]) + 4
    module.register_buffer("vectors", vectors, persistent=False)
    module.initialise_layers()
    x = vectors.numpy()
    np.testing.assert_allclose(module.mean.numpy(), x.mean(0))
    values, directions = np.linalg.eigh(np.cov(x.T))
    first, second, third = (layer for layer in module.layers if isinstance(layer, nn.Linear))
    for row, direction in zip(numpy_of(first.weight), directions.T[np.argsort(-values)], strict=True):
        assert abs(row @ direction) == pytest.approx(1, abs=1e-9)
    np.testing.assert_array_equal(numpy_of(second.weight), np.eye(4, 6))
    np.testing.assert_array_equal(numpy_of(third.weight), np.eye(2, 4))
    assert not any(layer.bias.any() for layer in (first, second, third))


def test_the_encoder_is_an_lstm():
    encoder = Encoder(6, 5)
    x = torch.randn(3, 4, 6)
    h, c = encoder(x)
    _, (wanted_h, wanted_c) = nn.LSTM.forward(encoder, x)
    torch.testing.assert_close(h, wanted_h[0])
    torch.testing.assert_close(c, wanted_c[0])


def test_the_decoder_writes_frames_last_to_first_from_the_copied_state():
    decoder = Decoder(3, 6, 5).double()
    h, c = torch.randn(2, 4, 5, dtype=torch.float64).tanh()
    frames = numpy_of(decoder(h, c))
    h, c = h.numpy(), c.numpy()
    weight, bias = numpy_of(decoder.recurrent.weight), numpy_of(decoder.recurrent.bias)
    out, out_bias = numpy_of(decoder.read_out.weight), numpy_of(decoder.read_out.bias)

    def logistic(a):
        return 1 / (1 + np.exp(-a))

    for frame in (2, 1, 0):
        np.testing.assert_allclose(frames[:, frame], h @ out.T + out_bias, atol=1e-12)
        i, f, g, o = np.split(h @ weight.T + bias, 4, axis=1)
        c = logistic(f) * c + logistic(i) * np.tanh(g)
        h = logistic(o) * np.tanh(c)


def test_the_reconstruction_error_sums_over_dimensions_and_averages_over_frames():
    videos, decoded = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    wanted = sum(
        float((videos[i, j] - decoded[i, j]) @ (videos[i, j] - decoded[i, j])) for i in range(3) for j in range(4)
    )
    assert reconstruction(videos, decoded).item() == pytest.approx(wanted / 12)


@pytest.mark.parametrize(("epochs", "first"), [(90, 50), (45, 25), (22, 12), (2, 1), (1, 0)])
def test_the_last_epoch_always_trains_the_hashing_layers(epochs, first):
    method, module = make()
    train = VideoSet(np.zeros((5, 4, 6)))
    moments = [replace(LAST, epoch=epoch, epochs=epochs) for epoch in range(epochs)]
    inputs = [next(method.inputs(module, train, moment).batches(5)).double() for moment in moments]
    names = [set(method.loss(module, *pair)) for pair in zip(inputs, moments, strict=True)]
    assert [n == {"recon"} for n in names] == [e < first for e in range(epochs)]


@pytest.mark.parametrize("start_at_mean", [True, False])
def test_the_autoencoder_starts_at_the_mean_frame_or_at_zero(start_at_mean):
    frames = np.random.default_rng(0).random((7, 4, 6), dtype=np.float32)
    method = DH(3, hidden=5, start_at_mean=start_at_mean)
    module = method.build(4, 6)
    method.prepare(module, VideoSet(frames), FitContext())
    wanted = frames.reshape(-1, 6).mean(0) if start_at_mean else np.zeros(6)
    np.testing.assert_allclose(numpy_of(module.decoder.read_out.bias), wanted, rtol=1e-6)


@pytest.fixture
def train() -> VideoSet:
    return toy_videos(n=40, frames=5, dim=12)[0]


def fit(train, *, epochs=6, **context):
    ctx = FitContext(seed=3, budget=Budget(epochs=epochs), **context)
    return DH(4, hidden=6, batch_size=16, lr=0.01).fit(train, ctx)


def test_the_autoencoder_is_frozen_in_the_second_stage(train):
    """Stages of 3 epochs: what the autoencoder is after 4 of 6 epochs is what it is at the end."""
    seen = []

    class Watched(DH):
        def start_epoch(self, module, train, moment):
            super().start_epoch(module, train, moment)
            seen.append([p.detach().clone() for part in (module.encoder, module.decoder) for p in part.parameters()])

    method = Watched(4, hidden=6, batch_size=16, lr=0.01).fit(train, FitContext(budget=Budget(epochs=6)))
    assert not all(torch.equal(a, b) for a, b in zip(seen[0], seen[3], strict=True)), "it trains in the first stage"
    assert all(torch.equal(a, b) for a, b in zip(seen[3], seen[5], strict=True))
    ours = [p for part in (method.module_.encoder, method.module_.decoder) for p in part.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(seen[3], ours, strict=True))


def test_the_second_stage_hashes_the_training_videos_vectors(train):
    method = fit(train)
    with torch.no_grad():
        h, _ = method.module_.encoder(next(train.batches(len(train))))
    torch.testing.assert_close(method.module_.vectors, h)
    torch.testing.assert_close(method.module_.mean, h.mean(0))


def test_the_second_stage_reads_no_video_but_for_its_vectors():
    features = SyntheticFrames(40, 5, 12)
    DH(4, hidden=6, batch_size=16).fit(VideoSet(features), FitContext(budget=Budget(epochs=6)))
    assert features.rows_read == 40 * (1 + 3 + 1), (
        "once for the mean frame, once in each epoch of the first stage, once"
    )


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("epoch", [2, 4, 5])
def test_a_resumed_run_equals_an_undisturbed_one(train, tmp_path, epoch):
    def kill(done):
        if done.number == epoch:
            raise Killed

    whole = fit(train)
    checkpoint = Checkpoint(tmp_path, "key", every=0)
    with pytest.raises(Killed):
        fit(train, checkpoint=checkpoint, report=kill)
    resumed = fit(train, checkpoint=checkpoint)
    for name, value in whole.module_.state_dict().items():
        assert torch.equal(value, resumed.module_.state_dict()[name]), name
    assert np.array_equal(whole.encode(train), resumed.encode(train))


def test_both_losses_fall(train):
    told = []
    DH(4, hidden=6, batch_size=20, lr=0.02, hash_lr=0.01).fit(
        train, FitContext(budget=Budget(epochs=40), report=told.append)
    )
    assert told[21].loss < 0.8 * told[0].loss
    assert told[39].loss < told[22].loss
