"""The page of `vhbench search` in a real browser: it fits, is read, asks for nothing and complains of nothing."""

import json
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
def address(tmp_path, monkeypatch):
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
    return (tmp_path / "page.html").as_uri()


def emulate(browser, width, scheme="light", media="screen"):
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": [feature]})


def contrast(browser):
    """How text stands out from the page: the ratio of luminances that WCAG defines."""
    style = browser.execute_script(
        "const s = getComputedStyle(document.body); return [s.color, s.backgroundColor,"
        " getComputedStyle(document.querySelector('.distance')).color]"
    )
    ink, paper, soft = (luminance(colour) for colour in style)
    return min((max(pair) + 0.05) / (min(pair) + 0.05) for pair in ((ink, paper), (soft, paper)))


def luminance(colour):
    channels = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_the_page_of_neighbours(browser, address):
    for log in ("browser", "performance"):
        browser.get_log(log)
    emulate(browser, 1400)
    browser.get(address)
    run = browser.execute_script
    sizes = run("return [...document.querySelectorAll('img')].map((x) => x.naturalWidth)")
    assert sizes == [160] * (2 * 5), "every picture is drawn"
    assert run("return document.querySelectorAll('.neighbours li').length") == 24
    assert browser.title == "vhbench search: codes", "no name was run as a script"
    assert run("return [...document.querySelectorAll('h2')].map((x) => x.textContent)") == [HOSTILE, NAMES[3]]
    for width in (1400, 360):
        emulate(browser, width)
        inner, outer = run("const x = document.documentElement; return [x.scrollWidth, x.clientWidth]")
        assert inner == outer <= width, "nothing sticks out"
    for scheme in ("light", "dark"):
        emulate(browser, 1400, scheme)
        assert contrast(browser) >= 4.5, scheme
    emulate(browser, 1400, media="print")
    assert run("return getComputedStyle(document.querySelector('nav')).display") == "none"
    assert browser.get_log("browser") == [], "nothing may appear on the console"
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if not url.startswith("data:")] == [address]
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
