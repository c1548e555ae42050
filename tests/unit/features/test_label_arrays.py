"""What an array of labels means is decided in one place, for label files, `evaluate` and protocols alike."""

import unicodedata

import numpy as np
import pytest

import vhbench
from vhbench.errors import DataError
from vhbench.features import number_names, read_array, read_labels
from vhbench.features.label_arrays import LabelsError, shifted, summary
from vhbench.protocol import Relevance

NUMBERS = [0, 2, 1, 2]
ONE_HOT = np.eye(3, dtype=int)[NUMBERS]

NUMBER_ARRAYS = {
    "list": NUMBERS,
    "uint8": np.array(NUMBERS, np.uint8),
    "whole float16": np.array(NUMBERS, np.float16),
    "column": np.array(NUMBERS)[:, None],
    "row": np.array(NUMBERS)[None],
}
MATRICES = {
    "bool": ONE_HOT.astype(bool),
    "0 and 255": ONE_HOT * np.uint8(255),
    "0 and 0.5": ONE_HOT / 2 * 2.0,
    "float32": ONE_HOT.astype(np.float32),
}
NAMES = {
    "list": ["a", "c", "b", "c"],
    "objects": np.array(["a", "c", "b", "c"], dtype=object),
    "bytes": np.array([b"a", b"c", b"b", b"c"]),
    "padded": np.array(["a  ", " c", "b\0", "c\n"]),
    "column": np.array([["a"], ["c"], ["b"], ["c"]]),
}
UNCLEAR = {
    "class, id": np.array([[1, 9], [2, 9], [3, 9], [4, 9]]),
    "lists of classes padded with 0": np.array([[1, 0], [3, 2], [2, 0], [3, 0]]),
    "counts of annotators": ONE_HOT * np.array([1, 5, 2]),
    "ratings": np.full((4, 3), [1, 2, 3]),
}


@pytest.mark.parametrize("array", NUMBER_ARRAYS.values(), ids=NUMBER_ARRAYS)
def test_vectors_of_whole_numbers_are_class_numbers(array):
    found = read_array(array, "x", 4)
    assert found.dtype == np.int64 and found.tolist() == NUMBERS


@pytest.mark.parametrize("array", MATRICES.values(), ids=MATRICES)
def test_matrices_of_zeros_and_one_positive_value_are_multi_hot(array):
    found = read_array(array, "x", 4)
    assert found.dtype == np.bool_ and np.array_equal(found, ONE_HOT)


@pytest.mark.parametrize("array", NAMES.values(), ids=NAMES)
def test_texts_are_class_names(array):
    found = read_array(array, "x", 4)
    assert found.dtype.kind == "U" and found.tolist() == ["a", "c", "b", "c"]


def test_one_name_written_in_two_ways_is_one_class():
    composed, decomposed = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    assert composed != decomposed
    assert len(set(read_array([composed, decomposed], "x", 2))) == 1


def test_booleans_in_two_dimensions_are_a_matrix_whatever_its_width():
    assert read_array(np.ones((3, 1), bool), "x", 3).shape == (3, 1)
    assert read_array(np.array([True, False]), "x", 2).tolist() == [1, 0]


def test_the_one_video_of_a_row_is_told_by_the_number_of_videos():
    assert read_array([[0, 1, 1]], "x", 1).tolist() == [[False, True, True]]
    assert read_array([[0, 1, 1]], "x", 3).tolist() == [0, 1, 1]


def everywhere(array, tmp_path):
    """Have all readers read an array as the labels of queries and database; return what each makes of it."""
    np.save(tmp_path / "labels.npy", array)
    codes = np.eye(len(array), 8, dtype=bool)
    return [
        lambda: read_labels([tmp_path / "labels.npy"]),
        lambda: vhbench.evaluate(codes, codes, array, array),
        lambda: Relevance.from_labels(array, array),
    ]


@pytest.mark.parametrize("array", UNCLEAR.values(), ids=UNCLEAR)
def test_other_matrices_are_refused_by_all_with_one_advice(tmp_path, array):
    for read in everywhere(array, tmp_path):
        with pytest.raises(
            LabelsError, match=r"holds [0-9]+ and [0-9]+ beside or instead of zeros.*zeros and ones in wh"
        ):
            read()
    assert issubclass(LabelsError, DataError) and issubclass(LabelsError, ValueError)


@pytest.mark.parametrize("array", [*NUMBER_ARRAYS.values(), *MATRICES.values(), NAMES["padded"]])
def test_files_evaluate_and_protocols_read_an_array_alike(tmp_path, array):
    array = np.asarray(array)
    if array.shape == (1, 4):
        array = array.T
    in_file, scores, relevance = (read() for read in everywhere(array, tmp_path))
    hot = in_file if in_file.ndim == 2 else in_file[:, None] == np.unique(in_file)
    share = (hot.astype(int) @ hot.T.astype(int)) > 0
    assert scores.n_relevant().tolist() == share.sum(axis=1).tolist()
    ours, theirs = relevance.query_labels, relevance.database_labels
    ours, theirs = (x if x.ndim == 2 else x[:, None] == np.arange(3) for x in (ours, theirs))
    assert np.array_equal((ours.astype(int) @ theirs.T.astype(int)) > 0, share)


def test_evaluate_takes_names_and_a_single_class():
    codes = np.eye(4, 8, dtype=bool)
    by_name = vhbench.evaluate(codes, codes, NAMES["list"], NAMES["list"])
    assert by_name.map(4) == vhbench.evaluate(codes, codes, np.array(NUMBERS), np.array(NUMBERS)).map(4)
    assert vhbench.evaluate(codes, codes, np.zeros(4, int), np.zeros(4, int)).map(4) == 1.0  # the user's own statement


def test_names_have_one_number_in_all_groups():
    names, (first, second) = number_names(np.array(["swim", "run"]), np.array(["jump", "swim", "swim"]))
    assert names == ("jump", "run", "swim")
    assert first.tolist() == [2, 1] and second.tolist() == [0, 2, 2]
    relevance = Relevance.from_labels(["swim", "run"], ["jump", "swim", "swim"])
    assert relevance.class_names == names and relevance.query_labels.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("query", "database", "words"),
    [
        ([0, 1], [1, 2, 2], "3 classes, one a video"),
        ([[1, 0, 0], [0, 1, 0]], [[1, 1, 0], [1, 0, 0]], "2 of 3 classes, 1 to 2 a video, 1.2 on average"),
        ([[1, 0], [0, 1]], [[1, 0], [1, 0]], "2 classes, 1 a video"),
        (["run", "jump"], ["run", "run"], "2 classes by name, one a video"),
    ],
)
def test_what_was_read_is_said_in_a_few_words(query, database, words):
    assert Relevance.from_labels(query, database).summary() == words


def test_a_summary_counts_videos_without_labels():
    assert summary(np.zeros((1, 2), bool), np.eye(2, dtype=bool)) == "2 classes, 0 to 1 a video, 0.67 on average"


@pytest.mark.parametrize(
    ("ours", "theirs", "found"),
    [
        ([0, 1, 2], [1, 2, 3], True),
        ([1, 2, 3], [0, 1, 2], True),
        ([3, 1], [0, 1, 2], True),  # only class 3 tells
        ([1], [0], True),
        ([1, 2], [0, 1, 2], False),  # class 0 is not asked for
        ([0, 5], [1, 2, 3], False),  # class 5 is nowhere, whatever the numbering
        ([0, 1], [0, 1, 2], False),
        ([5, 6], [4, 5], False),  # neither counts from 0 or 1
    ],
)
def test_counting_from_0_in_one_place_and_from_1_in_another_is_seen(ours, theirs, found):
    assert shifted(np.array(ours), np.array(theirs)) is found
