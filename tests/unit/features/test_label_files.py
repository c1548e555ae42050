"""Label files as people have them: every format gives the same classes, what a file says of itself is believed last."""

import codecs
import zipfile

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse

from vhbench.errors import DataError
from vhbench.features import read_header, read_labels
from vhbench.testing.files import write_mat, write_mat73, write_npy

NUMBERS = np.array([0, 2, 1, 2])
ONE_HOT = np.eye(3, dtype=np.uint8)[NUMBERS]
NAMES = ["run", "jump", "swim", "jump"]


@pytest.fixture
def four(tmp_path):
    """Headers of a feature file of four videos."""
    return [read_header(write_npy(tmp_path / "features.npy", np.ones((4, 2, 5), np.float32)))]


def mat73(path, write):
    with h5py.File(path, "w", userblock_size=512) as file:
        write(file)
    return path


def attribute(item, of_class, **more):
    item.attrs["MATLAB_class"] = np.bytes_(of_class)
    for name, value in more.items():
        item.attrs[name] = value
    return item


def char73(group, name, texts):
    """Write a char array as MATLAB 7.3 does: UTF-16 numbers, a text a column, padded with blanks."""
    width = max(map(len, texts))
    rows = [[ord(c) for c in text.ljust(width)] for text in texts]
    return attribute(
        group.create_dataset(name, data=np.array(rows, np.uint16).T), "char", MATLAB_int_decode=np.int32(2)
    )


def cell73(file, name, texts):
    refs = file.require_group("#refs#")
    cells = [char73(refs, f"{name}{i}", [text]).ref for i, text in enumerate(texts)]
    return attribute(file.create_dataset(name, data=np.array([cells], h5py.ref_dtype), dtype=h5py.ref_dtype), "cell")


def sparse73(file, name, matrix):
    matrix = scipy.sparse.csc_matrix(matrix.astype(float))
    group = attribute(file.create_group(name), "double", MATLAB_sparse=np.uint64(matrix.shape[0]))
    group["data"], group["ir"], group["jc"] = matrix.data, matrix.indices.astype("u8"), matrix.indptr.astype("u8")
    return group


def cells5(texts):
    cells = np.empty((len(texts), 1), dtype=object)
    cells[:, 0] = texts
    return cells


NAMED = {
    "cells, MATLAB 5": lambda p: scipy.io.savemat(p / "l.mat", {"labels": cells5(NAMES)}) or p / "l.mat",
    "char rows, MATLAB 5": lambda p: scipy.io.savemat(p / "l.mat", {"labels": np.array(NAMES)}) or p / "l.mat",
    "char rows, MATLAB 7.3": lambda p: mat73(p / "l.mat", lambda f: char73(f, "labels", NAMES)),
    "cells, MATLAB 7.3": lambda p: mat73(p / "l.mat", lambda f: cell73(f, "labels", NAMES)),
    "HDF5 strings": lambda p: mat73(p / "l.h5", lambda f: f.create_dataset("labels", data=NAMES)),
    "HDF5 fixed strings": lambda p: mat73(p / "l.h5", lambda f: f.create_dataset("labels", data=np.array(NAMES, "S"))),
    "npy": lambda p: write_npy(p / "l.npy", np.array(NAMES)),
    "npz": lambda p: np.savez(p / "l.npz", labels=np.array(NAMES), ids=[1]) or p / "l.npz",
    "compressed npz": lambda p: np.savez_compressed(p / "l.npz", labels=np.array(NAMES)) or p / "l.npz",
}


@pytest.mark.parametrize("write", NAMED.values(), ids=NAMED)
def test_class_names_are_read_from_every_format(tmp_path, four, write):
    assert read_labels([write(tmp_path)], features=four).tolist() == NAMES


TEXTS = {
    ("l.txt", "run\njump\nswim\njump\n"): NAMES,
    ("l.lst", "run\r\njump\r\nswim\r\njump"): NAMES,
    ("l.txt", "labels\nrun\njump\nswim\njump\n"): NAMES,
    ("l.txt", "tai chi, slow\nb\na\nb\n"): ["tai chi, slow", "b", "a", "b"],
    ("l.csv", "video,labels\nv1,run\nv2,jump\nv3,swim\nv4,jump\n"): NAMES,
    ("l.csv", "video;labels\nv1;run\nv2;jump\nv3;swim\nv4;jump\n"): NAMES,
    ("l.tsv", "labels\tvideo\nrun\ta,b\njump\tc\nswim\td\njump\te\n"): NAMES,
    ("l.csv", 'video,labels\n"a,1",run\nv2,jump\nv3,swim\nv4,jump\n'): NAMES,
    ("l.txt", "0\n2\n1\n2\n"): NUMBERS.tolist(),
    ("l.txt", "class\n0\n2\n1\n2\n"): NUMBERS.tolist(),
    ("l.csv", "0.0\n2.0\n1.0\n2.0\n"): NUMBERS.tolist(),
    ("l.csv", "1,0,0\n0,0,1\n0,1,0\n0,0,1\n"): ONE_HOT.tolist(),
    ("l.csv", "a,b,c\n1,0,0\n0,0,1\n0,1,0\n0,0,1\n"): ONE_HOT.tolist(),
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize(("file", "text"), TEXTS)
def test_text_and_csv_are_read_with_and_without_a_byte_order_mark(tmp_path, four, file, text, encoding):
    (tmp_path / file).write_bytes(text.encode(encoding))
    assert read_labels([tmp_path / file], features=four).tolist() == TEXTS[file, text]


def test_a_named_csv_column_is_taken(tmp_path, four):
    (tmp_path / "l.csv").write_text("id,class\n7,run\n8,jump\n9,swim\n9,jump\n")
    assert read_labels([tmp_path / "l.csv"], "class", four).tolist() == NAMES
    assert read_labels([tmp_path / "l.csv"], "id", four).tolist() == [7, 8, 9, 9]


def test_sparse_matlab_73_matrices_are_read(tmp_path, four):
    path = mat73(tmp_path / "l.mat", lambda f: sparse73(f, "labels", ONE_HOT))
    assert np.array_equal(read_labels([path], features=four), ONE_HOT)
    empty = mat73(tmp_path / "e.mat", lambda f: sparse73(f, "labels", np.zeros((4, 2))))
    assert not read_labels([empty], features=four).any()


@pytest.mark.parametrize("key", ["data.labels", "data/labels"])
def test_struct_fields_are_named_with_a_dot(tmp_path, four, key):
    path = mat73(tmp_path / "l.mat", lambda f: attribute(f.create_dataset("data/labels", data=ONE_HOT.T), "double"))
    assert np.array_equal(read_labels([path], key, four), ONE_HOT)
    scipy.io.savemat(tmp_path / "5.mat", {"data": {"labels": ONE_HOT, "of": {"names": cells5(NAMES)}}})
    assert np.array_equal(read_labels([tmp_path / "5.mat"], "data.labels", four), ONE_HOT)
    assert read_labels([tmp_path / "5.mat"], "data.of.names", four).tolist() == NAMES


def test_matlabs_own_class_decides_which_axis_holds_the_videos(tmp_path):
    square = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1]], np.uint8)
    assert np.array_equal(read_labels([write_mat73(tmp_path / "a.mat", square)]), square)
    path = mat73(tmp_path / "b.h5", lambda f: f.create_dataset("labels", data=square))  # Python wrote it: as it lies
    assert np.array_equal(read_labels([path]), square)


def fault(path, key=None, features=()):
    with pytest.raises(DataError) as caught:
        read_labels([path], key, features)
    message = str(caught.value)
    assert path.name in message and "\n" not in message
    return message


def test_what_only_matlab_reads_is_refused_with_what_to_save_instead(tmp_path):
    for of_class in ("string", "categorical", "table"):
        data = np.zeros((6, 1), np.uint32)
        path = mat73(
            tmp_path / f"{of_class}.mat",
            lambda f, c=of_class, d=data: attribute(f.create_dataset("labels", data=d), c, MATLAB_object_decode=3),
        )
        assert f"is a MATLAB {of_class}, which only MATLAB reads: save numbers as double(x)" in fault(path)


def test_arrays_that_hold_no_labels_say_what_they_are(tmp_path, four):
    empty = mat73(
        tmp_path / "a.mat",
        lambda f: attribute(
            f.create_dataset("labels", data=np.array([0, 3], "u8")), "double", MATLAB_empty=np.uint8(1)
        ),
    )
    assert "holds no labels: its shape is (0, 0)" in fault(empty)
    struct = mat73(
        tmp_path / "b.mat", lambda f: attribute(f.create_group("labels"), "struct").create_dataset("y", data=1)
    )
    assert "is a struct or group" in fault(struct) and '"labels.y"' in fault(struct)
    scipy.io.savemat(tmp_path / "c.mat", {"labels": {"y": NUMBERS}})
    assert 'label_key = one of "labels.y"' in fault(tmp_path / "c.mat")
    assert "has no 'labels.z'; it has 'labels.y'" in fault(tmp_path / "c.mat", "labels.z")
    part = mat73(tmp_path / "d.mat", lambda f: sparse73(f, "labels", ONE_HOT))
    assert 'name the whole, label_key = "labels"' in fault(part, "labels/data")
    assert "has no 'x'; it has 'labels'. Name" in fault(part, "x")
    cells = np.empty((1, 2), dtype=object)
    cells[0] = [np.array([1, 2]), np.array([3])]
    scipy.io.savemat(tmp_path / "e.mat", {"labels": cells})
    assert "cell 0 of 'labels' of" in fault(tmp_path / "e.mat")
    scipy.io.savemat(tmp_path / "f.mat", {"labels": cells5(["run", "", "a", "b"])})
    assert "has no class name for video 1" in fault(tmp_path / "f.mat")
    several = np.zeros((1, 2), dtype=[("y", object)])
    several["y"] = [[np.array([1]), np.array([2])]]
    scipy.io.savemat(tmp_path / "g.mat", {"labels": several})
    assert "is an array of 2 structs" in fault(tmp_path / "g.mat", "labels.y")


def test_texts_that_are_unclear_say_what_to_do(tmp_path, four):
    def text(content, name="l.csv", key=None):
        (tmp_path / name).write_text(content)
        return fault(tmp_path / name, key, four)

    assert "label_key" in text("v1,run\nv2,jump\nv3,swim\nv4,run\n") and "line of headings" in text("a,b\nc,d\n")
    assert "has no 'labels' or 're_label' or 'q_label'; it has 'id', 'class'" in text("id,class\n1,0\n2,0\n3,1\n4,2\n")
    assert "has no label for video 2" in text("run\njump\n\nswim\n", "l.txt")
    assert "has 2 columns in its first line and 3 in line 2" in text("labels,b\n1,2,3\n")
    assert "has 5 lines for 4 videos: if the first, 'Class', is a heading" in text("Class\nb\na\nb\na\n", "l.txt")
    assert "nothing stands under its heading" in text("labels\n", "l.txt")
    assert "holds no labels: it is empty" in text("\n \n", "l.txt")
    assert "labels are whole" in text("0\n1.5\nnan\n1\n", "l.txt")
    assert "labels are whole" in text(f"0\n{'9' * 5000}\n1\n1\n", "l.txt")
    assert "is not sound CSV" in text('labels,b\n"1,2\n')
    (tmp_path / "l.txt").write_bytes(b"gr\xf6n\n")
    assert "is not UTF-8 text" in fault(tmp_path / "l.txt") and "save it as UTF-8" in fault(tmp_path / "l.txt")
    (tmp_path / "l.txt").write_bytes(b"a\0b\n")
    assert "is not text" in fault(tmp_path / "l.txt")
    (tmp_path / "l.txt").write_bytes(codecs.BOM_UTF16_LE + b"a")
    assert "is not UTF-8 text" in fault(tmp_path / "l.txt")


def npy_header(shape, descr="'|u1'"):
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(180) + "\n"
    return b"\x93NUMPY\x02\0" + len(text).to_bytes(4, "little") + text.encode()


@pytest.mark.parametrize("content", [b"", bytes(1000)])
@pytest.mark.parametrize(
    "header",
    [
        npy_header("(4000000000, 4000000000)"),
        npy_header("(4, 100000000)"),
        npy_header("(-4, 3)"),
        npy_header("(99999999999999999999999,)"),
        npy_header("(4.5, 3)"),
        npy_header("(True, 3)"),
        npy_header("()"),
        npy_header("(2, 2, 2)"),
        npy_header("(4,)", "'|O'"),
        npy_header("(4,)", "'|V7'"),
        npy_header("(4,)", "[('a', '<i4')]"),
        npy_header("(4,)", "'nonsense'"),
        npy_header("(" * 90 + "4,"),
    ],
)
def test_npy_headers_that_cannot_be_are_one_sentence(tmp_path, four, header, content):
    (tmp_path / "l.npy").write_bytes(header + content)
    fault(tmp_path / "l.npy", None, four)
    with zipfile.ZipFile(tmp_path / "l.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("labels.npy", header + content)
    fault(tmp_path / "l.npz", None, four)


def test_an_archive_that_would_fill_the_memory_is_refused_by_its_header(tmp_path, four, monkeypatch):
    monkeypatch.setattr("vhbench.features.matlab.LARGEST", 2**20)
    np.savez_compressed(tmp_path / "l.npz", labels=np.zeros((4, 2**19), np.uint8))
    assert (tmp_path / "l.npz").stat().st_size < 2**12
    monkeypatch.setattr("numpy.lib.format.read_array", lambda *given, **more: pytest.fail("it was unpacked"))
    assert "takes 0.0021 GB: labels of that size cannot be right" in fault(tmp_path / "l.npz", None, four)


def test_a_matlab_file_that_would_fill_the_memory_is_refused(tmp_path, four, monkeypatch):
    monkeypatch.setattr("vhbench.features.matlab5.LARGEST", 2**20)
    path = write_mat(tmp_path / "l.mat", np.zeros((4, 2**19), np.uint8))
    assert path.stat().st_size < 2**12
    assert "it unpacks to more than any labels need" in fault(path, None, four)


def test_archives_that_are_something_else_are_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "l.xlsx", "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    assert "has no 'labels' or 're_label' or 'q_label': it holds no data set at all" in fault(tmp_path / "l.xlsx")
    np.savez(tmp_path / "l.npz", y=NUMBERS)
    assert "it has 'y'" in fault(tmp_path / "l.npz")
    content = bytearray((tmp_path / "l.npz").read_bytes())
    content[len(content) // 2] ^= 255
    (tmp_path / "l.npz").write_bytes(content)
    fault(tmp_path / "l.npz", "y")
    (tmp_path / "l.npz").write_bytes(b"PK\x03\x04 and nothing else")
    assert "is not a sound .npz file" in fault(tmp_path / "l.npz")


@pytest.mark.parametrize("rows", [2**60, 2**31, 3])
def test_sparse_matrices_of_impossible_shapes_are_one_sentence(tmp_path, four, rows):
    def write(file):
        sparse73(file, "labels", ONE_HOT).attrs["MATLAB_sparse"] = np.uint64(rows)

    fault(mat73(tmp_path / "l.mat", write), None, four)


def test_sparse_matrices_with_rows_outside_their_shape_are_refused(tmp_path, four):
    def write(file):
        group = sparse73(file, "labels", ONE_HOT)
        group["ir"][0] = 2**40

    assert "is a damaged sparse matrix" in fault(mat73(tmp_path / "l.mat", write), None, four)
    scipy.io.savemat(tmp_path / "5.mat", {"labels": scipy.sparse.csc_matrix(ONE_HOT)})
    content = bytearray((tmp_path / "5.mat").read_bytes())
    place = content.index(np.array([4, 3], "<i4").tobytes())  # the shape, in the matrix's own header
    content[place : place + 4] = np.array([2**31 - 1], "<i4").tobytes()
    (tmp_path / "5.mat").write_bytes(content)
    assert "labels of that size cannot be right" in fault(tmp_path / "5.mat", None, four)


def test_a_feature_file_in_place_of_labels_is_not_loaded(tmp_path):
    path = write_npy(tmp_path / "l.npy", np.zeros((4, 3, 5), np.float32))
    assert "labels have one or two dimensions" in fault(path)
    path = mat73(tmp_path / "l.h5", lambda f: f.create_dataset("labels", (2**20, 25, 4096), "f4", chunks=(1, 25, 4096)))
    assert "labels have one or two dimensions" in fault(path)
    path = mat73(tmp_path / "m.h5", lambda f: f.create_dataset("labels", (2**20, 2**14), "f8", chunks=(1, 2**14)))
    assert "labels of that size cannot be right" in fault(path)


def test_labels_whose_axes_are_swapped_are_seen_by_the_number_of_videos(tmp_path, four):
    message = fault(write_mat(tmp_path / "l.mat", ONE_HOT.T.copy()), None, four)
    assert "label 3 videos, but" in message and "transpose the matrix: videos down, classes across" in message
    five = write_mat(tmp_path / "m.mat", np.array([0, 1, 2, 1, 1]))
    assert "(their shape is (4, 2, 5), which should be videos, frames, dimensions)" in fault(five, None, four)


def test_damaged_label_files_are_one_sentence_each(tmp_path, four):
    rng = np.random.default_rng(0)
    for name, write in NAMED.items():
        path = write(tmp_path)
        sound = path.read_bytes()
        for _ in range(60):
            content = bytearray(sound[: rng.integers(1, len(sound) + 1)] if rng.random() < 0.4 else sound)
            for place in rng.integers(0, len(content), 4):
                content[place] = rng.integers(256)
            path.write_bytes(content)
            try:
                read_labels([path], features=four)
            except DataError as error:
                assert "\n" not in str(error), name
