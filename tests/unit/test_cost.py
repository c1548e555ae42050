"""What methods cost, against counts by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from vhbench.cost import LOOP_VIDEOS, SyntheticFrames, measure
from vhbench.errors import MethodError
from vhbench.method import Budget, FitContext, Method, Tags
from vhbench.methods.itq import ITQ
from vhbench.methods.uvvh import UVVH
from vhbench.plugins.registry import Registry
from vhbench.training import NeuralMethod
from vhbench.videos import VideoSet

FRAMES, DIM, BITS, BATCH, EPOCHS = 3, 10, 4, 8, 5


class Linear(NeuralMethod):
    """A linear autoencoder of the mean frame; it notes what is called."""

    name = "linear"

    def __init__(self, bits, *, epochs=EPOCHS, batch_size=BATCH, lr=1e-3, weight_decay=0.0):
        self.bits = bits
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.calls = []

    def build(self, frames, dim):
        self.calls.append(("build", frames, dim))
        return nn.ModuleDict({"encode": nn.Linear(dim, self.bits), "decode": nn.Linear(self.bits, dim)})

    def prepare(self, module, train, ctx):
        self.calls.append(("prepare", len(train)))

    def start_epoch(self, module, train, moment):
        self.calls.append(("start", moment.epoch, moment.epochs))

    def loss(self, module, videos, moment):
        self.calls.append(("loss", moment.epoch, moment.epochs, len(videos), moment.rows.tolist()))
        x = videos.mean(1)
        return {"recon": (module["decode"](module["encode"](x)) - x).square().mean()}

    def codes(self, module, videos):
        self.calls.append(("codes", module.training, torch.is_grad_enabled()))
        return module["encode"](videos.mean(1)) >= 0


class WithBatchTerms(Linear):
    """A term that every step costs once, and one that compares all pairs of the batch."""

    def loss(self, module, videos, moment):
        weight = module["encode"].weight
        x = videos.mean(1)
        return {"norm": (weight @ weight.T).square().sum(), "pairs": (module["encode"](x) @ x[:, :BITS].T).sum()}


class TwoStage(Linear):
    """The decoder is trained in the first half of the epochs alone."""

    def loss(self, module, videos, moment):
        terms = super().loss(module, videos, moment)
        x = videos.mean(1)
        return terms if moment.epoch < moment.epochs / 2 else {"size": module["encode"](x).square().mean()}


class Reader(Linear):
    """Reads the training set before the first epoch and every second epoch."""

    def prepare(self, module, train, ctx):
        train.mean_frames()

    def start_epoch(self, module, train, moment):
        if moment.epoch % 2 == 0:
            for _ in train.batches(7):
                pass


class Shallow(Method):
    """Centroids of groups of videos; reads the videos twice."""

    name = "shallow"

    def __init__(self, bits, *, passes=2):
        self.bits = bits
        self.passes = passes

    def fit(self, train, ctx):
        self.budget = ctx.budget
        for _ in range(self.passes):
            means = train.mean_frames()
        self.mean_ = means.mean(axis=0, dtype=np.float64)
        self.count_ = 3
        self.net_ = nn.Linear(train.dim, self.bits)
        return self

    def encode(self, videos):
        return np.zeros((len(videos), self.bits), dtype=bool)


class Stating(Shallow):
    """The same, and it says how much it computes."""

    def operations(self, frames, dim):
        return 1000.0 * frames, 2.0 * dim * self.bits


def test_parameters_and_their_memory_are_all_in_training_and_those_read_in_encoding():
    cost = measure(Linear(BITS), FRAMES, DIM)
    encoder, decoder = DIM * BITS + BITS, BITS * DIM + DIM
    assert cost.training.parameters == encoder + decoder
    assert cost.encoding.parameters == encoder
    assert (cost.training.weight_bytes, cost.encoding.weight_bytes) == (4 * (encoder + decoder), 4 * encoder)


def test_training_memory_is_weights_gradients_and_two_moments_of_adam():
    cost = measure(Linear(BITS), FRAMES, DIM)
    steps = 4 * len(list(Linear(BITS).build(FRAMES, DIM).parameters()))  # Adam counts them, a float32 a tensor
    assert cost.training_bytes == 4 * cost.training.weight_bytes + steps


def test_operations_of_a_linear_method():
    # forward 2; backward 2 for the weights' gradients and 1 for the code's; 2 a multiply-add
    product = 2 * DIM * BITS
    cost = measure(Linear(BITS), FRAMES, DIM)
    assert cost.training.flops == (5 * product, 5 * product)
    assert cost.encoding.flops == (product,)


@pytest.mark.parametrize("batch", [2, 5, 100])
def test_what_a_step_costs_once_and_what_it_costs_a_pair_are_those_of_the_methods_own_batch(batch):
    once = 3 * 2 * BITS * BITS * DIM  # W W', then its gradient through either factor
    video = 2 * 2 * DIM * BITS
    pair = 2 * 2 * BITS  # the videos need no gradient
    cost = measure(WithBatchTerms(BITS, batch_size=batch), FRAMES, DIM)
    assert cost.training.flops[0] == pytest.approx(once / batch + video + pair * batch, rel=1e-12)


def test_stages_are_told_apart_by_the_first_and_the_last_epoch():
    product = 2 * DIM * BITS
    first, last = measure(TwoStage(BITS), FRAMES, DIM).training.flops
    assert first == 5 * product
    assert last == 4 * product  # TwoStage computes the first stage's terms too, without their gradient


def test_hooks_are_called_as_training_calls_them():
    method = Linear(BITS, epochs=3)
    measure(method, FRAMES, DIM)
    steps = [[("loss", epoch, 3, n, list(range(n))) for n in (2, 3, 4)] for epoch in (0, 2)]
    expected = [
        ("build", FRAMES, DIM),
        ("prepare", LOOP_VIDEOS),
        ("start", 0, 3),
        *steps[0],
        ("start", 1, 3),
        ("start", 2, 3),
        *steps[1],
    ]
    codes = method.calls[len(expected) :]
    assert method.calls[: len(expected)] == expected
    assert set(codes) == {("codes", False, False)}


def test_one_epoch_is_first_and_last():
    assert len(measure(Linear(BITS, epochs=1), FRAMES, DIM).training.flops) == 1


def test_reading_the_training_set_outside_the_steps_is_counted():
    assert measure(Linear(BITS), FRAMES, DIM).training.passes == EPOCHS
    assert measure(Reader(BITS), FRAMES, DIM).training.passes == EPOCHS + 1 + 3


def test_of_a_long_stage_four_epochs_stand_for_all():
    method = Linear(BITS, epochs=300)
    assert measure(method, FRAMES, DIM).epochs == 300
    assert [call[1] for call in method.calls if call[0] == "start"] == [0, 1, 298, 299]
    assert measure(Reader(BITS, epochs=300), FRAMES, DIM).training.passes == 300 + 1 + 150


class Triplets(Linear):
    """Learns from each video with the frames of two others."""

    def inputs(self, module, train, moment):
        return train.joined(np.zeros((len(train), 2), dtype=int)) if moment.epoch else train


def test_videos_that_are_joined_are_all_read():
    assert measure(Triplets(BITS), FRAMES, DIM).training.passes == 1 + 3 * (EPOCHS - 1)


def test_bytes_of_a_video_and_of_its_code():
    cost = measure(Linear(BITS), FRAMES, DIM)
    assert (cost.video_bytes, cost.code_bytes) == (FRAMES * DIM * 4, 1)
    assert measure(Linear(17), FRAMES, DIM).code_bytes == 3


# UVVH at the size of the paper: VGG-16 features, 64 bits


@pytest.fixture(scope="module")
def uvvh():
    return measure(UVVH(64), 25, 4096)


# steps, inputs and outputs of every matrix product (Table I; kernels 7, 4, 4)
ENCODER = [(10, 7 * 4096, 512), (4, 4 * 512, 512), (1, 4 * 512, 256)]
HEADS = [(1, 256, 64), (1, 256, 64)]
DECODER = [
    (1, 64, 4096),
    (1, 4096, 256),
    (1, 256, 4 * 512),
    (4, 512, 4 * 512),
    (10, 512, 7 * 4096),
    (1, 256, 4096),
    (25, 4096, 4 * 256),
    (25, 256, 4 * 256),
    (25, 256, 4096),
]


def flops(products):
    return sum(2 * steps * inputs * outputs for steps, inputs, outputs in products)


def test_uvvh_has_40_million_parameters(uvvh):
    weights = sum(inputs * outputs for _, inputs, outputs in ENCODER + HEADS + DECODER)
    biases = (512 + 512 + 256) + 2 * 64 + (4096 + 256 + 512 + 512 + 4096 + 4096 + 2 * 4 * 256 + 4096)
    batch_norms = 2 * (512 + 512 + 256) + 2 * (512 + 512 + 4096)
    assert uvvh.training.parameters == weights + biases + batch_norms
    assert round(uvvh.training.parameters / 1e6, 1) == 40.4


def test_uvvh_encodes_with_its_encoder_alone(uvvh):
    weights = sum(inputs * outputs for _, inputs, outputs in ENCODER + HEADS)
    assert uvvh.encoding.parameters == weights + 3 * (512 + 512 + 256) + 2 * 64
    assert uvvh.encoding.flops == (flops(ENCODER + HEADS),)


def test_uvvh_trains_with_three_products_for_each_one_forward(uvvh):
    # but no gradient of the features, none of the LSTM's first state, none through log sigma in the first stage
    absent = flops([ENCODER[0], (1, 256, 4 * 256)])
    every = 3 * flops(ENCODER + HEADS + DECODER) - absent
    assert uvvh.training.flops == (every - 2 * flops(HEADS[:1]), every)


def small(**params):
    return measure(UVVH(16, **params), 8, 24)


def test_uvvh_nopro_leaves_out_a_projection():
    kept, left_out = small().training, small(intermediate=0).training
    products = [(16 + 1) * 4096, (4096 + 1) * 256], (16 + 1) * 256
    assert kept.parameters - left_out.parameters == sum(products[0]) - products[1]
    assert kept.flops[0] - left_out.flops[0] == 3 * (flops([(1, 16, 4096), (1, 4096, 256)]) - flops([(1, 16, 256)]))


def test_uvh_never_trains_log_sigma_and_uvvh_1_always_does():
    first, last = small().training.flops
    assert first < last
    assert small(warmup=1.0).training.flops == (first, first)
    assert small(warmup=0.0).training.flops == (last, last)


def test_uvvh_q_changes_no_product():
    assert small(quantization_weight=0.1).training == small().training


# other methods


def test_what_a_shallow_method_learns_is_counted_after_a_fit():
    cost = measure(Shallow(BITS), FRAMES, DIM)
    assert cost.training.parameters == DIM + 1 + (DIM + 1) * BITS
    assert cost.training.weight_bytes == 8 * DIM + 8 + 4 * (DIM + 1) * BITS
    assert (cost.training.passes, cost.encoding.passes) == (2, 0)
    assert cost.epochs is None and cost.batch is None and cost.training_bytes is None


def test_a_method_with_epochs_of_its_own_is_fitted_for_one():
    method = Shallow(BITS)
    measure(method, FRAMES, DIM)
    assert method.budget == Budget(epochs=1)


def test_operations_that_cannot_be_counted_are_what_the_method_states():
    cost = measure(Shallow(BITS), FRAMES, DIM)
    assert (cost.training.flops, cost.encoding.flops) == (None, None)
    cost = measure(Stating(BITS), FRAMES, DIM)
    assert (cost.training.flops, cost.encoding.flops) == ((1000.0 * FRAMES,), (2.0 * DIM * BITS,))


MEAN = 25 * 4096  # additions
SCATTER = 4096 * 4096  # a triangle of X'X
PROJECTION = 2 * 4096 * 64


@pytest.mark.parametrize(
    ("name", "training", "encoding"),
    [
        ("lsh", MEAN, MEAN + PROJECTION),
        ("pcah", MEAN + SCATTER, MEAN + PROJECTION),
        ("pca-rr", MEAN + SCATTER, MEAN + PROJECTION),
        ("itq", MEAN + SCATTER + PROJECTION + 50 * (2 * 64 * 64 + 2 * 64 * 64), MEAN + PROJECTION),
        ("sh", MEAN + SCATTER + PROJECTION, MEAN + PROJECTION),
        ("agh", MEAN + 2 * 4096 * 300, MEAN + 2 * 4096 * 300 + 2 * 3 * 64),
        ("imh", MEAN + 2 * 4096 * 400, MEAN + 2 * 4096 * 400 + 2 * 5 * 64),
        ("sph", MEAN + 2 * PROJECTION + 100 * (2 * 64 * 64 + 2 * 64 * 64), MEAN + PROJECTION),
        (
            "mfh",  # the mean; then 512 components, distances to 500 anchors, 5 of them times X, X'X
            25 * (4096 + 2 * 4096 * 512 + 2 * 512 * 500 + 2 * 5 * 512 + 2 * 512 * 512),
            25 * PROJECTION,
        ),
    ],
)
def test_operations_that_the_shallow_methods_state(name, training, encoding):
    assert Registry().method(name).make(64).operations(25, 4096) == (training, encoding)


def test_itq_learns_a_mean_and_a_direction_a_bit():
    cost = measure(ITQ(16), 25, 64)
    assert cost.training.parameters == cost.encoding.parameters == 64 + 64 * 16
    assert (cost.training.passes, cost.encoding.passes) == (1, 1)


def test_a_learnt_attribute_of_unknown_size_is_an_error():
    class Odd(Shallow):
        def fit(self, train, ctx):
            self.things_ = {"a": 1}
            return self

    with pytest.raises(MethodError, match=r"Odd\.things_ is not an array"):
        measure(Odd(BITS), FRAMES, DIM)


def test_an_impossible_size_is_refused_with_the_reason():
    with pytest.raises(MethodError, match="needs at least 8 frames a video; these have 7"):
        measure(UVVH(16), 7, 24)
    with pytest.raises(MethodError, match="32 bits asked of 24 dimensions"):
        measure(ITQ(32), 8, 24)

    class Cuda(Linear):
        tags = Tags(needs_cuda=True)

    with pytest.raises(MethodError, match="needs a CUDA device"):
        measure(Cuda(BITS), FRAMES, DIM)


def test_measuring_leaves_torchs_random_state_alone():
    before = torch.get_rng_state()
    measure(Linear(BITS), FRAMES, DIM)
    assert torch.equal(torch.get_rng_state(), before)


def test_synthetic_frames_are_the_same_each_time_and_differ_between_videos():
    frames = SyntheticFrames(6, FRAMES, DIM)
    some, again = frames[np.array([4, 1])], frames[np.array([1, 4])]
    np.testing.assert_array_equal(some, again[::-1])
    assert some.shape == (2, FRAMES, DIM) and some.dtype == np.float32
    assert not np.allclose(some[0], some[1])
    assert frames.rows_read == 4


def test_a_measured_method_can_be_fitted_afterwards():
    method = Linear(BITS, epochs=1)
    measure(method, FRAMES, DIM)
    videos = VideoSet(np.random.default_rng(0).random((9, FRAMES, DIM)))
    assert method.fit(videos, FitContext()).encode(videos).shape == (9, BITS)
