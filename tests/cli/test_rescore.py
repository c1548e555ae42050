"""`vhbench rescore`: numbers from stored codes alone, and a record that is never lost or mixed with another."""

import json
import random
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.io

import vhbench as package
from vhbench.codes import unpack
from vhbench.errors import UsageError
from vhbench.runs.record import write_record
from vhbench.runs.spec import RunSpec
from vhbench.runs.store import Store
from vhbench.system.files import sha256_of
from vhbench.testing import make_protocol

MAP = "map@20[den=k,ties=expected,self=keep]"


@pytest.fixture
def rescore(vhbench, tiny, out):
    """Run `vhbench rescore` on the tiny protocol."""
    return lambda *words: vhbench("rescore", "--protocol", tiny, "--out", out, *words)


@pytest.fixture(scope="module")
def made(tiny, fake_methods, tmp_path_factory):
    """A results folder with a finished run, made once: every test works on a copy."""
    folder = tmp_path_factory.mktemp("made") / "results"
    package.run("fake", tiny, 8, out=folder, plugins=[fake_methods])
    return folder


@pytest.fixture
def record(made, out):
    """A finished run; `load` it again to see what became of it."""
    shutil.copytree(made, out)
    (record,), _ = Store(out).records()
    return record


def load(record):
    return json.loads((record.folder / "run.json").read_text())


def change(record, **entries):
    """Change entries of a record on disk."""
    write_record(record.folder, {**load(record), **entries})


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_whole(out):
    """Every record is there, every file is the recorded one, and nothing else lies about."""
    for path in out.glob("*/*/*/run.json"):
        files = json.loads(path.read_text())["files"]
        assert {name: sha256_of(path.with_name(name)) for name in files} == files
    assert not [path for path in out.rglob("*") if path.name.startswith(".")]


def test_numbers_that_come_out_the_same_are_reported_so(rescore, record):
    before = contents(record.folder)
    result = rescore()
    assert (result.code, result.out) == (0, "1 run: every number as it was\n")
    after = load(record)
    assert set(after) - set(record.data) == {"rescored"}
    assert {"vhbench", "finished"} == set(after["rescored"])
    assert {name for name in record.data if record.data[name] != after[name]} <= {"timing", "digest"}
    assert {name for name, value in record.data["timing"].items() if value != after["timing"][name]} <= {"score_s"}
    assert {name for name, old in before.items() if old != contents(record.folder)[name]} == {"run.json"}


def test_a_wrong_number_is_put_right_and_listed(rescore, record, out):
    change(record, scores={**record.scores, MAP: 0.123}, audit={})
    result = rescore()
    assert f"  {MAP}: 0.123 -> {record.scores[MAP]:.10g}" in result.out.splitlines()
    assert result.out.splitlines()[-1] == "1 run: other numbers than before"
    assert (load(record)["scores"], load(record)["audit"]) == (record.scores, record.data["audit"])
    assert_whole(out)


def test_other_ks_are_recorded_in_scores_and_per_query(rescore, record, tiny, out):
    result = rescore("--ks", "3,7")
    assert "new: map@3[" in result.out and "no longer recorded: map@5[" in result.out
    labels = [scipy.io.loadmat(tiny.with_name(f"tiny_{part}_labels.mat"))["labels"] for part in ("test", "train")]
    with np.load(record.folder / "codes.npz") as packed:
        codes = [unpack(packed[f"tiny/{role}"], 8) for role in ("query", "database")]
    name = "map@7[den=k,ties=expected,self=keep]"
    assert load(record)["scores"][name] == pytest.approx(package.evaluate(*codes, *labels).map(7), abs=1e-12)
    assert np.load(record.folder / "per_query.npz")[name].mean() == pytest.approx(load(record)["scores"][name], 1e-6)
    assert {key.partition("[")[0] for key in load(record)["scores"]} == {
        "mrr", "precision@r2", *(f"{kind}@{k}" for kind in ("map", "precision", "recall", "ndcg") for k in (3, 7))
    }  # fmt: skip
    assert_whole(out)
    assert rescore().code == 0
    assert load(record)["scores"] == record.scores, "without --ks they are the protocol's again"


def test_methods_and_lengths_are_chosen_as_in_compare(rescore, record, run_tiny, out):
    run_tiny("itq", "--bits", "8,16")
    rescore("--method", "itq", "--bits", "16")
    assert [r.folder.name[:3] for r in Store(out).records()[0] if "rescored" in r.data] == ["16b"]


@pytest.mark.parametrize("damage", ["longer", "other bytes", "gone"])
def test_codes_that_are_not_the_recorded_ones_are_refused(rescore, record, damage):
    path = record.folder / "codes.npz"
    octets = path.read_bytes()
    path.unlink()
    if damage != "gone":
        path.write_bytes(octets + b"x" if damage == "longer" else octets[:-9] + b"123456789")
    before = contents(record.folder)
    result = rescore()
    assert result.code != 0 and result.out in ("", "1 run: left as they were\n")
    assert "codes.npz" in result.err and str(record.folder) in result.err
    assert contents(record.folder) == before


def test_codes_recorded_with_their_digest_but_too_few_are_refused(rescore, record):
    path = record.folder / "codes.npz"
    with np.load(path) as packed:
        arrays = dict(packed)
    np.savez_compressed(path, **{**arrays, "tiny/query": arrays["tiny/query"][1:]})
    change(
        record,
        files={**record.data["files"], "codes.npz": sha256_of(path)},
        sizes={**record.data["sizes"], "codes.npz": path.stat().st_size},
    )
    result = rescore()
    assert result.code == 1 and "11 query codes for 12 videos" in result.err


def test_labels_that_the_run_was_not_scored_on_are_refused(vhbench, record, tiny, tmp_path, out):
    moved = tmp_path / "moved"
    shutil.copytree(tiny.parent, moved)
    path = moved / "tiny_test_labels.mat"
    scipy.io.savemat(path, {"labels": np.roll(scipy.io.loadmat(path)["labels"], 1, axis=0)})
    before = contents(record.folder)
    result = vhbench("rescore", "--protocol", moved / "tiny.toml", "--out", out)
    assert result.code == 1 and "made on other labels of tiny" in result.err
    assert contents(record.folder) == before


def test_a_protocol_that_only_its_manifest_tells_is_asked_for(vhbench, record, tiny, out):
    before = contents(record.folder)
    result = vhbench("rescore", "--out", out)
    assert result.code == 2 and "--protocol path/to/tiny.toml" in result.error
    assert f"(the last one says that it was made with --protocol {tiny})" in result.error
    assert vhbench("rescore", "--out", out, "--protocol", "tiny").error == result.error
    assert "Unknown protocol 'tinny'" in vhbench("rescore", "--out", out, "--protocol", "tinny").error
    assert contents(record.folder) == before


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--ks", "0"], "--ks takes ranks from 1 up, not 0"),
        (["--method", "fak"], "did you mean 'fake'"),
        (["--bits", "16"], "No finished run has codes of 16 bits"),
    ],
)
def test_impossible_choices_are_one_sentence(rescore, record, words, error):
    result = rescore(*words)
    assert result.code == 2 and error in result.error


def test_missing_data_are_one_sentence(vhbench, record, tiny, tmp_path, out):
    alone = tmp_path / "tiny.toml"
    alone.write_text(tiny.read_text())
    result = vhbench("rescore", "--protocol", alone, "--out", out)
    assert result.code == 2 and "tiny_train_feats.h5 of protocol tiny is missing" in result.error


def test_an_empty_results_folder_is_no_error(vhbench, tiny, out):
    result = vhbench("rescore", "--out", out)
    assert (result.code, result.out) == (0, "") and "no finished runs to rescore" in result.err


def test_failed_and_damaged_runs_are_counted_and_named(rescore, run_tiny, record, out):
    run_tiny("fake-nan-loss")
    broken = record.folder.with_name("8b-s9-00000000") / "run.json"
    broken.parent.mkdir()
    broken.write_text("{")
    result = rescore()
    assert result.code == 0 and "not rescored: 1 failed or skipped runs" in result.err
    assert f"{broken} is damaged" in result.err


def test_a_run_that_another_process_holds_is_left(rescore, record, out):
    with Store(out).claim(_spec(record)):
        result = rescore()
    assert result.code == 1 and "Another process works on" in result.err
    assert "rescored" not in load(record)


@pytest.mark.parametrize("name", ["per_query.npz", "curves.json"])
@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"?"), Path.unlink])
def test_what_the_codes_can_give_again_is_made_anew(rescore, record, out, name, damage):
    content = (record.folder / name).read_bytes()
    damage(record.folder / name)
    assert rescore().code == 0
    assert (record.folder / name).read_bytes() == content
    assert_whole(out)


def _spec(record):
    return RunSpec(**record.spec)


@pytest.mark.parametrize("replaced", [0, 1, 2])
def test_stopped_between_two_files_the_run_stays_finished_and_is_healed_by_the_next(
    rescore, record, out, monkeypatch, replaced
):
    real, left = Path.replace, [replaced]

    def replace(path, target):
        if Path(target).parent == record.folder:
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
        return real(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        assert rescore("--ks", "3").code == 130
    current = Store(out).read(_spec(record))  # None where the store thinks it damaged
    assert current and current.scores == record.scores
    assert current.digests["codes.npz"] == record.digests["codes.npz"]
    assert rescore().code == 0
    assert load(record)["scores"] == record.scores
    assert_whole(out)


def test_killed_at_any_moment_every_run_keeps_a_record_and_its_codes(start, record, vhbench, tiny, out):
    for seed in (1, 2, 3):
        _copy(record, seed)
    records = {r.folder: r.data for r in Store(out).records()[0]}
    words = ("rescore", "--protocol", tiny, "--out", out, "--ks", "3")
    child = start(*words)
    child.wait_for(lambda: any(_rescored(folder) for folder in records))
    time.sleep(random.Random(0).uniform(0, 0.02))
    child.signal(signal.SIGKILL)
    found = Store(out).records()[0]
    assert {r.folder for r in found} == set(records)
    for r in found:
        assert r.data["id"] == records[r.folder]["id"]
        assert sha256_of(r.folder / "codes.npz") == records[r.folder]["files"]["codes.npz"]
    assert vhbench(*words).code == 0
    assert_whole(out)
    assert all("map@3" in {name.partition("[")[0] for name in r.scores} for r in Store(out).records()[0])


def _copy(record, seed):
    """Put a run of another seed beside a record, with the same codes."""
    spec = RunSpec(**{**record.spec, "seed": seed})
    folder = record.folder.parents[2] / spec.folder
    shutil.copytree(record.folder, folder)
    write_record(folder, {**record.data, "id": spec.id, "spec": spec.to_json()})


def _rescored(folder):
    return "rescored" in json.loads((folder / "run.json").read_text())


def test_the_gain_over_in_domain_training_follows_the_new_numbers(vhbench, tmp_path, out):
    one, other = (make_protocol(tmp_path / name, name=name, videos=videos) for name, videos in (("a", 24), ("b", 32)))
    across = f"{one}-to-{other}"
    vhbench("run", "--method", "itq", "--protocol", f"{across},{other}", "--bits", "4", "--out", out)
    found = {r.spec["protocol"]: r for r in Store(out).records()[0]}
    wrong = dict.fromkeys(found["b"].scores, 0.001)
    change(found["b"], scores=wrong)
    change(found["a-to-b"], in_domain={**found["a-to-b"].data["in_domain"], "gain": None})
    assert vhbench("rescore", "--protocol", f"{across},{other}", "--out", out).code == 0
    assert load(found["a-to-b"])["in_domain"] == found["a-to-b"].data["in_domain"]


def test_the_python_function_returns_a_row_a_run(tiny, record, out):
    _copy(record, 1)
    change(record, scores={**record.scores, MAP: 0.123})
    table = package.rescore(tiny, out=out)
    assert isinstance(table, pd.DataFrame)
    assert table[["method", "seed", "result"]].values.tolist() == [["fake", 0, "changed"], ["fake", 1, "unchanged"]]
    assert table["changed"][0] == {MAP: (0.123, record.scores[MAP])} and table["changed"][1] == {}
    assert set(package.rescore(tiny, ks=[3], out=out)["result"]) == {"changed"}


# only compared


@pytest.fixture
def check(rescore, out):
    """Run `vhbench rescore --check`, which changes nothing in the results folder."""

    def run(*words):
        before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
        result = rescore("--check", *words)
        assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
        return result

    return run


def test_a_check_of_sound_runs_says_so(check, record, run_tiny):
    run_tiny("itq", "--bits", "4,8")
    result = check()
    assert (result.code, result.out) == (0, "3 runs: as the codes give it\n")
    assert check("--method", "itq", "--bits", "4").out == "1 run: as the codes give it\n"


def test_a_check_names_a_number_that_the_codes_do_not_give(check, record):
    """Whoever changes a record may give it the digest of its new content; the codes tell."""
    change(record, scores={**record.scores, MAP: 0.123, "mrr[ties=expected,self=keep]": 0.5})
    result = check()
    assert result.code == 1
    assert result.out.splitlines() == [
        f"differs: {record.folder}: {MAP} is 0.123 in the record, {record.scores[MAP]:.10g} by its codes, and 1 more "
        "numbers",
        "1 run: not as the codes give it",
    ]


@pytest.mark.parametrize(
    ("entry", "name", "value"),
    [("audit", "dead_bits", 7), ("chance", "value", 0.9), ("queries", "scored", 3), ("audit", "made_up", 1)],
)
def test_a_check_compares_all_that_comes_of_the_codes(check, record, entry, name, value):
    change(record, **{entry: {"tiny": {**record.data[entry]["tiny"], name: value}}})
    result = check()
    assert result.code == 1 and f"{entry}.tiny.{name} is {value} in the record, " in result.out


def test_a_check_is_at_the_ks_of_the_record(check, rescore, record):
    rescore("--ks", "3,7")
    assert check().code == 0
    change(record, scores={**load(record)["scores"], "map@9[den=k,ties=expected,self=keep]": 0.25})
    assert "map@9[den=k,ties=expected,self=keep] is 0.25 in the record, " in check().out
    refused = check("--ks", "3")
    assert refused.code == 2 and "leave out --ks" in refused.error


@pytest.mark.parametrize("name", ["run.json", "codes.npz", "per_query.npz", "curves.json", "train.jsonl"])
def test_a_check_notices_a_flipped_bit_in_every_file(check, record, run_tiny, name):
    run_tiny("itq")
    path = record.folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    result = check()
    assert result.code == 1 and f"{path} is damaged" in result.out + result.err


def test_a_check_without_the_data_or_with_others_fails(check, record, vhbench, out, tmp_path):
    other = make_protocol(tmp_path / "other", name="tiny", videos=44)
    result = vhbench("rescore", "--check", "--protocol", other, "--out", out)
    assert result.code == 1 and f"damaged or not checked: {record.folder}: " in result.out
    assert "was made on other" in result.out


def test_a_check_from_python(record, tiny, out):
    found = package.rescore(tiny, check=True, out=out)
    assert found["result"].tolist() == ["unchanged"] and "rescored" not in load(record)
    change(record, scores={**record.scores, MAP: 0.123})
    (row,) = package.rescore(tiny, check=True, out=out).to_dict("records")
    assert row["result"] == "changed" and row["changed"] == {MAP: (0.123, record.scores[MAP])}
    with pytest.raises(UsageError, match="leave out ks"):
        package.rescore(tiny, check=True, ks=5, out=out)
