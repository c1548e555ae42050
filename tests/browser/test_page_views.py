"""The report page in a real browser: links to views, axes, intervals and tests, bad codes, stages of a training."""

import re
import statistics

import numpy as np
import pytest

from vhbench import stats
from vhbench.runs.record import read_record
from vhbench.scoring import Metric

pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

pytestmark = pytest.mark.xdist_group("browser")  # one browser for all of them

LITERATURE = "map@20[den=k,ties=expected,self=keep]"
STATE = """const texts = [...document.querySelectorAll('main section > div')].map((x) => x.textContent);
  const controls = [...document.querySelectorAll('select, input, button.pin')].map((x) =>
    [x.dataset.key, x.value, x.checked, x.ariaPressed, x.closest('[hidden]') !== null]);
  return [texts, controls, document.getElementById('details').open, location.hash]"""


MARKS = """const rows = [...document.querySelectorAll('#table-results tbody tr:not(.thin)')];
  return Object.fromEntries(rows.map((row) => {
    const test = row.children[3].querySelector('.test');
    const { title } = test.querySelector('span') || { title: '' };
    return [row.children[0].textContent.replace(' †', '').trim(), [test.textContent, title]] }))"""


def records(folder, method, bits):
    paths = sorted((folder / "results" / "made" / method).glob(f"{bits}b-*/run.json"))
    return [read_record(path) for path in paths]


def mean_ap(folder, method, bits, name=LITERATURE):
    """AP of each query, averaged over seeds."""
    return np.mean([run.arrays("per_query.npz")[name] for run in records(folder, method, bits)], axis=0)


def test_every_number_of_every_metric_and_convention_is_that_of_the_records(page, folder):
    names = page.run("return metricNames()")
    assert len(names) == 10
    for convention in ("literature", "strict"):
        for name in names:
            page.open(f"metric={name}&convention={convention}")
            shown, full = page.results(), str(Metric.parse(name, convention, in_database=False))
            assert page.texts("#result-note li")[0].startswith(full)
            for method, cells in ((method, shown[method]) for method in ("itq", "lsh", "uvvh", "dh", "sh")):
                for bits, cell in zip((16, 32), cells, strict=True):
                    values = [run.scores[full] for run in records(folder, method, bits)]
                    said = [float(x) for x in re.findall(r"\d\.\d{3}", cell)]
                    spread = [statistics.stdev(values)] if len(values) > 1 else []
                    expected = [statistics.fmean(values), *spread] if values else []
                    assert said == pytest.approx(expected, abs=5.01e-4), (name, convention, method, bits)


def test_intervals_are_those_of_the_queries(page, folder):
    page.one("input[name='beside'][value='ci']").click()
    for method, bits, place in (("itq", 16, 0), ("lsh", 32, 1)):
        low, high = stats.bootstrap_interval(mean_ap(folder, method, bits))
        said = [float(x) for x in re.findall(r"\d\.\d{3}", page.results()[method][place])]
        assert said[1:] == pytest.approx([low, high], abs=6e-4)
    bars = page.run("return [...document.querySelectorAll('#table-results tbody svg.whisk .span')].length")
    assert bars == 7, "one a result, on a scale that all share"


def test_marks_say_what_could_be_chance(page, folder):
    aps = {method: mean_ap(folder, method, 32) for method in ("itq", "lsh", "uvvh", "dh", "sh")}
    best = max(aps, key=lambda method: aps[method].mean())
    pairs = [(a, b) for n, a in enumerate(aps) for b in list(aps)[:n]]
    raw = [stats.sign_flip(aps[a] - aps[b]) for a, b in pairs]
    p = dict(zip(map(frozenset, pairs), stats.holm(raw), strict=True))
    for against in ("", "lsh", "dh"):
        Select(page.one("#across select")).select_by_value(against)
        base = against or best
        marks = page.run(MARKS)
        for method, (mark, title) in marks.items():
            if method == base:
                expected = ""
            elif (value := p[frozenset((method, base))]) > 0.05:
                expected = "" if against else "≈"
            else:
                expected = ("▲" if aps[method].mean() > aps[base].mean() else "▼") if against else ""
            assert mark == expected, (method, against)
            if mark:
                assert float(title.rpartition("= ")[2]) == pytest.approx(value, rel=0.06)


def test_axes_fit_the_data_and_small_multiples_share_their_scales(page):
    ticks = """return [...document.querySelectorAll(arguments[0] + ' svg.chart')].map((chart) =>
      [...chart.querySelectorAll('text[text-anchor=end]:not(.title)')].map((x) => x.textContent))"""
    for row in ("#at-k", "#pr-rank", "#pr-radius"):
        first, second = page.run(ticks, row)
        assert first == second and len(first) > 2, row
    page.open("without=uvvh")
    assert 0.3 < float(page.run(ticks, "#at-k")[0][-1]) < 1, "no room is left over"
    page.one("input[name='axes'][value='unit']").click()
    for row in ("#at-bits", "#at-k", "#pr-rank", "#queries"):
        assert all(labels == ["0", "0.2", "0.4", "0.6", "0.8", "1"] for labels in page.run(ticks, row)), row
    assert page.texts("#table-results thead svg text") == ["0", "1"] * 2


def test_a_link_leads_to_the_same_view(page, browser):
    page.one("#methods input[value='lsh']").click()
    page.one("#methods button.pin[data-name='itq']").click()
    page.one("input[name='convention'][value='strict']").click()
    page.one("input[name='axes'][value='unit']").click()
    Select(page.one("#metric select")).select_by_value("recall@5")
    page.one("input[name='across'][value='k']").click()
    page.one("#table-results th:nth-child(3) button").click()
    Select(page.one("#pair select")).select_by_index(0)
    page.one("#table-a-worst tbody button").click()
    page.one("input[name='loss'][value='linear']").click()
    page.one("#find input").send_keys("i d u")
    page.until(lambda: "find=" in page.view)
    page.one("#index a[href^='#runs']").click()
    page.run("document.querySelector('#table-runs td button').click()")
    before = page.run(STATE)
    assert page.view.startswith("runs&") and before[2]
    browser.get("about:blank")
    browser.get(f"{page.address}#{page.view or before[3][1:]}")
    assert page.run(STATE) == before
    assert abs(page.run("return document.getElementById('runs').getBoundingClientRect().top")) < 100
    page.press(Keys.ESCAPE)
    page.until(lambda: "run=" not in page.view)
    browser.get(page.address + "#curves&metric=map@5")
    page.until(lambda: page.texts("#at-bits svg .title")[-1] == "mAP@5")
    assert page.texts("#table-results thead button")[2:] == ["16 bits", "32 bits"], "all else is as at first"


def test_an_address_that_says_nothing_is_harmless(page):
    usual = page.run(STATE)
    for view in ("nonsense", "metric=map@7&convention=x&a=b&query=x&axes=z", "find=%E0%A4%A&sort=x", "&&=&run=none"):
        page.open(view)
        shown = page.run(STATE)
        assert shown[0][0] == usual[0][0], view


def test_a_pinned_method_keeps_its_colour_and_the_others_turn_grey(page):
    strokes = """return ['itq', 'lsh'].map((name) => {
      const group = document.querySelector(`#pr-rank .mark[data-name='${name}']`);
      return [getComputedStyle(group.firstChild).stroke, getComputedStyle(group).opacity] })"""
    page.one("#methods button.pin[data-name='lsh']").click()
    page.run("emphasise(null)")
    (itq, faint), (lsh, full) = page.run(strokes)
    assert itq != lsh and float(faint) < float(full) == 1
    page.one("#methods button.pin[data-name='lsh']").click()
    page.run("emphasise(null)")
    assert [opacity for _, opacity in page.run(strokes)] == ["1", "1"]


def test_no_two_series_look_alike(page):
    looks = page.run("""return [...new Set(allSeries().map((x) => x.label))].map((label) => {
      const { color, dash, marker } = look(allSeries().find((x) => x.label === label));
      return [color, dash, marker].join() })""")
    assert len(set(looks)) == len(looks) == 5
    many = page.run("""const taken = new Set();
      return Array.from({ length: 60 }, () => freeLook({ color: '#0072B2', marker: 'o', linestyle: '--' }, taken))
        .map(({ dash, marker }) => `${dash} ${marker}`)""")
    assert many[0] == "6 3 o" and len(set(many)) == 60, "variants of one method differ too"


def test_bad_cells_of_the_audit_are_marked_and_explained(page):
    bad = page.run("""return [...document.querySelectorAll('#table-codes td.bad')].map((cell) =>
      [cell.parentNode.children[0].textContent, cell.textContent, cell.querySelector('span').title])""")
    assert [(name.replace(" †", "").strip(), text) for name, text, _ in bad] == [("sh", "3!"), ("sh", "5!")]
    assert bad[0][2] == "3 of 32 bits are constant" and "only 5 different codes" in bad[1][2]
    assert page.texts("#codes .alerts li")[-1].startswith(
        "sh, 32 bits: 3 of 32 bits are constant; 70 items have only 5"
    )


def test_losses_are_on_a_log_axis_with_their_stages_marked(page):
    mark = page.run("""const chart = document.querySelector('#losses svg');
      const [x, y] = [chart.querySelector('.stage').getBoundingClientRect(), chart.querySelector('.mark path.line')];
      return [x.left - chart.getBoundingClientRect().left, y.getAttribute('d')]""")
    points = [tuple(map(float, pair)) for pair in re.findall(r"[ML](\S+) (\S+?)(?=[ML]|$)", mark[1])]
    assert len(points) == 7 and points[3][0] < mark[0] < points[4][0], "between epochs 4 and 5"
    assert page.texts("#losses .halo") == ["stage 2"]
    falls = [points[n + 1][1] - points[n][1] for n in (0, 3)]
    assert falls[1] / falls[0] == pytest.approx(np.log(897 / 9) / np.log(900 / 899), rel=0.5), "ratios, not differences"
    page.one("input[name='loss'][value='linear']").click()
    assert page.view == "loss=linear" and page.texts("#losses .halo") == ["stage 2"]


def test_the_index_stays_in_view_and_says_where_the_reader_is(page):
    for section in ("training", "codes"):
        page.one(f"#index a[data-section='{section}']").click()
        page.until(lambda at=section: page.texts("#index a[aria-current]") == [at.capitalize()])
        assert page.run("return document.getElementById('index').getBoundingClientRect().top") == 0
        assert (
            0
            < page.run("return document.querySelector(arguments[0]).getBoundingClientRect().top", f"#{section} h2")
            < 120
        )
        assert page.view == section
    assert page.run("return document.getElementById('side').getBoundingClientRect().top") < 60
