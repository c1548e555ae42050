"""The splits of the standard data sets at full size, without features: sizes, disjointness, digests, seeds.

HDF5 files of the published shapes are sparse, and digests of their videos are laid into the cache as if the files had
been read before. The digests are pinned: they must be the same on every machine and with every version of Python.
"""

import hashlib

import numpy as np
import pytest
from standard_files import PUBLISHED, ROLES, made_up_digests, made_up_labels, pretend

from vhbench.errors import DataError
from vhbench.features import read_header
from vhbench.plugins.registry import Registry
from vhbench.protocols.standard import standard
from vhbench.protocols.unseen_classes import UnseenVideos
from vhbench.testing.files import write_mat


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("VHBENCH_CACHE", str(folder))
    return folder


def protocol(name):
    return Registry().protocol(name)


@pytest.fixture
def full_size(tmp_path):
    """Lay out a data set at full size; returns the data folder."""

    def lay_out(name, with_training_labels=False):
        folder = tmp_path / name
        for role in ROLES:
            counts = pretend(folder, name, role)
            _, files, key, _ = PUBLISHED[name][role]
            if role != "train" or with_training_labels:
                labels = np.split(made_up_labels(name, role), np.cumsum(counts)[:-1])
                for file, part in zip(files, labels, strict=True):
                    write_mat(folder / file, part, key)
        return tmp_path

    return lay_out


def sizes(split):
    return [len(getattr(split, role).videos) for role in ROLES]


def rows(part):
    return part.videos._rows


def digest_of(name, role):
    """The digest that a role's features must have, from its definition."""
    files, _, _, total = PUBLISHED[name][role]
    frames, dim, _ = PUBLISHED[name]["form"]
    content = hashlib.sha256(f"float32 ({total}, {frames}, {dim}) ".encode())
    for file, part in zip(files, np.array_split(np.arange(total), len(files)), strict=True):
        for row in range(len(part)):
            content.update(hashlib.sha256(f"{file} {row}".encode()).digest())
    return content.hexdigest()


RELEVANCE = {
    "fcvid": "08ffa08537fc0b8b9098e69a4821f5e6e3234a9f5051380272c1e000cbf8aca5",
    "activitynet": "cbdcaf130b2863dcb29bf93ffcd8ba5e79995f81a55f5608381b4c468db0662c",
    "ucf101": "4cdbd96d39713b3bb221d089abe36beacb0bd47a4b790dd17d46a63a3b9420aa",
    "hmdb51": "e0d249a6a77a53f4de0b3805b6ba1f4a7201e128270fbd71a22b6a15fa73c75f",
}


@pytest.mark.parametrize("name", RELEVANCE)
def test_splits_at_full_size(full_size, name):
    (split,) = protocol(name).load(full_size(name))
    assert sizes(split) == [PUBLISHED[name][role][3] for role in ROLES]
    assert split.notes == {} and not split.synthetic
    index = split.relevance.self_index
    assert np.array_equal(index, np.arange(45600)) if name == "fcvid" else index is None
    assert split.digests() == {**{role: digest_of(name, role) for role in ROLES}, "relevance": RELEVANCE[name]}


# classes held out

HELD_OUT = {
    "fcvid": [
        *(2, 3, 11, 13, 20, 21, 32, 48, 53, 55, 59, 62, 69, 88, 92, 96, 108, 111, 113, 117),
        *(119, 128, 143, 146, 150, 152, 157, 159, 182, 185, 193, 196, 207, 212, 214, 221, 222, 223, 227, 234),
    ],
    "ucf101": [2, 3, 11, 13, 15, 20, 21, 32, 48, 53, 55, 59, 62, 69, 88, 92, 96],
    "hmdb51": [2, 3, 11, 13, 15, 20, 21, 32, 48],
}  # fmt: skip
UNSEEN = {
    "fcvid-unseen": {
        "train": "74abbaffa4584e74a531c8aba47894e989923aa7dabb980b0be17f42339890ee",
        "query": "e00dac259a4126166f421f6f32703a2a1beafdfcfbce9052093bc45ad2afefee",
        "database": "7ee560d92fab4e440083afffa7cb7defcd840c287ceef9a4ac7cef663a690b30",
        "relevance": "f7f02cb2636fea98229e35feba3d286ae32f2aef47b096f68e8addeaef66b5c2",
    },
    "fcvid-unseen-all": {
        "train": "46f67271dbbbc4037f1f82d91af8dad26c5bd7b599a32ecb6c68991067f527a8",
        "query": "6b721f5e53195c353ba1c50ddaad2de148565c1d5e2dc30acc4aca3753fb3201",
        "database": "852ff0a1d4341dbf32f2be22b339f817418a2fd8314993d90088b20ee675c2c9",
        "relevance": "174f97c57e9e4bd1db3b7d1afe4f6ded389db551d2c3a748a069d68fc2d7831f",
    },
    "ucf101-unseen": {
        "train": "a7fc6f899db66d40e73cef5219f398cef3fc44c5b9c7eb7a64f57759d9c82ac3",
        "query": "ea3de703bd0e935225e4d80ff47c959441d7aa10811b2ddaa25e31f9e8ddae29",
        "database": "602c8bec5efd7f8bbef9f5972a54d00a4daa3cbb46c95749bcb18cf3ccf61b3a",
        "relevance": "ea8db5f3b2bdb51c14990971c357b67d6ec18349b6ee2ae175403f9e93c202a0",
    },
    "ucf101-unseen-all": {
        "train": "1a2646f14df44058f8331def3b12ec87ddfa731ff0e14a5a87850a4190fc5a9b",
        "query": "ab1a27c49cc138b6ec281230a04942ea034fcfb15db3773209b3d9dd501e0227",
        "database": "82fcca028c7beecdda4e24573bda92375561a6040f8d3a6f8ab026a9a67015bc",
        "relevance": "5f6d62de1db2e435c7ca4bfef4c54614a1315d14fe51c3bd099afe283a12d61e",
    },
    "hmdb51-unseen": {
        "train": "0a00095cb4325eca92c8105f678775f801ed67d45cd5cec84452a8958832d63d",
        "query": "d888494b637fe41da0831b5ae8d09c644523dc467b6c65acc266b48ab7109ec7",
        "database": "cb39b7438b91aeff25f3ee661fde1c95bd6175468f471925a5892ee1851338bb",
        "relevance": "7ddf555a1f1c484fe39eb085ac5d0d2285bbb95f5b6aa17246754e5ac7660f1f",
    },
    "hmdb51-unseen-all": {
        "train": "63bd5b52ca557808cceaf1a54f66fe9ffbe1fddb11fb8554f48a4ef8009adb28",
        "query": "aad79e31b8798086eb539a3a1cd983c7171c350d33289e9d8b3d80ff971aad09",
        "database": "972355814e3d256e3375932ac34887d408c2ba9c3538d9dc1cc3bca7224497fb",
        "relevance": "2c6db223d21c120c9c4d3f3a6b4e74d2d029c2e0b7624c5919917939c2b32147",
    },
}


def labels_by_video(name, *roles):
    """Each video's set of classes; the videos of the roles one after the other."""
    return [set(np.flatnonzero(row)) for role in roles for row in made_up_labels(name, role)]


@pytest.mark.parametrize("unseen", UNSEEN)
def test_unseen_classes_at_full_size(full_size, unseen):
    name, all_take_part = unseen.split("-")[0], unseen.endswith("-all")
    (split,) = protocol(unseen).load(full_size(name, with_training_labels=True))
    held = set(HELD_OUT[name])
    assert split.notes == {"held_out": HELD_OUT[name]} and split.name == unseen
    both = ("train", "query") if name != "fcvid" else ("train", "database")  # each video once
    taught = labels_by_video(name, *(both if all_take_part else ("train",)))
    searched = labels_by_video(
        name, *(both if all_take_part else ("database",) if name == "fcvid" else ("query", "database"))
    )
    assert rows(split.train).tolist() == [row for row, classes in enumerate(taught) if classes and not classes & held]
    unseen_rows = [row for row, classes in enumerate(searched) if classes and classes <= held]
    assert sorted([*rows(split.query), *rows(split.database)]) == unseen_rows
    assert len(split.query.videos) == min(1000, len(unseen_rows) // 2)
    assert split.relevance.self_index is None
    seen_classes = set().union(*(taught[row] for row in rows(split.train)))
    assert not seen_classes & held and len(seen_classes) == PUBLISHED[name]["form"][2] - len(held)
    asked = split.relevance.query_labels, split.relevance.database_labels
    for part, labels in zip((split.query, split.database), asked, strict=True):
        found = [set(np.flatnonzero(row)) for row in labels] if labels.ndim == 2 else [{label} for label in labels]
        assert found == [searched[row] for row in rows(part)]
    assert split.digests() == UNSEEN[unseen]


def test_the_seed_and_the_list_of_held_out_classes_count(full_size):
    data = full_size("hmdb51", with_training_labels=True)
    base = standard("hmdb51")

    def load(**choice):
        return UnseenVideos(base, **choice).load(data)[0]

    drawn, again, other, listed, fewer = (
        load(), load(), load(seed=1), load(held_out=[4, 3, 50]), load(held_out=8),
    )  # fmt: skip
    assert drawn.digests() == again.digests()
    assert len({split.digests()["train"] for split in (drawn, other, listed, fewer)}) == 4
    assert listed.notes["held_out"] == [3, 4, 50] and len(fewer.notes["held_out"]) == 8
    assert load(held_out=[50, 4, 3]).digests() == listed.digests()
    assert load(held_out=[3, 4, 50], seed=1).digests()["query"] != listed.digests()["query"], "other queries"
    assert load(held_out=[3, 4, 50], seed=1).digests()["train"] == listed.digests()["train"]


@pytest.mark.parametrize(("classes", "held_out"), [(239, 40), (101, 17), (51, 9), (200, 33), (80, 13), (2, 1)])
def test_as_large_a_share_of_the_classes_is_held_out_everywhere(classes, held_out):
    assert len(UnseenVideos(standard("fcvid")).held_out_classes(classes)) == held_out


def test_data_sets_without_training_labels_cannot_hold_classes_out(full_size):
    with pytest.raises(DataError, match=r"activitynet has no labels for its training videos: \[train\] in .*"):
        protocol("activitynet-unseen").load(full_size("activitynet"))


def test_missing_training_labels_are_named(full_size):
    with pytest.raises(DataError, match=r"fcv_train_labels\.mat of protocol fcvid is missing"):
        protocol("fcvid-unseen").load(full_size("fcvid"))


# yfcc: nine training files and two test files as one, queries among the test videos


PLACES = (np.arange(1000) * 1013 + 50_600) % 101_256  # database rows that the queries are


@pytest.fixture
def yfcc(full_size, tmp_path):
    """YFCC's files at full size, the queries' digests those of database videos, but for query 7."""
    counts = [len(part) for part in np.array_split(np.arange(101_256), 2)]
    database = np.concatenate(
        [made_up_digests(f"yfcc_test_feats_{number}.h5", count) for number, count in enumerate(counts, 1)]
    )
    full_size("yfcc")
    queries = database[PLACES].copy()
    queries[7] = 1
    pretend(tmp_path / "yfcc", "yfcc", "query", lambda file, count: queries)
    return tmp_path


def test_yfcc_at_full_size(yfcc):
    (split,) = protocol("yfcc").load(yfcc)
    assert sizes(split) == [409_788, 1000, 101_256]
    index = split.relevance.self_index
    assert index[7] == -1 and np.array_equal(np.delete(index, 7), np.delete(PLACES, 7))
    digests = split.digests()
    assert (digests["train"], digests["database"]) == (digest_of("yfcc", "train"), digest_of("yfcc", "database"))
    assert digests["relevance"] == "d25a87626edeacdf09d79098939bc9996faca3cc0ce63e4c9c1f3ef4190dc0fa"


def test_rows_of_the_nine_parts_are_found_where_they_lie(yfcc):
    """Videos on both sides of every border between files hold their number; all others are zero."""
    counts = [len(part) for part in np.array_split(np.arange(409_788), 9)]
    ends = np.cumsum(counts)
    chosen = np.unique([0, *ends - 1, *ends[:-1], *np.random.default_rng(0).integers(0, 409_788, 20)])
    for row in chosen:
        number = int(np.searchsorted(ends, row, side="right"))
        path = yfcc / "yfcc" / f"yfcc_train_feats_{number + 1}.h5"
        with path.open("r+b") as file:
            file.seek(read_header(path).offset + int(row - (ends[number] - counts[number])) * 25 * 4096 * 4)
            file.write(np.full((25, 4096), row, "<f4").tobytes())
    pretend(yfcc / "yfcc", "yfcc", "train")  # as if the files had always been so
    (split,) = protocol("yfcc").load(yfcc)
    rng = np.random.default_rng(1)
    asked = rng.permutation(np.concatenate([chosen, chosen[::3]]))
    found = np.concatenate(list(split.train.videos.subset(asked).arrays(16)))
    assert (found == asked[:, None, None]).all()
    neighbours = np.setdiff1d(np.concatenate([chosen - 1, chosen + 1]), [-1, 409_788, *chosen])
    for block in split.train.videos.subset(neighbours).arrays(16):
        assert not block.any()


def test_yfcc_and_fcvid_cross_at_full_size(yfcc, full_size):
    main, own = protocol("fcvid-to-yfcc").load(full_size("fcvid"))
    assert sizes(main) == [45_585, 1000, 101_256] and sizes(own) == [45_585, 45_600, 45_600]
    main, own = protocol("yfcc-to-fcvid").load(yfcc)
    assert sizes(main) == [409_788, 45_600, 45_600] and sizes(own) == [409_788, 1000, 101_256]


def test_yfcc_labels_of_the_first_upload_have_a_column_more(yfcc):
    (published,) = protocol("yfcc").load(yfcc)
    labels = made_up_labels("yfcc", "database")
    for number, part in enumerate(np.array_split(np.insert(labels, 80, 1, axis=1), 2), 1):
        write_mat(yfcc / "yfcc" / f"yfcc_test_labels_{number}.mat", part)
    write_mat(yfcc / "yfcc" / "query1000_labels.mat", labels[PLACES])
    (first,) = protocol("yfcc").load(yfcc)
    assert first.notes == {"variants": ["81 label columns"]}
    assert np.array_equal(first.relevance.database_labels, published.relevance.database_labels)
