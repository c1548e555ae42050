"""Faulty data: one sentence that names the file, what is wrong in it and what to do; exit 2 and nothing written."""

import tomllib

import h5py
import numpy as np
import pytest

from vhbench.testing.files import write_hdf5, write_manifest, write_mat
from vhbench.testing.toy import toy_videos

TRAIN, TEST = "tiny_train_feats.h5", "tiny_test_feats.h5"
FEATURES = next(toy_videos(40, 8, 24)[0].arrays(40))


@pytest.fixture
def data(tmp_path):
    """A sound data set of one's own to break."""
    from vhbench.testing import make_protocol

    return make_protocol(tmp_path / "data")


@pytest.fixture
def refused(vhbench, data, out):
    """Run on the data set and return the sentence that refuses it."""

    def run(*arguments):
        result = vhbench("run", "--method", "itq", "--protocol", data, "--bits", "8", "--out", out, *arguments)
        assert result.code == 2 and not out.exists()
        return result.error

    return run


def change_manifest(data, **changes):
    values = tomllib.loads(data.read_text())
    for name, change in changes.items():
        values[name] = {**values[name], **change} if isinstance(change, dict) else change
    write_manifest(data, **values)


def test_sound_data_are_accepted(vhbench, data, out):
    assert vhbench("run", "--method", "itq", "--protocol", data, "--bits", "8", "--out", out).code == 0


# files


def test_a_missing_feature_file(data, refused):
    (data.parent / TEST).unlink()
    error = refused("--data", data.parent / "elsewhere")
    for word in (TEST, "protocol tiny", "is missing", f"{data.parent}/elsewhere/tiny", "--data DIR", "$VHBENCH_DATA"):
        assert word in error


def test_a_missing_label_file(data, refused):
    (data.parent / "tiny_test_labels.mat").unlink()
    assert "tiny_test_labels.mat of protocol tiny is missing" in refused()


def test_an_hdf5_file_without_feats_names_what_it_has(data, refused):
    write_hdf5(data.parent / TEST, FEATURES[:12], key="features")
    error = refused()
    assert f"{data.parent / TEST} has no 'feats'" in error and "'features'" in error and 'key = "..."' in error


def test_a_truncated_hdf5_file(data, refused):
    path = data.parent / TEST
    path.write_bytes(path.read_bytes()[:5000])
    error = refused()
    assert str(path) in error and "truncated" in error and "download it again" in error


@pytest.mark.parametrize("content", [b"these are no features\n", b"", b"\x93NUMPY\x01\x00garbage"])
def test_a_file_of_another_format(data, refused, content):
    (data.parent / TEST).write_bytes(content)
    assert str(data.parent / TEST) in refused()


def test_a_folder_in_place_of_a_file(data, refused):
    (data.parent / TEST).unlink()
    (data.parent / TEST).mkdir()
    assert str(data.parent / TEST) in refused()


# content


@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")])
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_nan_and_infinity_are_named_with_file_video_and_frame(data, refused, value, word, compression):
    broken = FEATURES[:12].copy()
    broken[7, 3, 1] = value
    write_hdf5(data.parent / TEST, broken, compression=compression)
    assert f"{data.parent / TEST} holds {word} in video 7, frame 3" in refused()


@pytest.mark.parametrize("shape", [(12, 192), (12,), (12, 8, 24, 1)])
def test_features_of_the_wrong_rank(data, refused, shape):
    write_hdf5(data.parent / TEST, np.zeros(shape, np.float32))
    error = refused()
    assert f"'feats' of {data.parent / TEST} has shape {shape}" in error
    assert "(videos, frames, dimensions)" in error


def test_features_that_are_no_numbers(data, refused):
    with h5py.File(data.parent / TEST, "w") as file:
        file["feats"] = np.full((12, 8, 24), b"text")
    assert "dtype" in refused()


def test_features_of_another_size_than_the_rest(data, refused):
    write_hdf5(data.parent / TEST, FEATURES[:12, :, :20])
    error = refused()
    assert str(data.parent / TEST) in error and str(data.parent / TRAIN) in error and "20" in error


def test_more_labels_than_videos(data, refused):
    write_mat(data.parent / "tiny_test_labels.mat", np.eye(4)[np.arange(13) % 4])
    error = refused()
    assert "tiny_test_labels.mat" in error and "13" in error and "12" in error


def test_labels_under_another_name(data, refused):
    write_mat(data.parent / "tiny_test_labels.mat", np.eye(4)[np.arange(12) % 4], key="classes")
    error = refused()
    assert "'classes'" in error and "label_key" in error


# manifests


def test_counts_that_do_not_match_the_files(data, refused):
    change_manifest(data, query={"count": 524})
    error = refused()
    assert f"[query] in {data} says count = 524" in error and "have 12 videos" in error


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"query_in_database": True}, ["manifest key 'query_in_database'", "'queries_in_database'"]),
        ({"query": {"feature": ["x.h5"]}}, ["manifest key 'feature'", "'features'", "[query]"]),
        ({"query": {"label": ["x.mat"]}}, ["manifest key 'label'", "'labels'"]),
        ({"ks": "20"}, ["`ks`", "a list"]),
        ({"ks": [0]}, ["`ks`", "positive whole numbers"]),
        ({"name": "a/b"}, ["`name`", "'a/b'", "folder"]),
        ({"budget": "papr"}, ["budget 'papr'", "'paper'"]),
    ],
)
def test_entries_that_are_misspelt_or_wrong(data, refused, changes, words):
    change_manifest(data, **changes)
    error = refused()
    for word in words:
        assert word in error


def test_a_manifest_without_a_table(data, refused):
    data.write_text(data.read_text().replace("[query]", "[qeury]"))
    assert "'qeury'" in refused() and "'query'" in refused()


def test_a_manifest_that_is_no_toml_names_the_line(data, refused):
    data.write_text('name = "tiny\n')
    error = refused()
    assert f"{data} is not valid TOML" in error and "line 1" in error


def test_a_folder_given_as_manifest(vhbench, tmp_path, out):
    (tmp_path / "folder.toml").mkdir()
    result = vhbench("run", "--method", "itq", "--protocol", tmp_path / "folder.toml", "--bits", "8", "--out", out)
    assert result.code == 2 and "folder.toml" in result.error
