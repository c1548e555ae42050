"""One browser, one results folder and one page for all tests here; each test finds the page as it is opened."""

import json
import os
import shutil
from pathlib import Path

import pytest
from made_runs import Made, make_run

from vhbench.plugins.registry import Registry
from vhbench.report.page.build import render_page
from vhbench.report.page.gather import gather
from vhbench.runs.groups import Choice
from vhbench.runs.record import read_record, write_record
from vhbench.runs.store import Store
from vhbench.system.files import sha256_of

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
    "--window-size=1400,900",
)  # fmt: skip
PROBES = (Path(__file__).parent / "probes.js").read_text(encoding="utf-8")
HOSTILE = "<img src=x onerror=document.title='hacked'>"
LONG = "a-name-without-any-blank-" * 8
STAGES = [{"loss": 900.0 - n, "recon": 900.0 - n} for n in range(4)] + [{"loss": 9.0, "kl": 8.0 - n} for n in range(3)]


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Runs of two protocols: several methods, two lengths, two seeds of one of them; bad codes, stages, one failed."""
    root = tmp_path_factory.mktemp("browser")
    made, other = Made(), Made(name="other", queries=30, in_database=True, pictures=False)
    for bits in (16, 32):
        for seed in (0, 1):
            make_run(root / "results", made, "itq", bits, seed, noise=0.25 + seed / 20)
        make_run(root / "results", made, "lsh", bits, noise=0.4)
    make_run(root / "results", made, "uvvh", 32, noise=0.1, epochs=[9.0, 5.0, 4.0], params={HOSTILE: LONG})
    _train_in_stages(make_run(root / "results", made, "dh", 32, noise=0.3, epochs=[1.0]))
    audit = read_record(make_run(root / "results", made, "sh", 32, noise=0.3) / "run.json").data["audit"]["made"]
    bad = {"made": {**audit, "dead_bits": 3, "distinct_codes": 5}}
    shutil.rmtree(root / "results" / "made" / "sh")
    make_run(root / "results", made, "sh", 32, noise=0.3, audit=bad)
    make_run(root / "results", other, "itq", 16, noise=0.45)
    folder = make_run(root / "results", made, "lsh", 64)
    record = json.loads((folder / "run.json").read_text())
    write_record(folder, {**record, "status": "failed", "reason": HOSTILE})
    content = gather(Store(root / "results"), Choice(), Registry(), {"made": made, "other": other}, None, root)
    (root / "page.html").write_text(render_page(content), encoding="utf-8")
    return root


def _train_in_stages(folder):
    """Replace a run's log by one of two stages."""
    lines = [json.dumps({"epoch": n, **values, "seconds": 1.0}) for n, values in enumerate(STAGES, 1)]
    (folder / "train.jsonl").write_text("".join(f"{line}\n" for line in lines))
    record = json.loads((folder / "run.json").read_text())
    files = {**record["files"], "train.jsonl": sha256_of(folder / "train.jsonl")}
    sizes = {**record["sizes"], "train.jsonl": (folder / "train.jsonl").stat().st_size}
    write_record(folder, {**record, "files": files, "sizes": sizes})


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
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
        self.emulate("screen", "light")
        self.resize(0)
        for log in ("browser", "performance"):
            browser.get_log(log)
        browser.get("about:blank")
        browser.get(address)
        self.address = address
        self.requests = self.asked_for()

    def emulate(self, media, scheme):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": [feature]})

    def resize(self, width, height=900):
        """Set the size of the window in CSS pixels, and wait until the page has followed; 0: as it was."""
        if not width:
            self.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
            return
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.run("drawSections()")

    def open(self, view="", media="screen", scheme="light", width=0):
        """Show a view by the part of its address behind the `#`, all else as at first."""
        self.emulate(media, scheme)
        self.resize(width)
        self.run("history.replaceState(null, '', `#${arguments[0]}`); showAddress(); scrollTo(0, 0)", view)

    def one(self, selector):
        return self.browser.find_element("css selector", selector)

    def all(self, selector):
        return self.browser.find_elements("css selector", selector)

    def run(self, script, *values):
        return self.browser.execute_script(script, *values)

    def texts(self, selector):
        return self.run("return [...document.querySelectorAll(arguments[0])].map((x) => x.textContent)", selector)

    def column(self, table, number):
        return self.texts(f"#table-{table} tbody tr:not(.thin) > :nth-child({number})")

    def press(self, *keys):
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.browser).send_keys(*keys).perform()

    def until(self, condition):
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.browser, 20).until(lambda _: condition())

    def show(self, selector):
        element = self.one(selector)
        self.run("arguments[0].scrollIntoView({ block: 'center' })", element)
        return element

    def style(self, selector, name):
        return self.run("return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]", selector, name)

    def results(self):
        """The table of results: label -> texts of its cells behind the seeds."""
        rows = self.run("return [...document.querySelectorAll('#table-results tbody tr')].map("
                        "(row) => [...row.children].map((cell) => cell.textContent))")  # fmt: skip
        return {row[0].replace(" †", "").strip(): row[2:] for row in rows}

    def probe(self, name):
        """Call a function of probes.js."""
        return self.run(f"{PROBES}; return {name}()")

    def check_looks(self, width, scheme):
        """Nothing is wider than the window, no label lies on another, and all is dark or light enough."""
        inner, room, used = self.run(
            "const x = document.documentElement; return [innerWidth, x.clientWidth, x.scrollWidth]"
        )
        assert inner == width and used <= room <= inner
        self.run("for (const x of document.querySelectorAll('details')) x.open = true")
        assert self.probe("tooWide") == []
        assert self.probe("overlaps") == []
        assert self.probe("faint") == [] and (max(self.probe("paper")) < 60) == (scheme == "dark")
        assert self.errors == []

    @property
    def view(self):
        """The part of the address behind the `#`."""
        return self.run("return location.hash").removeprefix("#")

    @property
    def errors(self):
        return [entry["message"] for entry in self.browser.get_log("browser")]

    def asked_for(self):
        """Addresses that were asked for since the last time."""
        messages = [json.loads(entry["message"])["message"] for entry in self.browser.get_log("performance")]
        sent = (message["params"] for message in messages if message["method"] == "Network.requestWillBeSent")
        return [params["request"]["url"] for params in sent]


@pytest.fixture(scope="session")
def opened(browser, folder):
    return Page(browser, (folder / "page.html").as_uri())


@pytest.fixture
def page(opened):
    """The page of `folder`, or another that a file has as `opened`, as it is at first."""
    if opened.browser.current_url.partition("#")[0] != opened.address:
        opened.browser.get(opened.address)
    opened.open()
    yield opened
    assert opened.errors == [], "nothing may appear on the console"


@pytest.fixture(scope="session")
def open_page(browser):
    """Opens another file than that of `page`."""
    return lambda path: Page(browser, path.as_uri())
