"""The commands as Python functions: `vhbench.run` and `vhbench.compare`."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex

from vhbench.environment import check_device
from vhbench.errors import UsageError
from vhbench.plan import Grid, check_rerun, plan, to_do
from vhbench.registry import Registry
from vhbench.report.rows import Choice, Row, rows
from vhbench.store import Record, Store

if TYPE_CHECKING:
    import pandas as pd

Names = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
Numbers = SupportsIndex | Iterable[SupportsIndex]


def run(
    method: Names,
    protocol: Names,
    bits: Numbers,
    *,
    seeds: Numbers = 0,
    params: Mapping[str, Mapping[str, Any]] | None = None,
    budget: str | None = None,
    epochs: int | None = None,
    precision: str = "float32",
    allow_counts: bool = False,
    data: Path | str | None = None,
    out: Path | str = "results",
    device: str = "auto",
    deterministic: bool = False,
    launcher: str = "inline",
    rerun: str = "missing",
    plugins: Sequence[Path | str] = (),
) -> pd.DataFrame:
    """Do what `vhbench run` does and return every run of the grid.

    Args:
        method: one name or several; "all" stands for every usable method.
        protocol: one name or several, or paths of manifests.
        bits: one code length or several.
        seeds: one seed or several.
        params: method -> hyper-parameter -> value, as `--set`.
        budget: "paper", "quick" or "smoke"; None takes the protocol's own.
        epochs: overrides the budget's epochs.
        precision: "float32" or "bf16".
        allow_counts: accept files of another size than a protocol expects; the records say so.
        data: folder of the feature files; `$VHBENCH_DATA` by default.
        out: results folder.
        device: "auto", "cpu" or "cuda:N".
        deterministic: use deterministic GPU kernels.
        launcher: how runs are worked off.
        rerun: "missing", "failed", "stale" or "all".
        plugins: Python files with further methods.

    Returns:
        A row a run: protocol, method, bits, seed, status, reason, folder, and every score under its full name.

    Raises:
        UsageError: an unknown name or an impossible value.
        DataError: a protocol's data are missing or faulty.
        StoreError: results cannot be written.
    """
    from vhbench.runner import Observer, Settings, run_cells

    texts = {name: {key: str(value) for key, value in values.items()} for name, values in (params or {}).items()}
    names = (_texts(method), _texts(protocol), _ints(bits), _ints(seeds))
    grid = Grid(*names, texts, budget, epochs, precision, allow_counts)
    registry, store = Registry(plugins), Store(out)
    data = data or os.environ.get("VHBENCH_DATA")
    launch = registry.launcher(launcher)
    check_device(device)
    check_rerun(rerun)
    cells = plan(grid, registry, store, Path(data) if data else None)
    if wanted := to_do(cells, rerun):
        store.check_writable()
        run_cells(wanted, store, Settings(device, deterministic), launch, Observer())
    return _table(record for cell in cells if (record := store.read(cell.spec)))


def _table(records: Iterable[Record]) -> pd.DataFrame:
    """Return a row a record."""
    import pandas as pd

    keys = ("protocol", "method", "bits", "seed")
    return pd.DataFrame(
        {
            **{key: record.spec[key] for key in keys},
            "status": record.status,
            "reason": record.data["reason"],
            "folder": str(record.folder),
            **record.scores,
        }
        for record in records
    )


def compare(
    protocol: Names = (),
    *,
    method: Names = (),
    bits: Numbers = (),
    metric: Names = "map@20",
    convention: str = "literature",
    out: Path | str = "results",
) -> pd.DataFrame:
    """Do what `vhbench compare` does and return its rows.

    Args:
        protocol: names to keep; empty keeps all.
        method: names to keep, in this order; empty keeps all.
        bits: code lengths to keep; empty keeps all.
        metric: one name or several, full or partial.
        convention: "literature" or "strict": what a partial name leaves out.
        out: results folder.

    Returns:
        A row a protocol, split, method, code length and metric; columns as in `vhbench compare --format json`.

    Raises:
        UsageError: a name that no finished run has, or a metric that is not recorded.
    """
    import pandas as pd

    records, _ = Store(out).records()
    choice = Choice(_texts(protocol), _texts(method), _ints(bits), _texts(metric), convention)
    found: list[Row] = rows(records, choice)
    return pd.DataFrame([row.to_json() for row in found])


def _texts(value: Names) -> tuple[str, ...]:
    values = (value,) if isinstance(value, str | os.PathLike) else value
    return tuple(os.fspath(value) for value in values)


def _ints(value: Numbers) -> tuple[int, ...]:
    values = value if isinstance(value, Iterable) else (value,)
    try:
        return tuple(operator.index(value) for value in values)  # NumPy's integers too
    except TypeError:
        raise UsageError(f"Code lengths and seeds are whole numbers, not {value!r}.") from None
