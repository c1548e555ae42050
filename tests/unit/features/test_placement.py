"""Where training features live: the decision, and that no place changes what training sees."""

import threading

import numpy as np
import pytest
import torch

from vhbench.features import open_features
from vhbench.features.placement import available_memory, decide, free_on_gpu, place, release
from vhbench.testing.files import write_hdf5
from vhbench.videos import VideoSet, read_ahead

GB = 10**9


@pytest.mark.parametrize(
    ("nbytes", "gpu_free", "sharing", "host_free", "where"),
    [
        (19 * GB, 80 * GB, 1, 100 * GB, "gpu"),
        (19 * GB, 80 * GB, 2, 100 * GB, "gpu"),
        (19 * GB, 80 * GB, 3, 400 * GB, "host"),
        (19 * GB, 24 * GB, 1, 400 * GB, "host"),
        (168 * GB, 80 * GB, 1, 4000 * GB, "host"),
        (168 * GB, 80 * GB, 1, 1000 * GB, "disk"),
        (2 * GB, None, 1, 24 * GB, "disk"),
        (1 * GB, None, 1, 24 * GB, "host"),
    ],
)
def test_the_fastest_place_with_room_is_chosen(nbytes, gpu_free, sharing, host_free, where):
    assert decide(nbytes, gpu_free, host_free, sharing).where == where


def test_available_memory_is_some_but_less_than_all():
    assert 2**28 < available_memory() < 2**50


@pytest.fixture(params=["float16", "float32", "float64", "uint8"])
def stored(request, tmp_path, monkeypatch):
    """A feature file of each dtype and the array in it."""
    monkeypatch.setenv("VHBENCH_CACHE", str(tmp_path / "cache"))
    array = (100 * np.random.default_rng(0).random((23, 3, 4))).astype(request.param)
    return open_features([write_hdf5(tmp_path / "a.h5", array)]), array


def batches(videos, seed=1):
    return [batch.numpy() for batch in videos.batches(5, np.random.default_rng(seed))]


def test_videos_in_memory_give_the_same_batches(stored):
    features, _ = stored
    rows = np.random.default_rng(2).permutation(23)[:19]
    videos = VideoSet(features, rows)
    resident, placement = place(videos, "cpu")
    assert placement.where == "host"
    assert resident.itemsize == videos.itemsize and resident.nbytes == videos.nbytes
    for a, b in zip(batches(videos), batches(resident), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(videos.mean_frames(), resident.mean_frames())


def test_a_tensor_gives_the_same_batches_and_arrays(stored):
    """As on a GPU, where features are held as a tensor."""
    features, array = stored
    held = VideoSet(torch.from_numpy(array))
    for a, b in zip(batches(VideoSet(features)), batches(held), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(np.concatenate(list(held.arrays(7))), array.astype(np.float32))
    assert len(held.subset(np.arange(4))) == 4


def test_half_precision_rounds_what_is_wider_to_float16_wherever_it_lies(stored):
    features, array = stored
    half = VideoSet(features).halved()
    assert half.itemsize == min(array.itemsize, 2) and half.subset(np.arange(3)).itemsize == half.itemsize
    wanted = (array.astype(np.float16) if array.itemsize > 2 else array).astype(np.float32)
    for videos in (half, half.resident()):
        np.testing.assert_array_equal(np.concatenate(list(videos.arrays(9))), wanted)
        np.testing.assert_array_equal(np.concatenate(list(videos.batches(9))), wanted)
    assert half.same_as(VideoSet(features).halved())
    assert half.same_as(VideoSet(features)) == (array.itemsize <= 2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_videos_on_a_gpu_give_the_same_batches(stored):
    features, _ = stored
    resident, placement = place(VideoSet(features), "cuda:0")
    assert placement.where == "gpu"
    pairs = zip(
        VideoSet(features).batches(5, np.random.default_rng(1), device="cuda:0"),
        resident.batches(5, np.random.default_rng(1), device="cuda:0"),
        strict=True,
    )
    assert all(torch.equal(a, b) and a.is_cuda for a, b in pairs)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_memory_that_torch_keeps_for_reuse_counts_as_free():
    before = free_on_gpu("cuda:0")
    torch.empty(2**28, dtype=torch.uint8, device="cuda:0")
    assert abs(free_on_gpu("cuda:0") - before) < 2**24


class Counting:
    """Features that count how often each video is read."""

    def __init__(self, array):
        self._array = array
        self.shape, self.dtype = array.shape, array.dtype
        self.reads = np.zeros(len(array), dtype=int)

    def __getitem__(self, rows):
        self.reads[rows] += 1
        return self._array[rows]


def test_a_shuffled_epoch_reads_each_video_once():
    features = Counting(np.zeros((23, 3, 4), dtype=np.float32))
    for _ in VideoSet(features).batches(5, np.random.default_rng(0)):
        pass
    assert features.reads.tolist() == [1] * 23


def test_videos_in_memory_stay_there_for_the_next_run_on_them_and_no_longer():
    features = Counting(np.zeros((23, 3, 4), dtype=np.float32))
    rows = np.arange(20)
    first, _ = place(VideoSet(features, rows), "cpu")
    again, placement = place(VideoSet(features, rows.copy()), "cpu")
    assert again is first and placement.where == "host"
    assert features.reads.tolist() == [1] * 20 + [0] * 3
    other, _ = place(VideoSet(features, rows[::-1]), "cpu")
    assert other is not first
    release()
    assert place(VideoSet(features, rows[::-1]), "cpu")[0] is not other
    release()


def test_the_next_item_is_computed_while_this_one_is_worked_on():
    started = [threading.Event() for _ in range(3)]

    def items():
        for i, event in enumerate(started):
            event.set()
            yield i

    ahead = read_ahead(items())
    assert next(ahead) == 0
    assert started[1].wait(10), "the second item is not computed in the background"
    assert not started[2].is_set(), "nothing is computed further ahead"
    assert list(ahead) == [1, 2]


def test_an_error_in_the_background_is_raised_and_leaving_early_ends_the_thread():
    def items():
        yield 1
        raise OSError("unreadable")

    ahead = read_ahead(items())
    assert next(ahead) == 1
    with pytest.raises(OSError, match="unreadable"):
        next(ahead)
    ahead = read_ahead(iter(range(1000)))
    next(ahead)
    ahead.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("read-ahead")]
