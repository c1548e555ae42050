"""A data set of one's own and its manifest, sound but for what a test changes."""

import numpy as np
import pytest

from vhbench.datasets.manifest_protocol import load_manifest
from vhbench.errors import VhbenchError
from vhbench.testing.files import write_hdf5, write_manifest, write_mat

LABELS = np.array([0, 1, 2, 0, 1, 2])


def write_videos(tmp_path, videos):
    """Files of a data set of 6 database and 2 query videos."""
    write_hdf5(tmp_path / "base.h5", videos, compression="gzip")
    write_hdf5(tmp_path / "query.h5", videos[:2] + 1)
    write_mat(tmp_path / "base.mat", np.eye(3)[LABELS])
    write_mat(tmp_path / "query.mat", np.eye(3)[LABELS[:2]])
    return tmp_path


def manifest(folder, file="p.toml", **changes):
    """Write a sound manifest with some entries changed; None leaves one out, `train={...}` changes a table."""
    entries = {
        "name": "mine",
        "train": {"features": ["base.h5"]},
        "query": {"features": ["query.h5"], "labels": ["query.mat"]},
        "database": {"features": ["base.h5"], "labels": ["base.mat"]},
    }
    for name, value in changes.items():
        entries[name] = {**entries[name], **value} if isinstance(value, dict) and name in entries else value
    tables = {name: {k: v for k, v in t.items() if v is not None} for name, t in entries.items() if isinstance(t, dict)}
    return write_manifest(folder / file, **{k: v for k, v in {**entries, **tables}.items() if v is not None})


def split(folder, data=None, **changes):
    [found] = load_manifest(manifest(folder, **changes)).load(data)
    return found


def fault(folder, data=None, **changes):
    with pytest.raises(VhbenchError) as caught:
        split(folder, data, **changes)
    message = str(caught.value)
    assert "\n" not in message and "Traceback" not in message
    return message
