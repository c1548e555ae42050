"""An extraction that is killed at any moment and started again ends with the same file, and leaves nothing else."""

import random
import signal
import time

import pytest
from video import hard_files
from video.networks import small_network


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Videos of two classes, and one that gives nothing."""
    folder = tmp_path_factory.mktemp("videos")
    for number in range(24):
        path = folder / f"class {number % 2}/{number}.mp4"
        path.parent.mkdir(exist_ok=True)
        hard_files.write(path, 10 + number, gop=5)
    (folder / "class 0/text.mp4").write_text("text")
    return folder


@pytest.fixture
def words(videos, tmp_path):
    network = small_network(tmp_path / "small.onnx", side=64)
    return ["extract", videos, "--network", network, "--dtype", "float32"]


def kill_until_done(start, words, output, moments, jobs):
    """Start the command again and again, killing it when so many parts are there and a moment later; return hits."""
    parts = output.with_name(f"{output.name}.parts")
    hits = 0
    for count, jitter in moments:
        child = start(*words, "-o", output, "--jobs", jobs)
        child.wait_for(lambda count=count: len(list(parts.glob("part-*"))) >= count or output.exists())
        time.sleep(jitter)
        hits += child.signal(signal.SIGKILL) == -signal.SIGKILL
    last = start(*words, "-o", output, "--jobs", jobs)
    assert last.end() == 1, last.printed  # of the one that gives nothing
    return hits


def assert_same(tmp_path, output, whole):
    assert output.read_bytes() == whole.read_bytes()
    assert output.with_name("feats.failed.csv").read_text() == whole.with_name("whole.failed.csv").read_text()
    left = {path.name for path in tmp_path.iterdir() if not path.name.startswith(("child-", "small"))}
    assert left == {"feats.h5", "feats.failed.csv", "whole.h5", "whole.failed.csv"}


def test_an_extraction_killed_twice_ends_with_the_same_file(start, words, tmp_path):
    whole, output = tmp_path / "whole.h5", tmp_path / "feats.h5"
    assert start(*words, "-o", whole, "--jobs", "1").end() == 1
    assert kill_until_done(start, words, output, [(3, 0.0), (12, 0.01)], "1") == 2
    assert_same(tmp_path, output, whole)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_an_extraction_killed_at_random_twenty_times_ends_with_the_same_file(start, words, tmp_path, jobs):
    rng = random.Random(int(jobs))
    whole, output = tmp_path / "whole.h5", tmp_path / "feats.h5"
    assert start(*words, "-o", whole, "--jobs", "1").end() == 1
    moments = [(rng.randint(0, 1 + number), rng.random() * (0.5 if number % 2 else 0.02)) for number in range(20)]
    assert kill_until_done(start, words, output, moments, jobs) >= 10
    assert_same(tmp_path, output, whole)
