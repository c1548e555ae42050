"""`vhbench compare`: recorded runs as tables; what is averaged, what never is, and how each format reads back."""

import csv
import io
import json
import re
import shutil
import statistics
import subprocess
from pathlib import Path

import numpy as np
import pytest

from vhbench.plugins.registry import Registry

GOLDEN = Path(__file__).parent.parent / "golden"
ITQ, ITQ_32 = (0.50, 0.53, 0.56), (0.61, 0.63)
MAP = "map@20[den=k,ties=expected,self=keep]"
FORMATS = [("table", "txt"), ("md", "md"), ("csv", "csv"), ("json", "json"), ("latex", "tex")]


@pytest.fixture(scope="session")
def sources():
    """The fingerprints of the built-in methods' sources."""
    return {entry.name: entry.fingerprint for entry in Registry().methods()}


@pytest.fixture
def grid(write_run, sources):
    """Records of two methods, two code lengths, up to three seeds and two protocols, one with synthetic features."""
    itq = {"fingerprint": sources["itq"]}
    for seed, value in enumerate(ITQ):
        write_run("itq", 16, seed, value, **itq)
    for seed, value in enumerate(ITQ_32):
        write_run("itq", 32, seed, value, **itq)
    write_run("lsh", 16, 0, 0.25, params={}, fingerprint="of an older source")
    write_run("itq", 16, 0, 0.4, params={"iterations": 3}, changed={"iterations": 3}, **itq)
    made_up = {"protocol": "made-up", "synthetic": True, "splits": {"made-up": {}, "made-up-shift": {}}}
    write_run("itq", 16, 0, 0.3, **made_up, **itq)
    write_run("lsh", 16, 1, params={}, status="failed", reason="it broke")


@pytest.fixture
def write_queries(write_run, sources):
    """Write a run with the AP of each of 64 queries: multiples of 1/64, whose sums are the same on every machine."""

    def write(method, bits, seed, mean, **changes):
        rng = np.random.default_rng([bits, seed, *method.encode()])
        values = np.clip(np.round(64 * (mean + rng.uniform(-0.3, 0.3, 64))), 0, 64) / 64
        score = float(values.mean())
        facts = {"params": {}, "fingerprint": sources.get(method, ""), **changes}
        folder = write_run(method, bits, seed, score, queries={"toy": {"total": 64, "scored": 64}}, **facts)
        np.savez(folder / "per_query.npz", **{MAP: values.astype(np.float32)})
        return folder

    return write


@pytest.fixture
def tested(write_queries):
    """Records with values of each query: one method far better than another, one like it, one of one seed only."""
    for bits in (16, 32):
        for seed in (0, 1):
            write_queries("itq", bits, seed, 0.5)
            write_queries("pcah", bits, seed, 0.51)
            write_queries("lsh", bits, seed, 0.3)
    write_queries("uvvh", 16, 0, 0.65, fingerprint="of an older source")


@pytest.mark.parametrize(("form", "file"), FORMATS)
def test_formats_are_as_they_were(vhbench, grid, out, form, file):
    """A change of a format shows here; if it is meant, write the new text into the golden file."""
    result = vhbench("compare", "--out", out, "--format", form)
    assert result.out == (GOLDEN / f"compare.{file}").read_text()
    assert result.err == "not in the table: 1 failed or skipped runs (vhbench status)\n"


@pytest.mark.parametrize(("form", "file"), FORMATS)
def test_intervals_and_tests_are_printed_as_they_were(vhbench, tested, out, form, file):
    result = vhbench("compare", "--out", out, "--format", form, "--ci", "--baseline", "itq")
    assert result.out == (GOLDEN / f"compare-tests.{file}").read_text()


@pytest.mark.parametrize(("form", "file"), [("table", "txt"), ("latex", "tex")])
def test_letters_are_printed_as_they_were(vhbench, tested, out, form, file):
    result = vhbench("compare", "--out", out, "--format", form, "--significance")
    assert result.out == (GOLDEN / f"compare-letters.{file}").read_text()


def test_json_and_csv_read_back_as_the_same_rows(vhbench, grid, out):
    from_json = json.loads(vhbench("compare", "--out", out, "--format", "json").out)
    from_csv = list(csv.DictReader(io.StringIO(vhbench("compare", "--out", out, "--format", "csv").out)))
    assert len(from_json) == len(from_csv) == 6
    assert {"protocol", "split", "method", "bits", "seeds", "metric", "value", "ci"} <= set(from_json[0])
    for a, b in zip(from_json, from_csv, strict=True):
        assert (a["protocol"], a["method"], a["label"], str(a["bits"])) == (
            b["protocol"], b["method"], b["label"], b["bits"],
        )  # fmt: skip
        assert a["seeds"] == [int(seed) for seed in b["seeds"].split()]
        assert a["value"] == float(b["value"]) and str(a["sd"] if a["sd"] is not None else "") == b["sd"]


def test_markdown_is_a_table_of_as_many_cells_in_each_line(vhbench, grid, out):
    text = vhbench("compare", "--out", out, "--format", "md", "--protocol", "toy").out
    heading, table, note, *_ = text.split("\n\n")
    table = table.splitlines()
    assert heading == "**toy**" and note.startswith("map@20[")
    assert {line.count("|") for line in table} == {5}


def test_means_and_standard_deviations_are_over_seeds(vhbench, grid, out):
    rows = json.loads(vhbench("compare", "--out", out, "--format", "json").out)
    found = {(r["protocol"], r["split"], r["label"], r["bits"]): r for r in rows}
    for bits, values in ((16, ITQ), (32, ITQ_32)):
        row = found["toy", "toy", "itq", bits]
        assert row["seeds"] == list(range(len(values)))
        assert row["value"] == pytest.approx(sum(values) / len(values), abs=1e-12)
        assert row["sd"] == pytest.approx(statistics.stdev(values), abs=1e-12)
    assert found["toy", "toy", "lsh", 16]["sd"] is None, "one seed has no spread"
    assert found["toy", "toy", "itq [iterations=3]", 16]["value"] == 0.4


def values(vhbench, out, *arguments):
    rows = json.loads(vhbench("compare", "--out", out, "--format", "json", *arguments).out)
    return {row["label"]: row["value"] for row in rows}


def test_runs_that_differ_in_more_than_the_seed_are_never_averaged(vhbench, out, write_run):
    write_run(value=0.1)
    write_run(seed=1, value=0.2, params={"iterations": 9}, changed={"iterations": 9})
    write_run(seed=1, value=0.3, precision="bf16")
    write_run(seed=1, value=0.4, budget={"epochs": None, "videos": 256})
    rows = json.loads(vhbench("compare", "--out", out, "--format", "json").out)
    found = {row["label"]: row["value"] for row in rows}
    assert found == {"itq": 0.1, "itq [iterations=9]": 0.2, "itq [bf16]": 0.3, "itq [smoke]": 0.4}


def test_other_data_of_the_same_protocol_name_are_another_table(vhbench, out, write_run, caplog):
    write_run(value=0.1)
    write_run(value=0.2, splits={"toy": dict.fromkeys(("train", "query", "database", "relevance"), "1" * 64)})
    write_run(value=0.3, version=2)
    rows = json.loads(vhbench("compare", "--out", out, "--format", "json").out)
    assert {row["protocol"] for row in rows} == {f"toy (data {i} of 3)" for i in (1, 2, 3)}
    assert [row["differs"] for row in rows] == [
        "version: 2, not 1 as in toy (data 2 of 3)",
        "version: 1, not 2 as in toy (data 1 of 3)",
        "train of split toy: 00000000, not 11111111 as in toy (data 2 of 3)",
    ]
    table = vhbench("compare", "--out", out).out
    assert table.count("seeds") == 3 and all(table.count(row["differs"]) == 1 for row in rows)
    said = (
        "toy (data 1 of 3) is not put together with other data of its name: version: 2, not 1 as in toy (data 2 of 3)"
    )
    assert said in caplog.messages


def test_runs_of_other_defaults_stand_in_rows_that_say_so(vhbench, out, write_run):
    """Both runs kept to the defaults of their day, so neither records a change, but the defaults differ."""
    write_run(value=0.1, params={"iterations": 50})
    write_run(value=0.2, params={"iterations": 60})
    assert values(vhbench, out) == {"itq [iterations=50]": 0.1, "itq [iterations=60]": 0.2}


def test_choices_keep_what_is_asked_for_in_the_order_asked_for(vhbench, grid, out):
    table = vhbench("compare", "--out", out, "--protocol", "toy", "--method", "lsh,itq", "--bits", "16").out
    assert [line.split("  ")[0] for line in table.splitlines()[4:7]] == ["lsh†", "itq", "itq [iterations=3]"]
    assert "32 bits" not in table and "made-up" not in table


def test_a_metric_may_be_partial_full_or_several(vhbench, out, write_run):
    write_run(value=0.3)
    full = "map@20[den=min,ties=expected,self=keep]"
    for options in (["--metric", full], ["--metric", "map@20[den=min]"], ["--convention", "strict"]):
        (row,) = json.loads(vhbench("compare", "--out", out, "--format", "json", *options).out)
        assert (row["metric"], row["value"]) == (full, pytest.approx(0.4))
    assert "map@20, 16 bits" in vhbench("compare", "--out", out, "--metric", "map@20,precision@5").out
    two = vhbench("compare", "--out", out, "--metric", f"map@20,{full}").out
    assert f"{full}, 16 bits" in two, "columns of one short name carry their full ones"
    for options in (["--metric", "map@20, precision@5"], ["--metric", "map@20", "--metric", "precision@5"]):
        rows = json.loads(vhbench("compare", "--out", out, "--format", "json", *options).out)
        assert [row["metric"].partition("[")[0] for row in rows] == ["map@20", "precision@5"]


NEW = "mrr,precision@r2,ndcg@5,recall@5"


def test_metrics_without_k_stand_in_every_format(vhbench, out, write_run):
    write_run()
    titles = ["mrr, 16 bits", "precision@r2, 16 bits", "ndcg@5, 16 bits", "recall@5, 16 bits"]
    for form in ("table", "md"):
        table = vhbench("compare", "--out", out, "--metric", NEW, "--format", form)
        assert table.code == 0 and all(title in table.out for title in titles)
    assert (
        r"\multicolumn{1}{c}{precision@r2}"
        in vhbench("compare", "--out", out, "--metric", NEW, "--format", "latex").out
    )
    csv = vhbench("compare", "--out", out, "--metric", NEW, "--format", "csv").out
    assert '"mrr[ties=expected,self=keep]",0.5' in csv and "precision@r2[self=keep],0.5" in csv
    rows = json.loads(vhbench("compare", "--out", out, "--metric", NEW, "--format", "json").out)
    assert [row["metric"].partition("[")[0] for row in rows] == NEW.split(",")


def test_protocols_without_the_metric_are_left_out_and_named(vhbench, out, write_run, caplog):
    write_run()
    write_run(protocol="other", ks=(10,))
    rows = json.loads(vhbench("compare", "--out", out, "--metric", "map@20", "--format", "json").out)
    assert [row["protocol"] for row in rows] == ["toy"]
    assert caplog.messages == ["left out: map@20 is not recorded for other"]


def test_scores_that_are_undefined_are_neither_zero_nor_averaged(vhbench, out, write_run):
    write_run(seed=0, value=None)
    write_run(seed=1, value=0.5)
    write_run("lsh", seed=0, value=None, params={})
    rows = {r["label"]: r for r in json.loads(vhbench("compare", "--out", out, "--format", "json").out)}
    assert (rows["itq"]["value"], rows["itq"]["sd"], rows["itq"]["seeds"]) == (0.5, None, [0, 1])
    assert rows["lsh"]["value"] is None
    assert "undefined" in vhbench("compare", "--out", out).out


def test_an_empty_results_folder_is_no_error(vhbench, out):
    result = vhbench("compare", "--out", out)
    assert (result.code, result.out) == (0, "") and "`vhbench run` makes some" in result.err
    assert vhbench("compare", "--out", out, "--format", "json").out == "[]\n"


def test_a_choice_that_nothing_meets_says_so(vhbench, out, write_run):
    write_run("itq", 16)
    write_run("lsh", 32, params={})
    result = vhbench("compare", "--out", out, "--method", "itq", "--bits", "32")
    assert (result.code, result.out) == (0, "") and "No finished run is of this" in result.err


def test_the_best_is_bold_and_the_second_underlined_on_a_terminal_only(vhbench, tested, out, monkeypatch):
    plain = vhbench("compare", "--out", out).out
    assert "\x1b" not in plain
    monkeypatch.setattr("click.utils.should_strip_ansi", lambda *_: False)
    styled = vhbench("compare", "--out", out, "--bits", "16").out
    rows = json.loads(vhbench("compare", "--out", out, "--bits", "16", "--format", "json").out)
    best, second, *others = sorted((f"{row['value']:.3f}" for row in rows), reverse=True)
    assert styled.count(f"\x1b[1m{best}\x1b[0m") == styled.count(f"\x1b[4m{second}\x1b[0m") == 1
    assert styled.count("\x1b") == 4 and len({best, second, *others}) == 4


def test_json_and_csv_hold_intervals_and_tests(vhbench, tested, out):
    words = ("compare", "--out", out, "--ci", "--baseline", "itq", "--bits", "16", "--format")
    rows = {row["label"]: row for row in json.loads(vhbench(*words, "json").out)}
    lines = {row["label"]: row for row in csv.DictReader(io.StringIO(vhbench(*words, "csv").out))}
    for label, row in rows.items():
        low, high = row["ci"]
        assert 0 < low < row["value"] < high < 1
        assert (float(lines[label]["ci_low"]), float(lines[label]["ci_high"])) == (low, high)
    assert rows["itq"]["tests"] == [] and lines["itq"]["p"] == ""
    ((better,), (worse,)) = (rows[name]["tests"] for name in ("uvvh", "lsh"))
    assert better["difference"] == pytest.approx(rows["uvvh"]["value"] - rows["itq"]["value"])
    assert better["significant"] and worse["significant"] and better["difference"] > 0 > worse["difference"]
    assert (lines["uvvh"]["better_than"], lines["uvvh"]["worse_than"]) == ("itq", "")
    assert (lines["lsh"]["better_than"], lines["lsh"]["worse_than"]) == ("", "itq")
    assert float(lines["lsh"]["p"]) == worse["p"] > 0


def test_stale_runs_are_marked_in_every_table(vhbench, out, write_run, sources, fake_methods):
    write_run("itq", fingerprint=sources["itq"])
    write_run("lsh", params={}, fingerprint="of an older source")
    write_run("fake", params={}, fingerprint="whatever it was")
    for form, mark in (("table", "lsh†"), ("md", "lsh†"), ("latex", r"LSH$^{\dagger}$")):
        text = vhbench("compare", "--out", out, "--format", form).out
        assert mark in text and "other source code" in text
        assert not any(word in text for word in ("itq†", r"ITQ$^{\dagger}$", "fake†", r"fake$^{\dagger}$"))
    rows = json.loads(vhbench("compare", "--out", out, "--format", "json").out)
    assert {row["label"]: row["stale"] for row in rows} == {"itq": False, "lsh": True, "fake": False}
    text = vhbench("compare", "--out", out, "--plugin", fake_methods).out
    assert "fake†" in text and "itq†" not in text


def test_published_numbers_stand_beside_ours_with_source_and_convention(vhbench, out, write_run):
    write_run("bl1", protocol="fcvid", value=0.2)
    text = vhbench("compare", "--out", out, "--published").out
    (paper,) = [line for line in text.splitlines() if line.startswith("UVVH-2 (UVVH paper, Table III)")]
    assert "0.159‡?" in paper and paper.endswith("ties=unknown, self=unknown; contradicted")
    (log,) = [line for line in text.splitlines() if line.startswith("S5VH (S5VH repo logs/fcv/S5VH_Nbit/map.txt)")]
    assert log.endswith("0.246‡?    ties=numpy, epoch chosen on the queries; other-settings")
    rows = json.loads(vhbench("compare", "--out", out, "--published", "--format", "json", "--method", "bl1").out)
    ours, *theirs = rows
    assert ours["published"] is None and theirs
    assert {row["method"] for row in theirs} == {"bl1"} and {row["bits"] for row in theirs} == {16}
    assert all(row["published"]["source"] and row["beside"] == ours["metric"] for row in theirs)
    assert all(row["seeds"] == [] and row["queries"] is None and row["tests"] == [] for row in theirs)
    assert vhbench("compare", "--out", out, "--published", "--format", "latex").out.count(r"\midrule") == 2


def test_protocols_without_published_numbers_are_named(vhbench, out, write_run, caplog):
    write_run()
    assert "0.500" in vhbench("compare", "--out", out, "--published").out
    assert caplog.messages == ["no published numbers for toy by these metrics at these code lengths"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--baseline", "itk"), "Unknown baseline among the rows 'itk': did you mean 'itq'?"),
        (("--baseline", "itq", "--significance"), "Tests are against --baseline or of all pairs"),
        (("--baseline", "lsh", "--method", "itq"), "Where --method is given, it must name the baseline."),
        (("--difference", "itq", "--pairwise"), "Tests are against --baseline or of all pairs"),
        (("--difference", "itq", "--baseline", "lsh"), "leave out --baseline lsh"),
        (("--difference", "itq", "--published"), "Published numbers have no values query by query"),
        (("--names", "uvvh"), "--names takes method=name,..."),
        (("--names", "itk=ITQ"), "Unknown method or row 'itk': did you mean 'itq'?"),
        (("--sort", "best"), "--sort takes name, value or the code length of a column (16, 32), not 'best'."),
    ],
)
def test_tests_that_make_no_sense_are_refused(vhbench, tested, out, options, words):
    result = vhbench("compare", "--out", out, *options)
    assert result.code == 2 and words in result.error


def nested(steps):
    """Whether each environment ends before the one around it."""
    around = []
    for step, name in steps:
        if step == "begin":
            around.append(name)
        elif not around or around.pop() != name:
            return False
    return not around


@pytest.mark.parametrize("options", [("--published",), ("--baseline", "itq"), ("--significance",), ("--pairwise",)])
def test_latex_lines_have_a_cell_a_column_and_all_that_opens_closes(vhbench, tested, write_run, out, options):
    hostile = {"note": r"50% & <b> \\ _#$^~{x}| --"}
    write_run("itq", 16, params=hostile, changed=hostile)
    write_run("itq", 16, protocol="fcvid", value=0.2)
    text = vhbench("compare", "--out", out, "--format", "latex", *options).out
    assert r"ITQ\textsuperscript{1}" in text
    assert (
        r"\textsuperscript{1} note=50\% \& \textless{}b\textgreater{} \textbackslash{}\textbackslash{} \_\#\$" in text
    )
    tabulars = re.findall(r"begin{tabular}{(\w+)}(.*?)\\end{tabular}", text, re.DOTALL)
    for columns, body in tabulars:
        lines = [line for line in body.splitlines() if line.endswith(r" \\")]
        assert {len(re.findall(r"(?<!\\)&", line)) for line in lines} == {len(columns) - 1}
    for table in text.split("% needs")[1:]:
        unescaped = re.sub(r"\\[{}]", "", table)
        assert unescaped.count("{") == unescaped.count("}")
        assert nested(re.findall(r"\\(begin|end){([\w*]+)}", table))


def test_latex_of_many_long_rows_is_one_table_with_their_settings_below(vhbench, write_run, out):
    changed = {"epochs": 6, "stage1_epochs": 10, "batch_size": 64}
    for number, method in enumerate(entry.name for entry in Registry().methods()):
        for bits in (16, 32, 64, 128):
            given = {"params": changed, "changed": changed} if number % 2 else {}
            write_run(method, bits, value=0.3 + number / 100, **given)
    text = vhbench("compare", "--out", out, "--format", "latex").out
    assert text.count(r"\begin{tabular}") == text.count(r"\begin{table") == 1
    assert text.count("stage1") == 1 and "UVVH" in text


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no pdflatex on this machine")
@pytest.mark.parametrize("kind", ["article", "[twocolumn]{article}"])
@pytest.mark.parametrize(
    "options",
    [
        ("--ci", "--baseline", "itq", "--published"),
        ("--significance", "--metric", "map@20,map@5", "--published"),
        ("--difference", "itq", "--percent"),
        ("--pairwise",),
    ],
)
def test_latex_compiles(vhbench, tested, write_run, out, tmp_path, options, kind):
    changed = {"note": r"50% & <b> \\ _#$^~{x}| -- é 漢"}
    write_run("itq", 16, params=changed, changed=changed)
    write_run("itq", 16, protocol="fcvid", value=0.2)
    text = vhbench("compare", "--out", out, "--format", "latex", *options).out
    kind = kind if kind.startswith("[") else f"{{{kind}}}"
    document = rf"\documentclass{kind}\usepackage{{booktabs}}\begin{{document}}{text}\end{{document}}"
    (tmp_path / "table.tex").write_text(document)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "table.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert not [line for line in done.stdout.splitlines() if "Missing character" in line]
    if "twocolumn" in kind:
        log = (tmp_path / "table.log").read_text(errors="replace")
        assert "Overfull" not in log and "Float too large" not in log


def test_what_is_shown_can_be_renamed_sorted_and_put_as_differences(vhbench, tested, out):
    options = ("--out", out, "--difference", "itq", "--sort", "value", "--names", "itq=ITQ,lsh=random", "--percent")
    lines = vhbench("compare", *options).out.splitlines()
    assert [line.split()[0] for line in lines[4:8]] == ["ITQ", "pcah", "random", "uvvh†"]
    assert re.fullmatch(r"random +2 +-21\.8⁻ \[-\d\d\.\d, -\d\d\.\d\] +-19\.2⁻ \[.*\]", lines[6])
    rows = json.loads(vhbench("compare", *options, "--format", "json").out)
    assert [row["label"] for row in rows][:2] == ["ITQ", "ITQ"] and rows[0]["method"] == "itq"
    test = next(test for row in rows for test in row["tests"] if row["label"] == "random" and row["bits"] == 16)
    assert test["against"] == "ITQ" and test["ci"][0] < test["difference"] < test["ci"][1] < 0


def test_a_narrow_terminal_gets_its_columns_in_groups(vhbench, tested, out, monkeypatch):
    whole = vhbench("compare", "--out", out, "--ci").out
    monkeypatch.setenv("COLUMNS", "60")
    narrow = vhbench("compare", "--out", out, "--ci").out
    assert max(map(len, narrow.splitlines())) <= 60 < max(map(len, whole.splitlines()))
    assert narrow.count("seeds") == 2 + 1, "once a group, and in the notes"
    numbers = re.compile(r"\d\.\d+")
    assert sorted(numbers.findall(whole)) == sorted(numbers.findall(narrow))
