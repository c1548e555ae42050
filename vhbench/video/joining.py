"""The shards of one extraction put together: the file that one extraction of all videos would have written."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from vhbench.errors import DataError, UsageError
from vhbench.system.files import read_text
from vhbench.video.failures import failures_path, write_failures
from vhbench.video.writing import Content, read_content, write_features


def join(shards: Sequence[Path], output: Path) -> dict[str, str]:
    """Put shards together; names, labels and the list of failures too.

    Args:
        shards: the files of all shards, in any order.
        output: the whole.

    Returns:
        Name -> why a video gave no features.

    Raises:
        DataError: they are not all the shards of one extraction.
        UsageError: the output is there already, or there are no shards.
        StoreError: the output cannot be written.
    """
    if not shards:
        raise UsageError("Name the files of the shards.")
    if output.exists():
        raise UsageError(f"{output} is there already: choose another --output, or remove it.")
    paths = _in_order({path: read_content(path) for path in shards})
    contents = list(paths.values())
    first = contents[0]
    for path, content in paths.items():
        _check_same(path, content, shards[0], first)
    names = [name for content in contents for name in content.names]
    whole = replace(
        first, names=names, shape=(len(names), *first.shape[1:]), shard="", blocks=lambda: _blocks(contents),
        distinct=np.concatenate([content.distinct for content in contents]),
    )  # fmt: skip
    if not names:
        raise DataError("None of these shards holds a video.")
    reasons = dict(sorted(entry for path in paths for entry in _failures(path).items()))
    write_features(output, whole)
    write_failures(output, reasons)
    return reasons


def _in_order(contents: dict[Path, Content]) -> dict[Path, Content]:
    numbers: dict[int, Path] = {}
    totals = set()
    for path, content in contents.items():
        if not content.shard:
            raise DataError(f"{path} is no shard: it holds all videos of its extraction.")
        number, _, total = content.shard.partition("/")
        if int(number) in numbers:
            raise DataError(f"{numbers[int(number)]} and {path} are the same shard, {content.shard}.")
        numbers[int(number)] = path
        totals.add(int(total))
    if len(totals) > 1:
        raise DataError(f"These are shards of different extractions: of {' and of '.join(map(str, sorted(totals)))}.")
    lacking = [str(number) for number in range(1, totals.pop() + 1) if number not in numbers]
    if lacking:
        raise DataError(f"The shard {', '.join(lacking)} is missing: name the files of all shards.")
    return {numbers[number]: contents[numbers[number]] for number in sorted(numbers)}


def _check_same(path: Path, content: Content, other_path: Path, other: Content) -> None:
    differences = content.stamp.differences(other.stamp)
    differences += ["the videos extracted from"] * (content.videos != other.videos)
    differences += ["the dtype"] * (content.dtype != other.dtype)
    differences += ["the classes"] * (content.classes != other.classes)
    differences += ["library versions"] * (content.stamp.versions != other.stamp.versions)
    if differences:
        raise DataError(
            f"{path} and {other_path} are of different extractions; they differ in: {', '.join(differences)}."
        )


def _failures(shard: Path) -> dict[str, str]:
    path = failures_path(shard)
    if not path.is_file():
        return {}
    try:
        lines = list(csv.DictReader(read_text(path).splitlines()))
        return {line["name"]: line["reason"] for line in lines}
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"Cannot read {path}, the list of videos without features: {error}.") from error


def _blocks(contents: Sequence[Content]) -> Iterator[np.ndarray]:
    for content in contents:
        yield from content.blocks()
