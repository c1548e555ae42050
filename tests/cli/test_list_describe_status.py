"""`vhbench list`, `vhbench describe`, `vhbench status` and the help texts."""

import json
import tomllib

import pytest

from vhbench.cli import COMMANDS
from vhbench.registry import Registry

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


def test_describe_a_method_says_what_can_be_set(vhbench):
    text = vhbench("describe", "uvvh").out
    assert "IEEE Transactions on Multimedia 2020" in text and "Differences from the printed paper" in text
    (line,) = (line for line in text.splitlines() if line.startswith("uvvh.lr "))
    assert line.split() == ["uvvh.lr", "0.001", "float"]


def test_describe_a_variant_shows_its_own_defaults(vhbench):
    text = vhbench("describe", "uvvh-nopro").out
    (line,) = (line for line in text.splitlines() if line.startswith("uvvh-nopro.intermediate"))
    assert line.split()[1] == "0"


def test_describe_every_method_and_protocol(vhbench):
    registry = Registry()
    for entry in [*registry.methods(), *registry.protocols()]:
        result = vhbench("describe", entry.name)
        assert result.code == 0 and entry.name in result.out


def test_describe_a_manifest_names_its_files_and_settings(vhbench, tiny):
    text = vhbench("describe", tiny).out
    manifest = tomllib.loads(tiny.read_text())
    for table in ("train", "query", "database"):
        assert manifest[table]["features"][0] in text
    assert "40 videos" in text and "12 videos" in text and "queries in database  no" in text


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
    lines = "".join(json.dumps({"epoch": epoch, "loss": 1 / epoch}) + "\n" for epoch in (1, 2))
    (unfinished / "train.jsonl").write_text(lines)
    text = vhbench("status", "--out", out).out
    assert text.splitlines()[0].split() == ["protocol", "method", "stale", "interrupted"]
    assert f"interrupted: {unfinished}: epoch 2, loss 0.5" in text
    (unfinished / "train.jsonl").write_text("gar{bage")
    assert "train.jsonl is damaged" in vhbench("status", "--out", out).out


def test_every_command_explains_itself(vhbench):
    assert all(command in vhbench("--help").out for command in COMMANDS)
    for command in COMMANDS:
        result = vhbench(command, "--help")
        assert result.code == 0 and result.out.startswith(f"Usage: vhbench {command}")


def test_version(vhbench):
    assert vhbench("--version").out.startswith("vhbench, version ")
