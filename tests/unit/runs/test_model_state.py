"""What a method has learnt survives the way through a file: every dtype, every order in memory, every scalar."""

import numpy as np
import pytest
import torch
from safetensors.numpy import load, save

from vhbench.errors import MethodError
from vhbench.runs.model_state import describe, from_octets, keeps_its_own_form, restore, state_of, to_octets
from vhbench.testing.fakes import FakeMethod
from vhbench.training import NeuralMethod

ARRAYS = {
    "float64": np.arange(6.0).reshape(2, 3),
    "float16": np.array([1, 2], np.float16),
    "bool": np.array([True, False]),
    "int64": np.array([-(2**62)]),
    "uint8": np.arange(4, dtype=np.uint8),
    "scalar": np.array(0.1),
    "nan": np.array([np.nan, np.inf]),
    "empty": np.empty((0, 3), np.float32),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "strided": np.arange(10)[::-2],
    "big-endian": np.arange(3, dtype=">f8"),
    "complex": np.array([1 + 2j]),
    "long double": np.array([1, 2], np.longdouble) / 3,
    "text": np.array([["a", "ünï"], ["", "日本"]]),
    "bytes": np.array([b"ab", b"c"]),
    "dates": np.array(["2026-01-01"], "datetime64[D]"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_are_the_same_in_values_dtype_and_order(name):
    array = ARRAYS[name]
    again = from_octets(load(save({"x": to_octets(array)}))["x"], describe(array))
    assert again.dtype == array.dtype.newbyteorder("=") and again.shape == array.shape
    assert np.array_equal(again, array, equal_nan=array.dtype.kind in "fc")
    assert again.flags.f_contiguous == (array.flags.f_contiguous or array.ndim == 1)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"dtype": "|O"}, "no dtype of plain"),
        ({"dtype": "V8"}, "no dtype of plain"),
        ({"dtype": "i4,O"}, "no dtype of plain"),
        ({"dtype": "float64"}, "no dtype of plain"),
        ({"dtype": "nonsense"}, "there is no dtype"),
        ({"shape": [2, 2]}, "and says"),
        ({"dtype": "<f4"}, "and says"),
        ({"dtype": "<U2"}, "and says"),
    ],
)
def test_a_description_that_is_not_of_what_is_stored_is_refused(changes, what):
    array = ARRAYS["float64"]
    with pytest.raises(ValueError, match=what):
        from_octets(to_octets(array), {**describe(array), **changes})


def test_text_of_a_wrong_length_is_refused():
    array = ARRAYS["text"]
    with pytest.raises(ValueError, match="has not the bytes"):
        from_octets(to_octets(array)[:-4], describe(array))


class Learner(FakeMethod):
    """Learns one thing of every kind."""

    def fit(self, train, ctx):
        self.number_, self.whole_, self.flag_, self.text_, self.nothing_ = 0.1, 3, True, "ünï", None
        self.infinity_, self.list_, self.mean_ = float("inf"), [1.0, 2.0], np.arange(3.0)
        self._hidden_ = object()
        return self


def test_scalars_and_arrays_of_a_method_survive():
    fitted = Learner(8).fit(None, None)
    arrays, values = state_of(fitted)
    assert values == {"number_": 0.1, "whole_": 3, "flag_": True, "text_": "ünï", "nothing_": None}
    assert arrays.keys() == {"infinity_", "list_", "mean_"}
    again = restore(Learner(8), arrays, values)
    assert (again.number_, again.whole_, again.flag_, again.text_, again.nothing_) == (0.1, 3, True, "ünï", None)
    assert again.infinity_ == np.inf and again.mean_.tolist() == [0, 1, 2] and again.list_.tolist() == [1, 2]


@pytest.mark.parametrize("value", [{"a": 1}, object(), [np.zeros(2), np.zeros(3)], torch.nn.Linear(1, 1)])
def test_what_is_neither_array_nor_scalar_is_named(value):
    fitted = Learner(8)
    fitted.kept_ = value
    with pytest.raises(MethodError, match=r"Learner\.kept_"):
        state_of(fitted)


def test_an_unfitted_method_has_no_state():
    with pytest.raises(MethodError, match="has not been fitted"):
        state_of(Learner(8))


@pytest.mark.parametrize("name", ["encode", "__class__", "_x_", "a.b_", "1_"])
def test_only_what_a_method_learns_is_set(name):
    with pytest.raises(ValueError, match="no name of an attribute"):
        restore(Learner(8), {name: np.zeros(1)}, {})


class Wide(NeuralMethod):
    """A linear layer of any width, and a buffer."""

    name = "wide"

    def __init__(self, bits, *, width=4, epochs=1, batch_size=8, lr=0.1, weight_decay=0.0):
        self.bits, self.width, self.epochs, self.batch_size = bits, width, epochs, batch_size
        self.lr, self.weight_decay = lr, weight_decay

    def build(self, frames, dim):
        return torch.nn.Sequential(torch.nn.Linear(dim, self.width), torch.nn.BatchNorm1d(self.width))

    def loss(self, module, videos, moment):
        return {"all": module(videos.mean(dim=1)).square().mean()}

    def codes(self, module, videos):
        return module(videos.mean(dim=1))[:, : self.bits] >= 0


def wide(width=4):
    method = Wide(3, width=width)
    method.shape_, method.module_ = np.array([2, 5]), method.build(2, 5).eval()
    return method


def test_a_network_survives_and_the_random_state_is_left_alone():
    fitted = wide()
    arrays, values = state_of(fitted)
    assert {"shape_", "module_.0.weight", "module_.1.num_batches_tracked"} <= arrays.keys() and not values
    before = torch.get_rng_state()
    again = restore(Wide(3), arrays, values)
    assert torch.equal(torch.get_rng_state(), before)
    assert not again.module_.training
    assert torch.equal(again.module_[0].weight, fitted.module_[0].weight)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda arrays: arrays.pop("module_.0.bias"), "other sizes"),
        (lambda arrays: arrays.update({"module_.x": np.zeros(1)}), "other sizes"),
        (lambda arrays: arrays.update({"shape_": np.array([2, 6])}), "other sizes"),
        (lambda arrays: arrays.update({"shape_": np.array([2.0, 5.0])}), "how many frames"),
        (lambda arrays: arrays.update({"shape_": np.array([-2, 5])}), "how many frames"),
    ],
)
def test_arrays_of_another_network_are_refused(change, what):
    arrays, values = state_of(wide())
    change(arrays)
    with pytest.raises(ValueError, match=what):
        restore(Wide(3), arrays, values)


def test_a_network_too_large_for_memory_is_refused_before_it_is_built():
    arrays, values = state_of(wide())
    with pytest.raises(ValueError, match="other sizes than its hyper-parameters ask for"):
        restore(Wide(3, width=10**12), arrays, values)


def test_a_network_in_a_method_without_one():
    with pytest.raises(ValueError, match="Learner has none"):
        restore(Learner(8), {"module_.x": np.zeros(1)}, {})


def test_which_methods_keep_a_form_of_their_own():
    class OwnSave(FakeMethod):
        def save(self, path): ...

    class OwnLoad(Wide):
        @classmethod
        def load(cls, path): ...

    assert not keeps_its_own_form(FakeMethod) and not keeps_its_own_form(Wide)
    assert keeps_its_own_form(OwnSave) and keeps_its_own_form(OwnLoad)
