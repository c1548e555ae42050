"""The report page in a real browser: widths, light and dark, contrast, labels, the keyboard, print, the network."""

import base64
import re
from pathlib import Path

import pytest

from vhbench.report.page import write_page
from vhbench.runs.groups import Choice
from vhbench.runs.store import Store

pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.common.keys import Keys

pytestmark = pytest.mark.xdist_group("browser")  # one browser for all of them

REFERENCE = Path(__file__).parents[2] / "results" / "reference"
WIDTHS = (360, 800, 1400, 2200)
A4 = 718  # CSS pixels between margins of 1 cm
LITERATURE = "map@20[den=k,ties=expected,self=keep]"


def columns(page, selector):
    return page.run(
        "return getComputedStyle(document.querySelector(arguments[0])).gridTemplateColumns", selector
    ).split()


def test_the_probes_see_what_is_wrong(page):
    page.open(width=800)
    faults = {"faint": "#results h2 {color: #999}", "overlaps": "#result-note {margin-top: -60px}",
              "tooWide": "#cost h2 {width: 900px}"}  # fmt: skip
    for name, rule in faults.items():
        page.run("const s = new CSSStyleSheet(); s.replaceSync(arguments[0]); document.adoptedStyleSheets = [s]", rule)
        assert page.probe(name), name
        page.run("document.adoptedStyleSheets = []")
        assert page.probe(name) == []


@pytest.mark.parametrize("width", WIDTHS)
def test_it_fits_every_width_in_light_and_dark(page, width):
    for scheme in ("light", "dark"):
        page.open("axes=unit" if scheme == "dark" else "", scheme=scheme, width=width)
        page.check_looks(width, scheme)
    assert len(columns(page, "#at-k")) == (1 if width == 360 else 2), "as many as there are code lengths"


def test_wide_tables_scroll_by_themselves_on_a_phone(page):
    page.open(width=360)
    for table in ("results", "codes", "runs"):
        inner, outer = page.run(
            "const x = document.querySelector(arguments[0] + ' .scroll'); return [x.scrollWidth, x.clientWidth]",
            f"#{table}",
        )
        assert outer <= 340 < inner, table
        assert page.style(f"#table-{table} tbody th", "position") == "sticky"


@pytest.mark.slow
@pytest.mark.skipif(not REFERENCE.is_dir(), reason="results/reference is not here")
def test_the_page_of_the_reference_results_fits_every_width(open_page, tmp_path):
    write_page(tmp_path / "page.html", Store(REFERENCE), Choice())
    assert (tmp_path / "page.html").stat().st_size < 5e6
    page = open_page(tmp_path / "page.html")
    panels = {360: 1, 800: 2, 1400: 4, 2200: 4}
    for width in WIDTHS:
        for scheme in ("light", "dark"):
            for view in ("", "axes=unit&across=k&beside=ci", "metric=recall@5&against=itq+"):
                page.open(view, scheme=scheme, width=width)
                page.check_looks(width, scheme)
        assert len(columns(page, "#pr-rank")) == panels[width]
    page.open(media="print", width=A4)
    page.run("dispatchEvent(new Event('beforeprint'))")
    assert page.probe("overlaps") == [] and page.run("return document.documentElement.scrollWidth") <= A4


def test_the_keyboard_alone_reaches_everything(page):
    """Every control, chart and table is reached by Tab, but for radio buttons, of which the arrows reach the others."""
    page.run("""window.reached = new Set();
      document.addEventListener('focusin', (event) => window.reached.add(event.target));
      for (const x of document.querySelectorAll('details')) x.open = true;
      document.activeElement.blur();
      scrollTo(0, 0)""")
    stops = page.run("""window.stops = [...document.querySelectorAll(
        'a[href], button, input, select, summary, [tabindex="0"]')]
      .filter((x) => x.getClientRects().length && !(x.type === 'radio' && !x.checked));
      return stops.length""")
    page.press(*[Keys.TAB] * (stops + 3))
    missed = page.run("return stops.filter((x) => !reached.has(x)).map((x) => x.outerHTML.slice(0, 90))")
    assert missed == [] and stops > 80
    page.run("document.querySelector('#table-results th:nth-child(3) button').focus()")
    page.press(Keys.ENTER)
    assert page.one("#table-results th:nth-child(3)").get_attribute("aria-sort") == "descending"
    assert page.run("return document.activeElement.textContent").startswith("16 bits"), "the focus stays"
    page.press(Keys.TAB)
    assert page.run("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.run("document.querySelector('input[name=convention]:checked').focus()")
    page.press(Keys.ARROW_RIGHT)
    assert page.texts("#result-note li")[0].startswith("map@20[den=min")
    page.run("document.querySelector('.skip').focus()")
    page.press(Keys.ENTER)
    assert page.run("return document.activeElement.closest('#results') !== null")


def test_it_prints_without_its_controls_on_white(page):
    page.open(media="print", scheme="dark", width=A4)
    page.run("dispatchEvent(new Event('beforeprint'))")
    hidden = ["#side", "#index", "#pair", "#across"]
    assert [page.style(selector, "display") for selector in hidden] == ["none"] * len(hidden)
    assert page.one("#shown").text == f"Shown: made; literature convention; {LITERATURE}"
    assert page.style("body", "color") == "rgb(26, 29, 33)"
    assert page.one("#curves .legend").is_displayed() and page.probe("overlaps") == []
    assert page.probe("faint") == [] and page.probe("paper") == [255, 255, 255]
    assert page.run("return document.documentElement.scrollWidth") <= A4, "all tables fit the paper"
    printed = base64.b64decode(page.browser.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert printed.startswith(b"%PDF") and len(re.findall(rb"/Type\s*/Page\b", printed)) > 3
    page.run("dispatchEvent(new Event('afterprint'))")


def test_no_request_leaves_the_page(page):
    page.one("input[name='convention'][value='strict']").click()
    asked = page.requests + page.asked_for()
    assert sum(url == page.address for url in page.requests) == 1
    assert all(url.startswith(("file:", "data:", "about:")) for url in asked)
    assert {url.partition("#")[0] for url in asked if url.startswith("file:")} == {page.address}
