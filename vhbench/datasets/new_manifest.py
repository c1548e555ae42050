"""A manifest for features of one's own that are to be split: what `vhbench data manifest` writes."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vhbench.datasets.manifest import NAME, check_manifest
from vhbench.datasets.manifest_protocol import ManifestProtocol
from vhbench.errors import DataError, UsageError
from vhbench.features import LABEL_KEYS, Header, read_header
from vhbench.features.headers import hdf5_reading, is_hdf5, open_hdf5
from vhbench.features.names import CLASS_KEYS, read_class_names, read_names
from vhbench.system.files import atomic_write

CLASS = re.compile(r"(?:.*[/\\])?(?:v_)?([^/\\]+)_g[0-9]+_c[0-9]+(?:\.[^./\\]*)?")  # v_Archery_g01_c02.avi -> Archery
FOLDER = re.compile(r".*?([^/\\]+)[/\\][^/\\]+")  # Archery/clip.avi -> Archery
HEAD = "# Written by `vhbench data manifest`; docs/datasets.md says what else may stand here."
NAMES = "names"


@dataclass(frozen=True)
class Wish:
    """What a manifest is asked for.

    Attributes:
        features: feature files, read as one.
        name: of the protocol.
        queries: the share of the videos that are queries.
        by: "random", "class" or "group".
        seed: of the split.
        labels: label files; () where the feature files or names tell the classes.
        names: files of the videos' names; () where the feature files have them or there are none.
        groups: files of the videos' groups.
        pattern: a regular expression with the group in brackets; empty: the usual one.
        key: of the features in HDF5 files.
    """

    features: Sequence[Path]
    name: str
    queries: float
    by: str = "random"
    seed: int = 0
    labels: Sequence[Path] = ()
    names: Sequence[Path] = ()
    groups: Sequence[Path] = ()
    pattern: str = ""
    key: str = "feats"


def write_new_manifest(wish: Wish, path: Path) -> tuple[ManifestProtocol, list[Path]]:
    """Write a manifest, and beside it a file of the classes where only the names tell them.

    Args:
        wish: what is asked for.
        path: where it goes; files that lie in its folder or below are named relative to it.

    Returns:
        The protocol, and the files that were written: those that were not there already.

    Raises:
        UsageError: the file is there already, with other content.
        DataError: a feature file cannot be used, or nothing tells the classes.
    """
    if not NAME.fullmatch(wish.name):
        raise UsageError(
            f"{wish.name[:100]!r} cannot be the protocol's name: use letters, digits, '.', '_' and '-'; --name gives "
            "another."
        )
    headers = [read_header(file, wish.key) for file in wish.features]
    count = sum(header.shape[0] for header in headers)
    inside = [_data_sets(header) for header in headers]
    names = list(wish.names) or (list(wish.features) if all(NAMES in sets for sets in inside) else [])
    labels = list(wish.labels)
    if not labels and all(sets & set(LABEL_KEYS) for sets in inside):
        labels = list(wish.features)
    content = None
    if not labels:
        content = _classes_of_names(names, count, path)
        labels = [path.with_name(f"{path.stem}.classes.txt")]
    classes = None if wish.labels or content else _class_file(wish.features, inside)
    text = _text(wish, path, count, labels, names, classes)
    protocol = ManifestProtocol(path, *check_manifest(text, path))
    files = {labels[0]: content, path: text} if content else {path: text}
    new = [place for place, wanted in files.items() if not _is_there(place, wanted)]
    for place in new:
        with atomic_write(place) as file:
            file.write(files[place].encode())
    return protocol, new


def _data_sets(header: Header) -> set[str]:
    """Return the names of the data sets of an HDF5 file; of a `.npy` file, none."""
    if not is_hdf5(header.path):
        return set()
    with open_hdf5(header.path) as file, hdf5_reading(header.path):
        return set(file)


def _class_file(features: Sequence[Path], inside: Sequence[set[str]]) -> Path | None:
    """Return the first feature file where all have one list of classes; None where they have none."""
    having = [file for file, sets in zip(features, inside, strict=True) if CLASS_KEYS[0] in sets]
    if len(having) < len(features):
        return None
    lists = {read_class_names(file) for file in having}
    if len(lists) > 1:
        raise DataError(
            f"{' and '.join(map(str, having))} number their classes differently: extract them together, or name the "
            "classes of all videos with --labels."
        )
    return having[0]


def _classes_of_names(names: Sequence[Path], count: int, path: Path) -> str:
    """Return the class of each video, a line each, as its name tells it."""
    if not names:
        raise DataError(
            "Nothing tells the classes: the feature files have neither `labels` nor `names`. Give --labels FILE, or "
            "--names FILE with names such as v_Archery_g01_c02."
        )
    texts = read_names(names, count).tolist()
    for pattern in (CLASS, FOLDER):
        found = [pattern.fullmatch(text) for text in texts]
        if all(found):
            return "".join(f"{match[1]}\n" for match in found if match)
    odd = next(text for text in texts if not CLASS.fullmatch(text))
    raise DataError(
        f"Names such as {odd[:100]!r} tell no class, and the feature files have no `labels`: give --labels FILE. Names "
        "as v_Archery_g01_c02 or Archery/clip.avi tell it."
    )


def _text(
    wish: Wish, path: Path, count: int, labels: Sequence[Path], names: Sequence[Path], classes: Path | None
) -> str:
    lines = [HEAD, f"name = {_quoted(wish.name)}"]
    lines += [f"classes = {_quoted(_place(classes, path))}"] if classes else []
    lines += ["", "[split]", f"features = {_list(wish.features, path)}", f"count = {count}"]
    lines += [f"key = {_quoted(wish.key)}"] if wish.key != "feats" else []
    lines += [f"labels = {_list(labels, path)}"]
    lines += [f"names = {_list(names, path)}"] if names else []
    lines += [f"queries = {wish.queries!r}", f"by = {_quoted(wish.by)}", f"seed = {wish.seed}"]
    lines += [f"groups = {_list(wish.groups, path)}"] if wish.groups else []
    lines += [f"pattern = {_quoted(wish.pattern)}"] if wish.pattern else []
    return "\n".join([*lines, ""])


def _list(files: Sequence[Path], path: Path) -> str:
    return f"[{', '.join(_quoted(_place(file, path)) for file in files)}]"


def _place(file: Path, path: Path) -> str:
    """Return how the manifest names a file: relative to its folder where it lies there or below, else in full."""
    folder, full = (Path(os.path.realpath(place)) for place in (path.parent, file.parent))
    whole = full / file.name
    return str(whole.relative_to(folder) if whole.is_relative_to(folder) else whole)


def _quoted(text: str) -> str:
    """Return a text as a basic string of TOML."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _is_there(place: Path, wanted: str) -> bool:
    """Say whether a file has this content already; raise UsageError where it has another."""
    try:
        there = place.read_bytes()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise UsageError(f"{place} cannot be written ({error.strerror}): name another file with -o.") from error
    if there != wanted.encode():
        raise UsageError(f"{place} is there already, with other content: remove it, or name another file with -o.")
    return True
