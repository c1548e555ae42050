"""Claimed orderings: what the committed file says, and how measured rows are held against a claim."""

import itertools

import pytest

from vhbench.errors import DataError, UsageError
from vhbench.report.orderings import Ordering, check_orderings, read_orderings
from vhbench.report.published import read_published
from vhbench.report.rows import Row

CLAIM = Ordering("uvvh", "itq", "fcvid", (16, 64), ("map@5", "map@20"), "somewhere", "")


def row(method, bits, metric, value, *, protocol="fcvid", label=None):
    full = f"{metric}[den=k,ties=expected,self=keep]"
    return Row(protocol, protocol, method, label or method, bits, (0,), full, value, None, False, 10)


def rows(uvvh, itq, **more):
    cells = [(16, "map@5"), (16, "map@20"), (64, "map@5"), (64, "map@20")]
    pairs = (("uvvh", uvvh), ("itq", itq))
    return [row(m, *cell, value, **more) for m, values in pairs for cell, value in zip(cells, values, strict=False)]


@pytest.mark.parametrize(
    ("uvvh", "itq", "verdict"),
    [
        ([0.4, 0.3, 0.5, 0.4], [0.3, 0.2, 0.4, 0.3], "held"),
        ([0.4, 0.3, 0.5, 0.2], [0.3, 0.2, 0.4, 0.3], "held in 3 of 4"),
        ([0.2, 0.2, 0.4, 0.3], [0.3, 0.2, 0.4, 0.3], "reversed"),
        ([0.4, 0.3], [0.3, 0.2, 0.4, 0.3], "held in 2 of 2"),
        ([], [0.3, 0.2, 0.4, 0.3], "not measured"),
        ([None, None, None, 0.4], [0.3, 0.2, 0.4, 0.3], "held in 1 of 1"),
    ],
)
def test_verdicts(uvvh, itq, verdict):
    (checked,) = check_orderings([CLAIM], rows(uvvh, itq))
    assert checked.verdict == verdict


def test_a_cell_says_by_how_much():
    (checked,) = check_orderings([CLAIM], rows([0.4, 0.3, 0.5, 0.2], [0.3, 0.2, 0.4, 0.3]))
    assert [(c.bits, c.metric) for c in checked.cells] == [(16, "map@5"), (16, "map@20"), (64, "map@5"), (64, "map@20")]
    assert [c.gain for c in checked.cells] == pytest.approx([0.1, 0.1, 0.1, -0.1])


def test_a_claim_can_be_checked_on_another_protocol():
    measured = rows([0.4, 0.3, 0.5, 0.4], [0.3, 0.2, 0.4, 0.3], protocol="demo")
    assert check_orderings([CLAIM], measured)[0].verdict == "not measured"
    assert check_orderings([CLAIM], measured, "demo")[0].verdict == "held"


def test_two_ways_of_running_a_method_are_refused():
    measured = [row("uvvh", 16, "map@5", 0.4), row("uvvh", 16, "map@5", 0.3, label="uvvh [quick]")]
    with pytest.raises(UsageError, match=r"uvvh and uvvh \[quick\]"):
        check_orderings([CLAIM], measured)


def test_the_papers_tables_agree_with_the_claims_read_from_them():
    """Every committed claim that rests on a table must hold for the table's own published cells."""
    cells = [cell for cell in read_published() if cell.file == "uvvh_paper_tables"]
    printed = [
        row(cell.method, cell.bits, cell.metric, cell.value, protocol=cell.protocol, label=cell.source)
        for cell in cells
        if cell.metric.startswith("map@")
    ]
    printed += [
        row(cell.method, cell.bits, "map-steadiness@20", -abs(cell.value), protocol=cell.protocol, label=cell.source)
        for cell in cells
        if cell.metric == "map-gain@20"
    ]
    tables = [claim for claim in read_orderings() if "Table" in claim.source]
    assert {claim.source.rpartition(" ")[2] for claim in tables} == {"II", "III", "IV", "V", "VI", "VII"}
    for claim in tables:
        table = claim.source.rpartition(", ")[2]
        own = [r for r in printed if r.label.endswith(table) or f"{table}," in r.label]
        (checked,) = check_orderings([claim], own)
        assert checked.verdict == "held", (claim, checked.verdict, {r.label for r in printed})


def test_later_orders_agree_with_their_sources_numbers():
    """Each holds in every cell that it names, and of a pair's cells only ties and impossible ones are in no claim."""
    cells = {
        (cell.source, cell.method, cell.protocol, cell.bits, cell.metric): cell.value
        for cell in read_published()
        if "impossible" not in cell.doubt
    }
    later = [claim for claim in read_orderings() if not claim.source.startswith("UVVH")]
    said = set()
    for claim in later:
        one, _, other = claim.source.partition("; ")
        source = one.split(", ")[0] if "issue 2" in one else one
        for bits, metric in itertools.product(claim.bits, claim.metrics):
            better, worse = (
                max(cells.get((name, method, claim.protocol, bits, metric), -1) for name in {source, other or source})
                for method in (claim.better, claim.worse)
            )
            assert better > worse > 0, (claim, bits, metric)
            said.add((claim.source, frozenset((claim.better, claim.worse)), claim.protocol, bits, metric))
    for source, pair, protocol in {key[:3] for key in said}:
        own = {name.split(", ")[0] if "issue 2" in name else name for name in source.split("; ")}
        first, second = (
            {key[3:]: value for key, value in cells.items() if key[0] in own and key[1:3] == (method, protocol)}
            for method in sorted(pair)
        )
        shared = {
            key for key in first.keys() & second.keys() if key[1].startswith("map@") and first[key] != second[key]
        }
        assert shared == {key[3:] for key in said if key[:3] == (source, pair, protocol)}, (source, pair)


@pytest.mark.parametrize("text", ["better,worse\n", "{header}\na,b,c\n", "{header}\na,b,c,sixteen,map@5,x,\n"])
def test_a_broken_file_names_its_line(tmp_path, text):
    header = "better,worse,protocol,bits,metrics,source,note"
    (tmp_path / "claims.csv").write_text(text.format(header=header))
    with pytest.raises(DataError, match=r"claims\.csv, line [12]"):
        read_orderings(tmp_path)


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no CSV"):
        read_orderings(tmp_path)
