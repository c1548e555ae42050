"""Metrics anew from stored codes, without training: what `vhbench rescore` does, and `vhbench rescore --check`."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from vhbench.datasets.problems import load_checked
from vhbench.errors import DataError, StoreError, UsageError
from vhbench.plugins.registry import Registry
from vhbench.protocol import Protocol, Split
from vhbench.runs.form import is_number
from vhbench.runs.groups import Choice, groups
from vhbench.runs.in_domain import gains, in_domain_spec
from vhbench.runs.made_with import MadeWith
from vhbench.runs.record import CURVES, PER_QUERY, RECORD, TRAIN_LOG, Record, has_log, read_record, write_record
from vhbench.runs.references import keep_references
from vhbench.runs.spec import RunSpec
from vhbench.runs.store import Store, hold_run
from vhbench.runs.stored_codes import check_data, codes_by_part
from vhbench.runs.train_log import read_log
from vhbench.scoring import recorded_metrics
from vhbench.scoring.splits import Scored, score_splits
from vhbench.system.files import atomic_write, read_bytes, read_error
from vhbench.version import __version__

SAID = ("problems", "not_checked")  # of the data, whenever they are opened
CLOSE = 1e-9  # two numbers that differ by no more are the same: another NumPy may sum in another order


@dataclass(frozen=True)
class Rescored:
    """What became of one run.

    Attributes:
        record: the run, as it is now.
        changed: name of a score -> what it was and what it is, where they differ by more than CLOSE.
        added: scores that were not recorded before.
        dropped: scores that are no longer recorded.
        problem: why the run was left as it was; empty if it was rescored.
    """

    record: Record
    changed: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)
    added: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    problem: str = ""

    @property
    def result(self) -> str:
        """Say "unchanged", "changed" or "left"."""
        return "left" if self.problem else "changed" if self.changed or self.added or self.dropped else "unchanged"


def rescore_runs(
    registry: Registry,
    store: Store,
    choice: Choice,
    *,
    protocols: Sequence[str] = (),
    ks: Sequence[int] = (),
    data: Path | None = None,
    heard: Callable[[Rescored], None] = lambda _: None,
    say: Callable[[str], object] = lambda _: None,
) -> list[Rescored]:
    """Compute the scores, audits, curves and per-query AP of finished runs from their codes, and record them.

    What contradicts itself in the data is recorded too, as far as it is known today.

    The reference scores of their splits are kept too where there are none yet.

    A run keeps its record until the new one is complete; one that cannot be rescored is left as it was.

    Args:
        registry: finds the protocols.
        store: the results folder.
        choice: which methods and code lengths.
        protocols: which protocols, by name or by the path of a manifest; empty: all that the finished runs name.
        ks: the K to record; empty: each protocol's own.
        data: the data folder.
        heard: called with each run's result as soon as it is there.
        say: told when something takes long.

    Returns:
        A result a run; cross-data-set runs after those that they are measured against.

    Raises:
        UsageError: an unknown name, an impossible K, or a protocol that only its manifest tells.
        DataError: a protocol's data are missing or faulty.
    """
    _check_ks(ks)
    runs, found, opened = _opened(registry, store, choice, protocols, data)
    results = []
    for run in sorted(runs, key=lambda run: "in_domain" in run.data):  # those measured against others come last
        protocol = found[run.spec["protocol"]]
        result = _rescore(run, protocol, opened[protocol.name], store, tuple(ks) or protocol.ks)
        heard(result)
        results.append(result)
    for name, splits in opened.items():
        if any(not result.problem for result in results if result.record.spec["protocol"] == name):
            keep_references(store.root, found[name], splits, tuple(ks) or found[name].ks, say=say)
    return results


def check_runs(
    registry: Registry,
    store: Store,
    choice: Choice,
    *,
    protocols: Sequence[str] = (),
    data: Path | None = None,
    heard: Callable[[Rescored], None] = lambda _: None,
) -> list[Rescored]:
    """Compute what `rescore_runs` does, at the K that each run has recorded, compare, and write nothing.

    Compared are scores, audits, chance levels and numbers of queries; the files beside the record with their digests.

    Args:
        registry: finds the protocols.
        store: the results folder.
        choice: which methods and code lengths.
        protocols: as for `rescore_runs`.
        data: the data folder.
        heard: called with each run's result as soon as it is there.

    Returns:
        A result a run: `changed` has what is recorded and what its codes give, None where they give no such number.

    Raises:
        UsageError: an unknown name, or a protocol that only its manifest tells.
        DataError: a protocol's data are missing or faulty.
    """
    runs, found, opened = _opened(registry, store, choice, protocols, data)
    results = []
    for run in runs:
        results.append(_checked(run, found[run.spec["protocol"]], opened[run.spec["protocol"]]))
        heard(results[-1])
    return results


def _opened(
    registry: Registry, store: Store, choice: Choice, protocols: Sequence[str], data: Path | None
) -> tuple[list[Record], dict[str, Protocol], dict[str, Sequence[Split]]]:
    """Return the chosen runs, and by their names the protocols and their splits."""
    records, _ = store.records()
    found = _protocols(registry, protocols, records)
    chosen = Choice(tuple(found) if protocols else (), choice.methods, choice.bits)
    runs = [record for group in groups(records, chosen) for record in group.records]
    names = {run.spec["protocol"]: None for run in runs}
    return runs, found, {name: load_checked(found[name], data, allow_counts=True) for name in names}


def _checked(run: Record, protocol: Protocol, splits: Sequence[Split]) -> Rescored:
    try:
        record = read_record(run.folder / RECORD)
        check_data(record, protocol, splits)
        ks = sorted({metric.k for metric in recorded_metrics(record.scores) if metric.k})
        scored = score_splits(splits, codes_by_part(record, splits), ks)
        faults = [str(error) for error in record.damage(read=True)]
        read_log(record.folder, record.digests.get(TRAIN_LOG))
    except FileNotFoundError:
        return Rescored(run, problem=f"{run.folder} has lost its record: another process does the run again.")
    except OSError as error:
        return Rescored(run, problem=str(read_error(run.folder / TRAIN_LOG, error)))
    except (DataError, StoreError, ValueError) as error:
        return Rescored(run, problem=str(error))
    for split in splits:
        split.check_unchanged()
    recorded = _numbers(record.data)
    computed = _numbers(vars(scored))
    pairs = {name: (value, computed.get(name)) for name, value in recorded.items()}
    return Rescored(record, {name: pair for name, pair in pairs.items() if not _same(*pair)}, problem=" ".join(faults))


def _numbers(data: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the numbers of a record that its codes give again, by names that say where they stand."""
    found: dict[str, float | None] = dict(data["scores"])
    for entry in ("audit", "chance", "queries"):
        for split, values in data.get(entry, {}).items():
            found |= {f"{entry}.{split}.{name}": x for name, x in values.items() if x is None or is_number(x)}
    return found


def _rescore(run: Record, protocol: Protocol, splits: Sequence[Split], store: Store, ks: Sequence[int]) -> Rescored:
    """Rescore one run under its lock."""
    with hold_run(run.folder) as held:
        if held is None:
            return Rescored(run, problem=f"Another process works on {run.folder}: rescore it later.")
        try:
            record = read_record(run.folder / RECORD)  # another process may have changed it meanwhile
            check_data(record, protocol, splits)
            scored = score_splits(splits, codes_by_part(record, splits), ks)
        except FileNotFoundError:
            return Rescored(run, problem=f"{run.folder} has lost its record: another process does the run again.")
        except (DataError, StoreError) as error:
            return Rescored(run, problem=str(error))
        for split in splits:
            split.check_unchanged()
        entries = {"data": _notes(record, splits), **_in_domain(record, splits, scored, store)}
        return _compare(record, _write(record, scored, entries))


def _notes(record: Record, splits: Sequence[Split]) -> dict[str, dict[str, Any]]:
    """Return the entry `data` with what is said today of the same data."""
    kept = {
        name: {k: x for k, x in notes.items() if k not in SAID} for name, notes in record.data.get("data", {}).items()
    }
    return {
        split.name: {**kept.get(split.name, {}), **{k: split.notes[k] for k in SAID if k in split.notes}}
        for split in splits
    }


def _in_domain(record: Record, splits: Sequence[Split], scored: Scored, store: Store) -> dict[str, dict[str, Any]]:
    """Return the entry `in_domain` of a cross-data-set run; the run it names may have been rescored too."""
    entry = record.data.get("in_domain")
    spec = RunSpec(**{field.name: record.spec[field.name] for field in fields(RunSpec) if field.name in record.spec})
    inside = in_domain_spec(spec, splits)
    if not entry or not inside:
        return {}
    return {"in_domain": {**entry, "gain": gains(scored.scores, inside, record.data["method"]["fingerprint"], store)}}


def _write(record: Record, scored: Scored, entries: Mapping[str, Any]) -> Record:
    """Replace a run's scores and the files that go with them, the record last.

    A kill between two of them leaves the old record, which stands on the codes; files that do not belong to it are told
    by their digests, and rescoring makes them anew.
    """
    arrays = io.BytesIO()
    np.savez_compressed(arrays, **scored.per_query)  # type: ignore[arg-type]
    files = {PER_QUERY: arrays.getvalue(), CURVES: scored.curves.encode()}
    for name, content in files.items():
        with atomic_write(record.folder / name) as file:
            file.write(content)
    if TRAIN_LOG not in record.digests and has_log(record.folder):  # in records of schemas 1 and 2
        files[TRAIN_LOG] = read_bytes(record.folder / TRAIN_LOG, links=False)
    data = {
        **record.data,
        "scores": scored.scores,
        "audit": scored.audit,
        "chance": scored.chance,
        "queries": scored.queries,
        "timing": {**record.data["timing"], "score_s": scored.seconds},
        **entries,
        "rescored": {"vhbench": __version__, "finished": datetime.now(UTC).isoformat(timespec="seconds")},
        "files": {**record.digests, **{name: sha256(content).hexdigest() for name, content in files.items()}},
        "sizes": {**record.data.get("sizes", {}), **{name: len(content) for name, content in files.items()}},
    }
    return write_record(record.folder, data)


def _compare(before: Record, after: Record) -> Rescored:
    old, new = before.scores, after.scores
    return Rescored(
        after,
        {name: (old[name], new[name]) for name in new if name in old and not _same(old[name], new[name])},
        tuple(name for name in new if name not in old),
        tuple(name for name in old if name not in new),
    )


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= CLOSE


def _protocols(registry: Registry, names: Sequence[str], records: Sequence[Record]) -> dict[str, Protocol]:
    """Return the protocols by their own names: those asked for, or all that finished runs name."""
    known = {record.spec["protocol"]: record for record in records if record.status == "done"}
    found: dict[str, Protocol] = {}
    for text in names or known:
        try:
            protocols = registry.to_run(text)
        except UsageError as error:
            if text not in known:
                raise
            words = MadeWith.read(known[text].data).words(plugins=False)
            said = f" (the last one says that it was made with {words})" if words else ""
            raise UsageError(
                f"There are runs on {text!r}, which is not a built-in protocol: give its manifest, "
                f"--protocol path/to/{text}.toml{said}, or name the protocols to rescore."
            ) from error
        found |= {protocol.name: protocol for _, protocol in protocols}
    return found


def _check_ks(ks: Sequence[int]) -> None:
    for k in ks:
        if k < 1:
            raise UsageError(f"--ks takes ranks from 1 up, not {k}.")
