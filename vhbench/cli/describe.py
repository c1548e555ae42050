"""`vhbench describe`: what a method or a protocol is."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from tabulate import tabulate

from vhbench.cli import options
from vhbench.errors import VhbenchError, unknown
from vhbench.plugins.entries import MethodEntry
from vhbench.plugins.registry import MANIFEST, Registry, manifest_hint
from vhbench.plugins.source import split_args

if TYPE_CHECKING:
    from vhbench.cost import Cost
    from vhbench.grid.memory import TrainingMemory

WIDTH = 100  # where the output is not a terminal
NARROWEST = 30  # of the column that says what a hyper-parameter is
PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


@click.command()
@click.argument("name")
@click.option("--bits", type=click.IntRange(1), default=64, show_default=True, help="Cost: the code length.")
@click.option("--frames", type=click.IntRange(1), default=25, show_default=True, help="Cost: frames a video.")
@click.option("--dim", type=click.IntRange(1), default=4096, show_default=True, help="Cost: dimensions a frame.")
@options.plugins
def command(name: str, bits: int, frames: int, dim: int, plugins: Sequence[Path]) -> None:
    """Say what the method or protocol NAME is and where it comes from.

    Of a method also: what can be set, how it differs from its paper, and what it costs, which is measured by running it
    for some seconds.
    """
    registry = Registry(plugins)
    methods = {entry.name for entry in registry.methods()}
    protocols = {entry.name for entry in registry.protocols()}
    if name.endswith(MANIFEST) or name in protocols or (name not in methods and registry.composed(name)):
        protocol = registry.protocol(name)
        click.echo(
            tabulate([("protocol", protocol.name), *protocol.describe()], tablefmt="plain", disable_numparse=True)
        )
    elif name in methods or ":" in name:
        entry = registry.method(name)
        click.echo(_method(entry) + "\n")
        click.echo(_cost(entry, bits, frames, dim))
    else:
        hint = f"`vhbench list methods` and `list protocols` show what there is; {manifest_hint(name)}"
        raise unknown("method or protocol", name, methods | protocols, hint)


def _method(entry: MethodEntry) -> str:
    parts = [f"{entry.name}: {entry.summary}"]
    body, meanings = split_args(entry.doc.partition("\n")[2])
    # what stands above the section in a docstring is printed below the table
    meanings = {name: text.replace("see above", "see below") for name, text in meanings.items()}
    facts = [("from", entry.origin), ("reference", entry.reference), ("source", entry.source or "")]
    facts.append(("--bits", meanings.get("bits", "")))
    parts.append(tabulate([fact for fact in facts if fact[1]], tablefmt="plain", disable_numparse=True))
    rows = [
        (f"{entry.name}.{p.name}", p.default, p.annotation, meanings.get(p.name, "")) for p in entry.params.values()
    ]
    if rows:
        parts.append(_table(rows))
    parts += filter(None, [_presets(entry), body])
    return "\n\n".join(parts)


def _presets(entry: MethodEntry) -> str:
    """Return the settings by data set side by side: a row a hyper-parameter that differs from its default anywhere."""
    names = [name for name in entry.params if any(name in values for values in entry.presets.values())]
    if not names:
        known = ", ".join(entry.presets)
        return f"published for {known} with the same settings" if known else ""
    rows = [
        (f"{entry.name}.{name}", default, *(values.get(name, default) for values in entry.presets.values()))
        for name, default in ((name, entry.params[name].default) for name in names)
    ]
    headings = ["published settings, --preset", "none", *entry.presets]
    return str(tabulate(rows, headings, tablefmt="simple", disable_numparse=True))


def _table(rows: Sequence[tuple[object, ...]]) -> str:
    headings = ["set with --set", "default", "takes", "what it is"]
    widths = [max(len(heading) + 2, *(len(str(row[i])) for row in rows)) for i, heading in enumerate(headings[:3])]
    room = max(NARROWEST, shutil.get_terminal_size((WIDTH, 0)).columns - sum(widths) - 2 * len(widths))
    wrapped = [(*row[:3], "\n".join(textwrap.wrap(str(row[3]), room, break_on_hyphens=False))) for row in rows]
    table: str = tabulate(wrapped, headings, tablefmt="simple", disable_numparse=True)
    return table


def _cost(entry: MethodEntry, bits: int, frames: int, dim: int) -> str:
    from vhbench.cost import measure
    from vhbench.grid.memory import training_memory
    from vhbench.training import NeuralMethod

    heading = f"cost of {bits} bits from {frames} frames x {dim} dimensions a video (--bits, --frames, --dim)"
    try:
        cost, method = measure(entry.make(bits), frames, dim), entry.make(bits)
        memory = training_memory(method, frames, dim) if isinstance(method, NeuralMethod) else None
        return f"{heading}\n\n{_cost_table(cost, memory)}"
    except VhbenchError as error:
        return f"{heading}: {error}"
    except Exception as error:  # a plugin may raise anything; the rest of the description stands
        return f"{heading}: could not be measured ({type(error).__name__}: {error})"


def _cost_table(cost: Cost, memory: TrainingMemory | None) -> str:
    training, encoding = cost.training, cost.encoding
    whole = f"; {_si(cost.training_bytes)}B with gradients and optimiser" if cost.training_bytes else ""
    rows = [
        ("learnt numbers", _si(training.parameters), _si(encoding.parameters)),
        ("their memory", f"{_si(training.weight_bytes)}B{whole}", f"{_si(encoding.weight_bytes)}B"),
        *([("a GPU's memory", f"{_si(memory.total)}B at least, at a batch of {cost.batch}", "")] if memory else []),
        ("operations a video", _training_flops(cost), _flops(encoding.flops)),
        (
            "bytes read a video",
            f"{_si(cost.video_bytes)}B, {_times(training.passes)}",
            f"{_si(cost.video_bytes)}B, {_times(encoding.passes)}",
        ),
        ("bytes written a video", "", f"{_si(cost.code_bytes)}B"),
    ]
    table = tabulate(rows, ["", "training", "encoding"], tablefmt="simple", disable_numparse=True)
    width = shutil.get_terminal_size((WIDTH, 0)).columns
    return f"{table}\n\n{textwrap.fill(_how(cost), max(2 * NARROWEST, width))}"


def _training_flops(cost: Cost) -> str:
    flops = cost.training.flops
    if flops is None or cost.epochs is None:
        return _flops(flops)
    first, last = (_flops((count,)) for count in (flops[0], flops[-1]))
    if first == last:
        return f"{first} an epoch, {_flops((flops[0] * cost.epochs,))} in {cost.epochs}"
    return f"{first} in the first of {cost.epochs} epochs, {last} in the last"


def _how(cost: Cost) -> str:
    read = (
        f"Measured with {cost.videos} synthetic training videos of {cost.video_frames} frames; bytes are those of "
        "float32 features and a packed code."
    )
    if cost.batch is not None:
        return (
            "Operations are those of matrix products and convolutions, 2 a multiply-add, counted while the method ran: "
            f"loss and backward pass at a batch of {cost.batch}; not counted are elementwise arithmetic, the optimiser "
            "and what is computed once from the training set. A GPU's memory is that of weights, gradients, the "
            "optimiser, a batch and what the forward pass keeps, without the training features, which may stay in host "
            f"memory, and what CUDA and its allocator take. {read}"
        )
    if cost.training.flops is not None:
        return (
            "Operations are what the method states, 2 a multiply-add: what a video adds to training, without what is "
            f"computed once. {read}"
        )
    return f"Operations are not counted: the method does not train in vhbench's loop and does not state them. {read}"


def _flops(flops: tuple[float, ...] | None) -> str:
    return "not counted" if flops is None else f"{_si(flops[0])}FLOP"


def _times(passes: float) -> str:
    return "once" if passes == 1 else f"{passes:.3g} times"


def _si(value: float) -> str:
    """Return three significant digits and a decimal prefix: 40.4 M, 410 k, 8."""
    for factor, prefix in PREFIXES:
        if value >= 0.9995 * factor:
            return f"{value / factor:.3g} {prefix}"
    return f"{value:.3g} "
