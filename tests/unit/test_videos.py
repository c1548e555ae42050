"""VideoSet: what methods see of the videos."""

import numpy as np
import pytest
import torch

from vhbench.features import open_features
from vhbench.testing.files import write_hdf5
from vhbench.testing.simulated_gpu import simulated_gpus
from vhbench.videos import VideoSet


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VHBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture(params=["array", "gzip", "contiguous"])
def make(request, tmp_path):
    """Present an array as features held in memory or in a file."""
    if request.param == "array":
        return lambda array: array
    compression = "gzip" if request.param == "gzip" else None
    return lambda array: open_features([write_hdf5(tmp_path / "a.h5", array, compression=compression)])


@pytest.fixture
def array():
    return np.random.default_rng(0).standard_normal((11, 3, 4)).astype(np.float32)


def test_sizes(make, array):
    videos = VideoSet(make(array))
    assert (len(videos), videos.frames, videos.dim) == (11, 3, 4)
    assert repr(videos) == "VideoSet(11 videos, 3 frames, 4 dimensions)"


@pytest.mark.parametrize("size", [1, 4, 11, 50])
def test_batches_cover_each_video_once_in_order(make, array, size):
    batches = list(VideoSet(make(array)).arrays(size))
    assert np.array_equal(np.concatenate(batches), array)
    assert all(len(batch) == size for batch in batches[:-1]) and 0 < len(batches[-1]) <= size


def test_a_generator_shuffles_and_its_seed_repeats(make, array):
    videos = VideoSet(make(array))
    shuffled = np.concatenate(list(videos.arrays(4, np.random.default_rng(1))))
    assert not np.array_equal(shuffled, array)
    assert np.array_equal(np.sort(shuffled[:, 0, 0]), np.sort(array[:, 0, 0]))
    assert np.array_equal(shuffled, np.concatenate(list(videos.arrays(4, np.random.default_rng(1)))))
    rng = np.random.default_rng(1)
    first, second = (np.concatenate(list(videos.arrays(4, rng))) for _ in range(2))
    assert not np.array_equal(first, second)


def test_shuffling_leaves_the_set_in_order(make, array):
    videos = VideoSet(make(array))
    list(videos.arrays(4, np.random.default_rng(1)))
    assert np.array_equal(np.concatenate(list(videos.arrays(4))), array)


def test_subsets_choose_order_and_nest(make, array):
    videos = VideoSet(make(array))
    rows = np.array([7, 0, 7, 3])
    subset = videos.subset(rows)
    assert np.array_equal(next(subset.arrays(10)), array[rows])
    assert np.array_equal(next(subset.subset(np.array([3, 0])).arrays(10)), array[[3, 7]])
    mask = np.arange(11) % 2 == 0
    assert np.array_equal(next(videos.subset(mask).arrays(10)), array[mask])
    assert list(videos.subset(np.array([], dtype=int)).arrays(4)) == []


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8"])
def test_every_dtype_comes_as_float32(make, array, dtype):
    source = (20 * np.abs(array)).astype(dtype)
    videos = VideoSet(make(source))
    found = next(videos.arrays(20))
    assert found.dtype == np.float32
    assert np.array_equal(found, source.astype(np.float32))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8"])
def test_mean_frames_is_the_mean_to_float32_precision(make, array, dtype, monkeypatch):
    monkeypatch.setattr("vhbench.videos.BLOCK_BYTES", 4 * array[0].nbytes)
    source = (20 * np.abs(array)).astype(dtype)
    means = VideoSet(make(source)).mean_frames()
    assert means.dtype == np.float32 and means.shape == (11, 4)
    np.testing.assert_allclose(means, source.astype(np.float64).mean(axis=1), rtol=1e-6)


def test_large_float16_values_do_not_overflow(make):
    source = np.full((2, 25, 3), 60000, dtype=np.float16)
    assert np.array_equal(VideoSet(make(source)).mean_frames(), np.full((2, 3), np.float32(source[0, 0, 0])))


def test_read_only_sources_are_accepted_and_batches_are_the_callers(make, array):
    kept = array.copy()
    array.setflags(write=False)
    videos = VideoSet(make(array))
    for batch in videos.arrays(4):
        batch[:] = 0
    assert np.array_equal(array, kept)
    assert np.array_equal(np.concatenate(list(videos.arrays(4))), kept)


def test_tensors_are_float32_on_the_device_and_the_callers(make, array):
    torch = pytest.importorskip("torch")
    array.setflags(write=False)
    videos = VideoSet(make(array.astype(np.float16)))
    batches = list(videos.batches(4, device="cpu"))
    assert [tuple(batch.shape) for batch in batches] == [(4, 3, 4), (4, 3, 4), (3, 3, 4)]
    assert all(batch.dtype == torch.float32 and batch.device.type == "cpu" for batch in batches)
    assert np.array_equal(torch.cat(batches).numpy(), array.astype(np.float16).astype(np.float32))
    batches[0].zero_()
    assert np.array_equal(next(videos.arrays(11)), array.astype(np.float16).astype(np.float32))


def test_there_are_no_labels_to_see(array):
    public = [name for name in dir(VideoSet(array)) if not name.startswith("_")]
    assert not [name for name in public if "label" in name or "class" in name]


def test_joined_videos_have_the_frames_of_others_after_their_own(make, array):
    videos = VideoSet(make(array)).subset(np.array([4, 9, 0, 1]))
    others = np.array([[1, 1], [3, 0], [2, 2], [0, 3]])
    joined = videos.joined(others)
    held = np.concatenate(list(videos.arrays(4)))
    expected = np.stack([np.concatenate([held[i], held[j], held[k]]) for i, (j, k) in enumerate(others)])
    assert (len(joined), joined.frames, joined.dim) == (4, 9, 4)
    order = np.array([2, 0, 3, 1])
    for size in (1, 3, 4):
        assert np.array_equal(np.concatenate(list(joined.subset(order).arrays(size))), expected[order])
        assert np.array_equal(torch.cat(list(joined.subset(order).batches(size))), expected[order])


def test_joined_videos_are_halved_with_theirs_and_come_from_tensors(array):
    others = np.arange(11)[::-1, None]
    expected = np.concatenate([array, array[::-1]], 1)
    halved = np.concatenate(list(VideoSet(array).halved().joined(others).arrays(4)))
    assert np.array_equal(halved, expected.astype(np.float16))
    resident = VideoSet(array).resident()
    assert np.array_equal(torch.cat(list(resident.joined(others).batches(4))), expected)
    with simulated_gpus():
        resident = VideoSet(array).resident("cuda:0").joined(others)
        found = torch.cat(list(resident.subset(np.arange(11)).batches(4, device="cuda:0")))
        assert str(found.device) == "cuda:0" and np.array_equal(found.cpu().numpy(), expected)
