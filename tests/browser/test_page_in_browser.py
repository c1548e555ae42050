"""The report page in a real browser: what a reader clicks, types, prints and looks at on a phone."""

import base64
import json
import os
import re
import shutil
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

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402

pytestmark = pytest.mark.xdist_group("browser")  # one browser for all of them

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
    "--window-size=1280,900",
)  # fmt: skip
SECTIONS = ("results", "curves", "queries", "classes", "retrieved", "codes", "training", "cost", "runs", "reading")
LITERATURE, STRICT = (f"map@20[den={den},ties=expected,self=keep]" for den in ("k", "min"))
HOSTILE = "<img src=x onerror=document.title='hacked'>"
LONG = "a-name-without-any-blank-" * 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Runs of two protocols: three methods, two lengths, two seeds of one of them; one stale, one failed."""
    root = tmp_path_factory.mktemp("browser")
    made, other = Made(), Made(name="other", queries=30, in_database=True, pictures=False)
    for bits in (16, 32):
        for seed in (0, 1):
            make_run(root / "results", made, "itq", bits, seed, noise=0.25 + seed / 20)
        make_run(root / "results", made, "lsh", bits, noise=0.4)
    make_run(root / "results", made, "uvvh", 32, noise=0.1, epochs=[9.0, 5.0, 4.0], params={HOSTILE: LONG})
    make_run(root / "results", other, "itq", 16, noise=0.45)
    folder = make_run(root / "results", made, "lsh", 64)
    record = json.loads((folder / "run.json").read_text())
    write_record(folder, {**record, "status": "failed", "reason": HOSTILE})
    content = gather(Store(root / "results"), Choice(), Registry(), {"made": made, "other": other}, None, root)
    (root / "page.html").write_text(render_page(content), encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    found, driver = next(filter(None, map(shutil.which, BROWSERS)), None), shutil.which("chromedriver")
    if not (found and driver):
        missing = "chromium and chromedriver are not installed: tests/browser/install.sh installs them as root"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    options = webdriver.ChromeOptions()
    options.binary_location = found
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield started
    started.quit()


class Page:
    """The page as somebody sees it who has just opened it."""

    def __init__(self, browser, address):
        self.browser = browser
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        self.emulate("screen", "light")
        for log in ("browser", "performance"):
            browser.get_log(log)
        browser.get(address)

    def emulate(self, media, scheme):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": [feature]})

    def one(self, selector):
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector):
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def run(self, script, *values):
        return self.browser.execute_script(script, *values)

    def texts(self, selector):
        return self.run("return [...document.querySelectorAll(arguments[0])].map((x) => x.textContent)", selector)

    def column(self, table, number):
        return self.texts(f"#table-{table} tbody tr > :nth-child({number})")

    def press(self, *keys):
        ActionChains(self.browser).send_keys(*keys).perform()

    def until(self, condition):
        return WebDriverWait(self.browser, 20).until(lambda _: condition())

    def show(self, selector):
        element = self.one(selector)
        self.run("arguments[0].scrollIntoView({ block: 'center' })", element)
        return element

    def style(self, selector, name):
        return self.run("return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]", selector, name)

    @property
    def errors(self):
        return [entry["message"] for entry in self.browser.get_log("browser")]


@pytest.fixture
def page(browser, folder):
    opened = Page(browser, (folder / "page.html").as_uri())
    yield opened
    assert opened.errors == [], "nothing may appear on the console"


def means(folder, method, bits, name):
    """Mean over seeds of a score on the protocol `made`, from the records."""
    paths = sorted((folder / "results" / "made" / method).glob(f"{bits}b-*/run.json"))
    return statistics.fmean(read_record(path).scores[name] for path in paths)


def table_of(page):
    """The table of results: label -> texts of its cells."""
    rows = page.run("return [...document.querySelectorAll('#table-results tbody tr')].map("
                    "(row) => [...row.children].map((cell) => cell.textContent))")  # fmt: skip
    return {row[0].removesuffix(" †").strip(): row[2:] for row in rows}


def number(cell):
    return float(cell.split(" ±")[0])


def test_every_section_is_there_and_the_page_says_what_it_holds(page):
    assert page.one("h1").text == "vhbench report: made, other"
    assert page.one("#summary").text.startswith("8 finished runs of 9 runs; finished 2026-01-02")
    for section in SECTIONS:
        assert len(page.texts(f"#{section} > div")[0]) > 40, section
    assert len(page.all("#pr-rank svg")) == 2 == len(page.all("#at-k svg"))
    assert page.texts("#table-training") == [] and len(page.all("#training svg.chart")) == 1
    assert page.one("#counts").text == "8 stale, 1 failed."
    assert sum(HOSTILE in row for row in page.texts("#table-runs tbody tr")) == 1


def test_a_column_sorts_both_ways_and_tells_so(page):
    head = page.one("#table-results th:nth-child(4) button")
    assert head.text.startswith("32 bits")
    head.click()
    values = [number(cell) for cell in page.column("results", 4)]
    assert values == sorted(values, reverse=True) and len(values) == 3
    assert page.one("#table-results th:nth-child(4)").get_attribute("aria-sort") == "descending"
    page.one("#table-results th:nth-child(4) button").click()
    assert [number(cell) for cell in page.column("results", 4)] == values[::-1]
    assert page.one("#table-results th:nth-child(4)").get_attribute("aria-sort") == "ascending"


def test_what_is_not_there_stands_last_in_either_order(page):
    for _ in range(2):
        page.one("#table-results th:nth-child(3) button").click()
        assert page.column("results", 3)[-1] == "" and all(page.column("results", 3)[:-1])


def test_methods_and_code_lengths_are_filtered_everywhere(page):
    page.one(".filters summary").click()
    page.one(".filters input[value='lsh']").click()
    assert not any(name.strip().startswith("lsh") for name in page.column("results", 1))
    assert len(page.all("#pr-rank .mark[data-name='lsh']")) == 0 < len(page.all("#pr-rank .mark[data-name='itq']"))
    page.one(".filters input[value='16']").click()
    assert page.texts("#table-results thead th")[2:] == ["32 bits"]
    assert set(page.column("codes", 2)) == {"32"}
    page.one(".filters fieldset:nth-of-type(2) .choices button:last-of-type").click()
    assert page.column("results", 1) == []


def test_the_convention_switches_every_number(page, folder):
    for name, full in (("strict", STRICT), ("literature", LITERATURE)):
        page.one(f"input[name='convention'][value='{name}']").click()
        shown = table_of(page)
        for method, bits, place in (("itq", 16, 0), ("itq", 32, 1), ("lsh", 16, 0)):
            assert number(shown[method][place]) == pytest.approx(means(folder, method, bits, full), abs=6e-4)
        assert page.one("#result-note").text.startswith(full)
    assert means(folder, "itq", 16, STRICT) > means(folder, "itq", 16, LITERATURE) + 0.001


def test_another_metric_and_k_across(page, folder):
    Select(page.one("#bar .field:nth-of-type(2) select")).select_by_visible_text("recall@5")
    name = "recall@5[ties=expected,self=keep]"
    assert number(table_of(page)["lsh"][1]) == pytest.approx(means(folder, "lsh", 32, name), abs=6e-4)
    page.one("input[name='across'][value='k']").click()
    assert page.texts("#table-results thead th")[2:] == ["recall@5", "recall@20"]
    assert number(table_of(page)["lsh"][0]) == pytest.approx(means(folder, "lsh", 32, name), abs=6e-4)


@pytest.mark.parametrize(
    ("metric", "name"), [("mrr", "mrr[ties=expected,self=keep]"), ("precision@r2", "precision@r2[self=keep]")]
)
def test_a_metric_without_k(page, folder, metric, name):
    page.one("input[name='across'][value='k']").click()
    Select(page.one("#bar .field:nth-of-type(2) select")).select_by_visible_text(metric)
    assert page.texts("#table-results thead th")[2:] == ["16 bits", "32 bits"], "there is no K to stand across"
    assert number(table_of(page)["lsh"][1]) == pytest.approx(means(folder, "lsh", 32, name), abs=6e-4)
    assert page.one("#result-note").text.startswith(name)
    assert not page.all("input[name='across']") and not page.all("#at-k svg") and len(page.all("#at-bits svg")) == 1
    assert ("counts as 0" in page.one("#result-note").text) == (metric == "precision@r2")
    Select(page.one("#bar .field:nth-of-type(2) select")).select_by_visible_text("ndcg@5")
    assert page.texts("#table-results thead th")[2:] == ["ndcg@5", "ndcg@20"] and len(page.all("#at-k svg")) == 2


def test_the_best_is_bold_and_the_second_underlined(page):
    best, second = page.one("#table-results td.best:nth-child(4)"), page.one("#table-results td.second:nth-child(4)")
    values = sorted((number(cell) for cell in page.column("results", 4)), reverse=True)
    assert [number(best.text), number(second.text)] == values[:2]
    assert int(best.value_of_css_property("font-weight")) >= 700
    assert "underline" in second.value_of_css_property("text-decoration")


def test_another_protocol_is_another_page(page):
    Select(page.one("#bar .field select")).select_by_visible_text("other")
    assert list(table_of(page)) == ["itq"] and "other" in page.one("#table-results caption").text
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
        zip(zip(page.column("chosen", 1), page.column("chosen", 2), strict=True), page.column("chosen", 3), strict=True)
    )
    assert float(shown[" itq †", "32"]) == pytest.approx(ap[query], abs=6e-4)
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
    assert edges == ["rgb(26, 127, 55)", "rgb(207, 34, 46)"]
    marks = page.texts("#retrieved .item b")
    assert {mark.strip() for mark in marks} == {"✓", "✗"} and marks.count("✓ ") == len(page.all("#retrieved .item.hit"))


def test_runs_are_filtered_and_open_from_the_keyboard(page):
    Select(page.one("#runs select")).select_by_visible_text("failed (1)")
    assert page.column("runs", 1) == ["lsh"] and HOSTILE in page.column("runs", 10)[0]
    Select(page.one("#runs select")).select_by_visible_text("all")
    page.one("#runs input").send_keys("uvvh")
    assert page.column("runs", 1) == ["uvvh"]
    page.run("document.querySelector('#table-runs td button').focus()")
    page.press(Keys.ENTER)
    assert page.one("#details h2").text == "uvvh, 32 bits, seed 0" and HOSTILE in page.one("#details dl").text
    page.press(Keys.ESCAPE)
    page.until(lambda: not page.run("return document.getElementById('details').open"))
    assert page.run("return document.activeElement.closest('#table-runs') !== null"), "the focus comes back"


def test_the_keyboard_alone_reaches_sorts_and_switches(page):
    seen = []
    for _ in range(40):
        page.press(Keys.TAB)
        seen.append(page.run("const x = document.activeElement; return x.name || x.textContent.slice(0, 30)"))
        if seen[-1].startswith("16 bits"):
            break
    assert "convention" in seen and "across" in seen and seen[0].startswith("Skip to")
    assert seen[-1].startswith("16 bits"), seen
    assert page.run("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.press(Keys.ENTER)
    assert page.one("#table-results th:nth-child(3)").get_attribute("aria-sort") == "descending"
    assert page.run("return document.activeElement.textContent").startswith("16 bits"), "the focus stays"
    page.run("document.querySelector('input[name=convention]:checked').focus()")
    page.press(Keys.ARROW_RIGHT)
    assert page.one("#result-note").text.startswith(STRICT)


def test_a_chart_is_read_from_the_keyboard(page):
    page.run("document.querySelector('#at-bits svg').focus()")
    texts = []
    for key in (Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_DOWN):
        page.press(key)
        texts.append(page.one("#tip").text)
    shown = table_of(page)
    assert [text.split(" ±")[0] for text in texts] == [
        f"itq\n16 bits: {shown['itq'][0].split(' ±')[0]}",
        f"itq\n32 bits: {shown['itq'][1].split(' ±')[0]}",
        f"lsh\n32 bits: {shown['lsh'][1]}",
    ]
    page.press(Keys.ESCAPE)
    assert not page.one("#tip").is_displayed()


def test_it_prints_without_its_controls_on_white(page):
    page.emulate("print", "dark")
    hidden = ["#bar", "nav", "#pair", "#across"]
    assert [page.style(selector, "display") for selector in hidden] == ["none"] * len(hidden)
    assert page.one("#shown").text == f"Shown: made; literature convention; {LITERATURE}"
    assert page.style("body", "color") == "rgb(26, 29, 33)"
    printed = base64.b64decode(page.browser.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert printed.startswith(b"%PDF") and len(re.findall(rb"/Type\s*/Page\b", printed)) > 3


def luminance(color):
    channels = [int(part) / 255 for part in re.findall(r"\d+", color)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_light_and_dark(page, scheme):
    page.emulate("screen", scheme)
    paper = luminance(page.style("body", "backgroundColor"))
    assert (paper < 0.05) == (scheme == "dark")
    for selector, property_, least in (
        ("body", "color", 7), ("#result-note", "color", 4.5), ("a[href='#curves']", "color", 4.5),
        ("svg.chart text", "fill", 4.5), (".state", "color", 4.5), (".mark[data-name='itq'] > path", "stroke", 3),
    ):  # fmt: skip
        low, high = sorted((paper, luminance(page.style(selector, property_))))
        assert (high + 0.05) / (low + 0.05) >= least, selector


def test_a_phone_needs_no_sideways_scrolling(page):
    page.browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    )
    page.run("for (const x of document.querySelectorAll('details')) x.open = true")
    assert page.run("return [innerWidth, document.documentElement.scrollWidth]") == [360, 360]
    wide = page.run("""return [...document.querySelectorAll('main *, header *, #bar *')].filter((x) =>
      !x.closest('.scroll, select, svg') && x.getBoundingClientRect().right > 361).map((x) => x.tagName + x.id)""")
    assert wide == []
    assert page.run("return document.querySelector('#results .scroll').clientWidth") <= 340


def test_no_request_leaves_the_page(page):
    page.one("input[name='convention'][value='strict']").click()
    messages = [json.loads(entry["message"])["message"] for entry in page.browser.get_log("performance")]
    asked = [
        message["params"]["request"]["url"] for message in messages if message["method"] == "Network.requestWillBeSent"
    ]
    assert any(url.endswith("page.html") for url in asked)
    assert all(url.startswith(("file:", "data:", "about:")) for url in asked)
    assert sum(url.startswith("file:") for url in asked) == 1


def test_problems_of_the_data_mark_the_methods_and_stand_below_the_table(browser, tmp_path):
    folder = make_run(tmp_path / "results", made := Made(), "itq", 16)
    text = f"3 of 40 queries are training videos too {HOSTILE}"
    record = json.loads((folder / "run.json").read_text())
    write_record(folder, {**record, "data": {"made": {"problems": {"in_training": text}}}})
    content = gather(Store(tmp_path / "results"), Choice(), Registry(), {"made": made}, None, tmp_path)
    (tmp_path / "page.html").write_text(render_page(content), encoding="utf-8")
    page = Page(browser, (tmp_path / "page.html").as_uri())
    assert any(name.startswith(" itq") and name.endswith(" §") for name in page.column("results", 1))
    assert f"§: {text}" in page.one("#result-note").text and page.run("return document.title") != "hacked"


def test_a_folder_without_a_finished_run_says_so(browser, tmp_path):
    folder = make_run(tmp_path / "results", Made())
    record = json.loads((folder / "run.json").read_text())
    write_record(folder, {**record, "status": "failed", "reason": "out of memory"})
    write_page(tmp_path / "page.html", Store(tmp_path / "results"), Choice())
    page = Page(browser, (tmp_path / "page.html").as_uri())
    assert "No run has finished" in page.one("#results").text
    assert page.column("runs", 5) == ["failed"] and page.column("runs", 10) == ["out of memory"]
    assert page.errors == []
