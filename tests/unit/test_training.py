"""The training loop and its checkpoints, on a network of one layer."""

import pickle
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from vhbench.checkpoint import Checkpoint
from vhbench.errors import MethodError
from vhbench.method import Budget, FitContext
from vhbench.training import NeuralMethod
from vhbench.videos import VideoSet

FRAMES, DIM, BITS = 3, 8, 4


class Tiny(NeuralMethod):
    """A linear autoencoder of the mean frame, with dropout, so that training draws random numbers."""

    name = "tiny"

    def __init__(self, bits, *, epochs=6, batch_size=8, lr=1e-2, weight_decay=0.0):
        self.bits = bits
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay

    def build(self, frames, dim):
        layers = nn.Linear(dim, self.bits), nn.BatchNorm1d(self.bits), nn.Dropout(0.2), nn.Linear(self.bits, dim)
        return nn.Sequential(*layers)

    def loss(self, module, videos, moment):
        x = videos.mean(1)
        return {"recon": (module(x).float() - x).square().mean(), "size": 1e-3 * module[0].weight.square().sum()}

    def codes(self, module, videos):
        return module[1](module[0](videos.mean(1))) >= 0


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def data() -> VideoSet:
    return VideoSet(np.random.default_rng(0).standard_normal((25, FRAMES, DIM)))  # the last batch is one video


def weights(method: Tiny) -> dict[str, torch.Tensor]:
    return method.module_.state_dict()


def assert_equal(a: Tiny, b: Tiny) -> None:
    assert all(torch.equal(weights(a)[name], weights(b)[name]) for name in weights(a))


def kill_after(epoch: int):
    def report(done):
        if done.number == epoch:
            raise Killed

    return report


# training


def test_loss_goes_down_and_epochs_are_reported(data):
    told = []
    Tiny(BITS, epochs=30).fit(data, FitContext(report=told.append))
    assert [epoch.number for epoch in told] == list(range(1, 31))
    assert {epoch.total for epoch in told} == {30}
    assert told[-1].loss < 0.8 * told[0].loss
    for epoch in told:
        assert epoch.loss == pytest.approx(epoch.parts["recon"] + epoch.parts["size"])
        assert epoch.seconds > 0


def test_budget_sets_the_epochs(data):
    told = []
    Tiny(BITS).fit(data, FitContext(budget=Budget(epochs=2), report=told.append))
    assert [epoch.number for epoch in told] == [1, 2]


def test_same_seed_same_weights(data):
    first, again, other = (Tiny(BITS).fit(data, FitContext(seed=seed)) for seed in (3, 3, 4))
    assert_equal(first, again)
    assert not torch.equal(weights(first)["0.weight"], weights(other)["0.weight"])


def test_global_random_state_and_settings_stay(data):
    def state():
        kind, keys, *rest = np.random.get_state()  # noqa: NPY002
        return torch.get_rng_state().tolist(), kind, keys.tolist(), rest, random.getstate()

    before = state()
    method = Tiny(BITS).fit(data, FitContext(deterministic=True))
    method.encode(data)
    assert state() == before
    assert not torch.are_deterministic_algorithms_enabled()


def test_global_random_state_has_no_influence(data):
    torch.manual_seed(1)
    first = Tiny(BITS).fit(data, FitContext())
    torch.manual_seed(2)
    assert_equal(first, Tiny(BITS).fit(data, FitContext()))


def test_last_batch_of_one_video_is_skipped(data):
    sizes = []

    class Watched(Tiny):
        def loss(self, module, videos, moment):
            sizes.append(len(videos))
            return super().loss(module, videos, moment)

    Watched(BITS, epochs=1).fit(data, FitContext())
    assert sizes == [8, 8, 8]


def test_one_video_is_not_enough(data):
    for rows in ([], [0]):
        with pytest.raises(MethodError, match="at least 2 training videos"):
            Tiny(BITS).fit(data.subset(np.array(rows, dtype=int)), FitContext())
    Tiny(BITS, epochs=1).fit(data.subset(np.array([0, 1])), FitContext())


def test_a_batch_of_one_is_refused(data):
    with pytest.raises(MethodError, match="batch_size of at least 2"):
        Tiny(BITS, batch_size=1).fit(data, FitContext())


def test_divergence_names_the_epoch(data):
    class Diverging(Tiny):
        def loss(self, module, videos, moment):
            terms = super().loss(module, videos, moment)
            return terms if moment.epoch < 2 else {**terms, "recon": terms["recon"] * float("nan")}

    with pytest.raises(MethodError, match=r"epoch 3 of 6.*recon nan.*lower learning rate"):
        Diverging(BITS).fit(data, FitContext())


def test_divergence_of_the_last_step_is_seen(data):
    class Diverging(Tiny):
        def loss(self, module, videos, moment):
            terms = super().loss(module, videos, moment)
            zero = (module[0].weight * 0).abs().sum()
            return {**terms, "root": zero.sqrt()}  # 0, with an infinite gradient

    with pytest.raises(MethodError, match="diverged"):
        Diverging(BITS, epochs=1, batch_size=25).fit(data, FitContext())


def test_bfloat16_trains_and_encodes(data):
    told = []
    method = Tiny(BITS, epochs=30).fit(data, FitContext(precision="bf16", report=told.append))
    assert told[-1].loss < 0.8 * told[0].loss
    assert {value.dtype for value in weights(method).values()} == {torch.float32, torch.int64}
    codes = method.encode(data)
    assert codes.shape == (25, BITS)
    assert codes.dtype == bool
    exact = Tiny(BITS, epochs=30).fit(data, FitContext())
    assert not torch.equal(weights(method)["0.weight"], weights(exact)["0.weight"])


# encode, save and load


def test_codes_depend_on_the_video_alone(data):
    method = Tiny(BITS).fit(data, FitContext())
    codes = method.encode(data)
    order = np.random.default_rng(1).permutation(len(data))
    assert np.array_equal(method.encode(data.subset(order)), codes[order])
    assert np.array_equal(method.encode(data.subset(np.array([7]))), codes[7:8])
    assert method.encode(data.subset(np.array([], dtype=int))).shape == (0, BITS)


def test_encode_refuses_an_unfitted_method_and_other_shapes(data):
    with pytest.raises(MethodError, match="not been fitted"):
        Tiny(BITS).encode(data)
    method = Tiny(BITS, epochs=1).fit(data, FitContext())
    for shape in ((2, FRAMES + 1, DIM), (2, FRAMES, DIM + 1)):
        with pytest.raises(MethodError, match="3 frames x 8 dimensions"):
            method.encode(VideoSet(np.zeros(shape, dtype=np.float32)))


def test_a_saved_method_gives_the_same_codes(data, tmp_path):
    method = Tiny(BITS, lr=0.02).fit(data, FitContext())
    method.save(tmp_path / "model.pt")
    before = torch.get_rng_state()
    loaded = Tiny.load(tmp_path / "model.pt")
    assert torch.equal(torch.get_rng_state(), before)
    assert (loaded.bits, loaded.get_params()) == (BITS, method.get_params())
    assert np.array_equal(loaded.encode(data), method.encode(data))


# what training keeps beside the parameters


class Remembering(Tiny):
    """Adds a bank of each training video's last value, and a second stage that starts from the training set."""

    def prepare(self, module, train, ctx):
        module.register_buffer("bank", torch.zeros(len(train)), persistent=False)
        module.register_buffer("start", torch.zeros(DIM), persistent=False)
        module.register_buffer("means", torch.from_numpy(train.mean_frames()), persistent=False)

    def start_epoch(self, module, train, moment):
        assert len(moment.rows) == 0
        if moment.epoch == moment.epochs // 2:
            module.start += torch.from_numpy(train.mean_frames()).mean(0)

    def loss(self, module, videos, moment):
        assert torch.allclose(module.means[moment.rows], videos.mean(1), atol=1e-6)
        module.bank[moment.rows] = 0.5 * module.bank[moment.rows] + videos.mean((1, 2))
        return {**super().loss(module, videos - module.start, moment), "bank": 0 * module.bank.mean()}


def test_a_batch_says_which_videos_it_holds_and_state_survives_a_resume(data, tmp_path):
    whole = Remembering(BITS).fit(data, FitContext(seed=1))
    assert whole.module_.bank.count_nonzero() == len(data)
    ctx = FitContext(seed=1, checkpoint=Checkpoint(tmp_path, "key", every=0))
    with pytest.raises(Killed):
        Remembering(BITS).fit(data, replace(ctx, report=kill_after(5)))
    resumed = Remembering(BITS).fit(data, ctx)
    assert_equal(resumed, whole)
    assert torch.equal(resumed.module_.bank, whole.module_.bank)
    assert torch.equal(resumed.module_.start, whole.module_.start)
    resumed.save(tmp_path / "model.pt")
    assert "bank" not in torch.load(tmp_path / "model.pt", weights_only=True)["state"]
    assert np.array_equal(Remembering.load(tmp_path / "model.pt").encode(data), whole.encode(data))


# checkpoints


@pytest.mark.parametrize("epoch", [1, 2, 4, 6])
def test_a_resumed_run_equals_an_undisturbed_one(data, tmp_path, epoch):
    whole = Tiny(BITS).fit(data, FitContext(seed=1))
    told = []
    ctx = FitContext(seed=1, checkpoint=Checkpoint(tmp_path, "key", every=0))
    with pytest.raises(Killed):
        Tiny(BITS).fit(data, replace(ctx, report=kill_after(epoch)))
    resumed = Tiny(BITS).fit(data, replace(ctx, report=told.append))
    assert told[0].number == epoch  # the report of that epoch came before its checkpoint
    assert_equal(resumed, whole)
    assert np.array_equal(resumed.encode(data), whole.encode(data))


def test_checkpoints_come_at_most_every_so_often(data, tmp_path):
    Tiny(BITS).fit(data, FitContext(checkpoint=Checkpoint(tmp_path, "key", every=1000)))
    assert not list(tmp_path.iterdir())


@pytest.fixture
def interrupted(data, tmp_path) -> Checkpoint:
    """A checkpoint of an older seed under the key "key", so that continuing from it would show."""
    checkpoint = Checkpoint(tmp_path, "key", every=0)
    with pytest.raises(Killed):
        Tiny(BITS).fit(data, FitContext(seed=9, checkpoint=checkpoint, report=kill_after(3)))
    assert checkpoint.load() is not None
    return checkpoint


def assert_not_used(checkpoint: Checkpoint, data: VideoSet) -> None:
    assert checkpoint.load() is None
    told = []
    trained = Tiny(BITS).fit(data, FitContext(seed=1, checkpoint=checkpoint, report=told.append))
    assert told[0].number == 1
    assert_equal(trained, Tiny(BITS).fit(data, FitContext(seed=1)))


def test_a_checkpoint_under_another_key_is_not_used(data, tmp_path, interrupted):
    assert_not_used(Checkpoint(tmp_path, "other key"), data)


def test_a_truncated_checkpoint_is_not_used(data, interrupted):
    interrupted.path.write_bytes(interrupted.path.read_bytes()[:-100])
    assert_not_used(interrupted, data)


def test_a_flipped_bit_in_a_checkpoint_is_seen(data, interrupted):
    content = bytearray(interrupted.path.read_bytes())
    content[content.index(interrupted.load()["module"]["0.weight"].numpy().tobytes())] ^= 1
    interrupted.path.write_bytes(content)
    assert_not_used(interrupted, data)


class Malice:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("form", ["zip", "bare"])
def test_a_malicious_checkpoint_is_not_executed(data, tmp_path, form):
    checkpoint = Checkpoint(tmp_path, "key", every=1000)
    state = {"key": "key", "state": {"epoch": 1, "module": Malice(tmp_path / "executed")}}
    if form == "zip":
        torch.save(state, checkpoint.path)
    else:
        checkpoint.path.write_bytes(pickle.dumps(state))
    assert_not_used(checkpoint, data)
    assert not (tmp_path / "executed").exists()


def test_ctrl_c_while_a_checkpoint_is_written_is_no_failure_of_the_method(interrupted, monkeypatch):
    def interrupt(file, content):
        raise KeyboardInterrupt

    monkeypatch.setattr("vhbench.checkpoint._Digested.write", interrupt)
    with pytest.raises(KeyboardInterrupt):
        interrupted.save({"epoch": 5})
    assert interrupted.load()["epoch"] == 2


def test_a_failed_save_leaves_the_earlier_checkpoint(interrupted, monkeypatch):
    def fail(*args):
        raise Killed

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(Killed):
        interrupted.save({"epoch": 5})
    assert interrupted.load()["epoch"] == 2
    assert [path.name for path in interrupted.path.parent.iterdir()] == ["state.pt"]
