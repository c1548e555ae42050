"""`--normalize`: features are scaled before the method sees them, and the record says so."""

import json

import h5py
import numpy as np
import pytest
import scipy.io

import vhbench


@pytest.fixture
def lopsided(tmp_path):
    """A manifest of features of which one dimension is 100 times as large as the others, where the classes lie."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 4
    features = rng.standard_normal((60, 3, 8)) * 0.3 + 3 * np.eye(8)[labels][:, None]
    features[:, :, 7] = 300 * rng.standard_normal((60, 1))
    for name, rows in (("train", slice(0, 40)), ("test", slice(40, 60))):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["feats"] = features[rows].astype(np.float32)
        scipy.io.savemat(tmp_path / f"{name}.mat", {"labels": labels[rows]})
    part = 'features = ["{0}.h5"]\nlabels = ["{0}.mat"]\n'.format
    text = 'name = "lopsided"\nks = [5]\n[train]\nfeatures = ["train.h5"]\n'
    path = tmp_path / "lopsided.toml"
    path.write_text(f"{text}[database]\n{part('train')}[query]\n{part('test')}")
    return path


def test_scaled_features_give_other_runs_that_tables_tell_apart(vhbench, lopsided, out):
    words = ["run", "--method", "itq", "--protocol", lopsided, "--bits", "4", "--out", out]
    assert vhbench(*words)[0] == 0
    for normalize in ("standard", "whiten=0.5", "whiten", "l2"):
        assert vhbench(*words, "--normalize", normalize)[0] == 0
    records = [json.loads(path.read_text()) for path in out.rglob("run.json")]
    assert {record["spec"].get("normalize") for record in records} == {None, "standard", "whiten=0.5", "whiten", "l2"}
    assert len({record["id"] for record in records}) == 5
    _, table, _ = vhbench("compare", "--out", out, "--metric", "map@5")
    assert "itq [normalize standard]" in table and "itq [normalize whiten=0.5]" in table
    score = {
        record["spec"].get("normalize"): record["scores"]["map@5[den=k,ties=expected,self=keep]"] for record in records
    }
    assert score["standard"] > score[None] + 0.2  # the classes lie in what the large dimension hides


def test_a_run_equals_one_on_features_that_were_scaled_beforehand(lopsided, out, tmp_path):
    vhbench.run("pcah", lopsided, 4, normalize="standard", out=out)
    (record,) = out.rglob("codes.npz")
    with h5py.File(tmp_path / "train.h5", "r+") as train, h5py.File(tmp_path / "test.h5", "r+") as test:
        frames = train["feats"][:].reshape(-1, 8).astype(np.float64)
        mean, deviation = frames.mean(0), frames.std(0)
        for file in (train, test):
            file["feats"][:] = ((file["feats"][:] - mean) / deviation).astype(np.float32)
    vhbench.run("pcah", lopsided, 4, out=tmp_path / "scaled")
    (other,) = (tmp_path / "scaled").rglob("codes.npz")
    with np.load(record) as one, np.load(other) as two:
        assert one.files == two.files and all(np.array_equal(one[name], two[name]) for name in one.files)


def test_a_scaling_that_does_not_exist_is_one_sentence(vhbench, lopsided, out):
    words = ["run", "--method", "itq", "--protocol", lopsided, "--bits", "4", "--out", out, "--normalize"]
    for text, sentence in (
        ("standart", "did you mean 'standard'"),
        ("whiten=2", "above 0 and at most 1"),
        ("l2=0.5", "no"),
    ):
        code, _, err = vhbench(*words, text)
        assert code == 2 and sentence in err and "Traceback" not in err


def test_the_record_does_the_run_again(vhbench, lopsided, out, tmp_path):
    vhbench("run", "--method", "lsh", "--protocol", lopsided, "--bits", "4", "--out", out, "--normalize", "whiten=0.5")
    (record,) = out.rglob("run.json")
    code, _, err = vhbench("run", "--config", record, "--protocol", lopsided, "--out", out)
    assert code == 0 and "Nothing to do" in err
