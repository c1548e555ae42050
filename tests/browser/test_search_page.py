"""The page of `vhbench search` in a real browser: it fits, is read, asks for nothing and complains of nothing."""

import re

import numpy as np
import pytest

from vhbench.search.answers import find
from vhbench.search.gallery import write_gallery
from vhbench.search.page import write_page
from vhbench.search.queries import Queries
from vhbench.search.thumbnails import Thumbnails

pytestmark = pytest.mark.xdist_group("browser")  # one browser for all of them

HOSTILE = "<img src=x onerror=document.title='hacked'>"
LONG = "a-name-without-any-blank-" * 8
NAMES = [HOSTILE, LONG, *(f"class/video {i}.mp4" for i in range(10))]


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A page of two queries; every second video has a picture."""
    folder = tmp_path / "videos"
    (folder / "class").mkdir(parents=True)
    for name in NAMES[2::2]:
        (folder / name).touch()
    pictures = np.random.default_rng(0).integers(0, 256, (1, 90, 160, 3), dtype=np.uint8)
    monkeypatch.setattr("vhbench.video.frames.read_pictures", lambda path, count, longest: pictures)
    codes = np.random.default_rng(0).integers(0, 256, (12, 2), dtype=np.uint8)
    gallery = write_gallery(tmp_path / "codes", codes, bits=16, names=NAMES)
    queries = Queries(np.array(codes[[0, 3]]), (HOSTILE, NAMES[3]))
    write_page(tmp_path / "page.html", gallery, queries, find(gallery, queries, 12), Thumbnails(folder))
    return tmp_path / "page.html"


def resize(page, width):
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def contrast(page):
    """How text stands out from the page: the ratio of luminances that WCAG defines."""
    paper = luminance(page.style("body", "backgroundColor"))
    inks = [luminance(page.style(selector, "color")) for selector in ("body", ".distance", ".note")]
    return min((max(ink, paper) + 0.05) / (min(ink, paper) + 0.05) for ink in inks)


def luminance(colour):
    channels = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_the_page_of_neighbours(open_page, path):
    page = open_page(path)
    sizes = page.run("return [...document.querySelectorAll('img')].map((x) => x.naturalWidth)")
    assert sizes == [160] * (2 * 5), "every picture is drawn"
    assert len(page.all(".neighbours li")) == 24 and page.texts("h2") == [HOSTILE, NAMES[3]]
    assert page.browser.title == "vhbench search: codes", "no name was run as a script"
    for width in (1400, 360):
        resize(page, width)
        inner, outer = page.run("const x = document.documentElement; return [x.scrollWidth, x.clientWidth]")
        assert inner == outer <= width, "nothing sticks out"
    for scheme in ("light", "dark"):
        page.emulate("screen", scheme)
        assert contrast(page) >= 4.5, scheme
    page.emulate("print", "light")
    assert page.style("nav", "display") == "none"
    assert page.errors == [], "nothing may appear on the console"
    assert [url for url in page.requests + page.asked_for() if not url.startswith("data:")] == [path.as_uri()]
    page.resize(0)
