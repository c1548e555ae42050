"""Kept models: the files of one, what is read back, and what is refused in one sentence."""

import hashlib
import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load, save

from vhbench.errors import DataError, MethodError, StoreError, UsageError
from vhbench.features.normalize import Normalization
from vhbench.features.stamp import Stamp
from vhbench.method import FitContext
from vhbench.plugins.entries import MethodEntry
from vhbench.plugins.source import Parameter
from vhbench.runs.model import MODEL, WEIGHTS, DamagedModel, Model, load_model
from vhbench.system.sealed import write_sealed
from vhbench.testing.fakes import FakeMethod
from vhbench.videos import VideoSet

STAMP = Stamp("net", "ab" * 32, "fc7", "25 frames", "224 pixels", {"torch": "2"})
PARAMS = {name: Parameter(name, p.default) for name, p in FakeMethod.hyper_parameters().items()}
FEATURES = np.random.default_rng(0).standard_normal((20, 4, 6)).astype(np.float32) + 3


def find(name):
    if name != "fake":
        raise UsageError(f"Unknown method {name!r}.")
    return MethodEntry("fake", "test", params=PARAMS, target=FakeMethod)


def trained(normalize="none", frames=slice(None), **given):
    videos = VideoSet(FEATURES[:, frames])
    scaling = Normalization.parse(normalize).learn(videos)
    fitted = FakeMethod(8).fit(scaling.of(videos), FitContext())
    return Model("fake", fitted, 8, videos.frames, videos.dim, normalize, scaling, **given)


@pytest.fixture
def folder(tmp_path):
    return trained("standard", stamp=STAMP).save(tmp_path / "kept")


@pytest.mark.parametrize("normalize", ["none", "l2", "standard", "whiten=0.5"])
def test_a_model_read_back_gives_the_same_codes(tmp_path, normalize):
    model = trained(normalize)
    again = load_model(model.save(tmp_path), find)
    assert np.array_equal(again.encode(FEATURES), model.encode(FEATURES))
    assert again.encode(FEATURES[:0]).shape == (0, 8)
    assert (again.normalize, again.bits, again.frames, again.dim, again.run, again.stale) == (
        normalize, 8, 4, 6, None, False
    )  # fmt: skip


def test_what_is_known_of_a_model_is_kept(tmp_path):
    model = trained(stamp=STAMP, run="0" * 64, fingerprint="before")
    again = load_model(model.save(tmp_path), find)
    assert (again.stamp, again.run, again.method, again.stale) == (STAMP, "0" * 64, "fake", True)
    assert again.fitted.get_params() == model.fitted.get_params()


def test_a_model_saved_again_is_the_same_file(tmp_path, folder):
    load_model(folder, find).save(tmp_path / "again")
    assert all((tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes() for name in (MODEL, WEIGHTS))


def test_codes_of_longer_videos_are_of_the_frames_that_training_kept():
    model = trained(frames=[1, 3], frames_kept=(1, 3))
    assert np.array_equal(model.encode(FEATURES), model.encode(FEATURES[:, [1, 3]]))


def test_a_model_of_nested_codes_is_cut(tmp_path):
    model = trained().cut(5, "1" * 64)
    again = load_model(model.save(tmp_path), find)
    assert (again.bits, again.fitted.bits, again.run) == (5, 8, "1" * 64)
    assert np.array_equal(again.encode(FEATURES), trained().encode(FEATURES)[:, :5])


@pytest.mark.parametrize(
    ("videos", "what"),
    [
        (FEATURES[0], r"shape \(4, 6\)"),
        (FEATURES[:, :, :5], "trained on features of 6 dimensions; these have 5"),
        (FEATURES.astype(str), "numbers of shape"),
        (np.where(np.arange(6) == 2, np.nan, FEATURES), "NaN or infinity, first in videos 0 to 255"),
        (FEATURES[:, :0], "numbers of shape"),
    ],
)
def test_what_are_no_videos_of_its_kind(videos, what):
    with pytest.raises(DataError, match=what):
        trained().encode(videos)


def rewrite(folder, change):
    """Change a model's description and give it a right digest."""
    about = json.loads((folder / MODEL).read_text())
    change(about)
    write_sealed(folder / MODEL, about)


def replant(folder, content):
    """Put other content into the arrays' file, with a right digest."""
    (folder / WEIGHTS).write_bytes(content)
    rewrite(folder, lambda about: about["files"].update({WEIGHTS: hashlib.sha256(content).hexdigest()}))


DAMAGE = {
    "no description": (lambda f: (f / MODEL).unlink(), "is missing"),
    "no arrays": (lambda f: (f / WEIGHTS).unlink(), "is missing"),
    "a cut description": (lambda f: (f / MODEL).write_bytes((f / MODEL).read_bytes()[:-20]), "not JSON"),
    "cut arrays": (lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:-1]), "sha256 is not"),
    "an edited description": (
        lambda f: (f / MODEL).write_text((f / MODEL).read_text().replace('"bits": 8', '"bits": 7')),
        "changed after it was written",
    ),
    "another form": (lambda f: (f / MODEL).write_text("[]"), "describes no model"),
    "no safetensors": (lambda f: replant(f, b"x" * 100), "no safetensors file"),
    "a pickle": (lambda f: replant(f, pickle.dumps(object)), "no safetensors file"),
    "other arrays": (lambda f: replant(f, save({"x": np.zeros(1)})), "other arrays"),
    "arrays of other sizes": (
        lambda f: replant(f, save({k: x[..., :1].copy() for k, x in load((f / WEIGHTS).read_bytes()).items()})),
        "and says",
    ),
    "a missing entry": (lambda f: rewrite(f, lambda about: about.pop("inputs")), "its inputs should be there"),
    "more bits than trained": (lambda f: rewrite(f, lambda about: about.update(bits=9)), "its bits should be at most"),
    "a foreign attribute": (lambda f: rewrite(f, lambda about: about["values"].update(encode=1)), "no name of an"),
    "no scaling": (lambda f: rewrite(f, lambda about: about.update(normalize="none")), "not the arrays of one"),
    "an unknown scaling": (lambda f: rewrite(f, lambda about: about.update(normalize="x")), "Unknown feature scaling"),
    "no stamp": (lambda f: rewrite(f, lambda about: about.update(stamp={"network": "x"})), "stamp that is none"),
    "a path as its method": (
        lambda f: rewrite(f, lambda about: about["method"].update(name="../x")),
        "its method.name should be",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_one_sentence(folder, name):
    damage, what = DAMAGE[name]
    damage(folder)
    with pytest.raises(DamagedModel, match=what) as caught:
        load_model(folder, find)
    text = str(caught.value)
    assert str(folder) in text and "\n" not in text and "--keep-model" in text


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"name": "gone"}, r"Unknown method 'gone'.*--plugin FILE\.py"),
        ({"class": "Other"}, "a model of Other"),
        ({"params": {"more": 1}}, "other hyper-parameters than it has here"),
    ],
)
def test_a_method_that_is_not_the_one_that_was_trained(folder, changes, what):
    rewrite(folder, lambda about: about["method"].update(changes))
    with pytest.raises(UsageError, match=what):
        load_model(folder, find)


def test_a_later_form_is_named(folder):
    rewrite(folder, lambda about: about.update(schema="vhbench.model/9"))
    with pytest.raises(StoreError, match=r"schema 'vhbench\.model/9'; this vhbench reads 'vhbench\.model/1'"):
        load_model(folder, find)


def test_links_are_not_followed(folder, tmp_path):
    (folder / WEIGHTS).rename(tmp_path / "elsewhere")
    (folder / WEIGHTS).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DamagedModel, match="symbolic link"):
        load_model(folder, find)


def test_a_method_with_a_form_of_its_own_is_not_kept():
    class Own(FakeMethod):
        def save(self, path): ...

    fitted = Own(8).fit(VideoSet(FEATURES), FitContext())
    with pytest.raises(MethodError, match="overrides `save` or `load`"):
        replace(trained(), fitted=fitted).files()
