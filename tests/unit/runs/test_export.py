"""Exporting runs of several splits, with multi-hot labels and with names that could leave the folder."""

import csv

import numpy as np
import pytest

from vhbench.grid.cells import Cell
from vhbench.grid.runner import run_cell
from vhbench.grid.settings import Observer, Settings
from vhbench.plugins.entries import MethodEntry
from vhbench.protocol import Part, Protocol, Relevance, Split
from vhbench.runs.export import export_run
from vhbench.runs.spec import RunSpec
from vhbench.runs.store import Store
from vhbench.testing import FakeMethod, toy_videos

NAMES = ("run", "jump, high", 'say "hi"')


class Several(Protocol):
    """Two splits; videos have one or two of three named classes."""

    name, title, ks = "several", "Several", (5,)

    def load(self, data, *, allow_counts=False):
        videos, numbers = toy_videos(n=12, frames=4, dim=16, classes=3)
        labels = np.eye(3, dtype=bool)[numbers]
        labels[0] = True
        part = Part(videos, "videos", names=np.array([f"={row}.avi" for row in range(12)]))
        relevance = Relevance.from_labels(labels, labels, np.arange(12), NAMES)
        return [Split(name, part, part, part, relevance) for name in ("../../several", "second")]


class Own:
    """A registry of one protocol."""

    def protocol(self, name):
        assert name == "several"
        return Several()


@pytest.fixture
def record(tmp_path):
    store, protocol = Store(tmp_path / "results"), Several()
    splits = protocol.load(None)
    digests = {split.name: split.digests() for split in splits}
    budget = {"epochs": 1, "videos": None}
    spec = RunSpec("fake", {"epochs": 1, "spread": 1.0}, 8, 0, budget, "float32", "several", 1, digests)
    cell = Cell(spec, MethodEntry("fake", "built-in", target=FakeMethod), protocol, splits, "missing", None)
    return run_cell(cell, store, Settings("cpu"), Observer())


def test_every_split_is_a_folder_below_the_output_folder(record, tmp_path):
    files = export_run(record, tmp_path / "codes", Own())
    folders = {file.split: file.path.parent for file in files if file.split}
    assert set(folders) == {"../../several", "second"}
    assert all(folder.resolve().parent == (tmp_path / "codes").resolve() for folder in folders.values())


def test_a_video_with_several_classes_lists_all_with_their_names(record, tmp_path):
    export_run(record, tmp_path / "codes", Own())
    with (tmp_path / "codes" / "second" / "query.csv").open() as file:
        first, second, *_ = csv.DictReader(file)
    assert (first["labels"], first["classes"]) == ("0 1 2", "; ".join(NAMES))
    assert (first["name"], second["name"]) == ("'=0.avi", "'=1.avi")
    labels = np.load(tmp_path / "codes" / "second" / "query-labels.npy")
    assert labels.dtype == bool and labels.shape == (12, 3)
    assert second["classes"] == NAMES[int(second["labels"])] == NAMES[labels[1].argmax()]
