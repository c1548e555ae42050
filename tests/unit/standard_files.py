"""The files of the standard data sets as they are published: small ones with content, full-size ones without."""

import functools
import hashlib

import h5py
import numpy as np
import pytest

from vhbench.features import read_header
from vhbench.features.cache import entry_of, save_digests
from vhbench.testing.files import write_hdf5, write_mat, write_mat73

# methods.md 12.4: role -> feature files, label files, label key; videos; frames, dim, classes
PUBLISHED = {
    "fcvid": {
        "train": (["fcv_train_feats.h5"], ["fcv_train_labels.mat"], "labels", 45585),
        "query": (["fcv_test_feats.h5"], ["fcv_test_labels.mat"], "labels", 45600),
        "database": (["fcv_test_feats.h5"], ["fcv_test_labels.mat"], "labels", 45600),
        "form": (25, 4096, 239),
    },
    "yfcc": {
        "train": ([f"yfcc_train_feats_{i}.h5" for i in range(1, 10)], [], "", 409788),
        "query": (["query1000_feats.h5"], ["query1000_labels.mat"], "labels", 1000),
        "database": (
            ["yfcc_test_feats_1.h5", "yfcc_test_feats_2.h5"],
            ["yfcc_test_labels_1.mat", "yfcc_test_labels_2.mat"],
            "labels",
            101256,
        ),
        "form": (25, 4096, 80),
    },
    "activitynet": {
        "train": (["train_feats.h5"], [], "", 9722),
        "query": (["query_feats.h5"], ["q_label.mat"], "q_label", 1000),
        "database": (["test_feats.h5"], ["re_label.mat"], "re_label", 3758),
        "form": (30, 2048, 200),
    },
    "ucf101": {
        "train": (["ucf_train_feats.h5"], ["ucf_train_labels.mat"], "labels", 9537),
        "query": (["ucf_test_feats.h5"], ["ucf_test_labels.mat"], "labels", 3783),
        "database": (["ucf_train_feats.h5"], ["ucf_train_labels.mat"], "labels", 9537),
        "form": (25, 4096, 101),
    },
    "hmdb51": {
        "train": (["hmdb_train_feats.h5"], ["hmdb_train_labels.mat"], "labels", 3570),
        "query": (["hmdb_test_feats.h5"], ["hmdb_test_labels.mat"], "labels", 1530),
        "database": (["hmdb_train_feats.h5"], ["hmdb_train_labels.mat"], "labels", 3570),
        "form": (25, 4096, 51),
    },
}
ROLES = ("train", "query", "database")


def hot(classes, count, offset=0):
    """Labels of every class in turn."""
    return np.eye(classes, dtype=np.uint8)[(np.arange(count) + offset) % classes]


FORMS = {  # dtype, layout of the features, writer of the labels
    "float32 contiguous": ("float32", {}, write_mat),
    "float16 gzip": ("float16", {"compression": "gzip"}, write_mat73),
    "float64 contiguous": ("float64", {}, write_mat73),
    "uint8 gzip": ("uint8", {"compression": "gzip", "chunks": (1, 25, 2048)}, write_mat),
}


def write_small(folder, name, form="float32 contiguous"):
    """Write a data set with a few videos a file; returns role -> its features and labels."""
    dtype, layout, write_labels = FORMS[form]
    frames, dim, classes = PUBLISHED[name]["form"]
    folder.mkdir()
    rng = np.random.default_rng(len(name))
    arrays, labels = {}, {}
    for role in ROLES:
        files, label_files, key, _ = PUBLISHED[name][role]
        for number, file in enumerate(files):
            if file not in arrays:
                array = np.zeros((2 + number % 2, frames, dim), dtype)
                array[..., :40] = rng.integers(1, 99, (*array.shape[:2], 40))
                arrays[file] = array
        for number, (file, features) in enumerate(zip(label_files, files, strict=False)):
            labels[file] = (key, hot(classes, len(arrays[features]), 3 * number))
    if name == "yfcc":  # the queries are database videos
        arrays["query1000_feats.h5"] = np.stack([arrays["yfcc_test_feats_2.h5"][1], arrays["yfcc_test_feats_1.h5"][0]])
        labels["query1000_labels.mat"] = ("labels", hot(classes, 5)[[4, 0]])
    for file, array in arrays.items():
        write_hdf5(folder / file, array, **layout)
    for file, (key, array) in labels.items():
        write_labels(folder / file, array, key)
    return {
        role: (
            np.concatenate([arrays[file] for file in PUBLISHED[name][role][0]]),
            np.concatenate([labels[file][1] for file in PUBLISHED[name][role][1]] or [np.zeros(0)]),
        )
        for role in ROLES
    }


def pretend(folder, name, role, row_digests=None):
    """Write a role's feature files at their published size, sparse, and lay digests of their videos into the cache.

    `row_digests(file, count)` gives uint8 (count, 32); by default each video's digest is made from its file and row.
    """
    files, _, _, total = PUBLISHED[name][role]
    frames, dim, _ = PUBLISHED[name]["form"]
    counts = [len(part) for part in np.array_split(np.arange(total), len(files))]
    for file, count in zip(files, counts, strict=True):
        path = folder / file
        if not path.exists():
            sparse(path, (count, frames, dim))
        digests = (row_digests or made_up_digests)(file, count)
        header = read_header(path)
        entry = entry_of(header)
        entry.folder.mkdir(parents=True, exist_ok=True)
        save_digests(entry, digests)
    return counts


def sparse(path, shape):
    """Write a contiguous HDF5 data set that takes no room on the disk."""
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_layout(h5py.h5d.CONTIGUOUS)
    settings.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    settings.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w") as file:
        h5py.h5d.create(file.id, b"feats", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple(shape), settings)
    if path.stat().st_blocks * 512 > 2**20:
        pytest.skip("this file system has no sparse files")


@functools.cache
def made_up_digests(file, count):
    content = b"".join(hashlib.sha256(f"{file} {row}".encode()).digest() for row in range(count))
    return np.frombuffer(content, np.uint8).reshape(count, 32)


def made_up_labels(name, role):
    """Labels that depend on nothing but the name: each row one class, and one in seven a second one."""
    _, _, classes = PUBLISHED[name]["form"]
    rows = np.arange(PUBLISHED[name][role][3])
    labels = np.zeros((len(rows), classes), np.uint8)
    labels[rows, rows * 7919 % classes] = 1
    second = rows[rows % 7 == 3]
    labels[second, second * 104729 % classes] = 1
    return labels
