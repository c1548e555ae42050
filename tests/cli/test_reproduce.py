"""`vhbench reproduce`: a table run anew, and when a number may be called reproduced."""

import csv
import io
import json
import shutil
import statistics

import pytest

import vhbench as package
from vhbench.report.orderings import COLUMNS as ORDERING_COLUMNS
from vhbench.report.published import COLUMNS
from vhbench.runs.record import write_record
from vhbench.runs.store import Store
from vhbench.testing import make_protocol

SOURCE = "Some paper, Table 1"
MAP = "map@20[den=k,ties=expected,self=keep]"
TABLES = f"""
[tables.one]
title = "Table 1: a table"
cells = ["{SOURCE}"]
claims = ["{SOURCE}"]
methods = ["itq", "lsh"]
protocols = ["tiny"]
bits = [8, 16]
ks = [20]

[tables.epochs]
title = "Table 4: a method that trains in epochs"
cells = ["{SOURCE}"]
claims = []
methods = ["fake"]
protocols = ["tiny"]
bits = [8]
ks = [20]

[tables.curves]
title = "Fig. 1: a figure"
cells = []
claims = ["Some paper, on Fig. 1"]
methods = ["itq", "lsh"]
protocols = ["tiny"]
bits = [8]
ks = []
recalls = [0.25, 0.5]
best = "itq"

[tables.across]
title = "Table 2: across data sets"
cells = ["{SOURCE}"]
claims = []
methods = ["itq"]
protocols = ["tiny-to-other"]
in_domain = ["other"]
bits = [4]
ks = [20]

[tables.broken]
title = "Table 3: a method that fails"
cells = []
claims = []
methods = ["lsh", "fake-nan-loss"]
protocols = ["tiny"]
bits = [8]
ks = [20]
"""
OURS = {"den": "k", "ties": "expected", "self_match": "keep", "kind": "printed", "selection": "unknown"}


@pytest.fixture(scope="module")
def made(tiny, tmp_path_factory):
    """A results folder with the runs of table `one`, made once: two methods, two code lengths, two seeds."""
    folder = tmp_path_factory.mktemp("made") / "results"
    package.run(["itq", "lsh"], tiny, [8, 16], seeds=[0, 1], out=folder)
    return folder


@pytest.fixture
def recorded(made, out):
    """The runs, in a results folder of the test's own; returns map@20 by method, code length and seed."""
    shutil.copytree(made, out)
    return {(r.spec["method"], r.spec["bits"], r.spec["seed"]): r.scores[MAP] for r in Store(out).records()[0]}


@pytest.fixture
def publish(tmp_path):
    """Write published numbers, and a claim that ITQ is ahead; returns their folder."""

    def write(*rows):
        folder = tmp_path / "published"
        for name in ("tables", "orderings"):
            (folder / name).mkdir(parents=True)
        (folder / "tables" / "paper.toml").write_text(TABLES)
        facts = {"method": "itq", "protocol": "tiny", "bits": 8, "metric": "map@20", "over": "", "source": SOURCE}
        blank = {"doubt": "", "note": ""}
        written = [{**OURS, **facts, **blank, **row} for row in rows]
        _write_csv(folder / "paper.csv", COLUMNS, [{**row, "method_as_printed": row["method"]} for row in written])
        claim = {"better": "itq", "worse": "lsh", "protocol": "tiny", "bits": "8 16", "metrics": "map@20"}
        _write_csv(folder / "orderings" / "paper.csv", ORDERING_COLUMNS, [{**claim, "source": SOURCE, "note": ""}])
        return folder

    return write


def _write_csv(path, columns, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def reproduce(vhbench, tiny, out):
    """Run `vhbench reproduce` on the tiny protocol and return its lines, numbers with a published one and claims."""

    def run(folder, *words, table="one", protocol=tiny):
        given = ["--protocol", protocol, "--published", folder, "--out", out, "--format", "json"]
        result = vhbench("reproduce", table, *given, *words)
        assert result.code == 0, result.err
        return json.loads(result.out)

    return run


def the_number(lines):
    (line,) = [line for line in lines if line["kind"] == "number" and line["published"] is not None]
    return line


def change(out, **entries):
    """Change entries of every record."""
    for path in out.glob("*/*/*/run.json"):
        write_record(path.parent, {**json.loads(path.read_text()), **entries})


@pytest.mark.parametrize(("off", "status"), [(0.0, "reproduced"), (0.009, "reproduced"), (-0.03, "differs")])
def test_a_number_within_the_tolerance_is_reproduced_and_one_beyond_it_differs(
    reproduce, recorded, publish, off, status
):
    value = recorded["itq", 8, 0] + off
    line = the_number(reproduce(publish({"value": f"{value:.6f}"})))
    assert line["status"] == status
    assert line["ours"] == recorded["itq", 8, 0] and line["seeds"] == [0]
    assert line["difference"] == pytest.approx(-off, abs=1e-6) and line["tolerance"] == 0.01
    assert line["measured_as"] == MAP


def test_a_spread_over_seeds_widens_the_tolerance(reproduce, recorded, publish):
    values = [recorded["lsh", 8, seed] for seed in (0, 1)]
    spread = statistics.stdev(values)
    assert spread > 0.005, "else this tests nothing"
    published = f"{statistics.fmean(values) + 1.9 * spread:.6f}"
    line = the_number(reproduce(publish({"method": "lsh", "value": published}), "--seeds", "0,1"))
    assert (line["status"], line["seeds"]) == ("reproduced", [0, 1])
    assert (line["sd"], line["tolerance"]) == (pytest.approx(spread), pytest.approx(2 * spread))


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ({"synthetic": True}, "synthetic features"),
        ({"budget": "quick"}, "budget quick"),
        ({"changed": {"iterations": 3}}, "iterations=3"),
        ({"data": {"tiny": {"variants": ["half of it"]}}}, "data variant 'half of it'"),
        ({"data": {"tiny": {"allowed_counts": {"query videos": [9, 12]}}}}, "other number of query videos"),
        ({"method": {"origin": "built-in", "fingerprint": "0" * 64}}, "made with other source code"),
    ],
)
def test_a_run_that_is_not_what_the_paper_did_reproduces_nothing(reproduce, recorded, publish, out, entries, reason):
    change(out, **entries)
    line = the_number(reproduce(publish({"value": f"{recorded['itq', 8, 0]:.6f}"})))
    assert line["status"] == f"not comparable: {reason}"
    assert line["difference"] == pytest.approx(0, abs=1e-6), "the difference is told all the same"


def test_a_default_that_is_not_the_papers_is_named(reproduce, recorded, publish):
    folder = publish({"value": f"{recorded['itq', 8, 0]:.6f}"})
    path = folder / "tables" / "paper.toml"
    path.write_text(f"[departures]\niterations = 50\n{path.read_text()}")
    assert the_number(reproduce(folder))["status"] == "not comparable: iterations=50 is not the paper's"
    path.write_text(path.read_text().replace("iterations = 50", "iterations = 51"))
    assert the_number(reproduce(folder))["status"] == "reproduced"


def test_k_that_a_table_asks_for_are_scored_from_the_codes(reproduce, recorded, publish, out):
    folder = publish()
    path = folder / "tables" / "paper.toml"
    path.write_text(path.read_text().replace("ks = [20]", "ks = [20, 7]"))
    before = {record.folder.name: record.scores for record in Store(out).records()[0]}
    lines = reproduce(folder)
    measured = {
        (line["method"], line["bits"], line["metric"]): line["ours"] for line in lines if line["kind"] == "number"
    }
    for record in Store(out).records()[0]:
        if record.spec["seed"] == 0:
            key = (record.spec["method"], str(record.spec["bits"]), "map@7")
            assert record.scores[MAP.replace("@20", "@7")] == measured[key] > 0
        assert before[record.folder.name].items() <= record.scores.items(), "what was recorded stays"


def test_one_epoch_of_training_bears_no_verdict(reproduce, publish, fake_methods, out):
    folder = publish()
    claims = folder / "orderings" / "paper.csv"
    claims.write_text(claims.read_text().replace("itq,lsh", "fake,lsh"))
    path = folder / "tables" / "paper.toml"
    path.write_text(path.read_text().replace('methods = ["itq", "lsh"]', 'methods = ["fake", "lsh"]', 1))
    given = ["--plugin", fake_methods, "--bits", "8"]
    (claim,) = [line for line in reproduce(folder, *given) if line["kind"] == "claim"]
    assert claim["status"] in ("held", "reversed")
    (claim,) = [line for line in reproduce(folder, *given, "--epochs", "1") if line["kind"] == "claim"]
    assert claim["status"] == "no verdict: one epoch of training (fake)"


def test_a_run_near_chance_bears_no_verdict(reproduce, recorded, publish, out):
    folder = publish({"value": f"{recorded['itq', 8, 0]:.6f}"}, {"value": "0.9", "bits": 16})
    assert [line["status"] for line in reproduce(folder) if line["kind"] == "claim"] in (["held"], ["held in 1 of 2"])
    (path,) = out.glob("tiny/itq/8b-s0-*/run.json")
    record = json.loads(path.read_text())
    record["chance"]["tiny"]["gain_low"] = -0.001  # the end of the interval of the score less chance
    write_record(path.parent, record)
    *numbers, claim = [line for line in reproduce(folder) if line["published"] is not None or line["kind"] == "claim"]
    assert [line["status"] for line in numbers] == ["not comparable: near chance", "differs"]
    assert claim["status"] == "no verdict: near chance (itq)"
    (claim,) = [line for line in reproduce(folder, "--bits", "16") if line["kind"] == "claim"]
    assert claim["status"] in ("held", "reversed"), "the run of 8 bits is none of it"


@pytest.mark.parametrize(("change_of", "status"), [(0.05, "held"), (0.9, "reversed")])
def test_the_method_whose_score_changes_less_is_the_steadier(
    reproduce, publish, tiny, tmp_path, out, change_of, status
):
    other = make_protocol(tmp_path / "other", name="other", videos=44)
    folder = publish()
    path = folder / "tables" / "paper.toml"
    text = path.read_text().replace('claims = []\nmethods = ["itq"]', 'claims = ["P"]\nmethods = ["itq", "lsh"]')
    path.write_text(text)
    header = (folder / "orderings" / "paper.csv").read_text().splitlines()[0]
    (folder / "orderings" / "paper.csv").write_text(f"{header}\nitq,lsh,tiny-to-other,4,map-steadiness@20,P,\n")
    words = {"table": "across", "protocol": f"{tiny}-to-{other}"}
    reproduce(folder, **words)
    for record in out.glob("*/*/*/run.json"):  # LSH's gain is made .5, ITQ's as asked
        data = json.loads(record.read_text())
        gain = change_of if data["spec"]["method"] == "itq" else -0.5
        data["scores"][MAP] = 0.4 * (1 + gain) if data["spec"]["protocol"] == "tiny-to-other" else 0.4
        write_record(record.parent, data)
    (claim,) = [line for line in reproduce(folder, **words) if line["kind"] == "claim"]
    assert (claim["metric"], claim["status"]) == ("map-steadiness@20", status)


@pytest.mark.parametrize(
    ("convention", "reason"),
    [
        ({"ties": "unknown"}, "order of ties unknown"),
        ({"ties": "numpy"}, "order of ties numpy, ours expected"),
        ({"den": "min"}, "divisor min, ours k"),
        ({"den": "unknown", "ties": "unknown"}, "divisor and order of ties unknown"),
    ],
)
def test_another_or_unknown_convention_reproduces_nothing(reproduce, recorded, publish, convention, reason):
    line = the_number(reproduce(publish({"value": f"{recorded['itq', 8, 0]:.6f}", **convention})))
    assert line["status"] == f"not comparable: {reason}"


def test_the_best_on_the_test_set_is_not_ours_to_reproduce(reproduce, recorded, publish):
    value = f"{recorded['itq', 8, 0]:.6f}"
    line = the_number(reproduce(publish({"value": value, "selection": "best on test"})))
    assert line["status"] == "not comparable: the best on the test set, ours is chosen by nothing"


@pytest.mark.parametrize(
    ("doubt", "reason"),
    [
        ("inferred", "its bits or protocol are not stated"),
        ("other-settings", "made with other settings than the released ones"),
    ],
)
def test_a_number_whose_setting_is_inferred_or_another_is_not_reproduced(reproduce, recorded, publish, doubt, reason):
    value = f"{recorded['itq', 8, 0]:.6f}"
    line = the_number(reproduce(publish({"value": value, "doubt": doubt, "selection": "fixed epoch"})))
    assert line["status"] == f"not comparable: {reason}"


def test_a_later_papers_table_is_run_on_another_protocol_too(vhbench, tiny, out):
    """SSVH's, whose method is there: all that is committed about it is read, run and told."""
    words = ["--protocol", tiny, "--bits", "8", "--budget", "smoke", "--device", "cpu", "--out", out]
    result = vhbench("reproduce", "ssvh/table1", *words)
    assert result.code == 0 and "SSVH: two result files" in result.out, result.err
    assert "[1/1] ssvh on tiny, 8 bits, seed 0" in result.err and "not published" in result.out


def test_a_number_comes_with_what_the_order_of_ties_could_make_of_it(reproduce, recorded, publish):
    line = the_number(reproduce(publish({"method": "lsh", "value": "0.5"})))
    assert line["lowest"] < line["ours"] < line["highest"]


def test_the_query_itself_is_no_convention_where_it_is_not_in_the_database(reproduce, recorded, publish):
    folder = publish({"value": f"{recorded['itq', 8, 0]:.6f}", "self_match": "unknown"})
    assert the_number(reproduce(folder))["status"] == "reproduced"


def test_a_reduced_precision_reproduces_nothing(reproduce, publish, fake_methods):
    folder = publish({"method": "fake", "value": "0.5"})
    line = the_number(reproduce(folder, "--precision", "bf16", "--plugin", fake_methods, table="epochs"))
    assert line["status"] == "not comparable: precision bf16"


def test_on_another_protocol_nothing_is_reproduced_but_the_claims_are_checked(
    vhbench, reproduce, publish, tmp_path, out
):
    other = make_protocol(tmp_path / "other", name="other", videos=44)
    folder = publish({"value": "0.5"})
    lines = reproduce(folder, "--bits", "8", protocol=other)
    line = the_number(lines)
    assert (line["protocol"], line["published_on"], line["status"]) == ("other", "tiny", "not comparable: on other")
    (claim,) = [line for line in lines if line["kind"] == "claim"]
    assert (claim["protocol"], claim["bits"]) == ("other", "8") and claim["status"] in ("held", "reversed")
    words = ["--protocol", other, "--published", folder, "--out", out, "--bits", "8"]
    assert "other for tiny  itq" in vhbench("reproduce", "one", *words).out, (
        "which number of the paper it is held against"
    )


def test_a_gain_is_relative_to_our_own_rows(reproduce, recorded, publish):
    one, other = recorded["itq", 8, 0], recorded["lsh", 8, 0]
    gain = 100 * (one / other - 1)
    row = {"metric": "map-gain@20", "over": "lsh", "kind": "claim"}
    line = the_number(reproduce(publish({**row, "value": f"{gain + 0.5:.6f}"})))
    assert line["ours"] == pytest.approx(gain) and line["difference"] == pytest.approx(-0.5, abs=1e-5)
    assert line["tolerance"] == pytest.approx(100 * 0.01 / other), "what 0.01 of mAP makes of it"
    assert line["status"] == "reproduced"


def test_claims_of_order_get_the_verdict_of_our_rows(reproduce, recorded, publish, out):
    held = [recorded["itq", bits, 0] > recorded["lsh", bits, 0] for bits in (8, 16)]
    (claim,) = [line for line in reproduce(publish()) if line["kind"] == "claim"]
    assert (claim["method"], claim["over"], claim["source"]) == ("itq", "lsh", SOURCE)
    assert claim["status"] == ("held" if all(held) else f"held in {sum(held)} of 2" if any(held) else "reversed")


def test_cross_data_set_gains_are_over_the_in_domain_run_and_their_sign_is_a_claim(
    reproduce, publish, tiny, tmp_path, out
):
    other = make_protocol(tmp_path / "other", name="other", videos=44)
    row = {"protocol": "tiny-to-other", "bits": 4, "metric": "map-gain@20", "over": "other", "value": "-1.5"}
    lines = reproduce(publish(row), table="across", protocol=f"{tiny}-to-{other}")
    found = {r.spec["protocol"]: r.scores[MAP] for r in Store(out).records()[0]}
    gain = 100 * (found["tiny-to-other"] / found["other"] - 1)
    assert the_number(lines)["ours"] == pytest.approx(gain)
    (claim,) = [line for line in lines if line["kind"] == "claim"]
    assert claim["metric"] == "map@20 below" and claim["status"] == ("held" if gain < 0 else "reversed")


def test_gains_that_the_paper_does_not_print_stand_there_alone(reproduce, publish, tiny, tmp_path, out):
    other = make_protocol(tmp_path / "other", name="other", videos=44)
    (line,) = reproduce(publish(), "--bits", "3", table="across", protocol=f"{tiny}-to-{other}")
    found = {r.spec["protocol"]: r.scores[MAP] for r in Store(out).records()[0]}
    assert (line["over"], line["bits"], line["status"]) == ("other", "3", "not published")
    assert line["ours"] == pytest.approx(100 * (found["tiny-to-other"] / found["other"] - 1))


def test_a_cross_data_set_table_needs_a_cross_data_set_protocol(vhbench, publish, tiny, out):
    result = vhbench("reproduce", "across", "--protocol", tiny, "--published", publish(), "--out", out)
    assert result.code == 2 and "--protocol takes A-to-B" in result.error


def test_precision_recall_figures_compare_methods_at_equal_recalls(reproduce, recorded, publish):
    lines = reproduce(publish(), table="curves")
    numbers = {(line["method"], line["metric"]): line["ours"] for line in lines if line["kind"] == "number"}
    held = sum(
        numbers["itq", f"precision at recall {r}"] > numbers["lsh", f"precision at recall {r}"] for r in (0.25, 0.5)
    )
    (claim,) = [line for line in lines if line["kind"] == "claim"]
    assert claim["metric"] == "precision at recall 0.25 0.5" and claim["source"] == "Some paper, on Fig. 1"
    assert claim["status"] == {0: "reversed", 1: "held in 1 of 2", 2: "held"}[held]


def test_missing_runs_are_done_and_recorded_ones_used(vhbench, publish, tiny, out):
    words = ["reproduce", "one", "--protocol", tiny, "--published", publish(), "--out", out, "--bits", "8"]
    assert "[1/2] itq on tiny, 8 bits, seed 0" in vhbench(*words).err
    written = {path: path.stat().st_mtime_ns for path in out.rglob("run.json")}
    assert len(written) == 2
    assert vhbench(*words).err == ""
    assert {path: path.stat().st_mtime_ns for path in out.rglob("run.json")} == written


def test_a_dry_run_trains_nothing_and_compares_what_is_recorded(vhbench, recorded, publish, tiny, out):
    folder = publish({"value": f"{recorded['itq', 8, 0]:.6f}"}, {"bits": 16, "value": "0.5"})
    (gone,) = out.glob("tiny/itq/16b-s0-*")
    shutil.rmtree(gone)
    result = vhbench("reproduce", "one", "--protocol", tiny, "--published", folder, "--out", out, "--dry-run")
    assert result.code == 0 and "1 of 4 runs to do." in result.out and not gone.exists()
    assert "reproduced" in result.out and "not measured: no run" in result.out
    assert "(1 of 2 measured)" in result.out, "a claim that is checked in part says so"


def test_a_failed_run_is_named_and_the_exit_code_says_so(vhbench, publish, tiny, out, fake_methods):
    words = ["--protocol", tiny, "--published", publish(), "--out", out, "--plugin", fake_methods]
    result = vhbench("reproduce", "broken", *words)
    assert result.code == 1 and "failed: 1 of 2 runs" in result.err
    assert "not measured: failed" in result.out


def test_every_format_tells_the_same(vhbench, recorded, publish, tiny, out):
    folder = publish({"value": f"{recorded['itq', 8, 0]:.6f}", "doubt": "contradicted"})
    words = ["reproduce", "one", "--protocol", tiny, "--published", folder, "--out", out, "--format"]
    from_json = json.loads(vhbench(*words, "json").out)
    from_csv = list(csv.DictReader(io.StringIO(vhbench(*words, "csv").out)))
    assert [line["status"] for line in from_csv] == [line["status"] for line in from_json]
    assert [float(line["ours"]) for line in from_csv[:-1]] == [line["ours"] for line in from_json[:-1]]
    for form in ("table", "md"):
        text = vhbench(*words, form).out
        assert text.splitlines()[0].strip("*") == "Table 1: a table"
        assert f"{recorded['itq', 8, 0]:.3f}?" in text and "the paper contradicts this number" in text
        assert "at most 0.01 of mAP" in text and "2 standard deviations" in text, "the tolerance is printed"
        assert "1 published number: 1 reproduced, 0 differ, " in text and f"ours: map@K[{MAP[7:-1]}]" in text
    pipes = [line.count("|") for line in vhbench(*words, "md").out.splitlines() if line.startswith("|")]
    assert sorted(set(pipes)) == [7, 9]


def test_numbers_that_the_paper_does_not_print_stand_there_alone(reproduce, recorded, publish):
    lines = [line for line in reproduce(publish()) if line["kind"] == "number"]
    assert {(x["method"], int(x["bits"]), 0): x["ours"] for x in lines} == {
        key: value for key, value in recorded.items() if key[2] == 0
    }
    assert {line["status"] for line in lines} == {"not published"}


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["tabel3"], "Unknown table 'tabel3': did you mean 'table3'"),
        (["table3"], "train_feats.h5 of protocol activitynet-25f is missing"),
        (["table6", "--protocol", "demmo"], "did you mean 'demo'"),
        (["table6", "--protocol", "demo", "--budget", "quik"], "did you mean 'quick'"),
        (["s5vh/tabel1"], "Unknown table 's5vh/tabel1': did you mean 's5vh/table1'"),
        (["table6", "--published", "nowhere"], "nowhere/tables holds no TOML files"),
    ],
)
def test_mistakes_are_one_sentence(vhbench, out, words, error):
    result = vhbench("reproduce", *words, "--out", out)
    assert result.code == 2 and error in result.error
    assert not out.exists()


def test_the_python_function_returns_the_lines(reproduce, recorded, publish, tiny, out):
    folder = publish({"value": "0.5"})
    table = package.reproduce("one", protocol=tiny, published=folder, out=out, seeds=[0, 1])
    lines = reproduce(folder, "--seeds", "0,1")
    assert list(table.columns) == list(lines[0])
    assert table["status"].tolist() == [line["status"] for line in lines]
    assert table["ours"].dropna().tolist() == [line["ours"] for line in lines if line["ours"] is not None]
