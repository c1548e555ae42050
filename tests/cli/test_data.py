"""`vhbench data`: what is there, what is missing, is it sound, what does the cache take."""

import json
import os

import numpy as np
import pytest

from vhbench.cli.data_status import size
from vhbench.datasets.marker import Marker, write_marker
from vhbench.features import open_features
from vhbench.testing import make_protocol
from vhbench.testing.files import write_hdf5, write_manifest, write_mat

TEST = "tiny_test_feats.h5"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("VHBENCH_CACHE", str(folder))
    return folder


@pytest.fixture
def data(tmp_path):
    """A sound data set of one's own to break."""
    return make_protocol(tmp_path / "data")


def features(path):
    import h5py

    with h5py.File(path) as file:
        return file["feats"][:]


def rewrite(path, array, compression=None):
    path.unlink()
    write_hdf5(path, array, compression=compression)


def lines(text):
    """The table's lines by their first word."""
    return {line.split()[0]: line.split() for line in text.splitlines() if line}


# status


def test_status_names_every_standard_data_set_and_where_it_is_published(vhbench, tmp_path):
    result = vhbench("data", "status", "--data", tmp_path)
    table = result.out.split("\n\n")[0]
    names = ["activitynet", "activitynet-25f", "fcvid", "hmdb51", "ucf101", "yfcc"]
    assert [line.split()[0] for line in table.splitlines()[1:]] == names
    assert all("not there" in line for line in table.splitlines()[1:])
    for name in names:
        assert f"{name}: published at https://" in result.out
    assert "yfcc: missing yfcc_train_feats_1.h5, " in result.out


def test_status_without_a_data_folder_says_how_to_name_one(vhbench):
    result = vhbench("data", "status", "fcvid")
    assert result.code == 0 and "--data DIR or $VHBENCH_DATA" in result.err


def test_status_of_a_complete_data_set(vhbench, data):
    result = vhbench("data", "status", data)
    total = sum(path.stat().st_size for path in data.parent.iterdir() if path != data)
    assert lines(result.out)["tiny"] == ["tiny", "complete", "4", "of", "4", *size(total).split(), "0", "B"]
    assert "missing" not in result.out


def test_status_names_what_is_missing(vhbench, data):
    (data.parent / TEST).unlink()
    result = vhbench("data", "status", data)
    assert lines(result.out)["tiny"][1] == "incomplete" and f"tiny: missing {TEST}" in result.out


def test_status_names_what_is_faulty_as_far_as_headers_tell(vhbench, data):
    (data.parent / TEST).write_bytes(b"no features")
    result = vhbench("data", "status", data)
    assert result.code == 0 and lines(result.out)["tiny"][1] == "faulty" and "neither HDF5 nor .npy" in result.out


def test_status_says_synthetic(vhbench, data):
    write_marker(data.parent, Marker("tiny", 0.1, 0, {"train": 40, "query": 12, "database": 40}))
    assert "tiny: synthetic, 0.1 of tiny" in vhbench("data", "status", data).out


def test_status_of_a_composed_protocol_is_that_of_its_data_sets(vhbench):
    for name, sets in (("fcvid-to-yfcc", ["fcvid", "yfcc"]), ("hmdb51-unseen", ["hmdb51"]), ("demo", [])):
        table = vhbench("data", "status", name).out.split("\n\n")[0].splitlines()
        assert [line.split()[0] for line in table[1:]] == sets


def test_status_says_that_only_one_protocol_needs_the_training_labels(vhbench, tmp_path):
    folder = tmp_path / "fcvid"
    folder.mkdir()
    write_hdf5(folder / "fcv_train_feats.h5", np.ones((2, 25, 4096), np.float16))
    result = vhbench("data", "status", "fcvid", "--data", tmp_path)
    assert "fcvid: no fcv_train_labels.mat, which only fcvid-unseen needs" in result.out
    assert "fcvid: missing fcv_test_feats.h5, fcv_test_labels.mat" in result.out


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (18_671_616_000, "18.7 GB"), (999_900, "1 MB"), (2.5e12, "2.5 TB")]
)
def test_sizes_for_people(count, text):
    assert size(count) == text


# the cache


def test_status_shows_what_the_cache_takes_and_clear_cache_frees_it(vhbench, data, cache):
    rewrite(data.parent / TEST, features(data.parent / TEST), "gzip")
    open_features([data.parent / TEST])
    taken = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file())
    text = vhbench("data", "status", data).out
    assert " ".join(lines(text)["tiny"]).endswith(size(taken)) and f"takes {size(taken)}" in text
    result = vhbench("data", "clear-cache")
    assert result.out == f"Freed {size(taken)} of 1 feature files in {cache / 'features'}.\n"
    assert [path for path in cache.rglob("*") if path.is_file()] == []
    assert f"takes {size(0)}" in vhbench("data", "status", data).out


def test_clear_cache_of_one_data_set_leaves_the_others(vhbench, data, tmp_path, cache):
    other = make_protocol(tmp_path / "other")
    for manifest in (data, other):
        open_features([manifest.parent / TEST])
    assert "of 1 feature files" in vhbench("data", "clear-cache", data).out
    (left,) = (cache / "features").iterdir()
    open_features([other.parent / TEST])
    assert list((cache / "features").iterdir()) == [left]


def test_clear_cache_leaves_alone_what_is_being_made(vhbench, data, cache):
    import fcntl

    open_features([data.parent / TEST])
    (folder,) = (cache / "features").iterdir()
    with (folder / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = vhbench("data", "clear-cache")
    assert f"a process is filling {folder}" in result.err and "of 0 feature files" in result.out and folder.exists()


def test_clear_cache_removes_nothing_that_is_not_its_own(vhbench, cache):
    cache.mkdir()
    (cache / "mine.txt").write_text("mine")
    assert vhbench("data", "clear-cache").code == 0
    assert (cache / "mine.txt").read_text() == "mine"


# verify


@pytest.mark.parametrize("keep", ["", "keep_frames = 5\n"])
def test_verify_prints_the_digests_that_records_name(vhbench, data, out, keep):
    data.write_text(keep + data.read_text())
    result = vhbench("data", "verify", data)
    assert result.code == 0 and "sound" in result.out
    vhbench("run", "--method", "itq", "--protocol", data, "--bits", "8", "--out", out)
    (record,) = out.rglob("run.json")
    digests = json.loads(record.read_text())["spec"]["splits"]["tiny"]
    for role in ("train", "query", "database"):
        assert lines(result.out)[role][-1] == digests[role]
        assert lines(result.out)[role][1:5] == ["1", "12" if role == "query" else "40", "8", "24"]


def test_verify_shows_progress_and_throughput_on_standard_error(vhbench, data):
    result = vhbench("data", "verify", data)
    for file in (TEST, "tiny_train_feats.h5"):
        assert any(line.startswith(f"{file}: ") and "MB/s" in line for line in result.err.splitlines())


def test_verify_counts_what_is_not_finite(vhbench, data):
    array = features(data.parent / TEST)
    array[7, 3, 1], array[9, 0, 0] = np.nan, np.inf
    rewrite(data.parent / TEST, array)
    result = vhbench("data", "verify", data)
    assert result.code == 1 and "broken: do not use these files" in result.out
    assert (
        f"broken: {data.parent / TEST} holds NaN or infinity in 2 videos, the first is 7 (counted from 0)" in result.out
    )


def test_verify_refuses_a_file_of_zeros(vhbench, data):
    rewrite(data.parent / TEST, np.zeros((12, 8, 24), np.float32))
    result = vhbench("data", "verify", data)
    assert result.code == 1 and f"broken: {data.parent / TEST} holds nothing but zeros" in result.out


def test_verify_refuses_files_of_a_role_that_differ_in_dtype(vhbench, data):
    array = features(data.parent / TEST)
    write_hdf5(data.parent / "1.h5", array[:5])
    write_hdf5(data.parent / "2.h5", array[5:].astype(np.float16))
    data.write_text(data.read_text().replace(f'["{TEST}"]', '["1.h5", "2.h5"]'))
    result = vhbench("data", "verify", data)
    assert result.code == 1 and "broken: the files of query are float16 and float32" in result.out


def test_verify_remarks_on_zeros_repeats_and_constant_dimensions(vhbench, data):
    array = features(data.parent / TEST)
    array[[0, 5]] = 0
    array[3] = array[2]
    array[:, :, [1, 4, 7]] = 0
    rewrite(data.parent / TEST, array)
    result = vhbench("data", "verify", data)
    assert result.code == 0
    for remark in (
        "query: 2 videos are zero throughout",
        "query: 1 videos repeat an earlier one",
        "query: 3 of the dimensions have one value throughout",
    ):
        assert f"remark: {remark}" in result.out
    assert "train: " not in result.out


def test_verify_counts_queries_that_training_knows(vhbench, data):
    array = features(data.parent / TEST)
    array[:5] = features(data.parent / "tiny_train_feats.h5")[10:15]
    rewrite(data.parent / TEST, array)
    text = vhbench("data", "verify", data).out
    assert (
        "problem: 5 of 12 queries are database and training videos too, although queries_in_database is false" in text
    )
    assert "remark: database" not in text, "the database is the training set by design"
    assert text.endswith("sound, with 1 problem\n\n")


def test_verify_counts_queries_that_the_database_should_hold(vhbench, tmp_path):
    rng = np.random.default_rng(0)
    base = rng.random((6, 2, 3), np.float32)
    write_hdf5(tmp_path / "base.h5", base)
    write_hdf5(tmp_path / "query.h5", np.concatenate([base[:2], rng.random((1, 2, 3), np.float32)]))
    write_mat(tmp_path / "base.mat", np.eye(4)[[0, 1, 2, 2, 1, 0]])
    write_mat(tmp_path / "query.mat", np.eye(4)[[0, 1, 2]] * [[1], [1], [0]])
    manifest = write_manifest(
        tmp_path / "m.toml",
        name="m",
        queries_in_database=True,
        train={"features": ["base.h5"]},
        query={"features": ["query.h5"], "labels": ["query.mat"]},
        database={"features": ["base.h5"], "labels": ["base.mat"]},
    )
    text = vhbench("data", "verify", manifest).out
    assert "problem: 1 of 3 queries is not found in the database, although queries_in_database is true" in text
    assert "problem: 1 of 3 queries has no label and is not scored" in text
    assert "labels: 3 of 4 classes, 0 to 1 a video, 0.89 on average" in text
    assert "remark: database: 1 of 4 classes have no video" in text


def test_verify_finds_a_file_that_rotted_without_a_new_date(vhbench, data):
    path = data.parent / TEST
    open_features([path])
    stat = path.stat()
    with path.open("r+b") as file:
        file.seek(-5, os.SEEK_END)
        file.write(b"\x01")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    result = vhbench("data", "verify", data)
    assert result.code == 1 and f"broken: {path} is not what it was when it was first read" in result.out


def test_verify_finds_a_copy_that_differs(vhbench, data, cache):
    path = data.parent / TEST
    rewrite(path, features(path), "gzip")
    open_features([path])
    (copy,) = (p for p in cache.rglob("*.npy") if not p.name.endswith("sha256.npy"))
    content = bytearray(copy.read_bytes())
    content[-1] ^= 1
    copy.write_bytes(content)
    result = vhbench("data", "verify", data)
    assert result.code == 1 and f"broken: the copy {copy} differs from {path}" in result.out


def test_verify_refuses_other_counts_unless_told(vhbench, data):
    rewrite(data.parent / TEST, features(data.parent / TEST)[:9])
    write_mat(data.parent / "tiny_test_labels.mat", np.eye(4)[np.arange(9) % 4])
    result = vhbench("data", "verify", data)
    assert result.code == 2 and "count = 12" in result.error and "have 9 videos" in result.error
    allowed = vhbench("data", "verify", data, "--allow-counts")
    assert allowed.code == 0 and "remark: 9 query videos instead of 12" in allowed.out


def test_verify_of_missing_files_names_them(vhbench, tmp_path):
    result = vhbench("data", "verify", "ucf101", "--data", tmp_path)
    assert result.code == 2 and "ucf_train_feats.h5 of protocol ucf101 is missing" in result.error


def test_an_unknown_data_command_names_the_nearest(vhbench):
    result = vhbench("data", "verfy", "fcvid")
    assert result.code == 2 and "did you mean 'verify'?" in result.error


def test_data_commands_explain_themselves(vhbench):
    for name in ("status", "verify", "clear-cache"):
        assert vhbench("data", name, "--help").out.startswith(f"Usage: vhbench data {name}")
