"""Splits whose parts contradict each other: what allows no sound number is an error, the rest is counted and recorded.

Videos are compared by the digests that opening a feature file leaves (`vhbench.protocol.Part.row_digests`), so that no
feature is read for it; protocols of other kinds may give none, and then what was not checked is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from vhbench.errors import DataError
from vhbench.protocol import Part, Protocol, Relevance, Split

FLOATS = {1: "uint8", 2: "float16", 4: "float32", 8: "float64"}


def load_checked(protocol: Protocol, data: Path | None, allow_counts: bool) -> list[Split]:
    """Load a protocol's splits with `problems` and `not_checked` in their notes, where there are any.

    `problems` maps a kind of contradiction to a sentence with its count; `not_checked` lists what could not be told.

    Raises:
        DataError: as for `Protocol.load`, or a split allows no sound number.
    """
    return [_checked(split, protocol.name) for split in protocol.load(data, allow_counts=allow_counts)]


def said_of(splits: Sequence[Split], name: str) -> tuple[list[str], list[str]]:
    """Return what there is to say of a protocol's splits when they are opened: plain lines, and warnings."""
    lines, warnings = [], []
    for split in splits:
        title = f"{name}, split {split.name}" if len(splits) > 1 else name
        lines.append(f"{title}: labels: {split.relevance.summary()}")
        lines += [f"{title}: not checked: {text}" for text in split.notes.get("not_checked", ())]
        warnings += [f"{title}: {text}" for text in split.notes.get("problems", {}).values()]
    return lines, warnings


def refuse_unsound(relevance: Relevance, name: str) -> None:
    """Raise DataError, naming the protocol, where labels allow no sound number."""
    if faults := faults_of(relevance):
        raise DataError(f"{name}: {faults[0]}.")


def faults_of(relevance: Relevance) -> list[str]:
    """Return why labels allow no sound number, a sentence each; usually none."""
    scored = _scored(relevance)
    if not scored.any():
        return [
            "no query shares a class with any database video: the label files do not belong together, or number their "
            "classes differently"
        ]
    if _all_relevant(relevance):
        return [
            f"every database video is relevant to every query (labels: {relevance.summary()}), so that any order of "
            "them scores the same: look at the label files; retrieval needs two classes at least"
        ]
    return []


def not_found(index: np.ndarray, query: Part, database: Part) -> str | None:
    """Say that no query is found in the database that should hold them all; None where at least one is."""
    if (index >= 0).any():
        return None
    return (
        f"{len(index)} of {len(index)} queries are not found in the database, although queries_in_database is true"
        f"{_dtypes(query, database)}: name the right files or, if the queries are other videos, say false"
    )


def label_problems(relevance: Relevance) -> dict[str, str]:
    """Return what in the labels leaves queries without a score or contradicts itself, by kind."""
    query, database, index = relevance.query_labels, relevance.database_labels, relevance.self_index
    total = len(query)
    labelled = query.any(axis=1) if query.ndim == 2 else np.ones(total, dtype=bool)
    counts = {
        "no_label": (int((~labelled).sum()), "no label and {are} not scored"),
        "no_class": (int((labelled & ~_scored(relevance)).sum()), _lacking(relevance)),
    }
    if index is not None:
        inside = index >= 0
        unlike = query[inside] != database[index[inside]]
        others = int((unlike.any(axis=1) if unlike.ndim == 2 else unlike).sum())
        counts["other_labels"] = (others, "other labels than the same video in the database")
    return {
        kind: _of(count, total, "queries", f"{'have' if count > 1 else 'has'} {text.format(are=_are(count))}")
        for kind, (count, text) in counts.items()
        if count
    }


def video_problems(train: Part, query: Part, database: Part, index: np.ndarray | None) -> dict[str, str]:
    """Return how many queries play another role too, or are not where they should be, by kind.

    Args:
        train: the split's training part.
        query: its queries.
        database: its database.
        index: `Relevance.self_index`; None where queries do not sit in the database.
    """
    found = {}
    total = len(query.videos)
    in_database = _equal(query, database) if index is None else 0
    in_training = 0 if index is not None and train.digest == database.digest else _equal(query, train)
    if index is not None and (missing := int((index < 0).sum())):
        text = f"not found in the database, although queries_in_database is true{_dtypes(query, database)}"
        found["not_found"] = _of(missing, total, "queries", f"{_are(missing)} {text}")
    if in_database:
        too = "database and training videos" if train.digest == database.digest else "database videos"
        text = f"{_are(in_database)} {too} too, although queries_in_database is false"
        found["in_database"] = _of(in_database, total, "queries", text)
    if in_training and not (in_database and train.digest == database.digest):
        found["in_training"] = _of(in_training, total, "queries", f"{_are(in_training)} training videos too")
    if index is None and (text := group_problem(query.groups, [train.groups, database.groups])):
        found["same_group"] = text
    return found


def group_problem(query: np.ndarray | None, others: Sequence[np.ndarray | None]) -> str:
    """Say how many queries have videos of their own group on the other side; "" where none has or groups are unknown.

    Args:
        query: the queries' groups, str (queries,).
        others: the groups of database and training videos.
    """
    known = [groups for groups in others if groups is not None]
    if query is None or not known:
        return ""
    same = np.isin(query, np.concatenate(known))
    if not (count := int(same.sum())):
        return ""
    example = str(query[same][0]).replace("\0", " ")
    text = (
        f"{'have' if count > 1 else 'has'} videos of their own group (as {example}) among database or training videos"
    )
    return _of(count, len(same), "queries", f"{text}: clips of one scene are on both sides")


def not_checked(train: Part, query: Part, database: Part, index: np.ndarray | None) -> list[str]:
    """Return what `video_problems` could not tell of these parts."""
    found = []
    others = {"database": database} if index is None else {}
    if train.digest != database.digest:
        others["training"] = train
    for role, part in others.items():
        if query.row_digests is None or part.row_digests is None:
            found.append(f"whether queries are {role} videos too, since the protocol gives no digests of its videos")
        elif query.videos.itemsize != part.videos.itemsize:
            found.append(
                f"whether queries are {role} videos too{_dtypes(query, part, role)}; `vhbench data verify` tells"
            )
    return found


def equal_rows(digests: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Say which videos are among the others, bool (videos,); arguments as `Part.row_digests`, uint8 (videos, 32)."""
    same: np.ndarray = np.isin(_as_items(digests), _as_items(others)) & digests.any(axis=1)
    return same


def _checked(split: Split, name: str) -> Split:
    """Return a split with its problems noted; raise DataError where it allows no sound number."""
    index = split.relevance.self_index
    parts = (split.train, split.query, split.database)
    if index is not None and (text := not_found(index, split.query, split.database)):
        raise DataError(f"{name}: {text}.")
    refuse_unsound(split.relevance, name)
    notes = dict(split.notes)
    problems = {
        **notes.get("problems", {}),
        **video_problems(*parts, index),
        **label_problems(split.relevance),
    }
    unknown = not_checked(*parts, index)
    notes |= {key: value for key, value in (("problems", problems), ("not_checked", unknown)) if value}
    return replace(split, notes=notes)


def _equal(part: Part, other: Part) -> int:
    """Count the videos of a part that are among another's, as far as their digests are known."""
    if part.row_digests is None or other.row_digests is None:
        return 0
    return int(equal_rows(part.row_digests, other.row_digests).sum())


def _as_items(digests: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(digests).view("V32").ravel()


def _scored(relevance: Relevance) -> np.ndarray:
    """Say which queries share a class with a database video, bool (queries,)."""
    query, database = relevance.query_labels, relevance.database_labels
    if query.ndim == 1:
        return np.isin(query, database)
    scored: np.ndarray = np.any(query[:, np.any(database, axis=0)], axis=1)
    return scored


def _lacking(relevance: Relevance) -> str:
    query, database = relevance.query_labels, relevance.database_labels
    asked, there = (np.unique(x if x.ndim == 1 else np.nonzero(x)[1]) for x in (query, database))
    lacking = np.setdiff1d(asked, there)
    return f"only classes that the database lacks ({len(lacking)} of {len(asked)} classes) and {{are}} not scored"


def _all_relevant(relevance: Relevance) -> bool:
    """Say whether every pair shares a class; nearly always one database video tells."""
    query, database = relevance.query_labels, relevance.database_labels
    if query.ndim == 1:
        return bool(query.min() == query.max() == database.min() == database.max())
    fewest = database[database.sum(axis=1).argmin()]
    if not query[:, fewest].any(axis=1).all():
        return False
    return all(query[:, labels].any(axis=1).all() for labels in np.unique(database, axis=0))


def _dtypes(query: Part, other: Part, role: str = "database") -> str:
    ours, theirs = (FLOATS.get(part.videos.itemsize, "other numbers") for part in (query, other))
    return "" if ours == theirs else f" (their features are {ours}, those of the {role} {theirs}: store both alike)"


def _of(count: int, total: int, what: str, text: str) -> str:
    return f"{count} of {total} {what} {text}"


def _are(count: int) -> str:
    return "are" if count > 1 else "is"
