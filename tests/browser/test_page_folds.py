"""The report page of a protocol of several splits in a real browser: the mean, its splits, tuned settings, names."""

import re

import pytest
from made_runs import made_split, made_study, make_run

import vhbench
from vhbench.plugins.registry import Registry
from vhbench.report.page.build import render_page
from vhbench.report.page.gather import gather
from vhbench.runs.groups import Choice
from vhbench.runs.store import Store

pytest.importorskip("selenium.webdriver", reason="selenium is not installed")

pytestmark = pytest.mark.xdist_group("browser")  # one browser for all of them

TUNED = "tuned on held-out training videos: by their loss, without labels, best of 9 trials of study uvvh-own-16b-loss"


@pytest.fixture(scope="module")
def folds(browser, tmp_path_factory):
    """The results of three splits, one of them without lsh, one with uvvh at 32 bits too, and their page."""
    root = tmp_path_factory.mktemp("folds")
    study = made_study("uvvh", "uvvh-own-16b-loss")
    given = {}
    for number in (1, 2, 3):
        made, data = made_split(number, pictures=False, named=True)
        given[made.name] = made
        for bits in (16, 32):
            make_run(root / "results", made, "itq", bits, noise=0.2 + number / 20, data=data)
        make_run(root / "results", made, "uvvh", 16, noise=0.1, data=data, tuned=study, epochs=[5.0, 4.0, 3.0])
        if number != 2:
            make_run(root / "results", made, "lsh", 16, noise=0.4, data=data)
        if number == 3:
            make_run(root / "results", made, "uvvh", 32, noise=0.1, data=data)
    content = gather(Store(root / "results"), Choice(), Registry(), given, None, root)
    (root / "page.html").write_text(render_page(content), encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def opened(folds, open_page):
    return open_page(folds / "page.html")


def test_the_mean_comes_first_with_the_numbers_of_compare(page, folds):
    assert page.texts("#protocol option") == ["own: mean over 3 splits", "own-fold1", "own-fold2", "own-fold3"]
    rows = page.results()
    for row in vhbench.compare("own", out=folds / "results").itertuples():
        cells = rows[row.method + (" ¶" if row.method == "uvvh" else "")]
        said = [float(x) for x in re.findall(r"\d\.\d{3}", cells[1 if row.bits == 16 else 2])]
        assert said == pytest.approx([row.value, *([row.sd] if row.folds > 1 else [])], abs=5.01e-4)
    splits = dict(zip(rows, page.column("results", 2), strict=True))
    assert splits == {"itq": "3", "uvvh ¶": "1–3 of 3", "lsh": "2 of 3"}
    notes = page.texts("#result-note li")
    assert "mean ± standard deviation over 3 splits (yet lsh over 2, uvvh at 32 bits over 1)" in notes
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


@pytest.mark.parametrize(
    ("view", "rows", "where"),
    [
        ("", {"results": (1, 1), "codes": (1, 2), "cost": (1, 2), "runs": (3, 4)}, " (uvvh at 16 bits only)"),
        (
            "protocol=own-fold1",
            {"results": (1, 1), "codes": (1, 1), "cost": (1, 1), "runs": (3, 4), "chosen": (1, 1)},
            "",
        ),
    ],
)
def test_tuned_settings_are_marked_wherever_methods_are_listed(page, view, rows, where):
    page.open(view)
    for table, (marked, count) in rows.items():
        names = page.texts(f"#table-{table} tbody tr > :first-child")
        own = [name for name in names if "uvvh" in name]
        assert (sum("¶" in name for name in own), len(own)) == (marked, count), table
        assert not any("¶" in name for name in names if name not in own), table
        text = page.run("return arguments[0].closest('section').innerText", page.one(f"#table-{table}"))
        note = f"¶: {TUNED}{'' if table == 'runs' else where}"
        assert [line for line in text.splitlines() if line.startswith("¶:")] == [note], table


def test_splits_are_counted_only_where_a_metric_is_recorded(page):
    page.run("for (const one of currentSet().series.filter((x) => x.label === 'lsh')) one.scores.literature = {}")
    page.run("drawSections()")
    names = [name.split()[0] for name in page.column("results", 1)]
    assert dict(zip(names, page.column("results", 2), strict=True)) == {"itq": "3", "uvvh": "1–3 of 3", "lsh": ""}
    page.browser.refresh()


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
