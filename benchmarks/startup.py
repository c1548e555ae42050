"""Starting: the command line, commands over many records, and what the launchers add to a run.

    python -m vhbench.benchmarks.startup [--records 1400] [--runs 24] [--repeat 3] [--threads N] [--quick]

- commands, each in a fresh process, beside what they cannot do without: starting Python; importing what they use; for
  commands over records, reading the records' JSON as well. The records are copies of real runs of `lsh` on the demo
  protocol with other methods' names and other seeds, files and all.
- launchers: seconds that each further run adds to a grid of runs of a method that does nothing, on a data set of 40
  videos (the slope between --runs runs and a quarter of them, so that starting up once does not count), beside a
  process of its own for each run, which would import torch anew.

The bound is the first of these for commands: the ratio says how many times as long vhbench takes. Processor time
suffers less from other work. Keep the machine idle.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from vhbench.benchmarks import machine

BITS = (16, 32, 64, 128)
QUICK = {"records": 60, "runs": 12, "repeat": 1}
READ_RECORDS = (
    "import json, pathlib; [json.loads(p.read_bytes()) for p in pathlib.Path({out!r}).glob('*/*/*/run.json')]"
)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = machine.options(__doc__)
    parser.add_argument("--records", type=int, default=1400, help="records that list, status, compare and report read")
    parser.add_argument("--runs", type=int, default=24, help="runs that launchers are timed with")
    parser.add_argument("--repeat", type=int, default=3)
    return machine.parse(parser, QUICK)


def vhbench(*words: object) -> None:
    """Run a command in a fresh process; its output is thrown away, an error ends the benchmark."""
    python("-m", "vhbench", *words)


def python(*words: object) -> None:
    """Run Python in a fresh process."""
    command = [sys.executable, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")


def make_records(out: Path, count: int) -> None:
    """Write records: `lsh` on the demo protocol for each code length, copied under other methods' names and seeds."""
    from vhbench.plugins.registry import Registry
    from vhbench.runs.spec import RunSpec

    vhbench("run", "--method", "lsh", "--protocol", "demo", "--bits", ",".join(map(str, BITS)), "--out", out)
    real = sorted(out.glob("demo/lsh/*/run.json"))
    methods = [entry.name for entry in Registry().methods() if not entry.broken and entry.name != "lsh"]
    for number in range(count - len(real)):
        source = real[number % len(BITS)]
        record = json.loads(source.read_bytes())
        rest = number // len(BITS)
        record["spec"] |= {"method": methods[rest % len(methods)], "seed": rest // len(methods)}
        spec = RunSpec(**record["spec"])
        record["id"] = spec.id
        shutil.copytree(source.parent, out / spec.folder)
        (out / spec.folder / "run.json").write_text(json.dumps(record, indent=1))


def commands(args: argparse.Namespace, out: Path, page: Path) -> None:
    """Print a row a command."""
    reading = READ_RECORDS.format(out=str(out))
    bare, with_records = ("python -c pass", "pass"), ("Python, json of the records", reading)
    with_pandas = ("the same, and import pandas", f"import pandas, numpy; {reading}")
    rows: list[tuple[str, Sequence[object], tuple[str, str]]] = [
        ("import vhbench", ("-c", "import vhbench"), bare),
        ("vhbench --help", ("-m", "vhbench", "--help"), bare),
        ("list methods", ("-m", "vhbench", "list", "methods"), bare),
        ("list runs", ("-m", "vhbench", "list", "runs", "--out", out), with_records),
        ("status", ("-m", "vhbench", "status", "--out", out), with_records),
        ("compare", ("-m", "vhbench", "compare", "--protocol", "demo", "--out", out), with_pandas),
        ("report", ("-m", "vhbench", "report", "-o", page, "--out", out), with_pandas),
        ("import vhbench.training", ("-c", "import vhbench.training"), ("import torch", "import torch")),
    ]
    print(f"commands, {args.records:,} records, best of {args.repeat}")
    table = machine.Table("command", "s", "bound s", "ratio", "cpu s", "bound cpu", "by cpu", "bound", width=23)
    for name, words, (what, code) in rows:
        contestants = {"ours": lambda w=words: python(*w), "bound": lambda c=code: python("-c", c)}
        times = machine.take_turns(contestants, args.repeat)
        ours, bound = times["ours"], times["bound"]
        by_wall, by_cpu = machine.ratio(ours.wall, bound.wall), machine.ratio(ours.cpu, bound.cpu)
        table.row(name, ours.wall, bound.wall, by_wall, ours.cpu, bound.cpu, by_cpu, f"  {what}")


def launchers(args: argparse.Namespace, folder: Path) -> None:
    """Print what each further run takes with each launcher, beside a process of its own with torch."""
    from vhbench.testing import fakes

    manifest = fakes.make_protocol(folder / "tiny")
    few, many = max(1, args.runs // 4), args.runs

    def grid(launcher: str, runs: int) -> machine.Timing:
        """Time a grid in a results folder of its own."""
        out = folder / f"{launcher}-{runs}"
        words = ["--method", "fake", "--protocol", manifest, "--bits", 16, "--seeds", ",".join(map(str, range(runs)))]
        given = [*words, "--launcher", launcher, "--plugin", Path(fakes.__file__), "--out", out]
        return machine.best_of(1, vhbench, "run", *given)

    process = machine.best_of(args.repeat, python, "-c", "import torch")
    print(f"\nlaunchers: a grid of {few} and of {many} runs of a method that does nothing")
    columns = (f"{few} runs s", f"{many} runs s", "a run s", "a run cpu", "torch s", "torch/run")
    table = machine.Table("launcher", *columns, width=23)
    for launcher in ("inline", "local"):
        short, long = grid(launcher, few), grid(launcher, many)
        a_run = machine.Timing(*((b - a) / (many - few) for a, b in zip(short, long, strict=True)))
        beside = process.wall, machine.ratio(process.wall, a_run.wall)
        table.row(launcher, short.wall, long.wall, a_run.wall, a_run.cpu, *beside)
    print("torch: a process of its own that imports torch; `a run` holds loading, fitting, scoring and recording too")


def main() -> None:
    """Measure and print."""
    args = parse()
    machine.start(args, "click", "torch", "pandas")
    os.environ.setdefault("COLUMNS", "200")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["VHBENCH_CACHE"] = str(folder / "cache")
        make_records(folder / "results", args.records)
        commands(args, folder / "results", folder / "report.html")
        launchers(args, folder)


if __name__ == "__main__":
    machine.run(main)
