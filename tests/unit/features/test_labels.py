"""Label files: every format and form gives the same labels, every fault is one clear sentence."""

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse

from vhbench.errors import DataError
from vhbench.features import match_forms, read_header, read_labels
from vhbench.testing.files import write_mat, write_mat73, write_npy

TINY = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
NUMBERS = np.array([0, 2, 1, 2])
ONE_HOT = np.eye(3, dtype=np.uint8)[NUMBERS]
WRITERS = {
    "MATLAB 5": write_mat,
    "MATLAB 7.3": write_mat73,
    "npy": lambda path, x: write_npy(path.with_suffix(".npy"), x),
}


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float64", "bool"])
@pytest.mark.parametrize("writer", WRITERS)
def test_labels_of_every_format_form_and_dtype(tmp_path, writer, dtype):
    found = read_labels([WRITERS[writer](tmp_path / "m.mat", ONE_HOT.astype(dtype))])
    assert found.dtype == np.bool_ and np.array_equal(found, ONE_HOT)
    if dtype != "bool":
        for i, shape in enumerate([(4,), (4, 1), (1, 4)]):
            found = read_labels([WRITERS[writer](tmp_path / f"{i}.mat", NUMBERS.astype(dtype).reshape(shape))])
            assert found.dtype == np.int64 and np.array_equal(found, NUMBERS)


def test_matlab_73_square_matrices_are_transposed(tmp_path):
    square = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1]], dtype=np.uint8)
    features = read_header(write_npy(tmp_path / "f.npy", TINY[[0, 0, 0]]))
    assert np.array_equal(read_labels([write_mat73(tmp_path / "a.mat", square)], features=[features]), square)


def test_an_hdf5_matrix_that_python_wrote_is_told_by_the_number_of_videos(tmp_path):
    features = read_header(write_npy(tmp_path / "f.npy", TINY[[0, 0, 0, 0]]))
    with h5py.File(tmp_path / "a.mat", "w") as file:
        file["labels"] = ONE_HOT
    assert np.array_equal(read_labels([tmp_path / "a.mat"], features=[features]), ONE_HOT)


@pytest.mark.parametrize("writer", WRITERS)
def test_one_video_with_a_row_of_classes_is_told_by_the_number_of_videos(tmp_path, writer):
    features = read_header(write_npy(tmp_path / "f.npy", TINY[:1]))
    path = WRITERS[writer](tmp_path / "a.mat", ONE_HOT[:1])
    assert np.array_equal(read_labels([path], features=[features]), ONE_HOT[:1])


def test_sparse_matlab_matrices_are_read(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {"labels": scipy.sparse.csc_matrix(ONE_HOT)})
    assert np.array_equal(read_labels([tmp_path / "a.mat"]), ONE_HOT)


def test_counts_other_than_one_are_labels_too(tmp_path):
    assert np.array_equal(read_labels([write_mat(tmp_path / "a.mat", ONE_HOT * np.uint8(255))]), ONE_HOT)


@pytest.mark.parametrize("writer", [write_mat, write_mat73])
def test_label_keys(tmp_path, writer):
    for key in ("labels", "re_label", "q_label"):
        assert np.array_equal(read_labels([writer(tmp_path / f"{key}.mat", ONE_HOT, key)]), ONE_HOT)
    path = writer(tmp_path / "a.mat", ONE_HOT, "gt")
    assert np.array_equal(read_labels([path], "gt"), ONE_HOT)
    with pytest.raises(DataError, match=r"has no 'labels' or 're_label' or 'q_label'; it has 'gt'.*label_key = "):
        read_labels([path])


def test_label_files_are_concatenated_in_order(tmp_path):
    first, second = write_mat(tmp_path / "a.mat", ONE_HOT[:2]), write_mat73(tmp_path / "b.mat", ONE_HOT[2:])
    assert np.array_equal(read_labels([first, second]), ONE_HOT)


def test_label_counts_are_compared_with_the_features(tmp_path):
    two = read_header(write_npy(tmp_path / "f2.npy", TINY))
    four = read_header(write_npy(tmp_path / "f4.npy", TINY[[0, 0, 0, 0]]))
    labels = write_mat(tmp_path / "l4.mat", ONE_HOT)
    assert len(read_labels([labels], features=[two, two])) == 4
    with pytest.raises(DataError, match=r"l4\.mat label 4 videos, but .*f2\.npy hold 2"):
        read_labels([labels], features=[two])
    other = write_mat(tmp_path / "l2.mat", ONE_HOT[:2])
    with pytest.raises(DataError, match=r"l4\.mat label 4 videos, but .*f2\.npy hold 2"):
        read_labels([labels, other], features=[two, four])  # the totals agree, the order does not


def _truncate(path):
    path.write_bytes(path.read_bytes()[:-10])


def label_fault(*paths):
    with pytest.raises(DataError) as caught:
        read_labels(paths)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_label_faults(tmp_path):
    assert "holds -1 for video 1" in label_fault(write_mat(tmp_path / "a.mat", np.array([1, -1])))
    assert "holds 0.5 for video 0" in label_fault(write_mat(tmp_path / "b.mat", ONE_HOT / 2))
    assert "holds nan for video 0" in label_fault(write_npy(tmp_path / "c.npy", np.array([np.nan, 1])))
    assert "holds no labels" in label_fault(write_npy(tmp_path / "d.npy", np.zeros((0, 3))))
    assert "must be numbers or texts" in label_fault(write_npy(tmp_path / "e.npy", np.array([1j, 2])))
    assert "has shape (2, 2, 2)" in label_fault(write_npy(tmp_path / "f.npy", np.zeros((2, 2, 2))))
    np.save(tmp_path / "h.npy", np.array([{}, {}]), allow_pickle=True)
    assert "holds pickled Python objects, which are never loaded" in label_fault(tmp_path / "h.npy")
    (tmp_path / "i.mat").write_text("1 2 3")
    assert "is neither a sound MATLAB file nor HDF5, .npy" in label_fault(tmp_path / "i.mat")
    _truncate(write_mat(tmp_path / "j.mat", ONE_HOT))
    assert "is neither a sound MATLAB file nor HDF5, .npy" in label_fault(tmp_path / "j.mat")
    _truncate(write_mat73(tmp_path / "k.mat", ONE_HOT))
    assert "truncated" in label_fault(tmp_path / "k.mat")
    assert "There is no file" in label_fault(tmp_path / "l.mat")


def test_label_files_must_have_one_form_and_one_set_of_classes(tmp_path):
    numbers, matrix = write_mat(tmp_path / "n.mat", NUMBERS), write_mat(tmp_path / "m.mat", ONE_HOT)
    wide = write_mat(tmp_path / "w.mat", np.eye(5)[NUMBERS])
    assert "n.mat holds class numbers and" in label_fault(numbers, matrix)
    message = label_fault(matrix, wide)
    assert "a matrix of 3 classes" in message and "a matrix of 5 classes" in message


def test_one_hot_labels_become_numbers_only_if_all_are_one_hot():
    one_hot = ONE_HOT.astype(bool)
    query, database = match_forms(one_hot[:2], one_hot, "q", "d")
    assert query.tolist() == [0, 2] and database.tolist() == NUMBERS.tolist()
    several = one_hot.copy()
    several[0, 1] = True
    for changed in (several, one_hot & [True, True, False]):  # two labels somewhere; none somewhere
        for pair in ((one_hot, changed), (changed, one_hot)):
            assert all(np.array_equal(x, y) for x, y in zip(match_forms(*pair, "q", "d"), pair, strict=True))
    with pytest.raises(DataError, match=r"q\.mat holds class numbers and d\.mat holds a matrix of 3 classes"):
        match_forms(NUMBERS, one_hot, "q.mat", "d.mat")
