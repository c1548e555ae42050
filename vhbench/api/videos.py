"""From videos to their neighbours: `vhbench.extract`, `vhbench.encode` and `vhbench.search`."""

from __future__ import annotations

import logging
import operator
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vhbench.api.arguments import OneOrMoreNames, texts
from vhbench.system.files import user_path

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from vhbench.search.gallery import Gallery

log = logging.getLogger(__name__)


def encode(
    run: str | os.PathLike[str],
    features: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    output: Path | str,
    *,
    key: str = "feats",
    device: str = "auto",
    batch: int | None = None,
    out: Path | str = "results",
    plugins: Sequence[Path | str] = (),
) -> Gallery:
    """Do what `vhbench encode` does and return the codes, which are not read before they are used.

    Args:
        run: as for `vhbench.load`.
        features: a feature file or several, read as one in this order.
        output: where the codes go.
        key: name of the features' data set in HDF5 files.
        device: "auto", "cpu" or "cuda:N".
        batch: videos encoded at a time, 65,536 by default; fewer take less memory.
        out: results folder, where an id is given.
        plugins: Python files with further methods.

    Returns:
        `codes`, a memory map of uint8 (videos, ceil(bits / 8)), bit j in bit j % 8 of byte j // 8; `names`; `about`.

    Raises:
        UsageError: as for `vhbench.load`, or `output` holds other things.
        DataError: the files cannot be used, or were not computed as what the model was trained on.
        StoreError: a file of the model is damaged, or the codes cannot be written.
    """
    from vhbench.search.encode import encode_files
    from vhbench.search.loading import load

    model = load(run, out=out, device=device, plugins=plugins)
    paths = [user_path(path) for path in texts(features)]
    return encode_files(model, paths, user_path(output), key=key, batch=batch, say=log.warning)


def extract(
    videos: OneOrMoreNames,
    output: Path | str,
    *,
    network: str = "efficientnet-lite0",
    layer: str | None = None,
    weights: Path | str | None = None,
    frames: int = 25,
    dtype: str = "float16",
    jobs: int | None = None,
    device: str = "cpu",
    shard: tuple[int, int] = (1, 1),
) -> pd.DataFrame:
    """Do what `vhbench extract` does: compute frame features of videos and write them as one HDF5 file.

    Args:
        videos: a folder or file, or several.
        output: the feature file.
        network: "efficientnet-lite0", "vgg16", "resnet50" or the path of an ONNX file.
        layer: its output; None takes the network's default.
        weights: the weights of vgg16 or resnet50.
        frames: frames a video.
        dtype: "float16" or "float32".
        jobs: processes; None: one a core.
        device: "auto", "cpu" or "cuda:N".
        shard: (number from 1, of how many): only this part of the videos.

    Returns:
        A row a video: name, distinct (different frames; 0 where it gave no features) and reason.

    Raises:
        UsageError: there are no videos, or no such network, layer, weights or device, or a package is missing.
        DataError: the weights cannot be read, or the output, or parts of it, are of another extraction.
        StoreError: something cannot be written, or no video gave features.
    """
    import pandas as pd

    from vhbench.system.environment import resolve_device
    from vhbench.video.extraction import Wish
    from vhbench.video.extraction import extract as do
    from vhbench.video.networks import Choice

    choice = Choice(network, layer, user_path(weights) if weights else None, resolve_device(device))
    paths = [user_path(text) for text in texts(videos)]
    outcome = do(Wish(paths, user_path(output), choice, frames, dtype, jobs, shard))
    rows = [(name, int(count), "") for name, count in zip(outcome.names, outcome.distinct, strict=True)]
    rows += [(name, 0, reason) for name, reason in outcome.reasons.items()]
    return pd.DataFrame(sorted(rows), columns=["name", "distinct", "reason"])


def search(
    folder: Path | str,
    query: int | str | os.PathLike[str] | np.ndarray,
    k: int = 10,
    *,
    key: str = "feats",
    weights: Path | str | None = None,
    network: Path | str | None = None,
    device: str = "auto",
    plugins: Sequence[Path | str] = (),
) -> pd.DataFrame:
    """Do what `vhbench search` does: find the videos whose codes differ from a query's in the fewest bits.

    Args:
        folder: a folder of codes, as `vhbench encode` or `vhbench index` writes it.
        query: a row of the folder's codes, counted from 0, or the name of one; a feature file or a video; or codes,
            bool (bits,) or (queries, bits).
        k: how many neighbours a query.
        key: name of the features' data set in HDF5 files.
        weights: for a video: the weights of the network that its features come from, where they are a file.
        network: for a video: that network, where it is an ONNX file.
        device: "auto", "cpu" or "cuda:N".
        plugins: Python files with further methods.

    Returns:
        A row a neighbour: query (its name), rank (from 1), row, id, name and distance in bits; of neighbours at one
        distance, those of the first rows first. A row that is the query itself is left out.

    Raises:
        UsageError: there is no such row, name or file, k is out of range, or there is no model for what is no code.
        DataError: the folder is no gallery or damaged; features or a video cannot be used.
        StoreError: a file of the model is damaged.
    """
    import pandas as pd

    from vhbench.search.answers import COLUMNS, find
    from vhbench.search.gallery import open_gallery
    from vhbench.search.queries import Encoding, read_queries

    weights, network = (user_path(path) if path else None for path in (weights, network))
    gallery = open_gallery(user_path(folder))
    queries = read_queries(gallery, query, Encoding(key, device, plugins, weights, network, log.warning))
    found = [neighbour.to_json() for answer in find(gallery, queries, operator.index(k)) for neighbour in answer]
    return pd.DataFrame(found, columns=COLUMNS)
