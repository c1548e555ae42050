"""SSVH: the pairwise loss against the dense one, the network's wiring, the loss by hand, what training keeps."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse
import torch

from vhbench.checkpoint import Checkpoint
from vhbench.method import Budget, FitContext
from vhbench.methods import recurrent
from vhbench.methods.neighbourhood import neighbourhood
from vhbench.methods.read_out import pack
from vhbench.methods.ssvh import SSVH, Network, PairwiseLoss
from vhbench.testing.toy import toy_videos
from vhbench.training import Moment
from vhbench.videos import VideoSet

FRAMES, DIM, BITS, TRAIN = 5, 7, 4, 20


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def features(videos: int = TRAIN, frames: int = FRAMES, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((videos, frames, DIM)).astype(np.float32)


def make(frames: int = FRAMES, data: np.ndarray | None = None, **params) -> tuple[SSVH, Network]:
    """Return a method and its prepared network in float64."""
    method = SSVH(BITS, **{"k1": 3, "k2": 2, **params})
    module = method.build(frames, DIM)
    method.prepare(module, VideoSet(features(frames=frames) if data is None else data), FitContext())
    return method, module.double().train()


def batch(module: Network, rows: list[int]) -> tuple[torch.Tensor, Moment]:
    return torch.randn(len(rows), FRAMES, DIM, dtype=torch.float64), Moment(0, 100, torch.tensor(rows))


def random_neighbourhood(videos: int = TRAIN, share: float = 0.2) -> np.ndarray:
    dense = np.random.default_rng(1).random((videos, videos)) < share
    dense[3] = dense[:, 3] = False  # a video without neighbours
    return dense | dense.T


# the pairwise loss


@pytest.mark.parametrize("dissimilar", [0.0, -1.0, 0.3])
def test_pairwise_loss_equals_the_dense_one_and_its_gradient(dissimilar):
    dense = random_neighbourhood()
    s = torch.from_numpy(np.where(dense, 1.0, dissimilar))
    pairs = PairwiseLoss(scipy.sparse.csr_array(dense), BITS, dissimilar).double()
    bank = torch.zeros(TRAIN, BITS, dtype=torch.float64)
    for step in range(8):
        if step == 4:
            pairs.recount()
        rows = torch.randperm(TRAIN)[: 7 if step % 2 else TRAIN]
        hidden = torch.randn(len(rows), BITS, dtype=torch.float64, requires_grad=True)
        everyone = bank.index_put((rows,), hidden)
        wanted = ((hidden @ everyone.T) / BITS - s[rows]).square().sum()
        found = pairs(hidden, rows)
        assert found.item() == pytest.approx(wanted.item(), rel=1e-12)
        ours, theirs = (torch.autograd.grad(loss, hidden)[0] for loss in (found, wanted))
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
        bank = everyone.detach()
        assert torch.equal(pairs.bank, bank)
        torch.testing.assert_close(pairs.gram, bank.T @ bank)
        torch.testing.assert_close(pairs.total, bank.sum(0))


@pytest.mark.parametrize("dissimilar", [0.0, -1.0])
def test_pairwise_loss_element_by_element(dissimilar):
    dense = random_neighbourhood(6, 0.5)
    pairs = PairwiseLoss(scipy.sparse.csr_array(dense), BITS, dissimilar).double()
    first, second = (np.random.default_rng(i).standard_normal((n, BITS)) for i, n in ((0, 6), (1, 3)))
    pairs(torch.from_numpy(first), torch.arange(6))
    rows = [4, 0, 5]
    everyone = first.copy()
    everyone[rows] = second
    wanted = 0.0
    for i in rows:
        for j in range(6):
            product = sum(everyone[i, bit] * everyone[j, bit] for bit in range(BITS))
            wanted += (product / BITS - (1.0 if dense[i, j] else dissimilar)) ** 2
    assert pairs(torch.from_numpy(second), torch.tensor(rows)).item() == pytest.approx(wanted, rel=1e-12)


def test_gradients_by_finite_differences():
    pairs = PairwiseLoss(scipy.sparse.csr_array(random_neighbourhood()), BITS, -1.0).double()
    pairs(torch.randn(TRAIN, BITS, dtype=torch.float64), torch.arange(TRAIN))
    rows = torch.tensor([2, 9, 11])
    hidden = torch.randn(3, BITS, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda h: pairs(h, rows), hidden)


def test_each_epoch_counts_the_bank_afresh():
    method, module = make()
    module.pairs(torch.randn(TRAIN, BITS, dtype=torch.float64), torch.arange(TRAIN))
    wanted = module.pairs.gram.clone(), module.pairs.total.clone()
    module.pairs.gram += 1e-3
    module.pairs.total += 1e-3
    method.start_epoch(module, VideoSet(features()), Moment(1, 100))
    torch.testing.assert_close((module.pairs.gram, module.pairs.total), wanted)


# the reconstruction loss


def test_loss_terms_by_hand():
    method, module = make(pairwise_weight=0.7, quantization_weight=0.3)
    rows = [4, 17, 0]
    videos, moment = batch(module, rows)
    module.eval()  # so that the second pass below normalises alike
    terms = {name: value.item() for name, value in method.loss(module, videos, moment).items()}
    with torch.no_grad():
        hidden, cell = module.encode(videos[:, :4])
        decoders = module.ahead, module.reverse, module.mean
        states = module.decode(hidden, cell)
        ahead, reverse, mean = (d.read_out(h).numpy() for d, h in zip(decoders, states, strict=True))
    v, h = videos[:, :4].numpy(), hidden.numpy()
    recon = 0.0
    for i in range(3):
        for j in range(4):
            recon += ((v[i, j] - ahead[i, j]) ** 2).sum() + ((v[i, 3 - j] - reverse[i, j]) ** 2).sum()
        recon += 4 * ((v[i].mean(0) - mean[i, 0]) ** 2).sum()
    dense = neighbourhood(features().mean(1), 3, 2).toarray()
    everyone = np.zeros((TRAIN, BITS))
    everyone[rows] = h
    pairwise = ((h @ everyone.T / BITS - dense[rows]) ** 2).sum()
    wanted = {
        "pairwise": 0.7 * pairwise / 3,
        "quantization": 0.7 * 0.3 * ((h - np.where(h >= 0, 1, -1)) ** 2).sum() / 3,
        "recon": 0.3 * recon / 3 / 3,
    }
    assert terms == pytest.approx(wanted, rel=1e-9)


def test_defaults_are_those_of_the_released_code():
    assert SSVH(64).get_params() == {
        "epochs": 100,
        "batch_size": 256,
        "lr": 1e-4,
        "weight_decay": 0.0,
        "k1": 10,
        "k2": 5,
        "dissimilar": 0.0,
        "pairwise_weight": 0.999,
        "quantization_weight": 0.2,
        "leak_cell": False,
        "crossed_decoders": False,
    }


@pytest.mark.parametrize("dissimilar", [0.0, -1.0])
def test_the_first_batch_of_a_fit_meets_an_empty_bank_and_s_in_the_form_asked_for(dissimilar):
    method, module = make(dissimilar=dissimilar)
    with torch.no_grad():
        for parameter in module.upper.parameters():
            parameter.zero_()  # h = 0, so that the pairwise loss is the sum of s_ij^2
    rows = [1, 2, 5]
    found = method.loss(module, *batch(module, rows))["pairwise"].item()
    positives = neighbourhood(features().mean(1), 3, 2)[rows].sum()
    wanted = positives if dissimilar == 0 else 3 * TRAIN
    assert found == pytest.approx(0.999 * wanted / 3)


# the network


def inputs_of(module: Network, name: str, run) -> list[torch.Tensor]:
    """Return the first argument of each call of a sub-module while `run` runs."""
    seen = []
    handle = module.get_submodule(name).register_forward_pre_hook(lambda _, args: seen.append(args))
    run()
    handle.remove()
    return seen


def test_upper_level_reads_every_second_hidden_state():
    _, module = make(frames=8)
    module.eval()
    videos = torch.randn(2, 8, DIM, dtype=torch.float64)
    ((read,),) = inputs_of(module, "upper", lambda: module.encode(videos))
    fine, _ = module.lower(videos)
    assert torch.equal(read, torch.stack([fine[:, 1], fine[:, 3], fine[:, 5], fine[:, 7]], 1))
    coarse, cell = module.upper(read)
    torch.testing.assert_close(module.encode(videos), (coarse[:, -1], cell))


@pytest.mark.parametrize("crossed", [False, True])
def test_lower_decoders_read_each_upper_state_twice(crossed):
    _, module = make(frames=6, crossed_decoders=crossed)
    module.eval()
    state = torch.randn(2, BITS, dtype=torch.float64), torch.randn(2, BITS, dtype=torch.float64)
    start = recurrent.sign_ste(state[0]), torch.zeros_like(state[1])
    ahead, _ = module.ahead.upper(None, start)
    reverse, _ = module.reverse.upper(None, start)
    mean, _ = module.mean.upper(None, start)
    second = reverse if crossed else ahead  # released: the forward decoder's second input of two is the reverse one's
    wanted = {
        "ahead": [ahead[:, 0], second[:, 0], ahead[:, 1], second[:, 1], ahead[:, 2], second[:, 2]],
        "reverse": [reverse[:, 0], reverse[:, 0], reverse[:, 1], reverse[:, 1], reverse[:, 2], reverse[:, 2]],
        "mean": [mean[:, 0]],
    }
    for name, steps in wanted.items():
        ((read, *_),) = inputs_of(module, f"{name}.lower", lambda: module.decode(*state))
        assert torch.equal(read, torch.stack(steps, 1)), name
    for name, decoder in (("ahead", module.ahead), ("reverse", module.reverse), ("mean", module.mean)):
        assert (decoder.upper.tanh, decoder.lower.tanh) == (True, False), name


def test_crossed_decoders_change_the_forward_decoder_alone():
    state = torch.randn(3, BITS, dtype=torch.float64), torch.randn(3, BITS, dtype=torch.float64)
    outputs = []
    for crossed in (False, True):
        torch.manual_seed(1)
        outputs.append(make(crossed_decoders=crossed)[1].eval().decode(*state))
    same = [torch.equal(own, other) for own, other in zip(*outputs, strict=True)]
    assert same == [False, True, True]
    assert torch.equal(outputs[0][0][:, 0], outputs[1][0][:, 0])  # the first step reads the same
    assert not torch.equal(outputs[0][0][:, 1], outputs[1][0][:, 1])


def test_nothing_real_valued_crosses_the_bottleneck_unless_asked_to():
    hidden, cell = torch.rand(2, 3, BITS, dtype=torch.float64) + 0.1, torch.randn(2, 3, BITS, dtype=torch.float64)
    hidden = hidden * recurrent.sign_ste(torch.randn(3, BITS, dtype=torch.float64))  # two states of equal signs
    for leak_cell in (False, True):
        _, module = make(leak_cell=leak_cell)
        module.eval()
        one, other = module.decode(hidden[0], cell[0]), module.decode(hidden[1], cell[1])
        assert [torch.equal(a, b) for a, b in zip(one, other, strict=True)] == [not leak_cell] * 3
    one, other = module.decode(hidden[0], cell[0]), module.decode(hidden[1], cell[0])
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))  # the cell is all that leaks


def test_reconstruction_trains_the_encoder_through_the_sign_alone():
    _, module = make()
    hidden = torch.tensor([[0.5, -0.2, 3.0, -4.0], [0.1, 0.9, -0.3, 0.4]], dtype=torch.float64, requires_grad=True)
    cell = torch.randn(2, BITS, dtype=torch.float64, requires_grad=True)
    videos = torch.randn(2, 4, DIM, dtype=torch.float64)
    module.reconstruction(videos, videos, hidden, cell).backward()
    assert cell.grad is None or not cell.grad.any()
    assert (hidden.grad != 0).tolist() == [[True, True, False, False], [True] * 4]  # none where |h| > 1


def test_the_encoder_feeds_signs_back_at_every_upper_step(monkeypatch):
    fed = []
    original = recurrent.sign_ste
    monkeypatch.setattr(recurrent, "sign_ste", lambda h: fed.append(original(h)) or fed[-1])
    _, module = make(frames=8)
    coarse = []
    module.upper.register_forward_hook(lambda _, args, out: coarse.append(out[0]))
    module.encode(torch.randn(6, 8, DIM, dtype=torch.float64))
    assert torch.equal(torch.stack(fed, 1), coarse[0].sign())  # 4 steps of the upper level; none of the lower one
    assert len(fed) == 4


@pytest.mark.parametrize(("frames", "read"), [(2, 2), (3, 2), (24, 24), (25, 24), (30, 30)])
def test_an_odd_last_frame_is_not_read(frames, read):
    data = features(frames=frames)
    method, module = make(frames, data)
    videos = torch.from_numpy(data).double().requires_grad_()
    rows = torch.arange(TRAIN)
    sum(method.loss(module, videos, Moment(0, 100, rows)).values()).backward()
    assert videos.grad.abs().sum((0, 2)).ne(0).tolist() == [j < read for j in range(frames)]
    assert method.codes(module.eval(), videos).shape == (TRAIN, BITS)


def test_the_neighbourhood_is_of_all_frames():
    data = features()
    data[:, -1] *= 50  # the frame that the network does not read decides
    _, module = make(data=data)
    found = scipy.sparse.csr_array(
        (np.ones(len(module.pairs.neighbours)), module.pairs.neighbours, module.pairs.starts), (TRAIN, TRAIN)
    )
    assert (found.toarray() > 0).tolist() == neighbourhood(data.mean(1), 3, 2).toarray().tolist()
    assert (found.toarray() > 0).tolist() != neighbourhood(data[:, :4].mean(1), 3, 2).toarray().tolist()


def test_codes_are_the_signs_of_the_last_hidden_state_and_0_is_true():
    method, module = make()
    module.eval()
    videos = torch.randn(50, FRAMES, DIM, dtype=torch.float64)
    codes = method.codes(module, videos)
    assert torch.equal(codes, module.encode(videos[:, :4])[0] >= 0)
    assert 0 < codes.double().mean() < 1
    torch.nn.init.zeros_(module.upper.gamma)
    assert method.codes(module, videos).all()


def test_parameter_count_at_full_size():
    with torch.device("meta"):
        module = SSVH(64).build(25, 4096)
    cell = 4 * 64 * 64 + 4 * 64 + 3 * 64  # without input weights and batch norm
    lower, upper, ahead, mean = 24, 12, 12 + 24, 1 + 1  # steps, each with a gamma and a beta
    steps = lower + upper + 2 * ahead + mean
    inputs = 4 * 64 * 4096 + 4 * 4 * 64 * 64  # encoder's two levels, three lower decoders
    wanted = 8 * cell + 2 * 64 * steps + inputs + 3 * 65 * 4096
    assert sum(p.numel() for p in module.parameters()) == wanted


# training


def fit(ctx: FitContext, epochs: int = 6, data: VideoSet | None = None, **params) -> SSVH:
    return SSVH(BITS, **{"epochs": epochs, "batch_size": 6, "lr": 1e-2, "k1": 3, "k2": 2, **params}).fit(
        data or VideoSet(features()), ctx
    )


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_the_loss_falls(precision):
    told = []
    train, _ = toy_videos(n=60, frames=7, dim=30)
    fit(FitContext(precision=precision, report=told.append), 15, train, batch_size=20, pairwise_weight=0.9)
    first, last = told[0].parts, told[-1].parts
    assert first.keys() == {"pairwise", "quantization", "recon"}
    assert all(last[name] < 0.9 * first[name] for name in ("pairwise", "recon"))


def test_bf16_gives_nearly_the_same_loss():
    method, module = make()
    module.float()
    videos, moment = batch(module, [1, 2, 3, 4, 5])
    exact = method.loss(module, videos.float(), moment)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = method.loss(module, videos.float(), moment)
    for name, value in exact.items():
        assert rounded[name].dtype == torch.float32
        assert rounded[name].item() == pytest.approx(value.item(), rel=0.05), name
        assert rounded[name].item() != value.item(), name


def test_bf16_is_for_the_frames_alone():
    hidden, rows = torch.randn(9, BITS), torch.arange(9)
    pairs = [PairwiseLoss(scipy.sparse.csr_array(random_neighbourhood()), BITS, -1.0) for _ in range(2)]
    exact = [pairs[0](hidden, rows), pairs[0](hidden, rows + 5)]
    with torch.autocast("cpu", torch.bfloat16):
        assert [pairs[1](hidden, rows), pairs[1](hidden, rows + 5)] == exact
        packed = pack(torch.randn(3, 5, DIM)[:, :4])
    assert packed.dtype == torch.bfloat16
    assert packed.is_contiguous()
    assert pack(torch.randn(3, 5, DIM)[:, :4]).dtype == torch.float32


def test_the_bank_holds_each_video_as_it_was_last_seen():
    seen = {}

    class Watched(SSVH):
        def loss(self, module, videos, moment):
            terms = super().loss(module, videos, moment)
            seen.update({int(row): module.pairs.bank[row].clone() for row in moment.rows})
            return terms

    method = Watched(BITS, epochs=3, batch_size=6, k1=3, k2=2).fit(VideoSet(features()), FitContext())
    pairs = method.module_.pairs
    assert sorted(seen) == list(range(TRAIN))
    assert torch.equal(pairs.bank, torch.stack([seen[row] for row in range(TRAIN)]))
    torch.testing.assert_close(pairs.gram, pairs.bank.double().T @ pairs.bank.double())


def test_a_resumed_run_equals_an_undisturbed_one_with_its_bank(tmp_path):
    def kill(done):
        if done.number == 4:
            raise Killed

    whole = fit(FitContext(seed=1))
    ctx = FitContext(seed=1, checkpoint=Checkpoint(tmp_path, "key", every=0))
    with pytest.raises(Killed):
        fit(replace(ctx, report=kill))
    told = []
    resumed = fit(replace(ctx, report=told.append))
    assert told[0].number == 4
    ours, theirs = (dict(m.module_.named_buffers()) | dict(m.module_.named_parameters()) for m in (resumed, whole))
    assert {"pairs.bank", "pairs.gram", "pairs.neighbours"} <= ours.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_saved_method_leaves_the_training_state_behind(tmp_path):
    method = fit(FitContext())
    method.save(tmp_path / "model.pt")
    saved = torch.load(tmp_path / "model.pt", weights_only=True)["state"]
    assert not [name for name in saved if name.startswith("pairs")]
    test = VideoSet(features(seed=1))
    assert np.array_equal(SSVH.load(tmp_path / "model.pt").encode(test), method.encode(test))


@pytest.mark.parametrize("params", [{"dissimilar": -1.0}, {"leak_cell": True}, {"crossed_decoders": True}])
def test_options_change_what_is_learnt(params):
    ctx = FitContext(budget=Budget(epochs=2))
    default, other = fit(ctx).module_, fit(ctx, **params).module_
    assert not torch.equal(default.ahead.read_out.weight, other.ahead.read_out.weight)


def test_two_videos_are_enough():
    codes = fit(FitContext(), 1, VideoSet(features(2))).encode(VideoSet(features(3, seed=1)))
    assert codes.shape == (3, BITS)
