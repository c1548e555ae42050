"""`vhbench export`: codes that other programs read, faiss for one, with the labels that belong to them."""

import csv
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.io

import vhbench as package
from vhbench.codes import unpack
from vhbench.errors import UsageError
from vhbench.runs import export as exporting
from vhbench.runs.store import Store
from vhbench.testing import make_protocol

BITS = 12  # not whole bytes
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def made(tiny, fake_methods, tmp_path_factory):
    """A results folder with a finished run of 12 bits on the tiny protocol, made once."""
    folder = tmp_path_factory.mktemp("made") / "results"
    package.run("fake", tiny, BITS, out=folder, plugins=[fake_methods])
    return folder


@pytest.fixture
def record(made, out):
    """The run, in a results folder of the test's own."""
    shutil.copytree(made, out)
    (record,), _ = Store(out).records()
    return record


def codes_of(record, role):
    with np.load(record.folder / "codes.npz") as packed:
        return unpack(packed[f"tiny/{role}"], record.spec["bits"])


def test_bits_stand_in_the_bytes_where_the_documentation_says(vhbench, record, out, tmp_path):
    assert vhbench("export", record.data["id"][:8], "-o", tmp_path / "codes", "--out", out).code == 0
    for role in ("query", "database"):
        octets, codes = np.load(tmp_path / "codes" / "tiny" / f"{role}.npy"), codes_of(record, role)
        assert (octets.dtype, octets.shape) == (np.uint8, (len(codes), 2))
        for bit in range(BITS):
            assert np.array_equal(octets[:, bit // 8] >> (bit % 8) & 1, codes[:, bit])
        assert not (octets[:, 1] >> 4).any()


def test_the_big_order_of_bits_is_that_of_numpy_by_default(vhbench, record, out, tmp_path):
    words = ("export", record.folder, "-o", tmp_path / "codes", "--out", out)
    assert vhbench(*words, "--bit-order", "big").code == 0
    for role in ("query", "database"):
        assert np.array_equal(
            np.load(tmp_path / "codes" / "tiny" / f"{role}.npy"), np.packbits(codes_of(record, role), axis=1)
        )
    about = json.loads((tmp_path / "codes" / "about.json").read_text())
    assert about["order"] == "big" and "bit 7 - j % 8" in about["bit_order"]
    again = vhbench(*words)
    assert again.code == 2 and "export with --bit-order big: choose another folder" in again.error


def test_the_table_of_bits_has_the_first_bit_first(vhbench, record, out, tmp_path):
    vhbench("export", record.folder, "-o", tmp_path / "codes", "--out", out, "--csv", "--bit-order", "big")
    for role in ("query", "database"):
        lines = (tmp_path / "codes" / "tiny" / f"{role}-bits.csv").read_text().splitlines()
        codes = codes_of(record, role)
        texts = [f"{row},{''.join('1' if bit else '0' for bit in code)}" for row, code in enumerate(codes)]
        assert lines == ["id,code", *texts]


def test_an_order_of_bits_that_does_not_exist_is_refused(made, record, out, tmp_path):
    with pytest.raises(UsageError, match="Unknown order of bits 'middle'"):
        package.export(record.folder, tmp_path / "codes", bit_order="middle", out=out)


def test_faiss_searches_the_index_as_vhbench_ranks(vhbench, record, out, tmp_path):
    faiss = pytest.importorskip("faiss")
    vhbench("export", record.folder, "-o", tmp_path / "codes", "--out", out)
    index = faiss.read_index_binary(str(tmp_path / "codes" / "tiny" / "database.faiss"))
    assert isinstance(index, faiss.IndexBinaryIDMap)
    distances, rows = index.search(np.load(tmp_path / "codes" / "tiny" / "query.npy"), 40)
    query, database = codes_of(record, "query"), codes_of(record, "database")
    expected = (query[:, None] != database).sum(axis=2)
    assert index.ntotal == 40 and np.array_equal(distances, np.sort(expected, axis=1))
    assert np.array_equal(np.take_along_axis(expected, rows, axis=1), distances), "row numbers are those of the codes"


@pytest.mark.parametrize("order", ["little", "big"])
def test_every_recipe_of_the_documentation_finds_our_neighbours(
    vhbench, record, out, tmp_path, child_environment, order
):
    text = (ROOT / "docs" / "search.md").read_text(encoding="utf-8")
    recipes = dict(re.findall(r"^### (\w+)\n\n```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    assert [*recipes] == ["faiss", "usearch", "lancedb", "duckdb"]
    if order == "big":
        recipes.pop("lancedb")  # takes seconds to import, and has the bytes from where usearch has them
    vhbench("export", record.folder, "-o", tmp_path / "codes", "--out", out, "--csv", "--bit-order", order)
    folder = tmp_path / "codes" / "tiny"
    script = "".join(f"{code}np.savez('{name}.npz', i=ids, d=distances)\n" for name, code in recipes.items())
    words = [sys.executable, "-c", f"import numpy as np\n{script}"]
    done = subprocess.run(words, cwd=folder, env=child_environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    query, database = codes_of(record, "query"), codes_of(record, "database")
    every = (query[:, None] != database).sum(axis=2)
    for name in recipes:
        with np.load(folder / f"{name}.npz") as found:
            assert np.array_equal(found["d"], np.sort(every, axis=1)[:, :10]), name
            assert np.array_equal(np.take_along_axis(every, found["i"].astype(int), axis=1), found["d"]), name
            assert all(len(set(row)) == 10 for row in found["i"].tolist()), name


def test_scores_of_the_exported_files_are_those_of_the_record(vhbench, record, tiny, out, tmp_path):
    folder = tmp_path / "codes" / "tiny"
    vhbench("export", record.folder, "-o", tmp_path / "codes", "--out", out, "--protocol", tiny)
    roles = ("query", "database")
    codes = [np.unpackbits(np.load(folder / f"{r}.npy"), axis=1, count=BITS, bitorder="little") == 1 for r in roles]
    labels = [np.load(folder / f"{role}-labels.npy") for role in roles]
    value = package.evaluate(*codes, *labels).map(20)
    assert value == pytest.approx(record.scores["map@20[den=k,ties=expected,self=keep]"], abs=1e-12)


def test_labels_stand_beside_the_codes_row_by_row(vhbench, record, tiny, out, tmp_path):
    vhbench("export", record.folder, "-o", tmp_path / "codes", "--out", out, "--protocol", tiny)
    for role, part in (("query", "test"), ("database", "train")):
        with (tmp_path / "codes" / "tiny" / f"{role}.csv").open() as file:
            lines = list(csv.DictReader(file))
        classes = scipy.io.loadmat(tiny.with_name(f"tiny_{part}_labels.mat"))["labels"].argmax(axis=1)
        assert [(int(line["row"]), int(line["labels"])) for line in lines] == list(enumerate(classes))


def test_without_the_data_codes_are_written_and_the_reason_is_said(vhbench, record, out, tmp_path):
    result = vhbench("export", record.folder, "-o", tmp_path / "codes", "--out", out)
    assert result.code == 0
    assert "labels are left out: Unknown protocol 'tiny'" in result.err and "--protocol PATH.toml" in result.err
    assert "The run says that it was made with --protocol " in result.err
    written = [line.rpartition("/")[2] for line in result.out.splitlines()]
    assert written == ["query.npy", "database.npy", "database.faiss", "about.json"]


def test_labels_of_other_data_are_never_written(vhbench, record, out, tmp_path):
    other = make_protocol(tmp_path / "other", videos=36)
    result = vhbench("export", record.folder, "-o", tmp_path / "codes", "--out", out, "--protocol", other)
    assert "made on other query videos of tiny" in result.err
    assert not list((tmp_path / "codes").rglob("*labels*"))


def test_without_faiss_the_codes_are_written_and_one_sentence_says_what_to_install(
    vhbench, record, out, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "faiss", None)  # importing it fails, as where it is not installed
    result = vhbench("export", record.folder, "-o", tmp_path / "codes", "--out", out)
    assert result.code == 0 and result.err.count("pip install faiss-cpu") == 1
    assert (tmp_path / "codes" / "tiny" / "database.npy").is_file()
    assert not (tmp_path / "codes" / "tiny" / "database.faiss").exists()


def test_about_says_which_run_it_is_and_how_bits_are_ordered(vhbench, record, out, tmp_path):
    vhbench("export", record.folder, "-o", tmp_path / "codes", "--out", out)
    about = json.loads((tmp_path / "codes" / "about.json").read_text())
    assert about["run"] == record.data["id"]
    assert (about["method"], about["bits"], about["bytes"]) == ("fake", BITS, 2)
    assert "bit j % 8" in about["bit_order"]


def test_a_run_is_named_by_its_folder_below_the_results_folder_too(vhbench, record, out, tmp_path):
    name = record.folder.relative_to(out)
    assert vhbench("export", name, "-o", tmp_path / "codes", "--out", out).code == 0


@pytest.mark.parametrize(
    ("run", "words"),
    [
        ("fake", ["'fake'", "neither a run's folder nor the start of an id", "vhbench list runs"]),
        ("abc", ["'abc'", "4 or more"]),
        ("0000000000", ["No run in", "'0000000000'"]),
    ],
)
def test_a_run_that_does_not_exist_is_said_in_one_sentence(vhbench, record, out, tmp_path, run, words):
    result = vhbench("export", run, "-o", tmp_path / "codes", "--out", out)
    assert result.code == 2 and all(word in result.error for word in words)
    assert not (tmp_path / "codes").exists()


def test_a_start_that_fits_two_ids_names_both(vhbench, out, write_run, tmp_path, monkeypatch):
    digits = Counter(write_run(seed=seed).name.rpartition("-")[2][0] for seed in range(17))
    ((start, twice),) = digits.most_common(1)  # 17 ids, 16 digits
    monkeypatch.setattr(exporting, "PREFIX", re.compile("[0-9a-f]+"))  # four digits would take thousands of runs
    result = vhbench("export", start, "-o", tmp_path / "codes", "--out", out)
    assert f"{twice} ids start with {start!r}" in result.error and str(out) in result.error


def test_damaged_codes_are_refused(vhbench, record, out, tmp_path):
    with (record.folder / "codes.npz").open("ab") as file:
        file.write(b"x")
    result = vhbench("export", record.folder, "-o", tmp_path / "codes", "--out", out)
    assert result.code == 1 and "codes.npz is damaged" in result.error
    assert not (tmp_path / "codes").exists()


def test_a_failed_run_has_no_codes(vhbench, run_tiny, out, tmp_path):
    run_tiny("fake-nan-loss")
    (record,), _ = Store(out).records()
    result = vhbench("export", record.folder, "-o", tmp_path / "codes", "--out", out)
    assert result.code == 1 and "has no codes: the run is failed" in result.error


def test_a_folder_with_another_runs_files_is_refused(vhbench, run_tiny, record, out, tmp_path):
    run_tiny("itq")
    one, other = Store(out).records()[0]
    vhbench("export", one.folder, "-o", tmp_path / "codes", "--out", out)
    result = vhbench("export", other.folder, "-o", tmp_path / "codes", "--out", out)
    assert result.code == 2 and "holds the export of another run" in result.error
    assert vhbench("export", one.folder, "-o", tmp_path / "codes", "--out", out).code == 0, "the same run is welcome"


def test_the_python_function_writes_the_same_files_and_returns_them(request, record, tiny, out, tmp_path):
    command = request.getfixturevalue("vhbench")
    printed = command("export", record.folder, "-o", tmp_path / "one", "--out", out, "--protocol", tiny).out
    table = package.export(record.data["id"], tmp_path / "other", protocol=tiny, out=out)
    assert isinstance(table, pd.DataFrame)
    assert table["path"].tolist() == printed.replace(str(tmp_path / "one"), str(tmp_path / "other")).splitlines()
    for one, other in zip(printed.splitlines(), table["path"], strict=True):
        assert Path(one).read_bytes() == Path(other).read_bytes()
    assert table["videos"].dropna().unique().tolist() == [12, 40]
