"""Results from other people: nothing in them says what is opened, executed, written or removed, or steers a screen."""

import io
import json
import os
import re
import shutil
import tracemalloc

import numpy as np
import pytest

from vhbench.launch import queue
from vhbench.runs.record import write_record
from vhbench.runs.spec import digest_of
from vhbench.runs.store import Store
from vhbench.system.files import sha256_of, write_json

READERS = [
    ("compare",), ("compare", "--ci", "--format", "md"), ("status",), ("status", "--tidy"), ("list", "runs"),
    ("rescore",),
]  # fmt: skip


@pytest.fixture
def outside(tmp_path):
    """A folder beside the results with things that a vhbench could take for its own; at the end all is as it was."""
    folder = tmp_path / "outside"
    (folder / "16b-s0-0123abcd" / "checkpoint").mkdir(parents=True)
    for name in ("precious", ".tmp-precious", ".lock", "checkpoint/state.pt", "train.jsonl"):
        (folder / "16b-s0-0123abcd" / name).write_text("precious")
    state = lambda: {path: (path.lstat().st_mtime_ns, path.lstat().st_size) for path in folder.rglob("*")}  # noqa: E731
    before = state()
    yield folder
    assert state() == before


# links


def test_links_to_folders_elsewhere_lead_nobody_there(vhbench, run_tiny, out, outside):
    run_tiny("fake", "--bits", "8,16")
    (run,) = out.glob("tiny/fake/16b-*")
    sound = outside.parent / "sound"
    run.rename(sound)
    run.symlink_to(sound)
    (out / "tiny" / "fake" / "32b-s0-0123abcd").symlink_to(outside / "16b-s0-0123abcd")
    (out / "door").symlink_to(outside)
    (out / "tiny" / "itq").symlink_to(outside)
    shutil.rmtree(out / "grids")
    (out / "grids").symlink_to(outside)
    for words in READERS:
        result = vhbench(*words, "--out", out)
        if words[0] in ("compare", "list"):
            assert f"{run} leads out of {out} by a symbolic link" in result.err
            assert "16" not in re.findall(r"^.*fake.*$", result.out, re.MULTILINE)[0].split()
    refused = run_tiny("fake", "--bits", "16")
    assert refused.code == 1
    assert f"{run} leads out of {out} by a symbolic link: put the folder itself in the link's place" in refused.err
    refused = run_tiny("itq", "--bits", "16")
    assert refused.code == 1 and "leads out of" in refused.err
    assert (sound / "run.json").exists()


def test_a_results_folder_that_is_a_link_itself_is_a_results_folder(vhbench, run_tiny, out, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    out.symlink_to(tmp_path / "elsewhere")
    assert run_tiny("fake").code == 0
    assert "fake" in vhbench("compare", "--out", out).out and "Nothing to do" in run_tiny("fake").err


@pytest.mark.parametrize("kind", ["pipe", "link", "folder", "device"])
@pytest.mark.parametrize("name", ["run.json", "codes.npz", "per_query.npz", "curves.json", "train.jsonl", ".lock"])
def test_no_file_of_a_run_is_anything_but_a_file(vhbench, run_tiny, out, tiny, outside, name, kind):
    run_tiny("fake", "--bits", "8")
    (run,) = out.glob("tiny/fake/8b-*")
    path = run / name
    path.unlink(missing_ok=True)
    make = {
        "pipe": lambda: os.mkfifo(path),
        "link": lambda: path.symlink_to(outside / "16b-s0-0123abcd" / "precious"),
        "folder": lambda: shutil.copytree(outside, path),
        "device": lambda: path.symlink_to("/dev/zero"),
    }
    make[kind]()
    for words in (("compare", "--ci"), ("status", "--tidy"), ("rescore", "--protocol", tiny)):
        result = vhbench(*words, "--out", out)
        assert result.code in (0, 1, 2) and "Traceback" not in result.err
    if name in ("run.json", "codes.npz"):
        assert f"{path} is damaged (it is a" in vhbench("list", "runs", "--out", out).err
    again = run_tiny("fake", "--bits", "8")
    if name == ".lock" and kind != "pipe":
        assert again.code in (0, 1)
        return
    assert again.code == 0, again.err
    assert (run / "run.json").is_file() and not (run / "run.json").is_symlink()
    (record,), problems = Store(out).records()
    assert record.status == "done" and (problems == [] or name in ("per_query.npz", "curves.json"))


# what a kept grid or a record names


@pytest.fixture
def marked(tmp_path):
    """A plugin that leaves a mark where it is executed."""
    path = tmp_path / "plugin.py"
    mark = tmp_path / "executed"
    path.write_text(
        f"open({str(mark)!r}, 'w').close()\n"
        "from vhbench.testing.fakes import FakeMethod\nclass Evil(FakeMethod):\n    name = 'evil'\n"
    )
    return path, mark


def grid(folder, runs=("toy/evil/8b-s0-0123abcd",), /, **options):
    path = folder / "grids" / "0123abcd.json"
    write_json(path, {"schema": "vhbench.grid/1", "options": options, "runs": dict.fromkeys(runs), "vhbench": "0.1.0"})
    return path


def test_a_grid_executes_no_plugin_and_opens_no_manifest_unless_the_user_names_them(vhbench, out, marked, tiny):
    plugin, mark = marked
    options = {"method": ["evil"], "protocol": [str(tiny)], "bits": [8], "plugin": [str(plugin)], "data": "/etc"}
    path = grid(out, **options)
    said = vhbench("status", "--out", out).out
    assert f"--plugin {plugin}" in said
    assert f"that runs the code in {plugin}, which belongs to you and was changed last on " in said
    refused = vhbench("run", "--config", path, "--out", out)
    assert refused.code == 2
    assert refused.error.endswith(f"add --protocol {tiny} --data /etc --plugin {plugin}.")
    refused = vhbench("run", "--config", path, "--out", out, "--plugin", plugin, "--dry-run")
    assert refused.code == 2 and not mark.exists()
    words = ("--plugin", plugin, "--protocol", tiny, "--data", tiny.parent)
    assert vhbench("run", "--config", path, "--out", out, *words).code == 0 and mark.exists()


def test_whose_a_plugin_is_is_said(vhbench, out, monkeypatch):
    grid(out, method=["evil"], plugin=["/etc/passwd", "/nowhere.py"])
    monkeypatch.setattr("os.getuid", lambda: 12345)
    said = vhbench("status", "--out", out).out
    assert "the code in /etc/passwd, which belongs to root and was changed last on" in said
    assert "the code in /nowhere.py, which is not there: read it first" in said


@pytest.mark.parametrize(
    "run",
    [
        "../../outside/16b-s0-0123abcd", "/etc/toy/8b-s0-0123abcd", "a/../8b-s0-0123abcd", "./a/8b-s0-0123abcd",
        "a/b/c", "a/b/8b-s0-0123abcd/..", "a/b\n/8b-s0-0123abcd", "a/\x1b[2J/8b-s0-0123abcd", "",
        "a/b/8b-s0-0123abcd\n",
    ],
    ids=ascii,
)  # fmt: skip
def test_runs_of_a_grid_lie_in_the_results(vhbench, out, outside, run):
    path = grid(out, [run])
    for words in (("status",), ("status", "--tidy")):
        result = vhbench(*words, "--out", out)
        assert result.code == 0
    assert f"{path} is not a grid of this version of vhbench: remove it." in vhbench("status", "--out", out).out
    assert vhbench("forget", "0123abcd", "--out", out).code == 2


@pytest.mark.parametrize("option", ["out", "launcher", "resources", "config", "rerun", "checkpoint-every"])
def test_a_grid_sets_no_option_but_those_of_a_grid(vhbench, out, tmp_path, option):
    path = grid(out, method=["itq"], protocol=["demo"], bits=[8], **{option: str(tmp_path / "elsewhere")})
    assert "neither the record of a run nor a kept grid" in vhbench("run", "--config", path).error
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("name", ["evil.toml", "a/evil.toml", "/etc/x", "evil.toml-to-demo", "demo-to-evil.toml", ".."])
def test_no_manifest_is_opened_because_a_record_names_it(vhbench, out, write_run, tmp_path, monkeypatch, name):
    (tmp_path / "a").mkdir()
    for place in ("evil.toml", "a/evil.toml"):
        os.mkfifo(tmp_path / place)  # to open it would take for ever
    monkeypatch.chdir(tmp_path)
    path = write_run() / "run.json"
    record = json.loads(path.read_text())
    record["spec"]["protocol"] = name
    write_record(path.parent, {**record, "id": digest_of(record["spec"])})
    for words in (("rescore",), ("report", "-o", tmp_path / "page.html"), ("compare",), ("run", "--config", path)):
        result = vhbench(*words, *(("--out", out) if words[0] != "run" else ()))
        assert result.code in (0, 2)
        assert "its spec.protocol should be a name of letters" in result.err or words[0] in ("report", "run")


def test_a_variant_of_a_method_names_a_folder_of_the_results(run_tiny, tmp_path, out):
    path = tmp_path / "plugin.py"
    path.write_text(
        "from vhbench.testing.fakes import FakeMethod\nclass Evil(FakeMethod):\n    name = 'evil'\n"
        "    variants = {'../../../outside': ('leads out', {'spread': 2.0})}\n"
    )
    result = run_tiny("../../../outside", "--plugin", path)
    assert result.code == 2 and "'../../../outside': it names a folder" in result.error
    assert not out.exists()


# archives


def bomb(name):
    """Return an archive of less than 5 MB that holds 4.8 GB."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{name: np.zeros(1 << 24, np.uint64), "more": np.zeros(1, np.uint64)})
    assert buffer.tell() < 1 << 20
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["codes.npz", "per_query.npz"])
def test_an_archive_that_grows_is_named_and_not_unpacked(vhbench, run_tiny, out, tiny, name, monkeypatch):
    run_tiny("fake")
    (path,) = out.rglob(name)
    with np.load(path) as file:
        first = file.files[0]
    path.write_bytes(bomb(first))
    record = json.loads(path.with_name("run.json").read_text())
    record["files"][name], record["sizes"][name] = sha256_of(path), path.stat().st_size
    write_record(path.parent, record)
    for module in ("vhbench.system.arrays.LARGEST", "vhbench.runs.record.LARGEST"):
        monkeypatch.setattr(module, 1 << 26)
    monkeypatch.setattr("vhbench.runs.stored_codes.LARGEST_PACKED", 1 << 26)
    tracemalloc.start()
    words = {"codes.npz": ("export", path.parent, "-o", out.parent / "exported", "--protocol", tiny)}
    result = vhbench(*words.get(name, ("compare", "--ci")), "--out", out)
    assert "Traceback" not in result.err
    if name == "codes.npz":
        assert result.code == 1 and "bytes, and such an archive at most 67108864" in result.error
    assert tracemalloc.get_traced_memory()[1] < 60_000_000
    tracemalloc.stop()


def test_a_file_that_is_large_on_paper_only_is_not_read(vhbench, run_tiny, out):
    run_tiny("fake")
    (path,) = out.rglob("codes.npz")
    record = json.loads(path.with_name("run.json").read_text())
    os.truncate(path, 1 << 40)
    record["sizes"]["codes.npz"] = 1 << 40
    write_record(path.parent, record)
    result = vhbench("list", "runs", "--out", out)
    assert f"{path} is damaged (it has 1099511627776 bytes, and such a file at most 1073741824)" in result.err
    assert "codes.npz was damaged" in run_tiny("fake").err or run_tiny("fake").code == 0


# SLURM's folder, whose pickles are executed


def test_the_folder_of_slurm_jobs_is_its_owners_alone(out):
    queue.check_folder(out)
    assert (out / "slurm").stat().st_mode & 0o777 == 0o700
    (out / "slurm").chmod(0o775)
    with queue.submitting(out):
        assert (out / "slurm").stat().st_mode & 0o777 == 0o700


def test_the_folder_of_another_users_jobs_is_refused(run_tiny, out, monkeypatch, tmp_path):
    for name in ("sbatch", "squeue", "srun"):
        (tmp_path / "bin" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text("#!/bin/sh\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    (out / "slurm").mkdir(parents=True)
    monkeypatch.setattr("os.getuid", lambda: 12345)
    refused = run_tiny("fake", "--launcher", "slurm")
    assert (
        refused.code == 2 and f"{out / 'slurm'} belongs to root, whose jobs keep there what they execute" in refused.err
    )
    assert queue.tidy_notes(out) == []
    monkeypatch.undo()


def test_a_link_in_the_place_of_the_folder_of_slurm_jobs_is_refused(out, outside):
    out.mkdir()
    (out / "slurm").symlink_to(outside)
    with pytest.raises(queue.UsageError, match="is no folder: remove it"):
        queue.check_folder(out)


@pytest.mark.parametrize("name", ["100%", "a'b", 'a"b', "a\nb", "a\\b", "gr\udcf6\udcdfe"])
def test_a_path_that_a_job_script_cannot_hold_is_refused(tmp_path, name):
    with pytest.raises(queue.UsageError, match="which means something in a SLURM script"):
        queue.check_folder(tmp_path / name)


# text


def shown(text):
    """Return text without the styles that vhbench sets itself."""
    return re.sub(r"\x1b\[[0-9]+m", "", text)


def test_no_text_of_others_steers_a_terminal(vhbench, out, write_run):
    evil = "\x1b]0;title\x07\x1b[2J\u202e\r\nfake"
    path = write_run(changed={evil: evil}, params={evil: evil}, selection=evil) / "run.json"
    write_record(path.parent, {**json.loads(path.read_text()), "budget": evil})
    write_run("lsh", status="failed", reason=evil)
    path = write_run("sh", environment={"finished": evil, "cpu": evil}) / "run.json"
    write_record(path.parent, {**json.loads(path.read_text()), "method": {"fingerprint": "", "origin": evil}})
    (out / f"a{evil}" / "b" / "8b-s0-0123abcd").mkdir(parents=True)
    (out / f"a{evil}" / "b" / "8b-s0-0123abcd" / "run.json").write_text("{")
    (out / "toy" / f"b{evil}" / "8b-s0-0123abcd").mkdir(parents=True)
    (out / "toy" / f"b{evil}" / "8b-s0-0123abcd" / "train.jsonl").write_text("{")
    (out / "grids").mkdir()
    (out / "grids" / f"{evil}.json").write_text("{")
    for words in (*READERS, ("compare", "--format", "csv"), ("compare", "--format", "latex"), ("describe", evil)):
        result = vhbench(*words, *(("--out", out) if words[0] != "describe" else ()))
        for text in map(shown, (result.out, result.err)):
            assert all(line.isprintable() for line in text.split("\n")), (words, text)
            assert not re.search("^fake", text, re.MULTILINE), (words, text)
