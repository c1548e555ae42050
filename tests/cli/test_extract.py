"""`vhbench extract` and `vhbench data join` as a user meets them; a small network, except for the real clips."""

import csv
import json
import os
import shutil
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from video import hard_files
from video.networks import by_hand, small_network

import vhbench as package
from vhbench.errors import DataError
from vhbench.features import read_header
from vhbench.features.stamp import read_stamp
from vhbench.system import locks
from vhbench.video.extraction import features_of
from vhbench.video.frames import sample
from vhbench.video.pictures import centre, upright

CLIPS = Path(__file__).parents[3] / "shared" / "data" / "ucf101-clips"
ODD = "-'q\" and blank 视频.mp4"


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return small_network(tmp_path_factory.mktemp("network") / "small.onnx")


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Nine videos of two classes, two of which give nothing."""
    folder = tmp_path_factory.mktemp("videos")
    for name in ("birds", "trains"):
        (folder / name).mkdir()
    for number in range(3):
        hard_files.write(folder / f"birds/{number}.mp4", 20 + number)
        hard_files.write(folder / f"trains/{number}.mkv", 30 + number)
    hard_files.write(folder / "birds" / ODD, 3)
    (folder / "birds/empty.mp4").touch()
    hard_files.sound_only(folder / "trains/=sound.mp4")
    return folder


@pytest.fixture(scope="module")
def extracted(videos, network, tmp_path_factory):
    """The features of all nine."""
    path = tmp_path_factory.mktemp("extracted") / "feats.h5"
    package.extract(videos, path, network=str(network), frames=5, dtype="float32", jobs=1)
    return path


def words(videos, network, output, *more):
    return ["extract", videos, "--network", network, "--frames", "5", "--dtype", "float32", "-o", output, *more]


def test_the_file_holds_what_the_field_reads(extracted, videos):
    with h5py.File(extracted) as file:
        names = [name.decode() for name in file["names"]]
        classes = [name.decode() for name in file["classes"]]
        assert names == sorted(names) and len(names) == 7 and f"birds/{ODD}" in names
        assert classes == ["birds", "trains"]
        assert [classes[label] for label in file["labels"]] == [name.partition("/")[0] for name in names]
        assert file["labels"].dtype == np.int64 and file["distinct"].dtype == np.int32
        assert dict(zip(names, file["distinct"], strict=True))[f"birds/{ODD}"] == 3
        assert file["feats"].chunks is None and file["feats"].compression is None
        assert len(file.attrs["digest"]) == 64
        features = file["feats"][()]
    assert read_header(extracted).offset is not None  # it is read in place
    for name, values in zip(names, features, strict=True):
        taken = sample(videos / name, 5, lambda shown: centre(*upright(*shown), 8, 0.875))
        np.testing.assert_allclose(values, by_hand(np.stack(taken.values)), atol=1e-4)


def test_the_stamp_says_how(extracted, network):
    stamp = read_stamp(extracted)
    assert (stamp.network, stamp.layer) == ("small.onnx", "vectors") and len(stamp.weights) == 64
    assert "5 frames" in stamp.sampling and "8 x 8" in stamp.preprocessing and "HDR" in stamp.preprocessing
    assert {"vhbench", "av", "onnxruntime"} <= stamp.versions.keys()


def test_videos_that_give_nothing_are_listed_with_reasons(vhbench, videos, network, extracted, tmp_path):
    output = tmp_path / "feats.h5"
    result = vhbench(*words(videos, network, output, "--jobs", "1"))
    assert result.code == 1 and result.out == f"{output}\n"
    assert "7 of 9 videos, 5 frames of 4 features each" in result.err and "feats.failed.csv says why" in result.err
    with (tmp_path / "feats.failed.csv").open() as file:
        rows = {row["name"]: row["reason"] for row in csv.DictReader(file)}
    assert rows.keys() == {"birds/empty.mp4", "trains/=sound.mp4"}
    assert "0 bytes" in rows["birds/empty.mp4"] and "no video stream" in rows["trains/=sound.mp4"]
    assert output.read_bytes() == extracted.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["feats.failed.csv", "feats.h5"]
    again = vhbench(*words(videos, network, output))
    assert again.code == 1 and "nothing to do" in again.err


def test_several_processes_write_the_same_file(vhbench, videos, network, extracted, tmp_path):
    result = vhbench(*words(videos, network, tmp_path / "feats.h5", "--jobs", "2"))
    assert result.code == 1
    assert (tmp_path / "feats.h5").read_bytes() == extracted.read_bytes()


def copy_of(path):
    return Path(shutil.copy(path, path.with_name(f"copy of {path.name}")))


def test_shards_joined_are_the_file_of_one_extraction(vhbench, videos, network, extracted, tmp_path):
    shards = [tmp_path / f"part {number}.h5" for number in (1, 2, 3)]
    for number, path in enumerate(shards, 1):
        vhbench(*words(videos, network, path, "--jobs", "1", "--shard", f"{number}/3"))
    assert "missing" in vhbench("data", "join", *shards[1:], "-o", tmp_path / "whole.h5").error
    assert "the same shard" in vhbench("data", "join", *shards, copy_of(shards[0]), "-o", tmp_path / "whole.h5").error
    result = vhbench("data", "join", *shards[::-1], "-o", tmp_path / "whole.h5")
    assert result.code == 1 and "2 videos gave no features" in result.err
    assert (tmp_path / "whole.h5").read_bytes() == extracted.read_bytes()
    lists = [extracted.with_name("feats.failed.csv"), tmp_path / "whole.failed.csv"]
    assert lists[0].read_text() == lists[1].read_text()
    assert "is there already" in vhbench("data", "join", *shards, "-o", tmp_path / "whole.h5").error
    assert "no shard" in vhbench("data", "join", extracted, "-o", tmp_path / "other.h5").error
    vhbench(*words(videos, network, tmp_path / "other.h5", "--jobs", "1", "--shard", "3/3", "--layer", "maps"))
    said = vhbench("data", "join", *shards[:2], tmp_path / "other.h5", "-o", tmp_path / "whole2.h5").error
    assert "differ in: the layer" in said


def test_the_python_function_tells_of_each_video(extracted, videos, network, tmp_path):
    table = package.extract([str(videos)], tmp_path / "f.h5", network=str(network), frames=5, dtype="float32", jobs=1)
    assert len(table) == 9 and list(table.columns) == ["name", "distinct", "reason"]
    assert (table["distinct"] == 0).sum() == 2 == (table["reason"] != "").sum()


def test_features_of_a_few_videos_by_a_files_recipe(extracted, videos, network):
    with h5py.File(extracted) as file:
        expected, name = file["feats"][2], file["names"][2].decode()
    found = features_of([videos / name], read_stamp(extracted), network=network)
    np.testing.assert_array_equal(found[0], expected)
    with pytest.raises(DataError, match=r"empty.mp4 gives no features: it is empty"):
        features_of([videos / "birds/empty.mp4"], read_stamp(extracted), network=network)


def test_another_network_of_the_same_name_is_refused(extracted, videos, tmp_path):
    other = small_network(tmp_path / "small.onnx", scale=2.0)
    with pytest.raises(DataError, match="its weights"):
        features_of([videos / "birds/0.mp4"], read_stamp(extracted), network=other)


def test_what_is_there_is_not_written_over(vhbench, videos, network, extracted, tmp_path):
    output = tmp_path / "feats.h5"
    shutil.copy(extracted, output)
    before = output.read_bytes()
    said = vhbench(*words(videos, network, output, "--layer", "maps")).error
    assert "differs in: the layer (vectors and maps)" in said and "Choose another --output" in said
    assert "its videos" in vhbench(*words(videos / "birds", network, output)).error
    assert output.read_bytes() == before
    output.write_text("mine")
    assert "not written by vhbench extract" in vhbench(*words(videos, network, output)).error
    assert output.read_text() == "mine"


def test_two_processes_do_not_extract_to_one_file(vhbench, videos, network, tmp_path):
    with locks.hold(tmp_path / "feats.h5.parts"):
        result = vhbench(*words(videos, network, tmp_path / "feats.h5", "--jobs", "1"))
    assert result.code == 1 and "Another process is extracting" in result.error


def test_parts_of_another_extraction_are_not_mixed_in(vhbench, videos, network, tmp_path, monkeypatch):
    from vhbench.video import extraction

    monkeypatch.setattr(extraction, "write_features", lambda path, content: (_ for _ in ()).throw(KeyboardInterrupt))
    assert vhbench(*words(videos, network, tmp_path / "feats.h5", "--jobs", "1")).code == 130
    monkeypatch.undo()
    parts = tmp_path / "feats.h5.parts"
    assert len(list(parts.glob("part-*.npz"))) == 9
    said = vhbench(*words(videos, network, tmp_path / "feats.h5", "--layer", "maps")).error
    assert "unfinished extraction that differs in: layer" in said and "choose another --output" in said
    (parts / "part-000003.npz").write_bytes(b"damaged")
    monkeypatch.setattr(extraction.Extractor, "__call__", counted := Counted(extraction.Extractor.__call__))
    assert vhbench(*words(videos, network, tmp_path / "feats.h5", "--jobs", "1")).code == 1
    assert counted.calls == 1  # of the damaged part only
    assert not parts.exists()


class Counted:
    def __init__(self, function):
        self.calls, self._function = 0, function

    def __get__(self, instance, owner):
        def call(path):
            self.calls += 1
            return self._function(instance, path)

        return call


def test_a_decoder_that_crashes_costs_one_video(vhbench, videos, network, extracted, tmp_path, monkeypatch):
    """The process of a job ends at one video, as by a fault of a library; another one goes on after it."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import os, signal, sys, pathlib\n"
        "def crash(event, arguments):\n"
        "    if event == 'open' and str(arguments[0]).endswith('birds/1.mp4'):\n"
        "        os.kill(os.getpid(), signal.SIGSEGV)\n"
        "if 'vhbench.video.worker' in ' '.join(sys.orig_argv):\n"
        "    sys.addaudithook(crash)\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{Path(package.__file__).parents[1]}")
    assert vhbench(*words(videos, network, tmp_path / "feats.h5", "--jobs", "2")).code == 1
    with (tmp_path / "feats.failed.csv").open() as file:
        rows = {row["name"]: row["reason"] for row in csv.DictReader(file)}
    assert rows["birds/1.mp4"] == "the decoder crashed (SIGSEGV)" and len(rows) == 3
    with h5py.File(tmp_path / "feats.h5") as some, h5py.File(extracted) as all_:
        kept = [row for row, name in enumerate(all_["names"]) if name != b"birds/1.mp4"]
        np.testing.assert_array_equal(some["feats"][()], all_["feats"][()][kept])


def test_bad_input_gets_one_sentence(vhbench, videos, network, tmp_path):
    output = tmp_path / "feats.h5"
    assert "no videos" in vhbench(*words(tmp_path, network, output)).error
    assert "no file or folder" in vhbench(*words(tmp_path / "absent", network, output)).error
    assert "--frames takes" in vhbench(*words(videos, network, output, "--frames", "0")).error
    assert "float16" in vhbench(*words(videos, network, output, "--dtype", "float17")).error
    assert "--jobs takes" in vhbench(*words(videos, network, output, "--jobs", "0")).error
    for shard in ("0/3", "4/3", "3", "a/b"):
        assert "3/16" in vhbench(*words(videos, network, output, "--shard", shard)).error
    assert "did you mean 'vgg16'" in vhbench("extract", videos, "-o", output, "--network", "vgg-16").error
    assert "needs its weights" in vhbench("extract", videos, "-o", output, "--network", "vgg16").error
    assert "--device" in vhbench(*words(videos, network, output, "--device", "gpu")).error
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_loses_nothing(start, videos, network, extracted, tmp_path):
    output = tmp_path / "feats.h5"
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))"
    child = start(*words(videos, network, output, "--jobs", "1"), first=limit)
    assert child.end() == 1 and "larger than this file system or `ulimit -f` allows" in child.printed
    assert len(list((tmp_path / "feats.h5.parts").glob("part-*"))) == 9 and not output.exists()
    assert start(*words(videos, network, output, "--jobs", "1")).end() == 1
    assert output.read_bytes() == extracted.read_bytes()


def test_no_video_at_all_gives_features(vhbench, network, tmp_path):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos/1.mp4").write_text("text")
    os.mkfifo(tmp_path / "videos/2.mp4")
    result = vhbench(*words(tmp_path / "videos", network, tmp_path / "feats.h5", "--jobs", "1"))
    assert result.code == 1 and "None of the 2 videos gave features" in result.error
    reasons = (tmp_path / "feats.failed.csv").read_text()
    assert "no video that can be read" in reasons and "named pipe" in reasons
    assert not (tmp_path / "feats.h5").exists() and not (tmp_path / "feats.h5.parts").exists()


def test_float16_by_default_and_its_limit(vhbench, videos, tmp_path):
    small = small_network(tmp_path / "small.onnx")
    assert (
        vhbench("extract", videos / "trains/0.mkv", "--network", small, "-o", tmp_path / "a.h5", "--jobs", "1").code
        == 0
    )
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["feats"].dtype == np.float16 and file["feats"].shape == (1, 25, 4) and "labels" not in file
    large = small_network(tmp_path / "large.onnx", scale=1e6)
    vhbench("extract", videos / "trains/0.mkv", "--network", large, "-o", tmp_path / "b.h5", "--jobs", "1")
    assert "use --dtype float32" in (tmp_path / "b.failed.csv").read_text()


def test_without_the_extra_one_sentence_says_what_to_install(vhbench, videos, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    said = vhbench("extract", videos, "-o", tmp_path / "feats.h5").error
    assert 'pip install "vhbench[video]"' in said and "onnxruntime" in said


@pytest.mark.slow
@pytest.mark.skipif(not CLIPS.is_dir(), reason="the real clips are not on this machine")
def test_real_clips_lie_near_others_of_their_class(vhbench, tmp_path):
    """Nearest neighbour of each of 30 clips among the others, on centred mean features: at least .85 of one class."""
    assert vhbench("extract", CLIPS, "-o", tmp_path / "clips.h5").code == 0
    with h5py.File(tmp_path / "clips.h5") as file:
        means = file["feats"][()].astype(float).mean(axis=1)
        classes = np.array([name.decode().split("_")[1] for name in file["names"]])
        assert json.loads(file.attrs["vhbench_stamp"])["network"] == "efficientnet-lite0"
        assert (file["distinct"][()] == 25).all()
    means -= means.mean(axis=0)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    likeness = means @ means.T
    np.fill_diagonal(likeness, -np.inf)
    assert (classes[likeness.argmax(axis=1)] == classes).mean() >= 0.85
