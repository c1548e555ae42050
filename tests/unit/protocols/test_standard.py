"""The standard data sets: manifests as published, files in every layout read back, names made of them, faults."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from standard_files import FORMS, PUBLISHED, ROLES, hot, write_small

from vhbench.datasets.choices import kept_frames
from vhbench.datasets.marker import Marker, write_marker
from vhbench.errors import DataError, UsageError
from vhbench.plugins.registry import Registry
from vhbench.testing.files import write_manifest, write_mat


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("VHBENCH_CACHE", str(folder))
    return folder


def protocol(name):
    return Registry().protocol(name)


def values(part):
    return np.concatenate(list(part.videos.arrays(4)))


# what the manifests say


@pytest.mark.parametrize("name", PUBLISHED)
def test_manifests_say_what_is_published(name):
    found = protocol(name)
    for role in ROLES:
        files, labels, _, count = PUBLISHED[name][role]
        table = found.tables[role]
        assert (list(table.features), list(table.labels), table.count, table.key) == (files, labels, count, "feats")
    assert (found.frames, found.dim, found.classes) == PUBLISHED[name]["form"]
    assert found.queries_in_database == (name in ("fcvid", "yfcc"))
    assert found.ks == (5, 20, 40, 60, 80, 100) and found.budget == "paper" and found.version == 1
    assert all(text.startswith("https://") for text in found.published)


def test_the_papers_frames_are_of_the_released_files():
    paper, released = protocol("activitynet-25f"), protocol("activitynet")
    assert (paper.tables, paper.variants, paper.folder) == (released.tables, released.variants, "activitynet")
    assert (paper.frames, paper.keep_frames, released.keep_frames) == (30, 25, None)


def test_frames_kept_are_those_in_the_middle_of_equal_stretches():
    expected = [int((j + 0.5) * 30 / 25) for j in range(25)]
    assert kept_frames(30, 25).tolist() == expected
    assert expected == [0, 1, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 15, 16, 17, 18, 19, 21, 22, 23, 24, 25, 27, 28, 29]
    assert kept_frames(7, 7).tolist() == list(range(7))
    with pytest.raises(DataError, match="keep_frames is 8, but the videos have 7 frames"):
        kept_frames(7, 8)


def test_every_standard_protocol_describes_itself():
    rows = dict(protocol("yfcc").describe())
    assert rows["train"].startswith("409788 videos: yfcc_train_feats_1.h5, ")
    assert (rows["frames"], rows["dimensions"], rows["classes"]) == ("25", "4096", "80")
    assert rows["known variants"] == "81 label columns"
    assert dict(protocol("activitynet-25f").describe())["frames"] == "30, of which 25 are used"


# small files in the published layouts


def same_relevance(relevance, query_labels, database_labels):
    """Which database videos answer which query, whatever the form of the labels."""
    expected = (query_labels.astype(int) @ database_labels.astype(int).T) > 0
    if relevance.query_labels.ndim == 1:
        found = relevance.query_labels[:, None] == relevance.database_labels
    else:
        found = (relevance.query_labels.astype(int) @ relevance.database_labels.astype(int).T) > 0
    return np.array_equal(found, expected)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_layouts_are_read_back(tmp_path, name, form):
    written = write_small(tmp_path / name, name, form)
    (split,) = protocol(name).load(tmp_path, allow_counts=True)
    for role in ROLES:
        assert np.array_equal(values(getattr(split, role)), written[role][0].astype(np.float32)), role
    assert same_relevance(split.relevance, written["query"][1], written["database"][1])
    index = split.relevance.self_index
    expected = {"fcvid": [0, 1], "yfcc": [3, 0]}.get(name)
    assert (None if index is None else index.tolist()) == expected
    split.check_unchanged()


def test_the_papers_frames_of_activitynet(tmp_path):
    written = write_small(tmp_path / "activitynet", "activitynet")
    (split,) = protocol("activitynet-25f").load(tmp_path, allow_counts=True)
    (released,) = protocol("activitynet").load(tmp_path, allow_counts=True)
    for role in ROLES:
        kept = written[role][0][:, [int((j + 0.5) * 1.2) for j in range(25)]]
        assert np.array_equal(values(getattr(split, role)), kept)
        assert getattr(split, role).digest != getattr(released, role).digest
    assert split.notes["frames_kept"] == kept_frames(30, 25).tolist() and "frames_kept" not in released.notes
    assert split.relevance.digest == released.relevance.digest


@pytest.mark.parametrize(("train", "test"), [("fcvid", "yfcc"), ("yfcc", "fcvid"), ("hmdb51", "ucf101")])
def test_cross_data_set_protocols_learn_on_one_and_search_both(tmp_path, train, test):
    written = {data: write_small(tmp_path / data, data) for data in (train, test)}
    main, own = protocol(f"{train}-to-{test}").load(tmp_path, allow_counts=True)
    assert (main.name, own.name) == (test, train)
    assert main.train is own.train
    assert np.array_equal(values(main.train), written[train]["train"][0])
    for split, data in ((main, test), (own, train)):
        assert np.array_equal(values(split.database), written[data]["database"][0])
        assert np.array_equal(values(split.query), written[data]["query"][0])
    (inside,) = protocol(test).load(tmp_path, allow_counts=True)
    assert (main.in_domain.protocol, main.in_domain.splits) == (test, {test: inside.digests()})
    assert own.in_domain is None


def test_data_sets_of_other_sizes_cannot_be_crossed(tmp_path):
    for data in ("hmdb51", "activitynet"):
        write_small(tmp_path / data, data)
    with pytest.raises(DataError, match=r"hmdb51-to-activitynet is impossible: .*25 frames of 4096 .*30 of 2048"):
        protocol("hmdb51-to-activitynet").load(tmp_path, allow_counts=True)


# names that are made on demand


def test_every_pair_has_a_name_and_the_list_stays_short():
    assert len(Registry().protocols()) < 20
    for name in ("ucf101-to-hmdb51", "demo-shift-to-demo", "activitynet-25f-to-fcvid", "fcvid-unseen-to-yfcc"):
        assert protocol(name).name == name
    for name in ("ucf101-unseen", "hmdb51-unseen-all", "activitynet-25f-unseen"):
        assert protocol(name).name == name


def test_manifests_of_ones_own_can_be_crossed_and_held_out(tmp_path):
    tables = {role: {"features": ["f.h5"], "labels": ["l.mat"]} for role in ROLES}
    path = write_manifest(tmp_path / "own.toml", name="own", **tables)
    assert protocol(f"{path}-to-fcvid").name == "own-to-fcvid"
    assert protocol(f"fcvid-to-{path}").name == "fcvid-to-own"
    assert protocol(f"{path}-unseen").name == "own-unseen"
    crossed = tmp_path / "a-to-b.toml"
    crossed.write_text(path.read_text())
    assert protocol(str(crossed)).name == "own", "a file of that name comes first"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fcvd-to-yfcc", ["'fcvd'", "'fcvid'"]),
        ("fcvid-to-fcvid", ["must name two different data sets"]),
        ("fcvid-to-yfcc-to-ucf101", ["must name two different data sets"]),
        ("ucf11-unseen", ["'ucf11'", "'ucf101'"]),
        ("demo-shift-unseen", ["not possible"]),
    ],
)
def test_impossible_names_are_explained(name, words):
    with pytest.raises(UsageError) as caught:
        protocol(name)
    assert all(word in str(caught.value) for word in words)


# other numbers than the published ones


def test_other_counts_are_refused_with_both_numbers_and_the_option(tmp_path):
    write_small(tmp_path / "ucf101", "ucf101")
    with pytest.raises(DataError) as caught:
        protocol("ucf101").load(tmp_path)
    for word in ("count = 9537", "have 2 videos", "ucf_train_feats.h5", "--allow-counts"):
        assert word in str(caught.value)


def test_counts_let_pass_are_noted(tmp_path):
    write_small(tmp_path / "ucf101", "ucf101")
    (split,) = protocol("ucf101").load(tmp_path, allow_counts=True)
    counts = {"train videos": [9537, 2], "query videos": [3783, 2], "database videos": [9537, 2]}
    assert split.notes == {"allowed_counts": counts} and not split.synthetic


def test_a_cross_data_set_run_is_synthetic_if_either_side_is(tmp_path):
    for data in ("hmdb51", "ucf101"):
        write_small(tmp_path / data, data)
    write_marker(tmp_path / "hmdb51", Marker("hmdb51", 0.001, 0, dict.fromkeys(ROLES, 2)))
    for name in ("hmdb51-to-ucf101", "ucf101-to-hmdb51"):
        main, own = protocol(name).load(tmp_path, allow_counts=True)
        assert main.synthetic
        assert own.synthetic == (own.name == "hmdb51")


# faulty files


def test_labels_of_another_set_are_refused(tmp_path):
    write_small(tmp_path / "yfcc", "yfcc")
    folder = tmp_path / "yfcc"
    one, two = folder / "yfcc_test_labels_1.mat", folder / "yfcc_test_labels_2.mat"
    content = one.read_bytes(), two.read_bytes()
    one.write_bytes(content[1])
    two.write_bytes(content[0])
    with pytest.raises(DataError, match=r"yfcc_test_labels_1\.mat label 3 videos, but .*yfcc_test_feats_1\.h5 hold 2"):
        protocol("yfcc").load(tmp_path, allow_counts=True)


def test_labels_of_other_classes_are_refused(tmp_path):
    written = write_small(tmp_path / "hmdb51", "hmdb51")
    write_marker(tmp_path / "hmdb51", Marker("hmdb51", 1, 0, {role: len(written[role][0]) for role in ROLES}))
    assert protocol("hmdb51").load(tmp_path)[0].synthetic
    write_mat(tmp_path / "hmdb51" / "hmdb_test_labels.mat", hot(101, 2))
    with pytest.raises(DataError, match=r"says classes = 51, but .*hmdb_test_labels\.mat label 101 classes"):
        protocol("hmdb51").load(tmp_path)


@pytest.mark.parametrize("number", [1, 5, 9])
def test_each_of_the_nine_parts_is_needed_and_named(tmp_path, number):
    write_small(tmp_path / "yfcc", "yfcc")
    part = tmp_path / "yfcc" / f"yfcc_train_feats_{number}.h5"
    content = part.read_bytes()
    part.write_bytes(content[:-100])
    with pytest.raises(DataError, match=rf"yfcc_train_feats_{number}\.h5 cannot be opened: it is truncated"):
        protocol("yfcc").load(tmp_path, allow_counts=True)
    part.unlink()
    with pytest.raises(DataError, match=rf"yfcc_train_feats_{number}\.h5 of protocol yfcc is missing.*data status"):
        protocol("yfcc").load(tmp_path, allow_counts=True)


def test_a_file_that_another_program_writes_is_refused(tmp_path):
    write_small(tmp_path / "hmdb51", "hmdb51")
    path = tmp_path / "hmdb51" / "hmdb_test_feats.h5"
    half = path.with_name("half.h5")
    with h5py.File(path, "w", libver="latest") as file:
        file["feats"] = np.ones((2, 25, 4096), np.float32)
        file.flush()
        shutil.copy(path, half)
    half.replace(path)
    with pytest.raises(
        DataError, match=r"hmdb_test_feats\.h5 is marked as open for writing: a program is still writing"
    ):
        protocol("hmdb51").load(tmp_path, allow_counts=True)


def test_standard_files_are_never_looked_for_beside_the_manifest(tmp_path):
    with pytest.raises(DataError, match=f"looked in {tmp_path}/fcvid, {tmp_path}. Name the folder"):
        protocol("fcvid").load(tmp_path)
    with pytest.raises(DataError, match=r"is missing. Name the folder that holds it with --data DIR or \$VHBENCH_DATA"):
        protocol("fcvid").load(None)


# the page on data sets


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_page_on_data_sets_names_links_files_and_shapes(name):
    page = (Path(__file__).parents[3] / "docs" / "datasets.md").read_text()
    found = protocol(name)
    assert all(text.split()[0] in page for text in found.published)
    for table in found.tables.values():
        first = table.features[0]
        assert f"`{first}`" in page and f"({table.count}, {found.frames}, {found.dim})" in page
        assert all(f"`{file}`" in page or f"`_{file[-5:]}`" in page for file in table.labels)
