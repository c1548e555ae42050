"""What the report page holds: the numbers of the records, thinned as it says, and nothing that could break out."""

import base64
import hashlib
import html.parser
import io
import itertools
import json
import re

import numpy as np
import pytest
from made_runs import NAMES, Made, make_run
from PIL import Image

import vhbench
from vhbench.errors import UsageError
from vhbench.plugins.registry import Registry
from vhbench.report.page import queries
from vhbench.report.page.build import render_page, write_page
from vhbench.report.page.gather import _begins, gather
from vhbench.runs.groups import Choice
from vhbench.runs.record import read_record, write_record
from vhbench.runs.spec import RunSpec
from vhbench.runs.store import Store

NAMES_OF = {"literature": "map@20[den=k,ties=expected,self=keep]", "strict": "map@20[den=min,ties=expected,self=keep]"}


@pytest.fixture
def page(out):
    """The content of the page of the results folder."""

    def content(*given, **choice):
        known = {protocol.name: protocol for protocol in given}
        return gather(Store(out), Choice(**choice), Registry(), known, None, out.parent)

    return content


def unpack(text):
    steps = np.frombuffer(base64.b64decode(text), "<u2").astype(float)
    return np.where(steps > queries.STEPS, np.nan, steps / queries.STEPS)


def series_of(content, label="itq", bits=16, number=0):
    (found,) = (
        series
        for series in content["sets"][number]["series"]
        if (content["groups"][series["group"]]["label"], content["groups"][series["group"]]["bits"]) == (label, bits)
    )
    return found


@pytest.mark.parametrize("convention", ["literature", "strict"])
def test_scores_are_those_of_compare(out, page, convention):
    for seed in (0, 1):
        make_run(out, Made(in_database=True), seed=seed, noise=0.2 + seed / 20)
    make_run(out, Made(in_database=True), "lsh", 32, noise=0.4)
    content = page(Made(in_database=True))
    metrics = ["map@5", "map@20", "recall@5", "ndcg@20", "mrr", "precision@r2"]
    table = vhbench.compare(metric=metrics, convention=convention, out=out)
    assert len(table) == 12
    for row in table.itertuples():
        short = row.metric.partition("[")[0]
        mean, sd, count = series_of(content, row.label, row.bits)["scores"][convention][short]
        assert content["sets"][0]["names"][convention][short] == row.metric
        assert (mean, count) == (row.value, row.queries), "rounded twice, it could be printed otherwise than by compare"
        assert sd == row.sd or (sd is None and np.isnan(row.sd))


def test_a_metric_that_only_some_seeds_have_recorded_is_not_shown(out, page):
    """Runs of an older vhbench lack it; the number of seeds is said once for all metrics."""
    folders = [make_run(out, Made(), seed=seed) for seed in (0, 1)]
    record = json.loads((folders[1] / "run.json").read_text())
    scores = {name: value for name, value in record["scores"].items() if not name.startswith("mrr")}
    write_record(folders[1], {**record, "scores": scores})
    names = page(Made())["sets"][0]["names"]["literature"]
    assert "mrr" not in names and {"map@5", "ndcg@5", "precision@r2"} <= set(names)


def test_ap_of_each_query_is_the_mean_over_seeds(out, page):
    protocol = Made(lonely=3)
    folders = [make_run(out, protocol, seed=seed) for seed in (0, 1)]
    content = page(protocol)
    for convention, name in NAMES_OF.items():
        recorded = [np.load(folder / "per_query.npz")[name] for folder in folders]
        shown = unpack(series_of(content)["ap"][convention])
        np.testing.assert_allclose(shown, np.mean(recorded, axis=0), atol=1 / queries.STEPS)
        assert np.isnan(shown[:3]).all() and not np.isnan(shown[3:]).any()


def test_a_large_query_set_is_sampled_and_says_which(out, page, monkeypatch):
    monkeypatch.setattr(queries, "SAMPLE", 25)
    protocol = Made(queries=40)
    folder = make_run(out, protocol)
    views = page(protocol)["sets"][0]["views"]
    assert views["total"] == 40 and len(set(views["rows"])) == 25 and views["rows"] == sorted(views["rows"])
    recorded = np.load(folder / "per_query.npz")[NAMES_OF["literature"]]
    shown = unpack(series_of(page(protocol))["ap"]["literature"])
    np.testing.assert_allclose(shown, recorded[views["rows"]], atol=1 / queries.STEPS)
    assert [NAMES[c] for (c,) in views["classes"]] == [NAMES[row % 4] for row in views["rows"]]


def test_a_class_is_averaged_over_all_its_scored_queries(out, page, monkeypatch):
    monkeypatch.setattr(queries, "SAMPLE", 10)
    protocol = Made(queries=41, lonely=3)
    ap = np.load(make_run(out, protocol) / "per_query.npz")[NAMES_OF["strict"]]
    content = page(protocol)
    views, labels = content["sets"][0]["views"], protocol.load(None)[0].relevance.query_labels
    assert views["class_numbers"] == [0, 1, 2], "the class of the queries without a relevant item has no mean"
    for place, number in enumerate(views["class_numbers"]):
        of_class = (labels == number) & ~np.isnan(ap)
        assert views["class_queries"][place] == of_class.sum()
        assert series_of(content)["classes"]["strict"][place] == pytest.approx(ap[of_class].mean(), abs=1e-4)


@pytest.mark.parametrize("in_database", [False, True])
def test_first_results_are_the_nearest_codes_with_ties_in_database_order(out, page, in_database):
    protocol = Made(in_database=in_database)
    folder = make_run(out, protocol, bits=8, noise=0.3)
    content = page(protocol)
    views, top = content["sets"][0]["views"], series_of(content, bits=8)["top"]
    packed = np.load(folder / "codes.npz")
    query, database = (packed[f"made/{role}"][:, 0] for role in ("query", "database"))
    labels = protocol.load(None)[0].relevance
    assert len(views["examples"]) == queries.EXAMPLES == len(top)
    for row, results in zip(views["examples"], top, strict=True):
        order = sorted((int(query[row] ^ code).bit_count(), item) for item, code in enumerate(database))
        expected = [(item, distance) for distance, item in order if not (in_database and item == row)][:5]
        assert [(item, distance) for item, distance, _ in results] == expected
        for item, _, hit in results:
            assert hit == (labels.query_labels[row] == labels.database_labels[item])


def test_pictures_are_strips_of_four_frames_of_the_videos_shown(out, page):
    protocol = Made()
    make_run(out, protocol)
    content = page(protocol)
    pictures = content["sets"][0]["views"]["pictures"]
    shown = {item for results in series_of(content)["top"] for item, _, _ in results}
    assert set(pictures["database"]) == shown and set(pictures["query"]) == set(content["sets"][0]["views"]["examples"])
    row = max(shown)
    kind, data = pictures["database"][row].split(",")
    strip = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    assert kind == "data:image/jpeg;base64" and strip.shape == (4, 24, 3)
    np.testing.assert_allclose(strip[0, 3::6, 0], [10 + row, 30 + row, 50 + row, 70 + row], atol=4)


def test_a_protocol_without_frames_shows_no_pictures(out, page):
    make_run(out, Made(pictures=False))
    views = page(Made(pictures=False))["sets"][0]["views"]
    assert views["pictures"] == {"query": {}, "database": {}} and len(views["examples"]) == queries.EXAMPLES


def test_without_labels_the_page_says_why_and_has_the_rest(out, page):
    make_run(out, Made(name="mine"))
    content = page()
    views = content["sets"][0]["views"]
    assert "Unknown protocol 'mine'" in views["no_labels"] and "--protocol PATH.toml" in views["advice"]
    assert "examples" not in views and len(unpack(series_of(content)["ap"]["literature"])) == 40
    assert content["lacking"] == [views["no_labels"]]


def test_labels_of_other_data_are_refused(out, page):
    make_run(out, Made())
    content = page(Made(queries=39))
    assert "was made on other query videos" in content["sets"][0]["views"]["no_labels"]


def test_curves_keep_their_ends_and_lie_on_the_recorded_ones(out, page):
    folder = make_run(out, Made(queries=40, items=800))
    curves = page()["groups"][0]["curves"]["made"]
    recorded = json.loads((folder / "curves.json").read_text())["made"]
    rank, radius = curves["rank"]["keep"], curves["radius"]["keep"]
    assert rank["at"][0] == 1 and rank["at"][-1] == 800 and len(rank["at"]) < 60 < len(recorded["rank"]["keep"]["rank"])
    place = dict(zip(recorded["rank"]["keep"]["rank"], recorded["rank"]["keep"]["precision"], strict=True))
    assert rank["precision"] == [pytest.approx(place[at], abs=1e-4) for at in rank["at"]]
    assert radius["at"] == list(range(17))
    assert radius["recall"] == pytest.approx(recorded["radius"]["keep"]["recall"], abs=1e-4)


def test_training_curves_are_thinned_and_an_infinite_loss_is_a_gap(out, page):
    losses = [float(1000 - n) for n in range(199)] + [float("inf")]
    make_run(out, Made(), epochs=losses)
    (run,) = page()["groups"][0]["training"]
    assert len(run["epoch"]) == 60 and (run["epoch"][0], run["epoch"][-1]) == (1, 200)
    assert run["terms"]["loss"][:-1] == [losses[epoch - 1] for epoch in run["epoch"][:-1]]
    assert run["terms"]["loss"][-1] is None and set(run["terms"]) == {"loss", "kl"}


def test_damaged_files_are_named_and_cost_only_what_they_held(out, page):
    folder = make_run(out, Made(), epochs=[2.0, 1.0])
    names = ("curves.json", "per_query.npz", "codes.npz", "train.jsonl")
    for name in names:
        (folder / name).write_bytes(b"{".ljust((folder / name).stat().st_size))
    content = page(Made())
    for name in names:
        assert any(str(folder / name) in sentence for sentence in content["lacking"]), name
    assert series_of(content, "itq")["scores"]["literature"]["map@20"][0] > 0.1
    assert "</html>" in render_page(content)


def test_runs_of_every_state_are_counted_with_their_reasons(out, page, write_run):
    entry = Registry().method("itq")
    make_run(out, Made(), method="itq")
    make_run(out, Made(), method="itq", seed=2, fingerprint=entry.fingerprint)
    write_run("lsh", seed=3, protocol="made", params={}, status="failed", reason="out of <memory>")
    (out / "made" / "lsh" / "16b-s4-00000000").mkdir(parents=True)
    (out / "made" / "lsh" / "16b-s5-00000000").mkdir(parents=True)
    (out / "made" / "lsh" / "16b-s5-00000000" / "run.json").write_text('{"schema": "vhbench.run/9"}')
    content = page(Made())
    states = {(run["method"], run["seed"]): (run["state"], run["reason"]) for run in content["runs"]}
    assert states == {
        ("itq", 0): ("stale", None),
        ("itq", 2): ("done", None),
        ("lsh", 3): ("failed", "out of <memory>"),
    }
    assert [run["state"] for run in content["unfinished"]] == ["interrupted"]
    assert "made/lsh/16b-s4-00000000" in content["unfinished"][0]["text"]
    (damaged,) = content["damaged"]
    assert "16b-s5-00000000" in damaged and "vhbench.run/9" in damaged


def test_choices_keep_what_is_asked_for(out, page):
    for method, bits in (("itq", 16), ("itq", 32), ("lsh", 16)):
        make_run(out, Made(), method, bits)
    make_run(out, Made(name="other"))
    content = page(protocols=("made",), methods=("itq",), bits=(16,))
    assert [(g["protocol"], g["label"], g["bits"]) for g in content["groups"]] == [("made", "itq", 16)]
    assert [(run["protocol"], run["method"], run["bits"]) for run in content["runs"]] == [("made", "itq", 16)]


def test_the_nearest_k_stands_in_where_the_metric_is_not_recorded(out, page):
    make_run(out, Made())
    assert page(metrics=("map@20",))["sets"][0]["views"]["metric"] == "map@20"
    other = Made(name="short")
    other.ks = (5, 10)
    make_run(out, other)
    assert [one["views"]["metric"] for one in page(metrics=("map@20",))["sets"]] == ["map@20", "map@10"]


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("map@7", "map@7 is not recorded"),
        ("recall@5", "takes a map"),
        ("map@5[ties=best]", "takes a map"),
        ("mrr", "as in map@20, not 'mrr'"),
        ("precision@r2", "takes a map"),
        ("x", "Unknown metric"),
    ],
)
def test_a_metric_without_ap_is_refused(out, page, metric, message):
    make_run(out, Made())
    with pytest.raises(UsageError, match=message):
        page(metrics=(metric,))


class Parts(html.parser.HTMLParser):
    """Collects the scripts of a page and every address in it."""

    def __init__(self):
        super().__init__()
        self.scripts, self.addresses, self.policy = [], [], ""

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.addresses += [values[name] for name in ("src", "href", "action") if values.get(name)]
        if tag == "script":
            self.scripts.append((values.get("type"), ""))
        if values.get("http-equiv") == "Content-Security-Policy":
            self.policy = values["content"]

    def handle_data(self, data):
        if self.scripts and self.lasttag == "script" and not self.scripts[-1][1]:
            self.scripts[-1] = (self.scripts[-1][0], data)


def parsed(text):
    parts = Parts()
    parts.feed(text)
    return parts


def test_no_text_of_a_record_can_leave_the_data(out, page):
    evil = "</script><script>alert(1)</script><!-- \u2028 & {{style}} {{data}}"
    make_run(out, Made(), params={evil: evil}, changed={evil: evil}, budget=evil, selection=evil)
    content = page(Made())
    parts = parsed(render_page(content))
    assert [kind for kind, _ in parts.scripts] == ["application/json", None]
    assert json.loads(parts.scripts[0][1]) == json.loads(json.dumps(content))
    shown = evil.replace("\u2028 ", "")
    assert content["groups"][0]["label"] == f"itq [{shown}={shown}, {shown}]"


def test_only_its_own_script_may_run_and_nothing_is_asked_of_a_network(out, page):
    make_run(out, Made())
    text = render_page(page(Made()))
    parts = parsed(text)
    digest = base64.b64encode(hashlib.sha256(parts.scripts[1][1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in parts.policy and "default-src 'none'" in parts.policy
    assert "unsafe" not in parts.policy
    assert all(address.startswith(("#", "data:")) for address in parts.addresses)
    assert set(re.findall(r"https?://[^\"' ]+", text)) == {"http://www.w3.org/2000/svg"}, "a name, not an address"


def test_a_folder_gives_the_same_page_each_time(out, tmp_path):
    make_run(out, Made())
    for name in ("a.html", "b.html"):
        write_page(tmp_path / name, Store(out), Choice())
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_links_lead_from_the_page_to_the_records(out, tmp_path):
    folder = make_run(out, Made(name="a-b"))
    write_page(tmp_path / "pages" / "page.html", Store(out), Choice())
    data = json.loads(parsed((tmp_path / "pages" / "page.html").read_text()).scripts[0][1])
    (run,) = data["runs"]
    linked = (tmp_path / "pages" / run["link"]).resolve()
    assert read_record(linked).data["id"] == run["id"] and linked.parent == folder.resolve()


@pytest.mark.parametrize(
    ("terms", "begins"),
    [
        (["r", "r"], []),
        (["r", "r", "k", "k"], [2]),
        (["r", "rc", "rd", "rc", "rd"], [1]),
        (["a", "b", "b", "c"], [1, 3]),
    ],
)
def test_passes_that_alternate_are_one_stage(terms, begins):
    assert _begins([{"epoch": n, **dict.fromkeys(names, 1.0)} for n, names in enumerate(terms)]) == begins


@pytest.mark.slow
def test_the_page_of_a_full_grid_is_below_5_mb(out, tmp_path):
    """14 methods x 4 lengths x 3 seeds on FCVID's 45,600 queries, with pictures, both curves and losses of 200 epochs.

    One run is scored; the others are its copies with the queries' AP in another order and codes of other bits.
    """
    protocol = Made(queries=45_600, items=45_600, in_database=True)
    protocol.ks = (5, 20, 40, 60, 80, 100)
    first = read_record(make_run(tmp_path / "first", protocol, "m", 128) / "run.json")
    ap, codes = first.arrays("per_query.npz"), first.arrays("codes.npz")
    ap = {name: values for name, values in ap.items() if name.startswith("map@20[")}
    curves, rng = first.read_file("curves.json").decode(), np.random.default_rng(0)
    epochs = "".join(
        f'{{"epoch": {n}, "loss": {rng.random()}, "recon": {rng.random()}, "seconds": 1.5}}\n' for n in range(1, 201)
    )
    for method, bits, seed in itertools.product(range(14), (16, 32, 64, 128), range(3)):
        spec = RunSpec(**{**first.spec, "method": f"m{method}", "bits": bits, "seed": seed})
        mask = [np.uint64(2 ** min(bits, 64) - 1), np.uint64(2 ** (bits - 64) - 1 if bits > 64 else 0)]
        words = -(-bits // 64)
        noise = rng.integers(2**63, size=words, dtype=np.uint64)
        arrays = {
            "per_query.npz": {name: rng.permutation(values) for name, values in ap.items()},
            "codes.npz": {name: (packed[:, :words] & noise) & mask[:words] for name, packed in codes.items()},
        }
        with Store(out).claim(spec) as folder:
            record = {**first.data, "id": spec.id, "spec": spec.to_json()}
            folder.publish(record, arrays=arrays, texts={"curves.json": curves, "train.jsonl": epochs})
    content = gather(Store(out), Choice(), Registry(), {"made": protocol}, None, tmp_path)
    assert (len(content["runs"]), len(content["groups"]), content["lacking"]) == (168, 56, [])
    assert len(content["sets"][0]["views"]["pictures"]["database"]) > 100
    assert len(render_page(content).encode()) < 5e6
