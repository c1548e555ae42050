"""The report page of a protocol of several splits in a real browser: the mean, its splits, tuned settings, names."""

import re

import pytest
from made_runs import Made, make_run

import vhbench
from vhbench.plugins.registry import Registry
from vhbench.report.page.build import render_page
from vhbench.report.page.gather import gather
from vhbench.runs.groups import Choice
from vhbench.runs.store import Store

pytest.importorskip("selenium.webdriver", reason="selenium is not installed")

pytestmark = pytest.mark.xdist_group("browser")  # one browser for all of them

TUNED = "tuned on held-out training videos: by their loss, without labels, best of 9 trials of study uvvh-own-16b-loss"
STUDY = {"method": "uvvh", "study": "uvvh-own-16b-loss", "judge": "loss", "trials": 9, "held_out": 5,
         "space": "0" * 64, "params": {"x": 1}}  # fmt: skip


@pytest.fixture(scope="session")
def folds(browser, tmp_path_factory):
    """The results of three splits, one of them without lsh, and their page."""
    root = tmp_path_factory.mktemp("folds")
    given = {}
    for number in (1, 2, 3):
        name = f"own-fold{number}"
        data = {name: {"fold": {"of": "own", "number": number, "count": 3}}}
        given[name] = Made(name=name, queries=30 + number, pictures=False, named=True)
        for bits in (16, 32):
            make_run(root / "results", given[name], "itq", bits, noise=0.2 + number / 20, data=data)
        make_run(root / "results", given[name], "uvvh", 16, noise=0.1, data=data, tuned=STUDY, epochs=[5.0, 4.0, 3.0])
        if number != 2:
            make_run(root / "results", given[name], "lsh", 16, noise=0.4, data=data)
    content = gather(Store(root / "results"), Choice(), Registry(), given, None, root)
    (root / "page.html").write_text(render_page(content), encoding="utf-8")
    return root


@pytest.fixture(scope="session")
def opened_folds(folds, open_page):
    return open_page(folds / "page.html")


@pytest.fixture
def page(opened_folds):
    """The page of these results, as it is opened."""
    if opened_folds.browser.current_url.partition("#")[0] != opened_folds.address:
        opened_folds.browser.get(opened_folds.address)
    opened_folds.open()
    yield opened_folds
    assert opened_folds.errors == [], "nothing may appear on the console"


def test_the_mean_comes_first_with_the_numbers_of_compare(page, folds):
    assert page.texts("#protocol option") == ["own: mean over 3 splits", "own-fold1", "own-fold2", "own-fold3"]
    rows = page.results()
    for row in vhbench.compare("own", out=folds / "results").itertuples():
        cells = rows[row.method + (" ¶" if row.tuned else "")]
        said = [float(x) for x in re.findall(r"\d\.\d{3}", cells[1 if row.bits == 16 else 2])]
        assert said == pytest.approx([row.value, row.sd], abs=5.01e-4)
    splits = dict(zip(rows, page.column("results", 2), strict=True))
    assert splits == {"itq": "3", "uvvh ¶": "3", "lsh": "2 of 3"}
    notes = page.texts("#result-note li")
    assert "mean ± standard deviation over 3 splits (yet lsh over 2)" in notes
    assert any(text.startswith("no intervals or tests") for text in notes)
    assert page.all("#across select") == page.all("input[name='beside']") == page.all("#pair:not([hidden])") == []


@pytest.mark.parametrize("section", ["results", "curves", "queries", "classes", "retrieved"])
def test_links_lead_to_each_split(page, section):
    page.open("metric=map@5&convention=strict")
    links = page.all(f"#{section} > div a")
    assert [link.text for link in links] == ["own-fold1", "own-fold2", "own-fold3"]
    links[1].click()
    page.until(lambda: page.texts("#shown")[0].startswith("Shown: own-fold2; strict convention; map@5["))
    assert page.view.startswith(f"{section}&protocol=own-fold2")
    assert page.all("#pair:not([hidden])") and page.all("#pr-rank svg.chart")


def test_tuned_settings_are_marked_wherever_methods_are_listed(page):
    for view in ("", "protocol=own-fold1"):
        page.open(view)
        for section in ("results", "codes", "cost", "runs", *(["queries"] if view else [])):
            table = "chosen" if section == "queries" else section
            names = page.texts(f"#table-{table} tbody tr > :first-child")
            assert {"¶" in name for name in names if "uvvh" in name} == {True}, section
            assert not any("¶" in name for name in names if "uvvh" not in name), section
            assert page.run(f"return document.getElementById('{section}').innerText").count(f"¶: {TUNED}") == 1


def test_videos_are_called_by_their_names(page):
    page.open("protocol=own-fold1")
    names = page.texts("#table-a-worst tbody .video")
    rows = page.run("return [...document.querySelectorAll('#table-a-worst tbody button')].map((x) => +x.textContent)")
    assert names == [f"v_{row % 4}_g{row:03}.avi" for row in rows]
    assert re.fullmatch(r"v_\d_g\d{3}\.avi", page.texts("#chosen h3 .video")[0])
    items = page.texts("#retrieved .item")
    assert len(items) == 8 * 2 * 5
    for text in items:
        row = re.search(r"item (\d+)", text)[1]
        assert f"_g{int(row):03}.avi" in text


@pytest.mark.parametrize("width", [360, 1400])
def test_it_fits(page, width):
    for view, scheme in (("", "light"), ("protocol=own-fold1&beside=ci", "light"), ("", "dark")):
        page.open(view, scheme=scheme, width=width)
        page.check_looks(width, scheme)
