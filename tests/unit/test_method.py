"""Fitted methods in files of their own: `Method.save` and `load`, and what `load` says of a file that is none."""

import numpy as np
import pytest

from vhbench.errors import MethodError
from vhbench.method import FitContext
from vhbench.methods.itq import ITQ
from vhbench.testing.fakes import FakeMethod
from vhbench.videos import VideoSet

VIDEOS = VideoSet(np.random.default_rng(0).standard_normal((20, 4, 6)))


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "fitted"
    FakeMethod(8, spread=2.0).fit(VIDEOS, FitContext()).save(path)
    return path


def test_what_is_saved_is_loaded(saved):
    again, fitted = FakeMethod.load(saved), FakeMethod(8, spread=2.0).fit(VIDEOS, FitContext())
    assert again.get_params() == fitted.get_params()
    assert np.array_equal(again.encode(VIDEOS), fitted.encode(VIDEOS))


def test_a_file_of_another_method(saved):
    with pytest.raises(MethodError, match="holds a fitted FakeMethod, not a ITQ"):
        ITQ.load(saved)


def test_no_file(tmp_path):
    with pytest.raises(MethodError, match="There is no file"):
        FakeMethod.load(tmp_path / "gone")


@pytest.mark.parametrize("length", [0, 1, 100, -30, -1])
def test_a_file_that_is_cut_short(saved, length):
    saved.write_bytes(saved.read_bytes()[:length])
    with pytest.raises(MethodError, match=r"fitted holds no fitted FakeMethod that can be read"):
        FakeMethod.load(saved)


@pytest.mark.parametrize("arrays", [{}, {"_config": "{}"}, {"_config": "text"}, {"x_": 1}])
def test_arrays_of_something_else(tmp_path, arrays):
    np.savez(tmp_path / "other.npz", **arrays)
    with pytest.raises(MethodError, match="that can be read"):
        FakeMethod.load(tmp_path / "other.npz")


def test_a_file_that_would_set_something_else_than_what_is_learnt(saved):
    with np.load(saved) as file:
        arrays = dict(file)
    with saved.open("wb") as file:
        np.savez(file, encode=np.zeros(1), **arrays)
    with pytest.raises(MethodError, match="that can be read"):
        FakeMethod.load(saved)


def test_a_load_of_a_methods_own_is_one_sentence_too(tmp_path):
    class Own(FakeMethod):
        @classmethod
        def load(cls, path):
            raise ZeroDivisionError("a bug in load")

    class Further(Own):
        pass

    for cls in (Own, Further):
        with pytest.raises(MethodError, match=f"holds no fitted {cls.__name__} that can be read") as caught:
            cls.load(tmp_path)
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
