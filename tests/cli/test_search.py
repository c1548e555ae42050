"""`vhbench index` and `vhbench search` on a folder of codes: what is printed, written, refused."""

import csv
import io
import json

import numpy as np
import pytest
from brute_search import brute

import vhbench as package
from vhbench.errors import UsageError
from vhbench.search.gallery import open_gallery, write_gallery
from vhbench.search.index import FAISS

BITS, VIDEOS = 20, 40
HOSTILE = "<img src=x onerror=alert(1)>"
NAMES = [f"class {row % 4}/video {row}.mp4" for row in range(VIDEOS - 2)] + [HOSTILE, "=twice.mp4"]


@pytest.fixture(scope="module")
def bits():
    codes = np.random.default_rng(0).random((VIDEOS, BITS)) < 0.5
    codes[20:25] = codes[30]  # ties, before the row that is asked for
    return codes


@pytest.fixture
def folder(tmp_path, bits):
    """A gallery without ids."""
    packed = np.packbits(bits, axis=1, bitorder="little")
    return write_gallery(tmp_path / "codes", packed, bits=BITS, names=NAMES, about={"method": "itq"}).folder


def expected(bits, row, k):
    """Rows and distances of the k nearest of a row, itself left out."""
    packed = np.packbits(bits, axis=1)
    rows, distances = (array[0] for array in brute(packed, packed[row : row + 1], len(bits)))
    return [(r, d) for r, d in zip(rows.tolist(), distances.tolist(), strict=True) if r != row][:k]


def test_a_row_finds_its_neighbours_without_itself(vhbench, folder, bits):
    result = vhbench("search", folder, "--query", 30, "-k", 8, "--format", "json")
    assert result.code == 0 and f"query: row 30 ({NAMES[30]}), which is left out" in result.err
    found = json.loads(result.out)
    assert [(item["row"], item["distance"]) for item in found] == expected(bits, 30, 8)
    assert [item["rank"] for item in found] == [*range(1, 9)] and {item["query"] for item in found} == {NAMES[30]}
    assert all(item["id"] == item["row"] and item["name"] == NAMES[item["row"]] for item in found)


def test_more_copies_than_neighbours_do_not_bring_the_row_itself_back(vhbench, folder):
    found = json.loads(vhbench("search", folder, "--query", 30, "-k", 3, "--format", "json").out)
    assert [item["row"] for item in found] == [20, 21, 22]


def test_a_name_is_a_row_too(vhbench, folder):
    by_row, by_name = (vhbench("search", folder, "--query", query, "-k", 5).out for query in (5, NAMES[5]))
    assert by_name == by_row and by_row.split()[:5] == ["rank", "id", "name", "distance", "(bits)"]


def test_all_rows_and_no_more_can_be_asked_for(vhbench, folder, bits):
    found = json.loads(vhbench("search", folder, "--query", 0, "-k", VIDEOS - 1, "--format", "json").out)
    assert [(item["row"], item["distance"]) for item in found] == expected(bits, 0, VIDEOS)
    result = vhbench("search", folder, "--query", 0, "-k", VIDEOS)
    assert result.code == 2 and f"-k {VIDEOS}: {folder} has 39 codes beside the query" in result.error


def test_a_table_for_spreadsheets_holds_no_formula(vhbench, folder):
    text = vhbench("search", folder, "--query", 0, "-k", 39, "--format", "csv").out
    lines = list(csv.DictReader(io.StringIO(text)))
    assert [*lines[0]] == ["query", "rank", "row", "id", "name", "distance"] and len(lines) == 39
    assert "'=twice.mp4" in [line["name"] for line in lines]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--query", "40"], "There is no row 40: the rows of"),
        (["--query=-1"], "There is no row -1"),
        (["--query", "class 1/vidoe 5.mp4"], "did you mean 'class 1/video 5.mp4'"),
        (["--query", "nowhere.mp4"], "'nowhere.mp4' is neither a file nor the name of a video in"),
        (["--query", "0", "-k", "0"], "-k takes a number of neighbours from 1 up, not 0"),
        (["--query", "0", "--videos", "."], "add --html FILE"),
        (["--query", "0", "--videos", "nowhere", "--html", "page.html"], "There is no folder nowhere"),
        (["--query", "0", "--device", "tpu"], "--device takes auto, cpu or cuda:N"),
    ],
)
def test_bad_input_is_one_sentence(vhbench, folder, words, said):
    result = vhbench("search", folder, *words)
    assert result.code == 2 and said in result.error


def test_a_name_that_two_rows_have_is_refused(vhbench, folder, tmp_path):
    codes = open_gallery(folder).codes
    twice = write_gallery(tmp_path / "twice", codes[:3], bits=BITS, names=["a", "b", "a"]).folder
    result = vhbench("search", twice, "--query", "a", "-k", 1)
    assert result.code == 2 and "2 videos of" in result.error and "give the row, 0, 2" in result.error


def test_without_names_only_rows_and_files_can_be_asked_for(vhbench, folder, tmp_path):
    bare = write_gallery(tmp_path / "bare", open_gallery(folder).codes, bits=BITS).folder
    result = vhbench("search", bare, "--query", "clip.mp4")
    assert result.code == 2 and "have no names: give a file or a row, 0 to 39" in result.error
    found = vhbench("search", bare, "--query", 3, "-k", 1)
    assert found.code == 0 and found.err.startswith("query: row 3, which") and found.out.split()[-2] == "-"


def test_a_folder_that_holds_no_codes_or_damaged_ones_is_refused(vhbench, folder, tmp_path):
    result = vhbench("search", tmp_path, "--query", 0)
    assert result.code == 2 and "holds no codes" in result.error
    with (folder / "codes.npy").open("ab") as file:
        file.write(b"x")
    for command in (("search", folder, "--query", 0), ("index", folder)):
        result = vhbench(*command)
        assert result.code == 2 and "codes.npy is damaged" in result.error


def test_without_a_model_only_rows_can_be_asked_for(vhbench, folder, tmp_path):
    np.save(tmp_path / "feats.npy", np.ones((2, 3, 4), np.float32))
    (tmp_path / "new.mp4").write_bytes(b"whatever")
    for name in ("feats.npy", "new.mp4"):
        result = vhbench("search", folder, "--query", tmp_path / name)
        assert result.code == 2 and "has no model" in result.error and "only its own rows" in result.error


def test_python_takes_codes_too_and_returns_a_table(folder, bits):
    table = package.search(folder, bits[[30, 3]], k=4)
    assert list(table.columns) == ["query", "rank", "row", "id", "name", "distance"]
    packed = np.packbits(bits, axis=1)
    rows, distances = brute(packed, packed[[30, 3]], 4)
    assert table["row"].tolist() == rows.ravel().tolist() and table["distance"].tolist() == distances.ravel().tolist()
    assert table["query"].tolist() == ["query 0"] * 4 + ["query 1"] * 4
    assert package.search(folder, 30, k=2)["row"].tolist() == [20, 21]
    assert package.search(folder, bits[7], k=1)["row"].tolist() == [7], "codes are nobody's row: nothing is left out"
    with pytest.raises(UsageError, match="codes have 8 bits, those"):
        package.search(folder, bits[0, :8])
    with pytest.raises(UsageError, match="must be bool"):
        package.search(folder, np.zeros((1, BITS)))


def test_index_adds_ids_and_names_and_search_says_them(vhbench, folder, tmp_path):
    ids = np.arange(VIDEOS)[::-1] * 7 - 3
    np.save(tmp_path / "ids.npy", ids)
    (tmp_path / "names.txt").write_text("".join(f"video {row}\r\n" for row in range(VIDEOS)))
    result = vhbench("index", folder, "--ids", tmp_path / "ids.npy", "--names", tmp_path / "names.txt")
    assert (result.code, result.out) == (0, "40 codes of 20 bits, as they were written; names; ids: own\n")
    (found,) = json.loads(vhbench("search", folder, "--query", "video 30", "-k", 1, "--format", "json").out)
    assert (found["row"], found["id"], found["name"]) == (20, ids[20], "video 20")
    assert open_gallery(folder).about["method"] == "itq", "what the codes' writer said stays"
    (tmp_path / "ids.txt").write_text("\n".join(map(str, range(100, 140))))
    assert vhbench("index", folder, "--ids", tmp_path / "ids.txt").code == 0
    kept = open_gallery(folder)
    assert kept.ids.tolist() == [*range(100, 140)] and kept.names[2] == b"video 2", "what is not given stays"


@pytest.mark.parametrize(
    ("option", "content", "said"),
    [
        ("--ids", "1\n2\n", "holds 2 ids for 40 videos"),
        ("--ids", "1\nx\n", "line 2: 'x' is no whole number"),
        ("--ids", "9" * 30, "line 1: '9999"),
        ("--ids", "\n".join(["5", *map(str, range(39))]), "holds the id 5 2 times"),
        ("--ids", np.zeros(40), "must hold ids as int64, one a video, not float64"),
        ("--names", "a\nb", "holds 2 names for 40 videos"),
        ("--names", b"\xff\xfe\xfd", "is not UTF-8 text"),
        ("--names", None, "There is no file"),
    ],
)
def test_ids_and_names_that_do_not_fit_are_refused_and_nothing_is_lost(
    vhbench, folder, tmp_path, option, content, said
):
    path = tmp_path / "beside"
    if isinstance(content, np.ndarray):
        with path.open("wb") as file:
            np.save(file, content)
    elif content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    result = vhbench("index", folder, option, path)
    assert result.code == 2 and said in result.error
    assert open_gallery(folder).ids is None and len(open_gallery(folder).names) == VIDEOS


def test_index_sees_a_changed_bit_that_search_does_not_look_for(vhbench, folder):
    octets = bytearray((folder / "codes.npy").read_bytes())
    octets[-1] ^= 1
    (folder / "codes.npy").write_bytes(octets)
    assert vhbench("search", folder, "--query", 0).code == 0
    result = vhbench("index", folder)
    assert result.code == 2 and "codes.npy is damaged (its sha256" in result.error


def test_the_faiss_index_answers_with_ids(vhbench, folder, bits, tmp_path):
    faiss = pytest.importorskip("faiss")
    (tmp_path / "ids.txt").write_text("\n".join(str(1000 - row) for row in range(VIDEOS)))
    assert vhbench("index", folder, "--ids", tmp_path / "ids.txt", "--faiss").code == 0
    index = faiss.read_index_binary(str(folder / FAISS))
    distances, ids = index.search(np.array(open_gallery(folder).codes[[30]]), VIDEOS)
    ours = package.search(folder, bits[30], k=VIDEOS)
    assert distances[0].tolist() == ours["distance"].tolist() and sorted(ids[0]) == sorted(ours["id"])
    assert dict(zip(ids[0], distances[0], strict=True)) == dict(zip(ours["id"], ours["distance"], strict=True))
    (tmp_path / "ids.txt").write_text("\n".join(map(str, range(VIDEOS))))
    result = vhbench("index", folder, "--ids", tmp_path / "ids.txt")
    assert "had the ids of before and is removed" in result.err and not (folder / FAISS).exists()


def test_index_makes_a_gallery_of_a_runs_database_with_its_model(vhbench, run_tiny, tiny, out, tmp_path):
    run_tiny("itq", "--keep-model")
    (run,) = (path.parent for path in out.glob("tiny/itq/*/run.json"))
    result = vhbench("index", run)
    assert result.code == 2 and "Add -o DIR" in result.error
    assert vhbench("index", run, "-o", tmp_path / "codes").code == 0
    gallery = open_gallery(tmp_path / "codes")
    with np.load(run / "codes.npz") as codes:
        assert np.array_equal(gallery.codes[:, 0], codes["tiny/database"][:, 0])
    assert (len(gallery), gallery.bits, gallery.about["split"]) == (40, 8, "tiny")
    assert vhbench("index", run, "-o", tmp_path / "codes").code == 0, "the same run's may be replaced"
    found = package.search(tmp_path / "codes", tiny.with_name("tiny_train_feats.h5"), k=40)
    assert len(found) == 40 * 40 and found["distance"][found["row"] == found["query"].factorize()[0]].eq(0).all()
    result = vhbench("index", run, "-o", tmp_path / "other", "--split", "tniy")
    assert result.code == 2 and "Unknown split 'tniy': did you mean 'tiny'" in result.error
    result = vhbench("index", tmp_path / "codes", "-o", tmp_path / "other")
    assert result.code == 2 and "holds codes already" in result.error


def test_a_gallery_is_exported_with_its_ids(vhbench, folder, bits, tmp_path):
    faiss = pytest.importorskip("faiss")
    (tmp_path / "ids.txt").write_text("\n".join(str(1000 - row) for row in range(VIDEOS)))
    assert vhbench("index", folder, "--ids", tmp_path / "ids.txt").code == 0
    result = vhbench("export", folder, "-o", tmp_path / "out", "--csv", "--bit-order", "big")
    names = ["database.npy", "database.faiss", "database-bits.csv", "about.json"]
    assert [line.rpartition("/")[2] for line in result.out.splitlines()] == names
    octets = np.load(tmp_path / "out" / "database.npy")
    assert np.array_equal(octets, np.packbits(bits, axis=1))
    index = faiss.read_index_binary(str(tmp_path / "out" / "database.faiss"))
    assert index.search(octets[[7]], 1)[1].tolist() == [[993]]
    line = (tmp_path / "out" / "database-bits.csv").read_text().splitlines()[8]
    assert line == f"993,{''.join(map(str, bits[7].astype(int)))}"
    result = vhbench("export", folder, "-o", tmp_path / "out")
    assert result.code == 2 and "choose an empty folder" in result.error
