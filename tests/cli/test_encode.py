"""`vhbench run --keep-model` and `vhbench encode`: the codes of the record again, and nothing of another kind."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

import vhbench as package
from vhbench.codes import unpack
from vhbench.errors import UsageError
from vhbench.features.stamp import ATTRIBUTE, Stamp
from vhbench.runs.record import MODEL, WEIGHTS
from vhbench.runs.store import Store
from vhbench.search.gallery import open_gallery
from vhbench.testing import make_protocol

SMALL_NET = Path(__file__).parent / "plugins" / "small_net.py"
STAMP = Stamp("vgg16", "ab" * 32, "fc7", "25 frames", "224 pixels", {"torch": "2.13.0"})
OTHER = replace(STAMP, network="resnet50")
DATABASE = "tiny_train_feats.h5"


def stamp(path, value):
    with h5py.File(path, "r+") as file:
        file.attrs[ATTRIBUTE] = json.dumps(value.to_json())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Data of a stamp, and runs with their models on them: scaled, nested, and a network."""
    folder = tmp_path_factory.mktemp("made")
    protocol = make_protocol(folder / "data")
    for name in (DATABASE, "tiny_test_feats.h5"):
        stamp(protocol.parent / name, STAMP)
    given = {"plugins": [SMALL_NET], "keep_model": True, "device": "cpu", "normalize": "whiten", "epochs": 2}
    package.run(["itq", "pcah", "small-net"], protocol, [9, 16], out=folder / "results", **given)
    return folder


@pytest.fixture
def data(made):
    return made / "data"


def runs(folder):
    records, problems = Store(folder).records()
    assert not problems
    return {(record.spec["method"], record.spec["bits"]): record for record in records}


@pytest.fixture
def results(made, out):
    """The runs, in a results folder of the test's own."""
    shutil.copytree(made / "results", out)
    return runs(out)


@pytest.mark.parametrize("bits", [9, 16])
@pytest.mark.parametrize("method", ["itq", "pcah", "small-net"])
def test_the_database_encoded_again_has_the_codes_of_the_record(vhbench, made, data, tmp_path, method, bits):
    record = runs(made / "results")[method, bits]
    given = ("--out", made / "results", "--plugin", SMALL_NET, "--device", "cpu")
    result = vhbench("encode", record.data["id"][:8], data / DATABASE, "-o", tmp_path / "codes", *given)
    assert (result.code, result.err) == (0, "")
    assert result.out == f"40 videos, {bits} bits each, by {method}: {tmp_path / 'codes'}\n"
    gallery = open_gallery(tmp_path / "codes")
    packed = record.arrays("codes.npz")["tiny/database"]
    assert np.array_equal(np.unpackbits(gallery.codes, axis=1, count=bits, bitorder="little"), unpack(packed, bits))
    assert (gallery.about["run"], gallery.stamp, gallery.names) == (record.data["id"], STAMP, None)
    gallery.check(read=True)


def test_a_gallery_holds_its_model_and_encodes_by_it(vhbench, results, data, out, tmp_path):
    vhbench("encode", results["itq", 9].folder, data / DATABASE, "-o", tmp_path / "codes")
    shutil.rmtree(out)
    assert vhbench("encode", tmp_path / "codes", data / DATABASE, "-o", tmp_path / "again").code == 0
    assert np.array_equal(open_gallery(tmp_path / "again").codes, open_gallery(tmp_path / "codes").codes)


def test_the_model_in_python(made, data):
    folder = runs(made / "results")["itq", 9].folder
    model = package.load(folder)
    assert (model.method, model.bits, model.stamp, model.stale) == ("itq", 9, STAMP, False)
    with h5py.File(data / DATABASE) as file:
        codes = model.encode(file["feats"][:5])
    packed = runs(made / "results")["itq", 9].arrays("codes.npz")["tiny/database"]
    assert np.array_equal(codes, unpack(packed, 9)[:5])


def test_a_record_says_what_it_keeps_and_a_run_is_the_same_with_and_without(made, vhbench, data, out):
    record = runs(made / "results")["itq", 9]
    assert {MODEL, WEIGHTS} <= record.digests.keys()
    assert record.data["data"]["tiny"]["stamp"] == STAMP.to_json()
    vhbench("run", "--method", "itq", "--protocol", data / "tiny.toml", "--bits", "9", "--out", out,
            "--normalize", "whiten", "--epochs", "2")  # fmt: skip
    (plain,), _ = Store(out).records()
    assert plain.data["id"] == record.data["id"] and plain.scores == record.scores
    assert not {MODEL, WEIGHTS} & {path.name for path in plain.folder.iterdir()}


def test_codes_cut_from_a_longer_run_have_its_model(made):
    short, longer = (runs(made / "results")["pcah", bits] for bits in (9, 16))
    assert short.data["cut_from"]["id"] == longer.data["id"]
    assert package.load(short.folder).fitted.bits == 16
    assert (short.folder / WEIGHTS).read_bytes() == (longer.folder / WEIGHTS).read_bytes()


def test_runs_without_a_model_are_named_and_trained_again_when_told(vhbench, data, out):
    words = ("run", "--method", "pcah", "--protocol", data / "tiny.toml", "--bits", "8,16", "--out", out)
    assert vhbench(*words).code == 0
    kept = vhbench(*words, "--keep-model")
    assert "2 of 2 recorded runs have kept no model: --rerun model trains them again." in kept.err
    planned = vhbench(*words, "--keep-model", "--rerun", "model", "--dry-run")
    assert "2 of 2 runs to do" in planned.out
    assert vhbench(*words, "--keep-model", "--rerun", "model").code == 0
    assert all({MODEL, WEIGHTS} <= record.digests.keys() for record in runs(out).values())
    assert "Nothing to do" in vhbench(*words, "--keep-model", "--rerun", "model").err
    assert "add --keep-model" in vhbench(*words, "--rerun", "model").error


def test_a_run_without_a_model_cannot_encode(vhbench, data, out, tmp_path):
    vhbench("run", "--method", "itq", "--protocol", data / "tiny.toml", "--bits", "8", "--out", out)
    folder = runs(out)["itq", 8].folder
    refused = vhbench("encode", folder, data / DATABASE, "-o", tmp_path / "codes")
    assert refused.code == 2 and f"{folder} has kept no model: `vhbench run --config" in refused.error
    assert not (tmp_path / "codes").exists()


def test_keeping_models_stands_in_grid_files(vhbench, data, out, tmp_path):
    grid = tmp_path / "grid.toml"
    grid.write_text(f'method = "itq"\nprotocol = "{data / "tiny.toml"}"\nbits = 8\nkeep-model = true\nout = "{out}"\n')
    assert vhbench("run", "--config", grid).code == 0
    assert MODEL in runs(out)["itq", 8].digests


def copied(data, tmp_path, value=None, names=None):
    """A copy of the database with another stamp, and names."""
    path = tmp_path / "other.h5"
    with h5py.File(data / DATABASE) as file, h5py.File(path, "w") as made:
        made["feats"] = file["feats"][:7]
        if names is not None:
            made.create_dataset("names", data=names)
    if value:
        stamp(path, value)
    return path


def test_features_of_another_stamp_are_refused(vhbench, results, data, tmp_path):
    path = copied(data, tmp_path, OTHER)
    refused = vhbench("encode", results["itq", 9].folder, path, "-o", tmp_path / "codes")
    assert refused.code == 2
    assert f"{path} cannot be encoded by this model of itq" in refused.error
    assert "the network (vgg16 and resnet50)" in refused.error and "weights" not in refused.error


def test_features_without_a_stamp_are_encoded_with_a_word(vhbench, results, data, tmp_path):
    path = copied(data, tmp_path)
    result = vhbench("encode", results["itq", 9].folder, path, "-o", tmp_path / "codes")
    assert result.code == 0 and f"mind: {path} does not say how the features were computed" in result.err
    assert open_gallery(tmp_path / "codes").stamp is None


def test_names_come_along(vhbench, results, data, tmp_path):
    names = [f"-日本 {number}.mp4" for number in range(7)]
    path = copied(data, tmp_path, STAMP, names)
    vhbench("encode", results["itq", 9].folder, path, "-o", tmp_path / "codes", "--batch", "3")
    gallery = open_gallery(tmp_path / "codes")
    assert [name.decode() for name in gallery.names] == names
    assert np.array_equal(gallery.codes, package.encode(results["itq", 9].folder, path, tmp_path / "whole").codes)


@pytest.mark.parametrize(
    ("names", "what"), [(["a"] * 6, "one for each"), ([b"\xff"] * 7, "not UTF-8"), (range(7), "no texts")]
)
def test_names_that_are_none(vhbench, results, data, tmp_path, names, what):
    path = copied(data, tmp_path, STAMP, names)
    assert what in vhbench("encode", results["itq", 9].folder, path, "-o", tmp_path / "codes").error


def test_a_folder_of_other_codes_is_left_alone(vhbench, results, data, tmp_path):
    vhbench("encode", results["itq", 9].folder, data / DATABASE, "-o", tmp_path / "codes")
    refused = vhbench("encode", results["pcah", 9].folder, data / DATABASE, "-o", tmp_path / "codes")
    assert refused.code == 2 and "holds something else than codes of this model" in refused.error
    assert (
        vhbench("encode", results["itq", 9].folder, copied(data, tmp_path, STAMP), "-o", tmp_path / "codes").code == 0
    )
    assert len(open_gallery(tmp_path / "codes")) == 7


def test_features_of_another_size_are_refused_and_nothing_is_written(vhbench, results, tmp_path):
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file["feats"] = np.ones((3, 9, 24), np.float32)
    refused = vhbench("encode", results["small-net", 9].folder, path, "-o", tmp_path / "codes", "--plugin", SMALL_NET)
    assert "was built for videos of 8 frames x 24 dimensions; these have 9 x 24" in refused.err
    assert refused.code == 2 and not (tmp_path / "codes").exists()


def test_a_data_set_of_another_name(vhbench, results, data, tmp_path):
    words = (results["itq", 9].folder, data / DATABASE, "-o", tmp_path / "codes")
    assert "has no 'x'; it has 'feats'. Name the right one with --key." in vhbench("encode", *words, "--key", "x").error


def test_a_method_that_is_not_here(vhbench, results, data, tmp_path):
    refused = vhbench("encode", results["small-net", 9].folder, data / DATABASE, "-o", tmp_path / "codes")
    assert refused.code == 2 and "is a model of 'small-net', which cannot be used here" in refused.error
    assert "--plugin FILE.py" in refused.error


def test_other_source_code_of_the_method_is_said(vhbench, results, data, tmp_path):
    plugin = tmp_path / "small_net.py"
    plugin.write_text(SMALL_NET.read_text() + "\nCHANGED = True\n")
    words = (results["small-net", 9].folder, data / DATABASE, "-o", tmp_path / "codes", "--plugin", plugin)
    assert (
        "mind: the model was trained with other source code of small-net than today's" in vhbench("encode", *words).err
    )


def test_a_changed_model_is_refused_and_costs_the_record_nothing(vhbench, results, data, out, tmp_path):
    path = results["itq", 9].folder / WEIGHTS
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    refused = vhbench("encode", results["itq", 9].folder, data / DATABASE, "-o", tmp_path / "codes")
    assert refused.code == 1 and f"{path} is damaged (its sha256 is not the one in run.json)" in refused.error
    assert len(runs(out)) == 6
    assert vhbench("rescore", "--check", "--protocol", data / "tiny.toml", "--out", out).code == 0


OWN_FORM = """
from vhbench.testing.fakes import FakeMethod

class Own(FakeMethod):
    name = "own"
    def save(self, path): ...

class Hidden(FakeMethod):
    name = "hidden"
    def fit(self, train, ctx):
        super().fit(train, ctx)
        self._sign = -1
        return self
    def encode(self, videos):
        return super().encode(videos) ^ (getattr(self, "_sign", 1) < 0)
"""


@pytest.fixture
def own_form(tmp_path):
    path = tmp_path / "own_form.py"
    path.write_text(OWN_FORM)
    return path


def test_a_method_that_saves_in_a_form_of_its_own_is_refused_before_it_is_trained(vhbench, data, out, own_form):
    words = ("--protocol", data / "tiny.toml", "--bits", "8", "--out", out, "--plugin", own_form, "--keep-model")
    assert "it overrides `save` or `load`" in vhbench("run", "--method", "own", *words).error
    assert not out.exists()


def test_a_model_that_would_give_other_codes_is_not_kept_and_the_run_is(vhbench, data, out, own_form):
    words = ("--protocol", data / "tiny.toml", "--bits", "8", "--out", out, "--plugin", own_form, "--keep-model")
    result = vhbench("run", "--method", "hidden", *words)
    assert result.code == 1 and "a model of hidden would give other codes" in result.err
    assert "no model was kept of 1 of 1 runs" in result.err
    assert runs(out)["hidden", 8].status == "done" and MODEL not in runs(out)["hidden", 8].digests


def test_fitting_arrays_of_ones_own(tmp_path):
    videos = np.random.default_rng(0).standard_normal((40, 5, 12)).astype(np.float16)
    model = package.fit("itq", videos, bits=8, seed=1, iterations=3)
    again = package.load(model.save(tmp_path / "kept"))
    assert np.array_equal(again.encode(videos), model.encode(videos))
    assert (again.run, again.stamp, again.fitted.iterations) == (None, None, 3)
    with pytest.raises(UsageError, match="Unknown hyper-parameter of itq 'iteration': did you mean 'iterations'"):
        package.fit("itq", videos, bits=8, iteration=3)


@pytest.mark.slow
def test_every_built_in_method_gives_its_codes_again(vhbench, data, out, tmp_path):
    words = ("--protocol", data / "tiny.toml", "--bits", "16", "--out", out, "--epochs", "1", "--device", "cpu")
    assert vhbench("run", "--method", "all", *words, "--keep-model", "--set", "wsch.width=64").code == 0
    for (method, bits), record in runs(out).items():
        if record.status == "done":
            codes = package.encode(record.folder, data / DATABASE, tmp_path / method, device="cpu").codes
            packed = record.arrays("codes.npz")["tiny/database"]
            expected = np.packbits(unpack(packed, bits), axis=1, bitorder="little")
            assert np.array_equal(codes, expected), method
