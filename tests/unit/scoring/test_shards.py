"""A database counted in shards, by processes that each see a part: the scores of a single pass, to the last bit."""

import dataclasses
import json
import os

import numpy as np
import pandas as pd
import pytest

from vhbench.errors import DataError, StoreError, UsageError
from vhbench.scoring import Scores, evaluate
from vhbench.scoring import shards as shards_module
from vhbench.scoring.shards import CodeFiles, load_shard, merge_shards, save_shard

BITS, QUERIES, ROWS = 20, 30, 211


@pytest.fixture
def arrays():
    """Query and database codes and multi-hot labels; most queries sit in the database, some have no label."""
    rng = np.random.default_rng(0)
    codes = rng.random((ROWS, BITS)) < 0.5
    codes[50:90] = codes[:40]  # ties
    labels = (rng.random((ROWS, 6)) < 0.25).astype(np.int8)
    index = rng.choice(ROWS, QUERIES, replace=False)
    index[:4] = -1
    rows = np.where(index < 0, 0, index)
    return codes[rows], codes, labels[rows], labels, index


def write(folder, query, database, query_labels, database_labels, index=None):
    folder.mkdir()
    for name, codes in (("query", query), ("database", database)):
        np.save(folder / f"{name}.npy", np.packbits(codes, axis=1, bitorder="little"))
    np.save(folder / "query-labels.npy", query_labels)
    np.save(folder / "database-labels.npy", database_labels)
    if index is not None:
        np.save(folder / "self-index.npy", index)
    return folder


@pytest.fixture
def files(tmp_path, arrays):
    return write(tmp_path / "codes", *arrays)


def count_all(files, out, of):
    for number in range(1, of + 1):
        save_shard(out, *CodeFiles(files, BITS).count(number, of))


def assert_same_scores(scores, whole):
    """Every metric that counts define, in every convention, per query, and both curves."""
    for self_match in ("keep", "drop") if whole.in_database else ("keep",):
        for ties in ("expected", "best", "worst"):
            for k in (1, 5, 20, 1000):
                ranked = [f"{kind}@{k}" for kind in ("precision", "recall", "ndcg")]
                for name in ("mrr", *ranked, *(f"map@{k}[den={den}]" for den in ("k", "min", "r"))):
                    stem, _, options = name.partition("[")
                    metric = f"{stem}[{options.rstrip(']')}{',' if options else ''}ties={ties},self={self_match}]"
                    assert np.array_equal(scores.per_query(metric), whole.per_query(metric), equal_nan=True), metric
                    assert scores.value(metric) == whole.value(metric)
        for radius in (0, 2, 7):
            metric = f"precision@r{radius}[self={self_match}]"
            assert np.array_equal(scores.per_query(metric), whole.per_query(metric), equal_nan=True), metric
        for by in ("rank", "radius"):
            curves = [each.precision_recall(by, self_match) for each in (scores, whole)]
            pd.testing.assert_frame_equal(*curves, check_exact=True)


@pytest.mark.parametrize(("of", "block"), [(1, 1), (1, 13), (1, 1 << 17), (2, 13), (7, 1 << 17), (19, 5)])
def test_shards_of_any_size_give_the_scores_of_a_single_pass(arrays, files, tmp_path, monkeypatch, of, block):
    monkeypatch.setattr(shards_module, "BLOCK_ROWS", block)
    count_all(files, tmp_path / "counts", of)
    _, counts = merge_shards(tmp_path / "counts")
    *inputs, index = arrays
    assert_same_scores(Scores(counts), evaluate(*inputs, self_index=index))


def test_class_numbers_and_queries_apart_from_the_database(arrays, tmp_path):
    query, database, *_ = arrays
    rng = np.random.default_rng(1)
    labels = rng.choice([3, 5, 900], QUERIES), rng.choice([3, 5, 7], ROWS)  # 900: no relevant item
    count_all(write(tmp_path / "codes", query, database, *labels), tmp_path / "counts", 3)
    scores = Scores(merge_shards(tmp_path / "counts")[1])
    assert not scores.in_database
    assert_same_scores(scores, evaluate(query, database, *labels))


def test_the_command_in_real_processes_as_an_array_job_would(arrays, files, tmp_path, start):
    out = tmp_path / "counts"
    tasks = [start("score", files, "--bits", BITS, "--shard", f"{number}/3", "-o", out) for number in (1, 2, 3)]
    for number, task in enumerate(tasks, 1):
        assert task.end() == 0, task.printed
        said, printed = task.printed.splitlines()
        assert said.startswith("counted 30 queries against 7") and said.endswith("of 211 items, 20 bits")
        assert printed == str(out / f"counts-0000{number}-of-00003.npz")
    merged = start("score", "--merge", out, "--format", "json", "--ks", "5,20")
    assert merged.end() == 0
    printed = merged.printed
    *inputs, index = arrays
    whole = evaluate(*inputs, self_index=index, ks=(5, 20))
    result = json.loads(printed)
    assert result["scores"] == whole.record()
    assert result["queries"] == {
        "total": QUERIES, "scored": whole.n_scored(), "scored_without_self": whole.n_scored("drop")
    }  # fmt: skip


def test_the_length_of_the_codes_is_that_of_the_export(files):
    assert CodeFiles(files).bits == 24, "without a word on it, all bits of all bytes count"
    (files.parent / "about.json").write_text(json.dumps({"bits": BITS}))
    assert CodeFiles(files).bits == BITS


def test_a_table_is_printed_for_people(vhbench, files, tmp_path):
    count_all(files, tmp_path / "counts", 2)
    result = vhbench("score", "--merge", tmp_path / "counts", "--ks", "5")
    assert result.code == 0 and "map@5[den=k,ties=expected,self=keep]" in result.out
    assert "211 items in 2 shards" in result.err


def test_an_exported_run_is_scored_as_it_was_recorded(run_tiny, vhbench, tiny, out, tmp_path):
    """The training set as query and database: each query is its own match, which the export says."""
    manifest = tiny.with_name("inside.toml")
    text = tiny.read_text().replace('name = "tiny"', 'name = "inside"\nqueries_in_database = true')
    manifest.write_text(text.replace("tiny_test", "tiny_train").replace("count = 12", "count = 40"))
    assert run_tiny("fake", "--protocol", manifest).code == 0
    (path,) = out.glob("inside/*/*/run.json")
    exported = vhbench("export", path.parent, "-o", tmp_path / "codes", "--out", out, "--protocol", manifest)
    assert exported.code == 0, exported.err
    for number in (1, 2):
        vhbench("score", tmp_path / "codes" / "inside", "--shard", f"{number}/2", "-o", tmp_path / "counts")
    scores = json.loads(vhbench("score", "--merge", tmp_path / "counts", "--format", "json").out)["scores"]
    assert scores == json.loads(path.read_text())["scores"]
    assert any(name.endswith("self=drop]") for name in scores)


# what does not belong together


def refusal(tmp_path):
    with pytest.raises(StoreError) as error:
        merge_shards(tmp_path / "counts")
    return str(error.value)


def test_missing_shards_are_named(files, tmp_path):
    count_all(files, tmp_path / "counts", 4)
    for number in (2, 4):
        (tmp_path / "counts" / f"counts-{number:05}-of-00004.npz").unlink()
    assert "2 of 4 shards are missing" in refusal(tmp_path) and "2, 4. Count them" in refusal(tmp_path)


def test_a_folder_without_counts_says_how_to_make_some(tmp_path):
    assert "There are no counts in" in refusal(tmp_path)


def test_shards_of_two_numbers_do_not_mix(files, tmp_path):
    count_all(files, tmp_path / "counts", 2)
    save_shard(tmp_path / "counts", *CodeFiles(files, BITS).count(1, 3))
    assert "do not belong together: another number of shards" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("name", "word"), [("query.npy", "other queries"), ("self-index.npy", "other queries"), ("bits", "another length")]
)
def test_shards_of_other_queries_or_codes_do_not_mix(files, tmp_path, name, word):
    save_shard(tmp_path / "counts", *CodeFiles(files, BITS).count(1, 2))
    if name != "bits":
        np.save(files / name, np.load(files / name)[::-1])
    save_shard(tmp_path / "counts", *CodeFiles(files, 24 if name == "bits" else BITS).count(2, 2))
    assert word in refusal(tmp_path)


def test_a_shard_counted_under_two_numbers_is_refused(files, tmp_path):
    """As after a mistake in renaming: the same rows would count twice."""
    count_all(files, tmp_path / "counts", 2)
    first, second = sorted((tmp_path / "counts").iterdir())
    second.write_bytes(first.read_bytes())
    assert "counts-00002-of-00002.npz holds shard 1/2 under another name" in refusal(tmp_path)


@pytest.mark.parametrize("content", [b"", b"garbage", None], ids=["empty", "garbage", "cut off"])
def test_a_damaged_file_of_counts_is_named(files, tmp_path, content):
    path = save_shard(tmp_path / "counts", *CodeFiles(files, BITS).count())
    path.write_bytes(path.read_bytes()[:-200] if content is None else content)
    assert str(path) in refusal(tmp_path) and "count that shard again" in refusal(tmp_path)


def test_a_flipped_bit_in_a_file_of_counts_is_seen(files, tmp_path):
    path = save_shard(tmp_path / "counts", *CodeFiles(files, BITS).count())
    content = bytearray(path.read_bytes())
    content[content.index(b"items.npy") + 60] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreError, match="count that shard again"):
        load_shard(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"about": {"bits": 8.0}}, "its bits is none"),
        ({"about": {"bits": BITS + 1}}, "does not hold counts of codes of"),
        ({"about": {"number": 3, "of": 2}}, "there is no such shard"),
        ({"about": {"stop": 5}}, "its items are not 5 a query"),
        ({"items": lambda x: x + 1}, "its items are not"),
        ({"items": lambda x: x.astype(float)}, "does not hold counts"),
        ({"items": lambda x: x[:1]}, "does not hold counts"),
        ({"items": lambda x: np.zeros(())}, "no sound file of counts"),
        ({"relevant": lambda x: x - 1}, "more items are relevant than there are"),
        ({"relevant": lambda x: x + ROWS}, "more items are relevant than there are"),
        ({"self_distance": lambda x: x + 99}, "a self_distance is not from -1 to"),
        ({"self_relevant": lambda x: x.astype(int)}, "does not hold counts"),
        ({"self_relevant": None}, "it has one of self_distance and self_relevant"),
        ({"more": lambda x: 0}, "no sound file of counts"),
    ],
)
def test_counts_of_a_wrong_form_are_refused(files, tmp_path, changes, words):
    """Sound as an archive, but no counts: a score of it would be wrong without a word."""
    path = save_shard(tmp_path, *CodeFiles(files, BITS).count())
    arrays = dict(np.load(path))
    about = {**json.loads(str(arrays["about"])), **changes.pop("about", {})}
    for name, change in changes.items():
        arrays[name] = None if change is None else np.asarray(change(arrays.get(name)))
    kept = {name: array for name, array in arrays.items() if array is not None}
    np.savez(path, **{**kept, "about": np.asarray(json.dumps(about))})
    with pytest.raises(StoreError, match="count that shard again") as error:
        load_shard(path)
    assert words in str(error.value)


def test_counts_that_speak_of_a_trillion_shards_are_refused_at_once(files, tmp_path):
    shard, counts = CodeFiles(files, BITS).count()
    save_shard(tmp_path / "counts", dataclasses.replace(shard, of=10**12, rows=10**12), counts)
    assert "999999999999 of 1000000000000 shards are missing" in refusal(tmp_path)


def test_a_pipe_among_the_codes_is_not_opened(files):
    (files / "database.npy").unlink()
    os.mkfifo(files / "database.npy")
    with pytest.raises(DataError, match="is a named pipe"):
        CodeFiles(files, BITS)


# input


@pytest.mark.parametrize("shard", ["0/3", "4/3", "1/0", f"1/{ROWS + 1}", "3", "a/b", "-1/3"])
def test_impossible_shards_are_one_sentence(vhbench, files, tmp_path, shard):
    result = vhbench("score", files, "--bits", BITS, "--shard", shard, "-o", tmp_path / "counts")
    assert result.code == 2 and "shard" in result.error and not (tmp_path / "counts").exists()


@pytest.mark.parametrize("words", [(), ("codes", "--merge", "counts"), ("codes",)])
def test_wrong_usage_is_one_sentence(vhbench, words):
    assert vhbench("score", *words).code == 2 and vhbench("score", *words).error


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        ("query.npy", np.zeros((QUERIES, 2), np.uint8), "2 bytes a code"),
        ("database.npy", np.zeros((ROWS, 3), np.int64), "packed codes, uint8"),
        ("database-labels.npy", np.zeros((ROWS - 1, 6), np.int8), "there are 211 codes"),
        ("query-labels.npy", np.zeros(QUERIES, np.int64), "give both"),
        ("query.npy", np.full((QUERIES, 3), 255, np.uint8), "bits beyond the 20"),
        ("self-index.npy", np.full(QUERIES, ROWS), "a row of the database"),
    ],
)
def test_files_of_another_form_are_named(files, name, array, words):
    np.save(files / name, array)
    with pytest.raises(DataError, match=words):
        CodeFiles(files, BITS).count()


def test_codes_with_the_high_bit_first_are_counted_as_such(files, arrays):
    whole = CodeFiles(files, BITS).count()[1]
    for role, codes in (("query", arrays[0]), ("database", arrays[1])):
        np.save(files / f"{role}.npy", np.packbits(codes, axis=1))
    (files.parent / "about.json").write_text(json.dumps({"bits": BITS, "order": "big"}))
    counts = CodeFiles(files).count()[1]
    assert np.array_equal(counts.items, whole.items) and np.array_equal(counts.relevant, whole.relevant)


@pytest.mark.parametrize("bits", [16, 25])
def test_a_wrong_code_length_is_one_sentence(files, bits):
    with pytest.raises(UsageError, match="17 to 24 bits"):
        CodeFiles(files, bits)
