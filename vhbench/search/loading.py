"""Finding kept models and reading them: `vhbench.load`."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from vhbench.errors import UsageError
from vhbench.plugins.registry import Registry
from vhbench.runs.export import find_run
from vhbench.runs.model import Model, has_model, load_model
from vhbench.runs.record import MODEL, RECORD
from vhbench.runs.store import Store
from vhbench.system.environment import resolve_device
from vhbench.system.files import user_path
from vhbench.system.text import shell

FOLDER = "model"  # in a gallery: the model that made its codes

log = logging.getLogger(__name__)


def load(
    run: str | os.PathLike[str],
    *,
    out: Path | str = "results",
    device: str = "cpu",
    plugins: Sequence[Path | str] = (),
) -> Model:
    """Read the model that a run has kept, or that `fit` made and saved. Nothing that lies in its files is executed.

    Args:
        run: the folder of a run, of a saved model or of codes; or the start of a run's id.
        out: results folder, where an id is given.
        device: where it encodes: "auto", "cpu" or "cuda:N".
        plugins: Python files with further methods.

    Returns:
        The model: `encode(videos)` gives bool codes (n, bits); `bits`, `method`, `stamp` and what else it knows.

    Raises:
        UsageError: no run, or several, are meant; it has kept no model; or its method is unknown.
        StoreError: a file is missing or damaged.
    """
    model = load_model(find_model(os.fspath(run), Store(out)), Registry(plugins).method)
    if model.stale:
        log.warning("the model was trained with other source code of %s than today's", model.method)
    return model.on(resolve_device(device))


def find_model(run: str, store: Store) -> Path:
    """Return the folder of a kept model.

    Args:
        run: the folder of a model, a run or a gallery; or the start of a run's id.
        store: the results folder.

    Raises:
        UsageError: there is no such run, or it has kept no model.
        StoreError: the run's record is damaged.
    """
    folder = user_path(run)
    for place in (folder, folder / FOLDER):
        if (place / MODEL).is_file() and not (place / RECORD).is_file():
            return place
    record = find_run(run, store)
    if not has_model(record):
        words = shell(record.folder / RECORD)
        raise UsageError(
            f"{record.folder} has kept no model: `vhbench run --config {words} --keep-model --rerun model`, "
            "with --data, --protocol and --out as they were, trains it again."
        )
    return record.folder
