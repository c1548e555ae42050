"""Splitting one set of videos into queries and database: at random, within each class, or by whole groups."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from vhbench.errors import DataError, unknown

BY = {
    "random": "over all videos",
    "class": "the same share of each class",
    "group": "whole groups, so that videos of one group (clips of one scene) are never on both sides",
}
CLIP = r"(?:.*[/\\])?([^/\\]+_g[0-9]+)_c[0-9]+(?:\.[^./\\]*)?"  # v_Archery_g01_c02.avi -> v_Archery_g01
LARGEST_SEED = 2**63
MOST_FOLDS = 1000
SHOWN = 3

T = TypeVar("T")


@dataclass(frozen=True)
class SplitRule:
    """How a manifest's `[split]` table divides its videos; `query_rows` does it.

    Attributes:
        queries: the share of the videos that are queries, above 0 and below 1.
        seed: another seed makes another split.
        by: a name of `BY`.
        groups: files with the group of each video; () where names tell it.
        pattern: a regular expression that a video's whole name matches; what its brackets hold is the group.
        folds: in how many parts the videos are divided, each of them the queries of one split; 0: one split of
            `queries`.
        fold: which of these splits this is, from 1 up; 0 where there are no folds.
        path: the manifest, for messages.
    """

    queries: float = 0.2
    seed: int = 0
    by: str = "random"
    groups: tuple[str, ...] = ()
    pattern: str = CLIP
    folds: int = 0
    fold: int = 0
    path: str = ""

    @classmethod
    def of(cls, values: Mapping[str, Any], path: str) -> SplitRule:
        """Read and check the entries of a `[split]` table.

        Raises:
            DataError: a value is impossible.
            UsageError: `by` is none of `BY`.
        """
        given: dict[str, Any] = {**values, "groups": tuple(values.get("groups", ())), "path": path}
        rule = cls(**given)
        if not (type(rule.queries) is float and 0 < rule.queries < 1):
            raise DataError(
                f"`queries` in table [split] of {path} is {_short(rule.queries)}: it is the share of the videos "
                "that are queries, above 0 and below 1, as in 0.2."
            )
        if not (type(rule.seed) is int and 0 <= rule.seed < LARGEST_SEED):
            raise DataError(
                f"`seed` in table [split] of {path} is {_short(rule.seed)}: it is a whole number from 0 up."
            )
        if {"folds", "queries"} <= set(values):
            raise DataError(
                f"{path} has both `folds` and `queries` in [split]: with folds, every video is a query once."
            )
        if "folds" in values and not 2 <= rule.folds <= MOST_FOLDS:
            raise DataError(
                f"`folds` in table [split] of {path} is {rule.folds}: it is a number from 2 to {MOST_FOLDS}."
            )
        if rule.by not in BY:
            raise unknown("way to split", rule.by, BY, f"`by` stands in table [split] of {path}.")
        if rule.by != "group" and {"groups", "pattern"} & set(values):
            raise DataError(f'{path} names groups in [split], which only by = "group" uses: say so, or leave them out.')
        if {"groups", "pattern"} <= set(values):
            raise DataError(f"{path} has both `groups` and `pattern` in [split]: leave one out.")
        try:
            brackets = re.compile(rule.pattern).groups
        except (re.error, RecursionError, OverflowError) as error:
            raise DataError(f"`pattern` in table [split] of {path} is no regular expression ({error}).") from error
        if not brackets:
            raise DataError(f"`pattern` in table [split] of {path} has no brackets: what they hold is the group.")
        return rule

    @property
    def text(self) -> str:
        """The rule in words."""
        part = f"part {self.fold} of {self.folds}" if self.folds else f"{self.queries:g}"
        return f"{part} of the videos are queries, by {self.by}, seed {self.seed}"


def query_rows(
    rule: SplitRule, labels: np.ndarray, names: np.ndarray | None = None, groups: np.ndarray | None = None
) -> np.ndarray:
    """Return which videos are the queries; the others are database and training videos.

    Every video has a key, the sha256 of "SEED NAME" in UTF-8, where NAME is the video's name or, where names are not
    known, its row counted from 0; videos of equal keys keep their order. So the split depends on the seed and the names
    alone, not on the order of the videos nor on a library's random numbers.

    - random: of n videos in the order of their keys, the first `queries * n` are queries, rounded (halves up), at least
      one and at most n - 1.
    - class: the same within each class.
    - group: a group's key is made of its name. In the order of their keys groups become queries for as long as each
      brings the number of query videos nearer to `queries * n`; at least the first does, and the last never. This
      is done within each class where every group has videos of one class only, else over all groups.

    With `folds`, the videos, or groups, are dealt in the same orders, class after class, to the folds one by one:
    place i (from 0) is a query of fold i % folds + 1.

    Args:
        rule: how.
        labels: class numbers int or names str (videos,), or bool (videos, classes).
        names: str (videos,).
        groups: str (videos,), needed by group.

    Returns:
        int64, in rising order.

    Raises:
        DataError: there are not two videos, a class has one video or one group only, there is one group, or videos
            have several classes where the split is by class.
    """
    count = len(labels)
    if count < 2:
        raise DataError(f"{rule.path}: {count} video cannot be split into queries and database: two are needed.")
    if names is None:
        names = np.arange(count).astype(np.str_)
    if count < rule.folds:
        raise DataError(f"{rule.path}: {count} videos cannot be divided into {rule.folds} folds.")
    if rule.by == "random":
        return np.sort(_queries([np.arange(count)], names, rule))
    classes = _one_class(labels)
    if rule.by == "class":
        if classes is None:
            raise DataError(f'{rule.path}: videos have several classes or none, so by = "class" is not possible: '
                            'use by = "random" or "group".')  # fmt: skip
        members = _members(classes)
        _refuse_single(members, "video", rule)
        return np.sort(_queries([*members.values()], names, rule))
    assert groups is not None
    return _by_group(rule, classes, groups)


def groups_of(names: np.ndarray | None, pattern: str = CLIP) -> np.ndarray | None:
    """Return the group that each video's name tells, str (videos,); None where not all of them match the pattern.

    The default pattern takes UCF101's names: the clips v_Archery_g01_c01 and _c02 are of the group v_Archery_g01.
    """
    if names is None:
        return None
    compiled = re.compile(pattern)
    found = [compiled.fullmatch(name) for name in names.tolist()]
    if not all(found):
        return None
    return np.array(["\0".join(part or "" for part in match.groups()) for match in found if match])


def unmatched(names: np.ndarray, pattern: str) -> list[str]:
    """Return the names that a pattern does not match."""
    compiled = re.compile(pattern)
    return [name for name in names.tolist() if not compiled.fullmatch(name)]


def key_of(seed: int, name: str) -> bytes:
    """Return by what videos and groups are ordered; see `query_rows`."""
    return hashlib.sha256(f"{seed} {name}".encode("utf-8", "surrogatepass")).digest()


def _queries(parts: Sequence[np.ndarray], names: np.ndarray, rule: SplitRule) -> np.ndarray:
    """Return the queries among the rows of each part."""
    orders = [sorted(rows.tolist(), key=lambda row: key_of(rule.seed, str(names[row]))) for rows in parts]
    if rule.folds:
        return np.array(_dealt(orders, rule), dtype=np.int64)
    counts = [min(max(int(rule.queries * len(order) + 0.5), 1), len(order) - 1) for order in orders]
    return np.concatenate([np.array(order[:n], np.int64) for order, n in zip(orders, counts, strict=True)])


def _dealt(orders: Sequence[Sequence[T]], rule: SplitRule) -> list[T]:
    """Return what falls to the rule's fold of the orders one after the other."""
    return [item for order in orders for item in order][rule.fold - 1 :: rule.folds]


def _by_group(rule: SplitRule, classes: np.ndarray | None, groups: np.ndarray) -> np.ndarray:
    members = _members(groups)
    if len(members) < max(2, rule.folds):
        raise DataError(
            f"{rule.path}: the {len(groups)} videos are of {len(members)} group{'s' if len(members) > 1 else ''}, "
            f"{', '.join(map(repr, [*members][:SHOWN]))}: too few for {max(2, rule.folds)} sides; "
            'use by = "random" or "class".'
        )
    parts = [[*members]]
    if classes is not None and all(len(np.unique(classes[rows])) == 1 for rows in members.values()):
        of_class: dict[Any, list[str]] = {}
        for group, rows in members.items():
            of_class.setdefault(classes[rows[0]].item(), []).append(group)
        _refuse_single(of_class, "group", rule)
        parts = [*of_class.values()]
    orders = [sorted(part, key=lambda name: key_of(rule.seed, name)) for part in parts]
    if rule.folds:
        chosen = _dealt(orders, rule)
    else:
        chosen = [group for order in orders for group in _nearest(order, members, rule)]
    return np.sort(np.concatenate([members[group] for group in chosen]))


def _nearest(order: Sequence[str], members: Mapping[str, np.ndarray], rule: SplitRule) -> list[str]:
    """Return the groups that are queries, of groups in the order of their keys."""
    wanted = rule.queries * sum(len(members[group]) for group in order)
    taken: list[str] = []
    count = 0
    for group in order[:-1]:
        more = count + len(members[group])
        if taken and abs(more - wanted) >= abs(count - wanted):
            break
        taken.append(group)
        count = more
    return taken


def _one_class(labels: np.ndarray) -> np.ndarray | None:
    """Return the class of each video, or None where one has several classes or none."""
    if labels.ndim == 1:
        return labels
    return labels.argmax(axis=1) if (labels.sum(axis=1) == 1).all() else None


def _members(names: np.ndarray) -> dict[Any, np.ndarray]:
    """Return the rows of each name, the names in rising order."""
    order = np.argsort(names, kind="stable")
    distinct, starts = np.unique(names[order], return_index=True)
    return dict(zip(distinct.tolist(), np.split(order, starts[1:]), strict=True))


def _refuse_single(members: Mapping[Any, Any], what: str, rule: SplitRule) -> None:
    """Raise DataError where a class has only one video or group, which cannot be on both sides."""
    single = [name for name, parts in members.items() if len(parts) < 2]
    if single:
        shown = ", ".join(map(str, single[:SHOWN])) + (", …" if len(single) > SHOWN else "")
        several = len(single) > 1
        raise DataError(
            f"{rule.path}: {len(single)} class{'es have' if several else ' has'} one {what} only ({shown}), which "
            f'cannot be on both sides: leave {"them" if several else "it"} out with `rows`, or use by = "random".'
        )


def _short(value: object) -> str:
    """Return a value as text; Python refuses to write numbers of thousands of digits."""
    try:
        return f"{value!r:.40}"
    except ValueError:
        return "too large a value"
