"""Try damaged and strange files of every kind that vhbench reads, in a process of its own: run by test_fuzz_files.py.

`root` (an empty folder), `examples` (how many of each kind) and `names` (of KINDS; empty: all) are its globals. A
library may take the process down with it: `root/now` then names the example, else `root/faults` has what was wrong.
"""

import contextlib
import hashlib
import io
import json
import os
import random
import resource
import shutil
import signal
import traceback
import zipfile
from pathlib import Path

import h5py
import numpy as np
import scipy.io
import scipy.sparse
import torch

from vhbench.checkpoint import Checkpoint
from vhbench.cli import main
from vhbench.datasets.marker import Marker, write_marker
from vhbench.errors import VhbenchError
from vhbench.launch import queue, worker
from vhbench.launch.outcome import Listener
from vhbench.launch.resources import read_resources
from vhbench.report.orderings import read_orderings
from vhbench.report.paper.table import read_tables
from vhbench.report.published import read_published
from vhbench.system.files import sha256_of, write_json
from vhbench.testing import fakes
from vhbench.testing.files import write_hdf5, write_manifest, write_mat, write_mat73

HANGS = 60  # seconds for one command: only a hang takes that
MEMORY = 1500  # MB by which the process may grow: the largest file that is read as a whole has 1,074
PUBLISHED = Path(__file__).parents[2] / "results" / "published"

VIDEOS, QUERIES, FRAMES, DIM, CLASSES = 24, 8, 4, 6, 3
rng = np.random.default_rng(0)
TRAIN, TEST = (rng.standard_normal((n, FRAMES, DIM)).astype(np.float32) for n in (VIDEOS, QUERIES))
CLASS_OF, CLASS_OF_QUERY = np.arange(VIDEOS) % CLASSES, np.arange(QUERIES) % CLASSES


SPEC = {
    "method": "unknown", "params": {}, "bits": 4, "seed": 0, "budget": {"epochs": None, "videos": None},
    "precision": "float32", "protocol": "set", "version": 1, "splits": {},
}  # fmt: skip


# sound files: made once, every example works on a copy of them


def make_base(base):
    """Write a data set with its features and labels in every format, a results folder and what launchers keep."""
    base.mkdir()
    write_hdf5(base / "train.h5", TRAIN)
    write_hdf5(base / "train-gzip.h5", TRAIN, compression="gzip", chunks=(8, FRAMES, DIM))
    np.save(base / "train.npy", TRAIN)
    np.save(base / "train-fortran.npy", np.asfortranarray(TRAIN))
    write_hdf5(base / "test.h5", TEST)
    multi_hot = np.eye(CLASSES, dtype=np.uint8)[CLASS_OF]
    write_mat(base / "labels.mat", multi_hot)
    scipy.io.savemat(base / "labels-plain.mat", {"labels": multi_hot}, do_compression=False)
    scipy.io.savemat(base / "labels-sparse.mat", {"labels": scipy.sparse.csc_matrix(multi_hot.astype(float))})
    scipy.io.savemat(base / "labels-cell.mat", {"labels": np.array([f"c{c}" for c in CLASS_OF], object)[:, None]})
    write_mat73(base / "labels73.mat", multi_hot)
    write_hdf5(base / "labels.h5", CLASS_OF, key="labels")
    np.save(base / "labels.npy", CLASS_OF)
    np.savez_compressed(base / "labels.npz", labels=CLASS_OF)
    (base / "labels.csv").write_text("video,labels\n" + "".join(f"v{i},{c}\n" for i, c in enumerate(CLASS_OF)))
    (base / "labels.txt").write_text("".join(f"{c}\n" for c in CLASS_OF))
    np.save(base / "test-labels.npy", CLASS_OF_QUERY)
    shutil.copytree(PUBLISHED, base / "published")
    write_data_manifest(base, "train.h5", "labels.npy")
    (base / "names.txt").write_text("".join(f"v_class{c}_g{i // 6:02}_c{i}\n" for i, c in enumerate(CLASS_OF)))
    (base / "classes.txt").write_text("".join(f"class{c}\n" for c in range(CLASSES)))
    np.save(base / "rows.npy", np.arange(VIDEOS)[::-1])
    write_manifest(base / "own.toml", name="own", classes="classes.txt", keep_frames="0:4:2", split={
        "features": ["train.h5"], "labels": ["labels.npy"], "names": ["names.txt"], "beside": ["train.npy"],
        "rows": "rows.npy", "queries": 0.3, "seed": 1, "by": "group", "pattern": "(v_.*_g[0-9]+)_c.*",
    })  # fmt: skip
    runs = ["run", "--protocol", base / "set.toml", "--out", base / "results", "--bits", "4", "--device", "cpu"]
    for method in ("fake", "fake-nan-loss"):
        answer(*runs, "--plugin", fakes.__file__, "--method", method)
    (run,) = base.glob("results/set/fake/*")
    answer("export", run, "-o", base / "exported", "--protocol", base / "set.toml", "--out", base / "results")
    for shard in ("1/2", "2/2"):
        answer("score", base / "exported" / "set", "--shard", shard, "-o", base / "counts")
    write_marker(base, Marker("set", 0.5, 0, {"train": VIDEOS, "query": QUERIES, "database": VIDEOS}))
    (base / "resources.toml").write_text('[default]\ntime = "2h"\ncpus = 2\n[itq]\nmemory = "4G"\nextra = {nice = 5}\n')
    (base / "slurm").mkdir()
    write_json(base / "slurm" / "17.json", {"schema": queue.SCHEMA, "runs": {"set/fake/4b-s0-01234567": "17_0"}})
    write_json(base / "outcome.json", {"kind": "stopped", "message": "x", "exit_code": 1, "word": "x"})
    write_json(base / "job.json", {
        "run": "set/unknown/4b-s0-01234567", "spec": SPEC, "method": "unknown", "recorded": None,
        "protocol": str(base / "set.toml"), "folder": str(base), "out": str(base / "results"), "data": None,
        "plugins": [fakes.__file__], "allow_counts": False, "settings": {"device": "cpu"},
    })  # fmt: skip
    (base / "checkpoint").mkdir()
    Checkpoint(base / "checkpoint", "key").save({"epoch": 1, "module": {"weight": torch.ones(3)}})


def write_data_manifest(folder, features, labels):
    database = {"features": [features], "labels": [labels]}
    query = {"features": ["test.h5"], "labels": ["test-labels.npy"]}
    write_manifest(
        folder / "set.toml", name="set", title="t", version=1, ks=[3], frames=FRAMES, dim=DIM, database=database,
        query=query, train={"features": [features]},
    )  # fmt: skip


# what is done to a file


ODD_BYTES = [b"\xff" * 8, b"\0" * 8, b"\x7f" + b"\xff" * 7, b"\x80", b"\0", b"\n", b'"', b"[" * 60, b"\xef\xbb\xbf"]
ODD_TEXT = [
    b"-1", b"1e999", b"nan", b"null", b"true", b"9" * 5000, b"{}", b"[]", b'""', b"0", b"3.5", b"\xc3\x28", b"=cmd()",
    b"\\ud800", b"\x1b[2J",
]  # fmt: skip


def with_other_bytes(content, rng):
    """Replace, insert, remove or repeat a few bytes, at the beginning or the end more often than elsewhere."""
    content = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        last = max(len(content) - 1, 0)
        at = rng.choice([rng.randint(0, min(last, 600)), rng.randint(max(0, last - 200), last), rng.randint(0, last)])
        length = rng.choice([1, 1, 2, 4, 8, 64])
        kind = rng.randrange(6)
        if kind == 0:
            content[at : at + 1] = bytes([content[at] ^ 1 << rng.randrange(8)]) if content else b"x"
        elif kind == 1:
            content[at : at + length] = rng.randbytes(length)
        elif kind == 2:
            new = rng.choice(ODD_BYTES + ODD_TEXT)
            content[at : at + rng.choice([0, len(new)])] = new
        elif kind == 3:
            del content[at : at + length]
        elif kind == 4:
            content[at:at] = content[at : at + length] * rng.choice([1, 2, 50])
        else:
            del content[at:]
    return bytes(content)


def odd_value(rng):
    scalars = [None, True, False, 0, -1, 3.5, 1e308, 10**40, 2**63, "", "x", "..", "/", "\ud800", "\x1b[2J", "a\0b"]
    return rng.choice([*scalars, [], {}, [[]], [1, "x"], {"": None}, {"x": {"y": [3]}}, "9" * 400, [0] * 3])


def with_another_value(value, rng):
    """Return a nested value with one entry replaced, removed, renamed or added."""
    if not isinstance(value, dict | list) or not value:
        return odd_value(rng)
    copy = dict(value) if isinstance(value, dict) else list(value)
    key = rng.choice(list(copy)) if isinstance(copy, dict) else rng.randrange(len(copy))
    kind = rng.randrange(8)
    if kind == 0:
        del copy[key]
    elif kind == 1:
        copy[key] = odd_value(rng)
    elif kind == 2 and isinstance(copy, dict):
        copy[f"{key}x"] = copy.pop(key)
    elif kind == 3 and isinstance(copy, dict):
        copy["more"] = odd_value(rng)
    else:
        copy[key] = with_another_value(copy[key], rng)
    return copy


def odd_array(array, rng):
    """Return an array of another shape or dtype, or with numbers that have no meaning."""
    array = np.zeros(3) if array.dtype.kind == "U" else np.atleast_1d(array)
    few = array.reshape(-1)[:7]
    return rng.choice([
        lambda: array[:0], lambda: array[1:], lambda: array[..., None], lambda: array.reshape(-1),
        lambda: np.concatenate([array, array]), lambda: np.zeros(()), lambda: np.full(array.shape, np.nan),
        lambda: np.full(array.shape, np.inf), lambda: np.full(array.shape, 1e300), lambda: np.full(array.shape, -1),
        lambda: np.full(array.shape, 2**62), lambda: array.astype(complex), lambda: array.astype("S3"),
        lambda: array.astype("U3"), lambda: array.astype(bool), lambda: array.astype(">f8"), lambda: array[::-1],
        lambda: np.zeros(3, [("a", "i4"), ("b", "f8")]), lambda: np.array(["2020-01-01"], "M8[D]"), lambda: few,
        lambda: np.zeros((0, 5, 0)), lambda: np.full(array.shape, 2**64 - 1, np.uint64), lambda: array.T,
        lambda: np.zeros((1,) * 20), lambda: np.zeros(array.shape, "V5"),
    ])()  # fmt: skip


def with_other_arrays(arrays, rng):
    found = dict(arrays)
    name = rng.choice(list(found))
    kind = rng.randrange(5)
    if kind == 0:
        found[rng.choice(["x", "../x", "", "a/b/c"])] = found.pop(name)
    elif kind == 1:
        found["more"] = np.zeros(3)
    else:
        found[name] = odd_array(found[name], rng)
    return found


def change_npz(path, rng):
    arrays = dict(np.load(path, allow_pickle=False))
    with path.open("wb") as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in with_other_arrays(arrays, rng).items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def change_npy(path, rng):
    array = odd_array(np.load(path, allow_pickle=False), rng)
    with path.open("wb") as file:
        np.lib.format.write_array(file, array, allow_pickle=False)


def change_mat(path, rng):
    labels = np.eye(CLASSES, dtype=np.uint8)[CLASS_OF]
    others = [lambda: odd_array(labels, rng), lambda: {"a": labels}, lambda: np.array([labels, "x"], object)]
    others += [lambda: scipy.sparse.csc_matrix(labels.astype(float)), lambda: "text", lambda: [["a"], ["b"]]]
    with contextlib.suppress(Exception):  # SciPy does not write all of these
        scipy.io.savemat(path, {rng.choice(["labels", "labels", "x"]): rng.choice(others)()})


def change_hdf5(path, rng):
    with h5py.File(path, "r+") as file, contextlib.suppress(TypeError, ValueError):  # HDF5 has no such array
        (name,) = file
        array = odd_array(file[name][()], rng)
        attributes = dict(file[name].attrs)
        del file[name]
        if rng.random() < 0.1:
            file[name] = h5py.SoftLink("/elsewhere")
        elif rng.random() < 0.1:
            file.create_dataset(name, (2**40,), "f4", chunks=(2**10,))
        else:
            file[name] = array
            attributes["MATLAB_class"] = np.bytes_(rng.choice(["char", "cell", "struct", "double", "x"]))
            if rng.random() < 0.5:
                attributes[rng.choice(["MATLAB_sparse", "MATLAB_empty", "MATLAB_object_decode"])] = rng.choice(
                    [1, 2**40]
                )
            for key, value in attributes.items():
                file[name].attrs[key] = value


def change_json(path, rng):
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.suffix == ".jsonl" else None
    value = with_another_value(json.loads(path.read_text()) if lines is None else lines, rng)
    rows = [value] if lines is None or not isinstance(value, list) else value
    path.write_bytes(b"".join(json.dumps(x, indent=1 if lines is None else None).encode() + b"\n" for x in rows))


def change_checkpoint(path, rng):
    saved = {"key": "key", "state": {"epoch": 1, "module": {"weight": torch.ones(3)}}}
    torch.save(with_another_value(saved, rng), path)


def by_bytes(path, rng):
    path.write_bytes(with_other_bytes(path.read_bytes(), rng))


# digests made right again, so that more than their comparison is tried


def seal_record(path):
    content = path.read_bytes()
    if len(content) > 68:
        path.write_bytes(content[:-68] + hashlib.sha256(content[:-68]).hexdigest().encode() + content[-4:])


def seal_beside(path):
    """Let the record name the file as it is now."""
    record = json.loads(path.with_name("run.json").read_text())
    record["files"][path.name], record["sizes"][path.name] = sha256_of(path), path.stat().st_size
    write_json(path.with_name("run.json"), record)
    seal_record(path.with_name("run.json"))


def seal_references(path):
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        value = json.loads(path.read_text())
        rest = {name: x for name, x in value.items() if name != "digest"}
        text = json.dumps(rest, sort_keys=True, separators=(",", ":"), allow_nan=False)
        path.write_text(json.dumps({**rest, "digest": hashlib.sha256(text.encode()).hexdigest()}))


def seal_checkpoint(path):
    content = path.read_bytes()
    path.write_bytes(content + b"sha256:" + hashlib.sha256(content).hexdigest().encode())


# what reads it


def answer(*words):
    """Run a command: nothing but an exit with a code that means something may come of it."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(word) for word in words])
        except SystemExit as end:
            code = end.code or 0
    assert code in (0, 1, 2), f"exit code {code}"
    assert "Traceback" not in out.getvalue() + err.getvalue(), err.getvalue()
    assert code != 2 or sum(line.startswith("Error: ") for line in err.getvalue().splitlines()) == 1, err.getvalue()


def calling(function):
    """Return what calls a function on the file, which may refuse it with a sentence."""

    def call(work, path):
        try:
            function(path)
        except VhbenchError as error:
            assert str(error)

    return call


def hear(path):
    listener = Listener()
    with open(listener.descriptor, "wb", closefd=False) as file:
        file.write(path.read_bytes())
    listener.hear()
    listener.close()


def commands(*lines):
    """Return what runs commands, of which OUT, SET, FILE and WORK stand for the results folder and other paths."""

    def run(work, path):
        names = {"OUT": work / "results", "SET": work / "set.toml", "FILE": path, "WORK": work, "RUN": path.parent}
        for line in lines:
            answer(*(names.get(word, word) for word in line.split()))

    return run


def data(features, labels):
    """Return what opens a data set of these files."""

    def run(work, path):
        write_data_manifest(work, features, labels)
        commands("data verify SET", "run --protocol SET --method itq --bits 4 --out WORK --device cpu")(work, path)

    return run


DRY_RUN = "run --protocol SET --method itq --bits 4 --out OUT --dry-run"
READ_RECORD = commands(
    "compare --out OUT", "status --out OUT", "list runs --out OUT", "rescore --check --protocol SET --out OUT",
    "report -o page.html --out OUT", "run --config FILE --protocol SET --out OUT --dry-run",
)  # fmt: skip
READ_FEATURES = ("train.h5", "train-gzip.h5", "train.npy", "train-fortran.npy")
READ_LABELS = {
    "labels.mat": change_mat, "labels-plain.mat": change_mat, "labels-sparse.mat": change_mat,
    "labels-cell.mat": change_mat, "labels73.mat": change_hdf5, "labels.h5": change_hdf5, "labels.npy": change_npy,
    "labels.npz": change_npz, "labels.csv": None, "labels.txt": None,
}  # fmt: skip
RUN = "results/set/fake/4b-*"
KINDS = {  # file -> how its content is changed otherwise than byte by byte, how its digest is made right, what reads it
    **{name: (change_npy if "npy" in name else change_hdf5, None, data(name, "labels.npy")) for name in READ_FEATURES},
    **{name: (change, None, data("train.h5", name)) for name, change in READ_LABELS.items()},
    "set.toml": (None, None, commands("data verify SET", DRY_RUN)),
    **{
        name: (change, None, commands("data split own.toml", "data verify own.toml"))
        for name, change in (("own.toml", None), ("names.txt", None), ("classes.txt", None), ("rows.npy", change_npy))
    },
    "synthetic.toml": (None, None, commands(DRY_RUN)),
    "cache/features/*/*.sha256.npy": (change_npy, None, commands(DRY_RUN, "data verify SET")),
    f"{RUN}/run.json": (change_json, seal_record, READ_RECORD),
    "results/set/fake-nan-loss/*/run.json": (change_json, seal_record, READ_RECORD),
    f"{RUN}/codes.npz": (
        change_npz, seal_beside,
        commands(
            "rescore --check --protocol SET --out OUT", "export RUN -o exports --protocol SET",
            "rescore --protocol SET --out OUT",
        ),
    ),
    f"{RUN}/per_query.npz": (
        change_npz, seal_beside, commands("compare --ci --out OUT", "report -o page.html --out OUT"),
    ),
    f"{RUN}/curves.json": (
        change_json, seal_beside, commands("compare --out OUT --pr pr.svg", "report -o page.html --out OUT"),
    ),
    f"{RUN}/train.jsonl": (
        change_json, seal_beside, commands("report -o page.html --out OUT", "status --out OUT"),
    ),
    "results/set/references-*.json": (
        change_json, seal_references, commands("compare --out OUT", "report -o page.html --out OUT"),
    ),
    "results/grids/*.json": (
        change_json, None,
        commands("status --out OUT", "run --config FILE --out OUT --dry-run", "forget FILE", "status --tidy --out OUT"),
    ),
    "checkpoint/state.pt": (
        change_checkpoint, seal_checkpoint, lambda work, path: Checkpoint(path.parent, "key").load(),
    ),
    "counts/*1-of*": (change_npz, None, commands("score --merge RUN")),
    "exported/set/query.npy": (change_npy, None, commands("score RUN -o again")),
    "exported/set/database.npy": (change_npy, None, commands("score RUN -o again")),
    "exported/set/query-labels.npy": (change_npy, None, commands("score RUN -o again")),
    "exported/about.json": (
        change_json, None,
        commands("score WORK/exported/set -o again", "export RUN -o WORK/exported --protocol SET --out OUT"),
    ),
    "published/bth_repo.csv": (None, None, calling(lambda path: read_published(path.parent))),
    "published/orderings/uvvh_paper.csv": (None, None, calling(lambda path: read_orderings(path.parent))),
    "published/tables/uvvh_paper.toml": (None, None, calling(lambda path: read_tables(path.parent))),
    "resources.toml": (None, None, calling(lambda path: read_resources(path, ["itq"]))),
    "slurm/17.json": (change_json, None, calling(lambda path: queue._read(path))),
    "outcome.json": (change_json, None, calling(hear)),
    "job.json": (change_json, None, calling(lambda path: worker.main(path.read_text(errors="replace")))),
}  # fmt: skip


# examples


def hang(number, frame):
    raise AssertionError(f"it takes more than {HANGS} s")


def grown():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def try_one(name, number, base, work):
    """Change one file of a fresh copy in a way that the name and the number decide, and read it."""
    rng = random.Random(f"{name} {number}")
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(base, work)
    os.chdir(work)
    os.environ["VHBENCH_CACHE"] = str(work / "cache")
    change, seal, read = KINDS[name]
    if name.startswith("cache"):
        commands(DRY_RUN)(work, work)
    path = min(work.glob(name))
    strange = change and rng.random() < 0.6
    (change if strange else by_bytes)(path, rng)
    if seal and (strange or rng.random() < 0.7):
        seal(path)
    signal.alarm(HANGS)
    before = grown()
    try:
        read(work, path)
    finally:
        signal.alarm(0)
    assert grown() - before < MEMORY, f"it takes {grown() - before:.0f} MB"


def try_all(root, examples, names):
    base, work = root / "base", root / "work"
    signal.signal(signal.SIGALRM, hang)
    (root / "faults").touch()
    make_base(base)
    for name in names or KINDS:
        for number in range(examples):
            (root / "now").write_text(f"{name} {number}")  # what a crash of the process was over
            try:
                try_one(name, number, base, work)
            except BaseException:
                with (root / "faults").open("a") as file:
                    file.write(f"{name}, example {number}:\n{traceback.format_exc()}\n\n")
    (root / "now").write_text(f"ended after {examples * len(names or KINDS)} files")


if __name__ != "fuzz_files":
    try_all(Path(root), examples, names)  # noqa: F821
