"""The report page in a real browser: what a reader clicks, types and reads."""

import json
import re
import statistics

import numpy as np
import pytest
from made_runs import NAMES, Made, make_run

from vhbench.plugins.registry import Registry
from vhbench.report.page import write_page
from vhbench.report.page.build import render_page
from vhbench.report.page.gather import gather
from vhbench.runs.groups import Choice
from vhbench.runs.record import read_record, write_record
from vhbench.runs.store import Store

pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

pytestmark = pytest.mark.xdist_group("browser")  # one browser for all of them

SECTIONS = ("results", "curves", "queries", "classes", "retrieved", "codes", "training", "cost", "runs", "reading")
LITERATURE, STRICT = (f"map@20[den={den},ties=expected,self=keep]" for den in ("k", "min"))
HOSTILE = "<img src=x onerror=document.title='hacked'>"


def means(folder, method, bits, name):
    """Mean over seeds of a score on the protocol `made`, from the records."""
    paths = sorted((folder / "results" / "made" / method).glob(f"{bits}b-*/run.json"))
    return statistics.fmean(read_record(path).scores[name] for path in paths)


def number(cell):
    return float(re.match(r"[\d.]+", cell)[0])


def test_every_section_is_there_and_the_page_says_what_it_holds(page):
    assert page.one("h1").text == "vhbench report: made, other"
    assert page.one("#summary").text.startswith("10 finished runs of 11 runs; finished 2026-01-02")
    for section in SECTIONS:
        assert len(page.texts(f"#{section} > div")[0]) > 40, section
    assert len(page.all("#pr-rank svg")) == 2 == len(page.all("#at-k svg"))
    assert page.texts("#losses figcaption") == ["dh", "uvvh"]
    assert page.one("#counts").text == "10 stale, 1 failed."
    assert sum(HOSTILE in row for row in page.texts("#table-runs tbody tr")) == 1


def test_a_column_sorts_both_ways_and_tells_so(page):
    """The last column is sorted by at first, the best above."""
    for way, press in (("descending", False), ("ascending", True), ("descending", True)):
        if press:
            page.one("#table-results th:nth-child(4) button").click()
        values = [number(cell) for cell in page.column("results", 4)]
        assert values == sorted(values, reverse=way == "descending") and len(values) == 5
        assert page.one("#table-results th:nth-child(4)").get_attribute("aria-sort") == way
    page.one("#table-results th:nth-child(3) button").click()
    assert page.one("#table-results th:nth-child(3)").get_attribute("aria-sort") == "descending"


def test_what_is_not_there_stands_last_in_either_order(page):
    for _ in range(2):
        page.one("#table-results th:nth-child(3) button").click()
        assert page.column("results", 3)[-3:] == [""] * 3 and all(page.column("results", 3)[:-3])


def test_methods_and_code_lengths_are_filtered_everywhere(page):
    page.one("#methods input[value='lsh']").click()
    assert not any(name.strip().startswith("lsh") for name in page.column("results", 1))
    assert len(page.all("#pr-rank .mark[data-name='lsh']")) == 0 < len(page.all("#pr-rank .mark[data-name='itq']"))
    page.one("#lengths input[value='16']").click()
    assert page.texts("#table-results thead th button")[2:] == ["32 bits"]
    assert set(page.column("codes", 2)) == {"32"}
    page.one(".all button:last-of-type").click()
    assert page.column("results", 1) == [] and "nothing to draw" in page.one("#curves").text
    page.one(".all button").click()
    assert len(page.column("results", 1)) == 5


def test_a_search_narrows_the_methods_everywhere(page):
    page.one("#find input").send_keys("LSH uv")
    page.until(lambda: len(page.column("results", 1)) == 2)
    assert page.run("return document.activeElement.closest('#find') !== null"), "the focus stays"
    assert [row.get_attribute("data-label") for row in page.all("#methods li") if row.is_displayed()] == ["lsh", "uvvh"]
    assert {g.get_attribute("data-name") for g in page.all("#curves svg.chart .mark")} == {"lsh", "uvvh"}
    page.one(".all button:last-of-type").click()
    page.one("#find input").click()
    page.press(*[Keys.BACKSPACE] * 6)
    page.until(lambda: len(page.column("results", 1)) == 3)


def test_the_convention_switches_every_number(page, folder):
    for name, full in (("strict", STRICT), ("literature", LITERATURE)):
        page.one(f"input[name='convention'][value='{name}']").click()
        shown = page.results()
        for method, bits, place in (("itq", 16, 0), ("itq", 32, 1), ("lsh", 16, 0)):
            assert number(shown[method][place]) == pytest.approx(means(folder, method, bits, full), abs=6e-4)
        assert page.one("#result-note").text.startswith(full)
    assert means(folder, "itq", 16, STRICT) > means(folder, "itq", 16, LITERATURE) + 0.001


def test_another_metric_and_k_across(page, folder):
    Select(page.one("#metric select")).select_by_visible_text("recall@5")
    name = "recall@5[ties=expected,self=keep]"
    assert number(page.results()["lsh"][1]) == pytest.approx(means(folder, "lsh", 32, name), abs=6e-4)
    page.one("input[name='across'][value='k']").click()
    assert page.texts("#table-results thead button")[2:] == ["recall@5", "recall@20"]
    assert number(page.results()["lsh"][0]) == pytest.approx(means(folder, "lsh", 32, name), abs=6e-4)


@pytest.mark.parametrize(
    ("metric", "name"), [("mrr", "mrr[ties=expected,self=keep]"), ("precision@r2", "precision@r2[self=keep]")]
)
def test_a_metric_without_k(page, folder, metric, name):
    page.one("input[name='across'][value='k']").click()
    Select(page.one("#metric select")).select_by_value(metric)
    assert page.texts("#table-results thead button")[2:] == ["16 bits", "32 bits"], "there is no K to stand across"
    assert number(page.results()["lsh"][1]) == pytest.approx(means(folder, "lsh", 32, name), abs=6e-4)
    assert page.one("#result-note").text.startswith(name)
    assert not page.all("input[name='across']") and not page.all("#at-k svg") and len(page.all("#at-bits svg")) == 1
    assert ("counts as 0" in page.one("#result-note").text) == (metric == "precision@r2")
    Select(page.one("#metric select")).select_by_visible_text("nDCG@5")
    assert page.texts("#table-results thead button")[2:] == ["nDCG@5", "nDCG@20"] and len(page.all("#at-k svg")) == 2


def test_the_best_is_bold_and_the_second_underlined(page):
    best, second = (page.one(f"#table-results td.{kind}:nth-child(4) .number") for kind in ("best", "second"))
    values = sorted((number(cell) for cell in page.column("results", 4)), reverse=True)
    assert [number(best.text), number(second.text)] == values[:2]
    assert int(best.value_of_css_property("font-weight")) >= 700
    assert "underline" in second.value_of_css_property("text-decoration")


def test_another_protocol_is_another_page(page):
    Select(page.one("#protocol select")).select_by_visible_text("other")
    assert list(page.results()) == ["itq"] and "other" in page.one("#table-results caption").text
    page.one("input[name='convention'][value='strict']").click()
    assert page.one("#result-note").text.startswith("map@20[den=min,ties=expected,self=drop]")
    assert "This protocol has no frames to show" in page.one("#retrieved").text


def test_a_curve_tells_its_values_under_the_pointer(page, folder):
    chart = page.show("#pr-radius svg")
    box = page.run("""const p = document.querySelector("#pr-radius svg .mark[data-name='lsh'] path.full, "
      + "#pr-radius svg .mark[data-name='lsh'] path.hollow").getBoundingClientRect();
      const s = document.querySelector('#pr-radius svg').getBoundingClientRect();
      return [p.x + p.width / 2 - s.x - s.width / 2, p.y + p.height / 2 - s.y - s.height / 2]""")
    ActionChains(page.browser).move_to_element_with_offset(chart, *map(round, box)).perform()
    name, values = page.until(lambda: page.one("#tip").text).split("\n")
    radius, recall, precision = re.fullmatch(r"radius (\d+): recall ([\d.]+), precision ([\d.]+)", values).groups()
    assert name == "lsh"
    (run,) = (folder / "results" / "made" / "lsh").glob("16b-*")
    curve = json.loads((run / "curves.json").read_text())["made"]["radius"]["keep"]
    assert float(recall) == pytest.approx(curve["recall"][int(radius)], abs=6e-4)
    assert float(precision) == pytest.approx(curve["precision"][int(radius)], abs=6e-4)
    assert len(page.all("#pr-rank .mark.on[data-name='lsh']")) == 2, "it stands out in every panel"


def test_a_point_of_the_scatter_is_chosen_by_a_click_and_from_the_keyboard(page, folder):
    runs = [read_record(path) for path in sorted((folder / "results/made/itq").glob("32b-*/run.json"))]
    ap = np.mean([run.arrays("per_query.npz")[LITERATURE] for run in runs], axis=0)
    Select(page.one("#pair select")).select_by_visible_text("itq, 32 bits")
    chart = page.show("#queries svg.chart")
    ActionChains(page.browser).move_to_element_with_offset(chart, 60, -20).perform()
    pointed = page.until(lambda: page.one("#tip").text).splitlines()[0]
    ActionChains(page.browser).click().perform()
    clicked = page.one("#chosen h3").text
    query = int(re.match(r"Query (\d+): ", clicked)[1])
    assert clicked == pointed.replace("query", "Query") == f"Query {query}: {NAMES[query % 4]}"
    shown = dict(
        zip(
            zip(
                (name.removesuffix(" †").strip() for name in page.column("chosen", 1)),
                page.column("chosen", 2),
                strict=True,
            ),
            page.column("chosen", 3),
            strict=True,
        )
    )
    assert float(shown["itq", "32"]) == pytest.approx(ap[query], abs=6e-4)
    page.press(Keys.HOME, Keys.ARROW_RIGHT, Keys.ENTER)
    page.until(lambda: page.one("#chosen h3").text != clicked)


def test_best_and_worst_queries_are_those_of_the_records(page, folder):
    Select(page.one("#pair select")).select_by_visible_text("lsh, 16 bits")
    Select(page.all("#pair select")[1]).select_by_visible_text("itq, 16 bits")
    (path,) = (folder / "results/made/lsh").glob("16b-*/run.json")
    ap = np.sort(read_record(path).arrays("per_query.npz")[LITERATURE])
    assert [float(cell) for cell in page.column("a-best", 3)] == pytest.approx(ap[::-1][:8], abs=6e-4)
    assert [float(cell) for cell in page.column("a-worst", 3)] == pytest.approx(ap[:8], abs=6e-4)
    page.one("#table-a-worst tbody button").click()
    assert page.one("#chosen h3").text.startswith(f"Query {page.column('a-worst', 1)[0]}:")


def test_classes_are_compared_and_named_as_they_are_written(page):
    assert page.column("classes", 1) == list(NAMES)
    for a, b, difference in zip(*(page.column("classes", place) for place in (3, 4, 5)), strict=True):
        assert float(a) - float(b) == pytest.approx(float(difference.replace("−", "-")), abs=1.1e-3)
    assert page.browser.title == "vhbench report: made, other", "no name was run as a script"


def test_retrieved_videos_have_pictures_and_borders(page):
    assert len(page.all("#retrieved .example")) == 8
    pictures = page.run("return [...document.querySelectorAll('#retrieved img')].map((x) => x.naturalWidth)")
    assert len(pictures) == 8 * 11 and set(pictures) == {24}
    edges = page.run(
        "return ['hit', 'miss'].map((x) => getComputedStyle(document.querySelector('.item.' + x)).borderTopColor)"
    )
    assert edges == ["rgb(26, 127, 55)", "rgb(179, 32, 44)"]
    marks = page.texts("#retrieved .item b")
    assert {mark.strip() for mark in marks} == {"✓", "✗"} and marks.count("✓ ") == len(page.all("#retrieved .item.hit"))


def test_runs_are_filtered_and_open_from_the_keyboard(page):
    Select(page.one("#runs select")).select_by_visible_text("failed (1)")
    assert page.column("runs", 1) == ["lsh"] and HOSTILE in page.column("runs", 10)[0]
    Select(page.one("#runs select")).select_by_visible_text("all")
    page.one("#runs input").send_keys("uvvh")
    page.until(lambda: page.column("runs", 1) == ["uvvh"])
    page.run("document.querySelector('#table-runs td button').focus()")
    page.press(Keys.ENTER)
    assert page.one("#details h2").text == "uvvh, 32 bits, seed 0" and HOSTILE in page.one("#details dl").text
    page.press(Keys.ESCAPE)
    page.until(lambda: not page.run("return document.getElementById('details').open"))
    assert page.run("return document.activeElement.closest('#table-runs') !== null"), "the focus comes back"


def test_a_chart_is_read_from_the_keyboard(page):
    page.open("without=dh,sh,uvvh")
    page.run("document.querySelector('#at-bits svg').focus()")
    texts = []
    for key in (Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_DOWN):
        page.press(key)
        texts.append(page.one("#tip").text)
    shown = page.results()
    assert [text.split(" ±")[0] for text in texts] == [
        f"itq\n16 bits: {shown['itq'][0][:5]}",
        f"itq\n32 bits: {shown['itq'][1][:5]}",
        f"lsh\n32 bits: {shown['lsh'][1]}",
    ]
    page.press(Keys.ESCAPE)
    assert not page.one("#tip").is_displayed()


def test_problems_of_the_data_mark_the_methods_and_stand_below_the_table(open_page, tmp_path):
    folder = make_run(tmp_path / "results", made := Made(), "itq", 16)
    text = f"3 of 40 queries are training videos too {HOSTILE}"
    record = json.loads((folder / "run.json").read_text())
    write_record(folder, {**record, "data": {"made": {"problems": {"in_training": text}}}})
    content = gather(Store(tmp_path / "results"), Choice(), Registry(), {"made": made}, None, tmp_path)
    (tmp_path / "page.html").write_text(render_page(content), encoding="utf-8")
    page = open_page(tmp_path / "page.html")
    assert any(name.startswith(" itq") and name.endswith(" §") for name in page.column("results", 1))
    assert f"§: {text}" in page.one("#result-note").text and page.run("return document.title") != "hacked"


def test_a_folder_without_a_finished_run_says_so(open_page, tmp_path):
    folder = make_run(tmp_path / "results", Made())
    record = json.loads((folder / "run.json").read_text())
    write_record(folder, {**record, "status": "failed", "reason": "out of memory"})
    write_page(tmp_path / "page.html", Store(tmp_path / "results"), Choice())
    page = open_page(tmp_path / "page.html")
    assert "No run has finished" in page.one("#results").text
    assert page.column("runs", 5) == ["failed"] and page.column("runs", 10) == ["out of memory"]
    assert page.errors == []
