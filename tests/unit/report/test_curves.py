"""Curves over seeds and the figures drawn from them."""

import json
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest

from vhbench.errors import StoreError, UsageError
from vhbench.report.curves import map_curves, pr_curves
from vhbench.report.figures import draw_map, draw_pr, style
from vhbench.runs.groups import Choice
from vhbench.runs.store import Store


def columns(by, at, recall, precision):
    return {by: at, "recall": recall, "precision": precision}


@pytest.fixture
def write_curves(write_run):
    """Write a run with these curves by rank and by radius."""

    def write(method, bits, seed, precision, **changes):
        folder = write_run(method, bits, seed, **changes)
        rank = columns("rank", [1, 2, 4], [0.1, 0.3, 1.0], precision)
        radius = columns("radius", [0, 1], [0.2, 0.9], [None, precision[0]])
        (folder / "curves.json").write_text(json.dumps({"toy": {"rank": {"keep": rank}, "radius": {"keep": radius}}}))

    return write


@pytest.fixture
def records(out):
    return lambda: Store(out).records()[0]


def test_precision_and_recall_are_averaged_over_seeds_at_each_point(write_curves, records):
    write_curves("itq", 16, 0, [1.0, 0.5, 0.2])
    write_curves("itq", 16, 1, [0.5, None, 0.4])
    write_curves("lsh", 16, 0, [0.1, 0.1, 0.1])
    curves = pr_curves(records(), Choice(methods=("itq",)))
    assert set(curves["label"]) == {"itq"} and set(curves["seeds"]) == {2}
    rank, radius = (curves[curves["by"] == by] for by in ("rank", "radius"))
    assert rank["at"].tolist() == [1, 2, 4] and rank["recall"].tolist() == [0.1, 0.3, 1.0]
    np.testing.assert_allclose(rank["precision"], [0.75, 0.5, 0.3])
    np.testing.assert_allclose(radius["precision"], [np.nan, 0.75])


def test_lost_curves_are_named(write_curves, write_run, records):
    folder = write_run("itq", 16, 0)
    with pytest.raises(StoreError, match=str(folder / "curves.json")):
        pr_curves(records(), Choice())


def test_map_curves_hold_every_recorded_k(write_run, records):
    for seed, value in enumerate((0.2, 0.4)):
        write_run("itq", 32, seed, value, ks=(5, 20))
    curves = map_curves(records(), Choice())
    assert curves[["bits", "k"]].to_numpy().tolist() == [[32, 5], [32, 20]]
    row = curves[curves["k"] == 20].iloc[0]
    assert row["value"] == pytest.approx(0.3) and row["sd"] == pytest.approx(np.std([0.2, 0.4], ddof=1))


def drawn(path):
    """Every text of an SVG figure."""
    return [element.text for element in ET.parse(path).iter("{http://www.w3.org/2000/svg}text")]


def test_a_figure_shows_every_method_and_its_data_lie_beside_it(write_curves, records, tmp_path):
    write_curves("itq", 16, 0, [1.0, 0.5, 0.2])
    write_curves("itq", 64, 0, [1.0, 0.5, 0.2])
    write_curves("my-own", 16, 0, [0.3, 0.2, 0.1], params={}, synthetic=True)
    curves = pr_curves(records(), Choice())
    assert draw_pr(curves, tmp_path / "pr.svg") == [tmp_path / "pr.svg", tmp_path / "pr.csv"]
    texts = drawn(tmp_path / "pr.svg")
    assert {"ITQ", "my-own", "16 bits, by rank", "64 bits, by radius", "self=keep"} <= set(texts)
    assert any("synthetic" in text for text in texts)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "pr.csv"), curves, check_dtype=False)


@pytest.mark.parametrize("ending", ["svg", "png", "pdf"])
def test_the_same_curves_give_the_same_file(write_run, records, tmp_path, ending):
    for bits in (16, 64):
        for seed, value in enumerate((0.2, 0.4)):
            write_run("itq", bits, seed, value)
    curves = map_curves(records(), Choice())
    files = [tmp_path / f"{name}.{ending}" for name in "ab"]
    for file in files:
        draw_map(curves, file, 20)
    content = files[0].read_bytes()
    assert content.startswith({"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}[ending])
    assert content == files[1].read_bytes()


def test_every_method_has_one_look_and_built_ins_have_different_ones():
    from vhbench.plugins.registry import Registry

    looks = [tuple(style(entry.name).values()) for entry in Registry().methods()]
    assert len(set(looks)) == len(looks)
    assert style("somebody-elses") == style("somebody-elses")


def test_other_endings_and_nothing_to_draw_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"\.pdf, \.svg, \.png"):
        draw_map(pd.DataFrame({"k": [1]}), tmp_path / "map.jpg", 20)
    with pytest.raises(UsageError, match="nothing to draw"):
        draw_pr(pd.DataFrame(), tmp_path / "pr.svg")


def test_compare_draws(vhbench, out, write_curves, tmp_path):
    for bits in (16, 32):
        write_curves("itq", bits, 0, [1.0, 0.5, 0.2])
    result = vhbench("compare", "--out", out, "--pr", tmp_path / "pr.svg", "--map", tmp_path / "map.svg")
    assert result.code == 0 and "itq" in result.out
    assert [line.split()[-1] for line in result.err.splitlines()] == [
        str(tmp_path / name) for name in ("pr.svg", "pr.csv", "map.svg", "map.csv")
    ]
    assert "mAP@20" in drawn(tmp_path / "map.svg")
    for metric, k in (("mrr", 20), ("mrr,map@5", 5), ("precision@r2,recall@20", 20)):
        vhbench("compare", "--out", out, "--metric", metric, "--map", tmp_path / "map.svg")
        assert f"mAP@{k}" in drawn(tmp_path / "map.svg"), "a metric without K leaves it to the next, or to 20"
    refused = vhbench("compare", "--out", out, "--pr", tmp_path / "pr.gif")
    assert refused.code == 2 and ".gif" in refused.error
