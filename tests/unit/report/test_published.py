import csv
import itertools
import math
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from vhbench.errors import DataError
from vhbench.report import published
from vhbench.report.published import COLUMNS, DOUBTS, WORDS, read_published
from vhbench.scoring import Metric

ROOT = Path(__file__).resolve().parents[3]
SOURCES = ROOT.parent / "shared" / "reference" / "published"  # the transcripts that the files were made from
COUNTS = {
    "autossvh_issue2": 250,
    "autossvh_readme": 72,
    "bervae_repo": 7,
    "bth_repo": 7,
    "conmh_readme": 54,
    "s5vh_logs": 156,
    "s5vh_readme": 60,
    "ssvh_issue2": 2,
    "ssvh_repo": 40,
    "uvvh_paper_tables": 164,
    "uvvh_paper_text_claims": 28,
    "wsch_readme": 54,
}
OWN_METHODS = {"itq", "dh", "mfh", "ssth", "jtae", "ssvh", "bl1", "bl2", "bl3"} | {
    "uvvh", "uvh", "uvvh-1", "uvvh-nopro", "uvvh-q",
    "autossvh", "bervae", "bth", "conmh", "dkph", "mcmsh", "s5vh", "wsch"
}  # fmt: skip
OTHER_METHODS = {"nph", "retnet", "rwkv"}
PROTOCOLS = {"fcvid", "activitynet", "yfcc", "ucf101", "hmdb51", "fcvid-unseen", "fcvid-to-yfcc", "yfcc-to-fcvid"} | {
    "fcvid-4000q", "activitynet-25f", "yfcc-wsch"
}  # fmt: skip
STEP = 0.0005  # published numbers have three decimals


@pytest.fixture(scope="module")
def rows():
    return read_published()


def of_file(rows, *names):
    return [row for row in rows if row.file in names]


def cell(rows, file, source, method, protocol, bits, metric):
    (found,) = [
        row
        for row in of_file(rows, file)
        if (row.source, row.method, row.protocol, row.bits, row.metric) == (source, method, protocol, bits, metric)
    ]
    return found


def is_map(row):
    return row.metric.startswith("map@")


def test_every_source_is_there_with_all_its_rows(rows):
    assert Counter(row.file for row in rows) == COUNTS


@pytest.mark.parametrize("name", COUNTS)
def test_no_number_was_lost_or_changed(rows, name):
    path = SOURCES / f"{name}.csv"
    if not path.is_file():
        pytest.skip(f"the transcript {path} is not on this machine")
    with path.open(encoding="utf-8", newline="") as file:
        wanted = Counter((line["bits"], line["k"], line["value"]) for line in csv.DictReader(file))
    found = Counter((str(row.bits), row.metric.partition("@")[2], row.printed) for row in of_file(rows, name))
    assert found == wanted


def test_names_are_those_of_the_harness_or_known_variants(rows):
    assert {row.method for row in rows} == OWN_METHODS | OTHER_METHODS
    assert {row.protocol for row in rows} == PROTOCOLS


def test_values_are_possible(rows):
    for row in rows:
        assert (row.kind == "claim") == row.metric.startswith("map-gain@") == bool(row.over)
        assert row.kind == "claim" or 0 < row.value < 1
        assert row.value == float(row.printed)
    assert {row.over for row in rows} <= {"", "jtae", "ssvh", "bl1", "uvvh-nopro", "fcvid", "yfcc"}


def test_no_number_stands_twice(rows):
    keys = Counter((row.file, row.source, row.method, row.protocol, row.bits, row.metric, row.over) for row in rows)
    assert set(keys.values()) == {1}


def test_every_average_precision_divides_by_k_as_far_as_known(rows):
    assert {row.den for row in rows} == {"k", "unknown"}
    assert [row.method for row in rows if row.den == "unknown"] == ["ssvh"]


def test_queries_outside_the_database_are_no_self_matches(rows):
    apart = {"activitynet", "activitynet-25f", "ucf101", "hmdb51", "fcvid-unseen"}
    assert {row.self_match for row in rows if row.protocol in apart} == {"keep"}


def test_full_metric_names_read_like_our_own(rows):
    row = cell(rows, "conmh_readme", "ConMH README, Results", "conmh", "fcvid", 16, "map@5")
    assert row.full_metric == "map@5[den=k,ties=numpy,self=keep]"
    assert row.full_metric == str(Metric.parse("map@5")).replace("expected", "numpy")


def test_k_times_ap_never_falls_with_k_except_where_flagged(rows):
    """K*AP@K is a sum of terms that are not negative, when AP divides by K."""
    ladders = defaultdict(dict)
    for row in filter(is_map, rows):
        if row.den == "k":
            key = (row.file, row.source, row.method, row.protocol, row.bits, row.selection)
            ladders[key][int(row.metric.removeprefix("map@"))] = row
    falls = set()
    for ladder in ladders.values():
        for low, high in itertools.pairwise(sorted(ladder)):
            if high * (ladder[high].value + STEP) < low * (ladder[low].value - STEP) - 1e-9:
                falls.add(ladder[high])
    assert falls == {row for row in rows if "impossible" in row.doubt}
    assert {(row.file, row.method, row.bits, row.printed) for row in falls} == {
        ("uvvh_paper_tables", "uvvh", 16, "0.056"),
        ("autossvh_readme", "autossvh", 32, "0.038"),
        ("autossvh_issue2", "mcmsh", 64, "0.0600"),
        ("autossvh_issue2", "ssvh", 64, "0.0428"),
    }


def test_contradictions_are_flagged(rows):
    """Within the paper on both sides; elsewhere on the side that the method's own repository contradicts."""
    tables = list(filter(is_map, of_file(rows, "uvvh_paper_tables")))
    derived = list(filter(is_map, of_file(rows, "uvvh_paper_text_claims")))
    logs = [row for row in of_file(rows, "s5vh_logs") if row.selection == "best on test"]
    repositories = [*logs, *of_file(rows, "bth_repo", "bervae_repo", "conmh_readme")]
    issue = list(filter(is_map, of_file(rows, "autossvh_issue2")))
    for judged, judges in (
        (tables, tables),
        (derived, derived),
        (of_file(rows, "s5vh_readme"), logs),
        (issue, repositories),
    ):
        said = defaultdict(list)
        for row in judges:
            said[row.method, row.protocol, row.bits, row.metric].append(row.value)
        for row in judged:
            others = said[row.method, row.protocol, row.bits, row.metric]
            differs = any(abs(value - row.value) > STEP + 1e-9 for value in others)
            assert differs == ("contradicted" in row.doubt), row


def test_what_s5vh_prints_for_fcvid_is_of_its_logs_and_doubted_like_them(rows):
    doubted = [row for row in rows if "other-settings" in row.doubt]
    assert {(row.file, row.protocol) for row in doubted} == {
        ("s5vh_readme", "fcvid"), ("s5vh_logs", "fcvid"), ("s5vh_logs", "fcvid-4000q")
    }  # fmt: skip
    logs = {(row.bits, row.metric): row.value for row in doubted if row.file == "s5vh_logs" and row.protocol == "fcvid"}
    printed = [row for row in rows if row.file == "s5vh_readme" and row.protocol == "fcvid"]
    assert all(abs(row.value - logs[row.bits, row.metric]) <= STEP + 1e-9 for row in printed)


def test_contradicted_claims(rows):
    text = of_file(rows, "uvvh_paper_text_claims")
    claims = {(row.over, row.bits) for row in text if row.kind == "claim" and "contradicted" in row.doubt}
    assert claims == {("bl1", 16), ("bl1", 32), ("uvvh-nopro", 16), ("uvvh-nopro", 128)}
    for row in of_file(rows, "ssvh_issue2"):
        assert ("contradicted" in row.doubt) == (row.kind == "printed")


def test_averages_of_the_issue_are_geometric_means(rows):
    issue = of_file(rows, "autossvh_issue2")
    averages = [row for row in issue if row.metric == "map-gmean@5-100"]
    assert len(averages) == 35
    for average in averages:
        key = (average.method, average.protocol, average.bits)
        values = [row.value for row in issue if is_map(row) and (row.method, row.protocol, row.bits) == key]
        assert len(values) == 6
        assert math.prod(values) ** (1 / 6) == pytest.approx(average.value, abs=1e-4)  # one is cut off, not rounded


def test_derived_values_follow_from_the_claims(rows):
    text = of_file(rows, "uvvh_paper_text_claims")
    gains = {(row.protocol, row.metric.partition("@")[2]): row.value for row in text if row.over == "jtae"}
    derived = [row for row in text if row.kind == "derived"]
    assert len(derived) == 12
    for row in derived:
        table = f"UVVH paper, Table {row.source.split()[-1]}"
        uvvh = cell(rows, "uvvh_paper_tables", table, "uvvh", row.protocol, row.bits, row.metric)
        gain = gains[row.protocol, row.metric.partition("@")[2]]
        assert uvvh.value / (1 + gain / 100) == pytest.approx(row.value, abs=6e-5)


@pytest.mark.parametrize(
    ("table", "method", "protocol", "bits", "ks", "values"),
    [
        ("III", "uvvh", "fcvid", 128, (5, 20, 40, 60, 80), "0.480 0.284 0.222 0.190 0.169"),
        ("III", "uvvh", "activitynet-25f", 128, (5, 20, 40, 60, 80), "0.191 0.095 0.058 0.042 0.033"),
        ("III", "uvvh-1", "activitynet-25f", 16, (5, 20, 40, 60, 80), "0.089 0.043 0.027 0.020 0.016"),
        ("III", "uvh", "fcvid", 16, (5, 20, 40, 60, 80), "0.228 0.150 0.118 0.102 0.091"),
        ("IV", "jtae", "fcvid-unseen", 64, (5, 20, 40, 60), "0.258 0.139 0.086 0.062"),
        ("V", "bl2", "fcvid", 32, (5, 20, 40, 60, 80, 100), "0.240 0.149 0.120 0.110 0.102 0.096"),
        ("VI", "uvvh-nopro", "fcvid", 64, (5,), "0.431"),
        ("VII", "uvvh-q", "fcvid", 128, (5, 20, 40, 60, 80, 100), "0.432 0.267 0.209 0.179 0.160 0.145"),
        ("VII", "uvvh", "fcvid", 16, (5, 20, 40, 60, 80, 100), "0.244 0.159 0.129 0.114 0.104 0.056"),
    ],
)
def test_cells_of_the_paper(rows, table, method, protocol, bits, ks, values):
    source = f"UVVH paper, Table {table}"
    found = [cell(rows, "uvvh_paper_tables", source, method, protocol, bits, f"map@{k}") for k in ks]
    assert " ".join(row.printed for row in found) == values
    assert {row.kind for row in found} == {"printed"}
    if method == "uvvh":
        assert {row.method_as_printed for row in found} == {"UVVH-2" if table == "III" else "UVVH"}


@pytest.mark.parametrize(
    ("method", "protocol", "over", "printed"),
    [
        ("mfh", "fcvid-to-yfcc", "yfcc", "-30.0"),
        ("itq", "yfcc-to-fcvid", "fcvid", "5.17"),
        ("dh", "yfcc-to-fcvid", "fcvid", "-9.70"),
        ("uvvh", "fcvid-to-yfcc", "yfcc", "-5.9"),
    ],
)
def test_gains_of_table_2(rows, method, protocol, over, printed):
    row = cell(rows, "uvvh_paper_tables", "UVVH paper, Table II", method, protocol, 128, "map-gain@20")
    assert (row.over, row.printed, row.kind) == (over, printed, "claim")


def test_the_logs_keep_the_last_epoch_apart_from_the_best_on_test(rows):
    folder = "S5VH repo logs/activitynet/S5VH_16bit"
    best = cell(rows, "s5vh_logs", f"{folder}/map.txt", "s5vh", "activitynet", 16, "map@5")
    last = cell(rows, "s5vh_logs", f"{folder}/log.txt", "s5vh", "activitynet", 16, "map@5")
    assert (best.printed, best.selection) == ("0.18003333333333335", "best on test")
    assert (last.printed, last.selection) == ("0.1737", "last epoch")


def test_the_words_of_the_schema_are_explained(rows):
    readme = (ROOT / "results" / "published" / "README.md").read_text(encoding="utf-8")
    for word in {*COLUMNS, *COUNTS, *PROTOCOLS, *DOUBTS, *WORDS["kind"], *WORDS["selection"]}:
        assert f"`{word}`" in readme, word
    for name, count in COUNTS.items():
        assert f"| `{name}` | {count} |" in readme
    for word, count in Counter(word for row in rows for word in row.doubt).items():
        (line,) = [line for line in readme.splitlines() if line.startswith(f"| `{word}` |")]
        assert line.endswith(f"| {count} |")


GOOD = "uvvh,UVVH,fcvid,16,map@5,0.244,,k,unknown,keep,printed,unknown,,A paper,"
GAIN = "uvvh,UVVH,fcvid,16,map-gain@5,-64.8,jtae,k,unknown,keep,claim,unknown,inferred impossible,A paper,"


def write(folder, *lines):
    (folder / "mine.csv").write_text("\n".join([",".join(COLUMNS), *lines]) + "\n", encoding="utf-8")


def test_your_own_folder_is_read_the_same_way(tmp_path):
    write(tmp_path, GOOD, GAIN)
    number, gain = read_published(tmp_path)
    assert (number.method, number.bits, number.value, number.printed) == ("uvvh", 16, 0.244, "0.244")
    assert (number.doubt, number.file) == ((), "mine")
    assert (gain.value, gain.over, gain.doubt) == (-64.8, "jtae", ("inferred", "impossible"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("uvvh,UVVH", "UVVH,UVVH", "method is 'UVVH' but must be lower-case words"),
        ("uvvh,UVVH", "uvvh,", "method_as_printed is '' but must be some text"),
        ("fcvid", "FCVID 4000", "protocol is 'FCVID 4000'"),
        (",16,", ",16.0,", "bits is '16.0' but must be a whole number"),
        (",16,", ",0,", "bits is '0'"),
        ("map@5", "map@0", "metric is 'map@0'"),
        ("map@5", "mAP", "metric is 'mAP' but must be map@K"),
        ("0.244", "24.4", "value is '24.4' but must be a number from 0 to 1"),
        ("0.244", "-0.1", "value is '-0.1'"),
        ("0.244", "nan", "value is 'nan'"),
        ("0.244", "", "value is ''"),
        ("0.244", "1e-1", "value is '1e-1'"),
        ("0.244,", "0.244,bl1", "over is 'bl1' but must be empty"),
        ("map@5", "map-gain@5", "over is '' but must be the method or protocol"),
        (",k,", ",K,", "den is 'K' but must be one of k, min"),
        (",k,unknown,", ",k,quicksort,", "ties is 'quicksort'"),
        ("keep", "maybe", "self_match is 'maybe'"),
        ("printed", "guessed", "kind is 'guessed'"),
        ("printed,unknown", "printed,", "selection is ''"),
        (",,A paper", ",odd,A paper", "doubt is 'odd'"),
        ("A paper", " ", "source is ' '"),
        (",A paper,", ",A paper", "14 cells where there are 15 columns"),
        ("A paper,", "A paper,note,more", "16 cells where there are 15 columns"),
    ],
)
def test_a_bad_cell_is_named_with_file_and_line(tmp_path, old, new, message):
    write(tmp_path, GAIN, GOOD.replace(old, new, 1))
    with pytest.raises(DataError) as caught:
        read_published(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'mine.csv'}, line 3: {message}")


def test_a_number_given_twice_is_an_error(tmp_path):
    write(tmp_path, GOOD, GAIN, GOOD.replace("0.244", "0.245"))
    with pytest.raises(DataError, match=r"mine\.csv, line 4: same source, .* as line 2\.$"):
        read_published(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"line 1: the columns must be method,method_as_printed,"),
        (b"method,value\nuvvh,0.1\n", r"line 1: the columns must be method,"),
        (b"\xff\xfe", r"mine\.csv is not UTF-8 text"),
        (",".join(COLUMNS).encode() + b'\n"uvvh', r"line 2: not CSV"),
    ],
)
def test_a_file_that_is_no_such_table(tmp_path, content, message):
    (tmp_path / "mine.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_published(tmp_path)


def test_a_missing_or_empty_folder(tmp_path):
    with pytest.raises(DataError, match=r"There is no folder .*nowhere"):
        read_published(tmp_path / "nowhere")
    with pytest.raises(DataError, match="holds no CSV files"):
        read_published(tmp_path)


def test_an_installed_package_says_that_it_has_no_published_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(published, "__file__", str(tmp_path / "site-packages/vhbench/report/published.py"))
    with pytest.raises(DataError, match="not part of the installed package: name the folder results/published"):
        read_published()


def test_a_byte_order_mark_is_no_harm(tmp_path, rows):
    shutil.copytree(ROOT / "results" / "published", tmp_path / "copy")
    for path in (tmp_path / "copy").glob("*.csv"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_published(tmp_path / "copy") == rows


def test_reading_needs_no_heavy_package():
    code = "import sys, vhbench.report.published; assert not {'pandas', 'torch', 'numba'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
