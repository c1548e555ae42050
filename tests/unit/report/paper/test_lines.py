"""What is committed of the papers' tables, and the precision at a recall."""

import json
from collections import Counter

import pytest

from vhbench.errors import DataError
from vhbench.plugins.registry import Registry
from vhbench.report.orderings import read_orderings
from vhbench.report.paper.lines import _Results
from vhbench.report.paper.recalls import precisions
from vhbench.report.paper.table import read_tables
from vhbench.report.published import read_published
from vhbench.runs.store import Store

UVVH = ["table2", "table3", "table4", "table5", "table6", "table7", "fig4", "fig5"]
LATER = {  # table -> how many published numbers: methods x protocols x code lengths x K where all are printed
    "autossvh/table1": 4 * 3 * 6, "autossvh/s5vh": 72 - 12 + 60, "autossvh/conmh": 2 * 2 * 3 * 6,
    "autossvh/fig3-activitynet": 10 * 6, "autossvh/fig3-fcvid": 10 * 6, "autossvh/fig3-hmdb51": 7 * 6,
    "bervae/table1": 2 * 7, "bth/table1": 7, "conmh/table1": 3 * 3 * 6, "conmh/bth": 2 * 6,
    "s5vh/table1": 4 * 3 * 5, "s5vh/conmh": 2 * 2 * 3 * 5, "s5vh/logs": (9 + 8) * 6,
    "ssvh/table1": 2 * 20, "ssvh/issue2": 2, "wsch/table1": 2 * 3 * 6, "wsch/conmh": 2 * 2 * 2 * 6, "wsch/bth": 2 * 6,
}  # fmt: skip
NOT_HERE = {"nph", "retnet", "rwkv"}  # methods that vhbench does not have


def of_uvvh():
    return {name: table for name, table in read_tables().items() if "/" not in name}


def test_every_table_and_figure_is_described_with_all_its_numbers():
    """As many as the paper prints: methods x code lengths x K, times data sets; gains of the text beside them."""
    tables = read_tables()
    assert set(tables) == {*UVVH, *LATER} and list(of_uvvh()) == UVVH
    assert {name: len(table.published()) for name, table in tables.items()} == {
        "table2": 5 * 2, "table3": 3 * 2 * 5 * 2, "table4": 4 * 4, "table5": 4 * 2 * 6 + 2, "table6": 2 * 3 + 3,
        "table7": 2 * 2 * 6, "fig4": 6 + 1 + 4, "fig5": 0, **LATER,
    }  # fmt: skip


def test_each_published_number_of_the_paper_belongs_to_one_table():
    every = [row for row in read_published() if row.file.startswith("uvvh_paper") and row.kind != "derived"]
    counts = Counter(row for table in of_uvvh().values() for row in table.published())
    assert counts == Counter(every)


def test_each_later_number_belongs_to_a_table_or_says_why_not():
    held = {row for table in read_tables().values() for row in table.published()}
    left = [row for row in read_published() if not row.file.startswith("uvvh_paper") and row not in held]
    assert Counter(_why_in_no_table(row) for row in left) == {
        "a mean of other numbers": 35,
        "a method that vhbench does not have": 48,
        "a split that vhbench does not have": 54,
        "a fragment of a table": 5,
        "made with other settings": 18,
    }


def _why_in_no_table(row):
    if row.metric.startswith("map-gmean"):
        return "a mean of other numbers"
    if row.method in NOT_HERE:
        return "a method that vhbench does not have"
    if row.protocol in ("fcvid-4000q", "yfcc-wsch"):
        return "a split that vhbench does not have"
    if row.file == "autossvh_issue2" and (row.protocol, row.bits) in (("activitynet", 32), ("ucf101", 16)):
        return "a fragment of a table"
    return "made with other settings" if "logs/fcv/" in row.source else f"none: {row}"


def test_each_claim_of_the_paper_belongs_to_one_table():
    tables = read_tables().values()
    for claim in read_orderings():
        (table,) = [table for table in tables if claim.source in table.claims]
        assert {claim.better, claim.worse} <= set(table.methods) and claim.protocol in table.protocols
        assert set(claim.bits) <= set(table.bits) and set(claim.metrics) <= {
            f"{kind}@{k}" for kind in ("map", "map-steadiness") for k in table.ks
        }


def test_tables_need_methods_and_protocols_that_are_there():
    registry = Registry()
    names = {entry.name for entry in registry.methods()}
    for table in read_tables().values():
        assert set(table.methods) <= names, table.name
        assert all(registry.protocol(name).name == name for name in table.grid_protocols)


@pytest.mark.parametrize("name", ["conmh/table1", "s5vh/conmh", "autossvh/fig3-activitynet", "wsch/table1"])
def test_votes_of_an_even_number_of_frames_keep_activitynet_from_being_reproduced(name):
    assert "votes tie" in read_tables()[name].doubts["activitynet"]


def test_numbers_on_data_that_nobody_else_has_say_why_they_cannot_be_reproduced():
    doubts = read_tables()["table3"].doubts
    assert set(doubts) == {"activitynet-25f", "fcvid-unseen"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[tables.one", "Cannot read"),
        ('[tables.one]\ntitel = "x"', "did you mean 'title'"),
        ('[tables.one]\ntitle = "x"', "missing"),
    ],
)
def test_a_broken_description_names_its_file(tmp_path, text, words):
    (tmp_path / "paper.toml").write_text(text)
    with pytest.raises(DataError, match=words) as error:
        read_tables(tmp_path)
    assert "paper.toml" in str(error.value)


def test_precision_at_a_recall_lies_between_the_points_of_the_curve_by_rank(write_run, out):
    for seed, end in ((0, 0.2), (1, 0.4)):
        by_rank = {"rank": [1, 2], "recall": [0.1, 0.5], "precision": [1.0, end]}
        by_radius = {"radius": [0, 1], "recall": [0.1, 0.5], "precision": [0.0, 0.0], "n_empty": [0, 0]}
        curves = {"toy": {"rank": {"keep": by_rank}, "radius": {"keep": by_radius}}}
        (write_run(seed=seed) / "curves.json").write_text(json.dumps(curves))
    found = precisions(Store(out).records()[0], (0.05, 0.1, 0.3, 0.5, 0.6))
    assert [row.value for row in found] == [None, 1.0, pytest.approx(0.65), pytest.approx(0.3), None]
    assert {(row.method, row.bits, row.seeds) for row in found} == {("itq", 16, (0, 1))}
    assert [row.metric for row in found][:2] == ["precision at recall 0.05", "precision at recall 0.1"]


def test_a_query_does_not_find_itself_where_the_paper_takes_queries_out_of_the_database(out, write_run):
    """YFCC by map@20[self=drop] where every run has it, by the literature's convention where one lacks it."""
    own, kept = (f"map@20[den=k,ties=expected,self={self}]" for self in ("drop", "keep"))
    counts = {"yfcc": {"total": 9, "scored": 9, "scored_without_self": 9, "not_in_database": 0}}
    entries = {"protocol": "yfcc", "queries": counts, "params": {}}
    write_run("uvvh", 128, scores={own: 0.2, kept: 0.3}, **entries)
    results = _Results(read_tables()["fig4"], [], Store(out), None)
    runs, _ = Store(out).records()
    assert results._full("map@20", runs) == own
    write_run("uvvh", 128, 1, scores={kept: 0.3}, **entries)
    runs, _ = Store(out).records()
    assert results._full("map@20", runs) == kept
    write_run(
        "uvvh",
        64,
        scores={own: 0.2, kept: 0.3},
        **{**entries, "protocol": "fcvid", "queries": {"fcvid": counts["yfcc"]}},
    )
    (fcvid,) = [run for run in Store(out).records()[0] if run.spec["protocol"] == "fcvid"]
    assert results._full("map@20", [fcvid]) == kept
