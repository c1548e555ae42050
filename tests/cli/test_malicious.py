"""Files from elsewhere cannot run code: a pickle that would create a file is planted in each, and the file never is."""

import hashlib
import io
import json
import logging
import pickle

import h5py
import numpy as np
import pytest
import scipy.io
import torch

from vhbench.checkpoint import DIGEST_MARK, Checkpoint
from vhbench.errors import MethodError, StoreError
from vhbench.plugins.registry import Registry
from vhbench.runs.record import write_record
from vhbench.runs.store import Store
from vhbench.scoring.shards import merge_shards
from vhbench.system.files import sha256_of
from vhbench.testing import make_protocol


class Malice:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.fixture(autouse=True)
def payload(tmp_path):
    """Return an object whose pickle does harm; at the end of the test nothing may have unpickled it."""
    path = tmp_path / "executed"
    pickle.loads(pickle.dumps(Malice(path))).close()
    assert path.exists(), "the payload works"
    path.unlink()
    yield Malice(path)
    assert not path.exists()


def object_array(payload):
    """Return an array that NumPy can only save as a pickle."""
    return np.array([payload, payload], dtype=object)


def npy(payload):
    buffer = io.BytesIO()
    np.save(buffer, object_array(payload), allow_pickle=True)
    return buffer.getvalue()


# what a results folder holds


@pytest.mark.parametrize("form", ["zip", "bare"])
def test_a_checkpoint_with_a_right_digest(tmp_path, payload, caplog, form):
    buffer = io.BytesIO()
    saved = {"key": "key", "state": {"epoch": 1, "module": payload}}
    if form == "zip":
        torch.save(saved, buffer)
    else:
        pickle.dump(saved, buffer)
    content = buffer.getvalue()
    checkpoint = Checkpoint(tmp_path, "key")
    checkpoint.path.write_bytes(content + DIGEST_MARK + hashlib.sha256(content).hexdigest().encode())
    with caplog.at_level(logging.WARNING, "vhbench"):
        assert checkpoint.load() is None
    assert f"{checkpoint.path} is damaged (it holds something else than tensors and plain values)" in caplog.text


@pytest.fixture
def planted(run_tiny, out, payload):
    """Plant object arrays in a file of a finished run, and its new digest in the record; returns the record."""

    def plant(name):
        run_tiny("fake")
        (path,) = out.rglob(name)
        with np.load(path) as file:
            names = file.files
        np.savez(path, **dict.fromkeys(names, object_array(payload)))
        record_path = path.with_name("run.json")
        record = json.loads(record_path.read_text())
        record["files"][name], record["sizes"][name] = sha256_of(path), path.stat().st_size
        write_record(path.parent, record)
        (found,), problems = Store(out).records()
        assert problems == []
        return found

    return plant


@pytest.mark.parametrize("name", ["codes.npz", "per_query.npz"])
def test_arrays_beside_a_record(planted, name):
    record = planted(name)
    with pytest.raises(StoreError, match=r"no \.npz file of plain arrays"):
        record.arrays(name)


def test_codes_that_are_exported_or_rescored(planted, vhbench, tiny, out, tmp_path):
    record = planted("codes.npz")
    exported = vhbench("export", record.folder, "-o", tmp_path / "exported", "--out", out)
    assert exported.code == 1 and f"{record.folder / 'codes.npz'} is damaged" in exported.error
    rescored = vhbench("rescore", "--protocol", tiny, "--out", out)
    assert rescored.code == 1 and f"{record.folder / 'codes.npz'} is damaged" in rescored.err


@pytest.mark.parametrize("name", ["../../../executed.npz", "/etc/passwd", "a/b.npz", "..", ""])
def test_a_record_that_names_files_elsewhere(run_tiny, vhbench, out, name):
    run_tiny("fake")
    (path,) = out.rglob("run.json")
    record = json.loads(path.read_text())
    record["files"][name] = "0" * 64
    write_record(path.parent, record)
    result = vhbench("compare", "--out", out)
    assert f"{path} is damaged (not a run record: its files." in result.err and result.out == ""


def test_counts_of_a_shard(tmp_path, payload):
    np.savez(tmp_path / "counts-00001-of-00001.npz", about=object_array(payload), items=object_array(payload))
    with pytest.raises(StoreError, match="no sound file of counts"):
        merge_shards(tmp_path)


# saved methods


@pytest.mark.parametrize("name", ["itq", "uvvh"])
@pytest.mark.parametrize("form", ["npz", "torch", "bare"])
def test_a_saved_method(tmp_path, payload, name, form):
    path = tmp_path / "model"
    if form == "npz":
        with path.open("wb") as file:
            np.savez(file, _config=object_array(payload), mean_=object_array(payload))
    elif form == "torch":
        torch.save({"config": payload, "shape": [1, 2], "state": payload}, path)
    else:
        path.write_bytes(pickle.dumps(payload))
    method = Registry().method(name).load()
    with pytest.raises(MethodError, match=r"holds no fitted \w+ that can be read"):
        method.load(path)


# features and labels


@pytest.fixture
def refused(vhbench, tmp_path, out):
    """Replace a file of a sound data set and return the sentence that refuses it."""

    def run(name, write):
        data = make_protocol(tmp_path / "data")
        path = data.parent / name
        path.unlink()
        write(path)
        result = vhbench("run", "--method", "itq", "--protocol", data, "--bits", "8", "--out", out)
        assert result.code == 2 and str(path) in result.error
        return result.error

    return run


FEATURES, LABELS = "tiny_test_feats.h5", "tiny_test_labels.mat"


@pytest.mark.parametrize("name", [FEATURES, LABELS])
def test_an_npy_file_of_objects(refused, payload, name):
    assert refused(name, lambda path: path.write_bytes(npy(payload)))


@pytest.mark.parametrize("name", [FEATURES, LABELS])
def test_a_bare_pickle(refused, payload, name):
    assert refused(name, lambda path: path.write_bytes(pickle.dumps(payload)))


def test_a_matlab_file_of_cells_and_structures(refused, payload):
    cell = np.array([pickle.dumps(payload), {"code": 1}], dtype=object)
    assert "must hold one class name a video" in refused(LABELS, lambda path: scipy.io.savemat(path, {"labels": cell}))


@pytest.mark.parametrize(("name", "key"), [(FEATURES, "feats"), (LABELS, "labels")])
@pytest.mark.parametrize("kind", ["void", "bytes", "references", "compound"])
def test_hdf5_types_that_are_no_numbers(refused, payload, name, key, kind):
    pickled = pickle.dumps(payload)

    def write(path):
        with h5py.File(path, "w") as file:
            if kind == "void":
                file[key] = np.array([[[np.void(pickled)]]])
            elif kind == "bytes":
                file.create_dataset(key, data=[[[pickled.hex()]]], dtype=h5py.string_dtype())
            elif kind == "references":
                file.create_dataset(key, (1, 1, 1), dtype=h5py.ref_dtype)
            else:
                file[key] = np.zeros((1, 1, 1), dtype=[("a", "f4"), ("b", f"V{len(pickled)}")])

    assert refused(name, write)
