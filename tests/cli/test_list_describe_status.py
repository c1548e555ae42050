"""`vhbench list`, `vhbench describe`, `vhbench status` and the help texts."""

import itertools
import json
import re
import shlex
import shutil
import signal
import tomllib

import pytest

from vhbench.cli import COMMANDS
from vhbench.plugins.registry import Registry
from vhbench.system.files import write_json
from vhbench.system.locks import hold

BUILT_INS = {"itq", "lsh", "pcah", "uvh", "uvvh", "uvvh-1", "uvvh-nopro", "uvvh-q"}


def test_list_methods_names_built_ins_variants_and_plugins_with_their_origin(vhbench, fake_methods):
    result = vhbench("list", "methods", "--plugin", fake_methods)
    lines = {line.split()[0]: line for line in result.out.splitlines()[1:]}
    assert result.code == 0 and lines.keys() >= BUILT_INS | {"fake"}
    assert "built-in" in lines["uvvh-q"] and "quantisation loss" in lines["uvvh-q"]
    assert str(fake_methods) in lines["fake"]


def test_list_protocols_prints_names_and_titles(vhbench):
    result = vhbench("list", "protocols")
    assert result.code == 0 and "broken" not in result.out
    names = [line.split()[0] for line in result.out.splitlines()[1:]]
    assert names == [entry.name for entry in Registry().protocols()]


def test_list_runs_prints_a_line_a_run_in_order_of_length(vhbench, out, write_run):
    for bits in (128, 16, 32):
        write_run(bits=bits)
    write_run("lsh", status="failed", reason="it broke", params={})
    lines = vhbench("list", "runs", "--out", out).out.splitlines()[1:]
    assert [line.split()[:5] for line in lines] == [
        ["toy", "itq", "16", "0", "done"],
        ["toy", "itq", "32", "0", "done"],
        ["toy", "itq", "128", "0", "done"],
        ["toy", "lsh", "16", "0", "failed"],
    ]
    assert lines[-1].endswith("it broke")


@pytest.mark.parametrize("command", [("list", "runs"), ("status",)])
def test_an_empty_results_folder_is_said_to_be_empty(vhbench, out, command):
    result = vhbench(*command, "--out", out)
    assert result.code == 0 and f"in {out}." in result.err


SMALL = ("--bits", 8, "--frames", 8, "--dim", 24)  # sizes at which any method's cost is measured in a moment


def table_row(text, name):
    """The cells of a table's row: its first line's, the last continued by the lines that begin blank."""
    lines = text.splitlines()
    (start,) = (n for n, line in enumerate(lines) if line.split("  ")[0] == name)
    *cells, last = re.split(" {2,}", lines[start], maxsplit=3)
    for line in itertools.takewhile(lambda line: line.startswith("   "), lines[start + 1 :]):
        last += " " + line.strip()
    return [*cells, last]


def test_describe_a_method_says_what_can_be_set_and_where_its_default_comes_from(vhbench):
    text = vhbench("describe", "uvvh", *SMALL).out
    assert "IEEE Transactions on Multimedia 2020" in text and "Differences from the printed paper" in text
    assert table_row(text, "uvvh.lr") == ["uvvh.lr", "0.001", "float", "Adam's learning rate (IV-C)."]
    assert re.search(r"^--bits +code length k\.$", text, re.MULTILINE)
    assert "Args:" not in text and text.count("Adam's learning rate (IV-C)") == 1
    assert table_row(text, "uvvh.lengths")[3].endswith("see below.")  # where the differences are printed


@pytest.mark.parametrize("columns", [80, 100, 140])
def test_describe_wraps_what_a_hyper_parameter_is_to_the_terminal(vhbench, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    text = vhbench("describe", "uvvh", *SMALL).out
    table = text[text.index("set with --set") :].partition("\n\n")[0]
    assert columns - 12 < max(map(len, table.splitlines())) <= columns
    meaning = (
        "alpha_3 of Eq. 19 (`uvvh-q`'s is this project's choice); above 0 the decoder sees z and there is no "
        "straight-through gradient."
    )
    assert table_row(text, "uvvh.quantization_weight")[3] == meaning


def test_describe_a_variant_shows_its_own_defaults(vhbench):
    row = table_row(vhbench("describe", "uvvh-nopro", *SMALL).out, "uvvh-nopro.intermediate")
    assert row[1] == "0" and "leaves it out (Table VI)" in row[3]


def test_describe_every_method_and_protocol(vhbench):
    registry = Registry()
    for entry in registry.methods():
        result = vhbench("describe", entry.name, *SMALL)
        assert result.code == 0 and entry.name in result.out
        assert "learnt numbers" in result.out, f"the cost of {entry.name} cannot be measured"
        for parameter in entry.params:
            row = table_row(result.out.partition("published settings, ")[0], f"{entry.name}.{parameter}")
            assert len(row) == 4 and row[3], f"the docstring of {entry.name} does not say what {parameter} is"
    for entry in registry.protocols():
        result = vhbench("describe", entry.name)
        assert result.code == 0 and entry.name in result.out


PLUGIN = '''
import numpy as np
from vhbench import Method, NeuralMethod
from torch import nn


class Plain(Method):
    """No section on arguments."""
    name = "plain"
    def __init__(self, bits, *, power: float = 0.5):
        self.bits, self.power = bits, power
    def fit(self, train, ctx):
        self.mean_ = train.mean_frames().mean(axis=0)
        return self
    def encode(self, videos):
        return np.ones((len(videos), self.bits), bool)


class Stages(NeuralMethod):
    """Two stages.

    Args:
        bits (int): code length.
        epochs: how long,
            on two lines: with a colon.

    After the section.
    """
    name = "stages"
    def __init__(self, bits, *, epochs=4, batch_size=2, lr=1e-3, weight_decay=0.0):
        self.bits, self.epochs, self.batch_size, self.lr, self.weight_decay = bits, epochs, batch_size, lr, weight_decay
    def build(self, frames, dim):
        return nn.ModuleList([nn.Linear(dim, self.bits, bias=False), nn.Linear(self.bits, dim, bias=False)])
    def loss(self, module, videos, moment):
        code = module[0](videos.mean(1))
        return {"loss": (module[1](code) if moment.epoch < 2 else code).square().mean()}
    def codes(self, module, videos):
        return module[0](videos.mean(1)) >= 0


class Broken(Plain):
    """Its fit has a bug."""
    name = "broken-fit"
    def fit(self, train, ctx):
        raise ZeroDivisionError("a bug")
'''


@pytest.fixture
def plugin(tmp_path):
    path = tmp_path / "plugin.py"
    path.write_text(PLUGIN)
    return path


def test_describe_a_method_without_a_section_on_arguments(vhbench, plugin):
    text = vhbench("describe", "plain", *SMALL, "--plugin", plugin).out
    assert next(line for line in text.splitlines() if line.startswith("plain.power")).split() == [
        "plain.power",
        "0.5",
        "float",
    ]


def test_describe_keeps_what_stands_around_the_section_on_arguments(vhbench, plugin):
    text = vhbench("describe", "stages", *SMALL, "--plugin", plugin).out
    assert "\n\nAfter the section.\n\n" in text
    assert re.search(r"^stages\.epochs +4 +how long, on two lines: with a colon\.$", text, re.MULTILINE)


def test_describe_prints_the_cost_of_each_stage(vhbench, plugin):
    text = vhbench("describe", "stages", "--bits", 40, "--frames", 5, "--dim", 1000, "--plugin", plugin).out
    cells = {line.split("  ")[0]: re.split(" {2,}", line)[1:] for line in text.splitlines()}
    assert "cost of 40 bits from 5 frames x 1000 dimensions a video" in text
    assert cells["learnt numbers"] == ["80 k", "40 k"]
    # weights, gradients, two moments of Adam, and its step count of each of the two weights
    assert cells["their memory"] == ["320 kB; 1.28 MB with gradients and optimiser", "160 kB"]
    assert cells["operations a video"] == ["400 kFLOP in the first of 4 epochs, 160 kFLOP in the last", "80 kFLOP"]
    assert cells["bytes read a video"] == ["20 kB, 4 times", "20 kB, once"]
    assert cells["bytes written a video"] == ["5 B"]
    assert "at a batch of 2;" in " ".join(text.split())


def test_describe_sums_the_operations_of_like_epochs(vhbench):
    text = vhbench("describe", "uvvh", "--bits", 8, "--frames", 8, "--dim", 24).out
    found = re.search(r"^operations a video +([\d.]+) MFLOP an epoch, ([\d.]+) GFLOP in 80 ", text, re.MULTILINE)
    assert float(found[2]) == pytest.approx(80e-3 * float(found[1]), rel=0.01)


def test_describe_says_where_operations_are_not_counted(vhbench, plugin):
    text = vhbench("describe", "plain", *SMALL, "--plugin", plugin).out
    assert re.search(r"^operations a video +not counted +not counted$", text, re.MULTILINE)
    assert "Operations are not counted" in text


def test_describe_gives_the_reason_where_the_cost_cannot_be_measured(vhbench, plugin):
    result = vhbench("describe", "uvvh", "--frames", 7)
    assert result.code == 0 and "uvvh.lr" in result.out
    assert result.out.endswith("(--bits, --frames, --dim): UVVH needs at least 8 frames a video; these have 7.\n")
    text = vhbench("describe", "broken-fit", *SMALL, "--plugin", plugin).out
    assert "broken-fit.power" in text and "could not be measured (ZeroDivisionError: a bug)" in text


def test_describe_a_manifest_names_its_files_and_settings(vhbench, tiny):
    text = vhbench("describe", tiny).out
    manifest = tomllib.loads(tiny.read_text())
    for table in ("train", "query", "database"):
        assert manifest[table]["features"][0] in text
    assert "40 videos" in text and "12 videos" in text and "queries in database  no" in text


def described(result):
    assert result.code == 0, result.err
    return dict(re.split(" {2,}", line, maxsplit=1) for line in result.out.splitlines())


def test_describe_a_data_set_with_classes_held_out_says_which_and_who_plays_what(vhbench):
    rows = described(vhbench("describe", "fcvid-unseen"))
    held = ", ".join(map(str, Registry().protocol("fcvid-unseen").held_out_classes(239)))
    assert rows["held-out classes"] == f"40 of 239, drawn with seed 0: {held} (counted from 0)"
    assert rows["query"] == "1,000 of these, drawn with seed 0, or half of them where there are fewer than 2,000"
    assert rows["needs"].startswith("labels of the training videos (fcv_train_labels.mat)")
    rows = described(vhbench("describe", "demo-unseen"))
    (split,) = Registry().protocol("demo-unseen").load(None)
    assert rows["held-out classes"] == (
        f"6 of 20, drawn with seed 0: {', '.join(map(str, split.notes['held_out']))} (counted from 0)"
    )
    assert {"train", "query", "database"} <= rows.keys()


def test_describe_classes_held_out_of_a_manifest_that_does_not_say_how_many_there_are(vhbench, tiny):
    rows = described(vhbench("describe", f"{tiny}-unseen"))
    assert rows["protocol"] == "tiny-unseen", "the name that records have"
    assert rows["title"] == "Retrieve about a sixth of the classes of tiny that training never saw"
    assert rows["held-out classes"].startswith("40 of every 239, drawn with seed 0 when the data are opened")


def test_describe_says_where_classes_cannot_be_held_out(vhbench):
    assert "so it cannot be run: yfcc has no labels" in described(vhbench("describe", "yfcc-unseen"))["needs"]


def test_a_name_whose_manifest_is_here_says_so(vhbench, tiny, monkeypatch):
    monkeypatch.chdir(tiny.parent)
    for words in (("describe", "tiny"), ("data", "status", "tiny")):
        result = vhbench(*words)
        assert result.code == 2 and "given by its path, as in tiny.toml, which is here." in result.error
    assert "which ends in .toml" in vhbench("describe", "x" * 5000).error


def test_status_counts_states_and_gives_reasons(vhbench, run_tiny, out, fake_methods):
    run_tiny("fake,itq,fake-nan-loss", "--bits", "8,32")
    text = vhbench("status", "--out", out, "--plugin", fake_methods).out
    table = {line.split()[1]: line.split()[2:] for line in text.splitlines()[1:4]}
    assert text.splitlines()[0].split() == ["protocol", "method", "done", "failed", "skipped"]
    assert table == {"fake": ["2"], "fake-nan-loss": ["2"], "itq": ["1", "1"]}
    assert "The loss became nan in epoch 1 of 2: training diverged." in text
    assert "32 bits asked of 24 dimensions" in text


def test_status_knows_stale_and_interrupted_runs(vhbench, out, write_run):
    write_run("itq", 16)  # its fingerprint is not that of the source
    unfinished = out / "toy" / "itq" / "32b-s0-0123abcd"
    unfinished.mkdir(parents=True)
    lines = "".join(json.dumps({"epoch": epoch, "loss": 1 / epoch, "seconds": 1.0}) + "\n" for epoch in (1, 2))
    (unfinished / "train.jsonl").write_text(lines)
    text = vhbench("status", "--out", out).out
    assert text.splitlines()[0].split() == ["protocol", "method", "stale", "interrupted"]
    assert f"interrupted: {unfinished}: epoch 2, loss 0.5" in text
    (unfinished / "train.jsonl").write_text("gar{bage")
    assert "train.jsonl is damaged" in vhbench("status", "--out", out).out


def test_status_knows_what_was_asked_for_and_not_begun(vhbench, run_tiny, out, tiny, fake_methods):
    run_tiny("fake", "--bits", "8,16", "--seeds", "0,1")
    (kept,) = (out / "grids").iterdir()
    for folder in out.glob("tiny/fake/16b-*"):
        shutil.rmtree(folder)
    lines = vhbench("status", "--out", out, "--plugin", fake_methods).out.splitlines()
    assert [line.split() for line in lines[:2]] == [
        ["protocol", "method", "done", "waiting"], ["tiny", "fake", "2", "2"],
    ]  # fmt: skip
    words = shlex.split(lines[2].partition("; vhbench ")[2].partition(" starts them")[0])
    paths = ["--protocol", str(tiny), "--plugin", str(fake_methods)]
    assert words == ["run", "--config", str(kept), "--out", str(out), *paths]
    assert re.fullmatch(
        rf"    that runs the code in {fake_methods}, which belongs to you and was changed last on [-\d]+ [:\d]+: "
        "read it first",
        lines[3],
    )
    assert vhbench(*words).code == 0
    assert "waiting" not in vhbench("status", "--out", out, "--plugin", fake_methods).out


def test_status_says_how_long_a_run_still_takes(vhbench, out):
    folder = "toy/uvvh/32b-s0-0123abcd"
    write_json(out / "grids" / "a.json", {"schema": "vhbench.grid/1", "options": {}, "runs": {folder: 80}})
    (out / folder).mkdir(parents=True)
    (out / folder / "train.jsonl").write_text('{"epoch": 20, "loss": 0.5, "seconds": 2.0}\n')
    with hold(out / folder):
        text = vhbench("status", "--out", out).out
    assert f"running: {out / folder}: epoch 20/80, loss 0.5, about 2 min 0 s left" in text


def test_a_kept_grid_that_is_damaged_is_named_and_costs_nothing(vhbench, out, write_run):
    write_run()
    (out / "grids").mkdir()
    for number, text in enumerate(
        ("", "[]", '{"schema": "vhbench.grid/1", "options": {}, "runs": {"a": 1}}', '{"runs": 3}')
    ):
        (out / "grids" / f"{number}.json").write_text(text)
    result = vhbench("status", "--out", out)
    assert result.code == 0 and result.out.count("is not a grid of this version of vhbench: remove it.") == 4


def test_tidy_removes_what_killed_processes_left_and_nothing_else(vhbench, out, write_run):
    done, begun, empty = write_run(), out / "toy/itq/32b-s0-0123abcd", out / "toy/lsh/8b-s0-0123abcd"
    at_work = out / "toy/itq/64b-s0-0123abcd"
    strange = [out / "notes" / ".tmp-mine", out / "toy/itq/notes/.lock", out / "elsewhere/empty/folder/.keep"]
    kept = [done / "run.json", begun / "train.jsonl", at_work / ".tmp-abc", *strange]
    kept.append(out / "toy/itq/32b-s1-0123abcd/checkpoint/state.pt")  # of a run that will go on from it
    gone = [
        done / ".lock",
        done / "checkpoint/state.pt",
        begun / ".lock",
        begun / "checkpoint/.tmp-abc",
        out / "grids/.tmp-abc",
        empty / ".lock",
    ]
    for path in [*kept[1:], *gone]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    with hold(at_work):
        (at_work / ".tmp-abc").touch()
        lines = vhbench("status", "--tidy", "--out", out).out.splitlines()
        assert not [path for path in gone if path.exists()] and all(path.exists() for path in kept)
        assert "nothing to tidy up" in vhbench("status", "--tidy", "--out", out).err
    folders = [done / "checkpoint", begun / "checkpoint", out / "grids", empty, empty.parent]
    assert sorted(lines) == sorted(f"removed: {path}" for path in [*gone, *folders])


def test_watch_ends_when_every_run_is_over_and_says_what_changes(out, write_run, start):
    folder = out / "toy/uvvh/32b-s0-0123abcd"
    folder.mkdir(parents=True)
    child = start("status", "--watch", "--out", out)
    child.wait_for(lambda: "1 interrupted" in child.printed)
    folder.rmdir()
    write_run("nobody", status="failed", reason="it broke")
    assert child.end() == 0
    assert [line.split(" ", 1)[1] for line in child.printed.splitlines()] == ["1 interrupted", "1 failed"]


def test_watch_ends_at_ctrl_c_without_a_complaint(out, start):
    (out / "toy/uvvh/32b-s0-0123abcd").mkdir(parents=True)
    child = start("status", "--watch", "--out", out)
    child.wait_for(lambda: "1 interrupted" in child.printed)
    assert child.signal(signal.SIGINT) == 0
    assert child.printed.endswith("1 interrupted\n")


def test_every_command_explains_itself(vhbench):
    assert all(command in vhbench("--help").out for command in COMMANDS)
    for command in COMMANDS:
        result = vhbench(command, "--help")
        assert result.code == 0 and result.out.startswith(f"Usage: vhbench {command}")


def test_version(vhbench):
    assert vhbench("--version").out.startswith("vhbench, version ")
