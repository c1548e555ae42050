"""Galleries: what is written is read, from files that open without being read; damage is named."""

import json

import numpy as np
import pytest

from vhbench.errors import DataError
from vhbench.features.stamp import Stamp
from vhbench.search.gallery import ABOUT, CODES, IDS, NAMES, DamagedGallery, open_gallery, write_gallery
from vhbench.system.sealed import write_sealed

NAMES_OF_3 = ["a b.mp4", "-日本.mp4", "ünï"]
STAMP = Stamp("net", "0" * 64, "last", "25 frames", "resized", {"av": "18"})


@pytest.fixture
def codes():
    packed = np.random.default_rng(0).integers(0, 256, (3, 2), dtype=np.uint8)
    packed[:, 1] &= 0b1111
    return packed


@pytest.fixture
def folder(tmp_path, codes):
    about = {"method": "itq", "stamp": STAMP.to_json()}
    write_gallery(tmp_path, codes, bits=12, names=NAMES_OF_3, ids=np.array([7, 5, 6]), about=about)
    return tmp_path


def test_what_is_written_is_read(folder, codes):
    gallery = open_gallery(folder)
    assert np.array_equal(gallery.codes, codes) and (len(gallery), gallery.bits) == (3, 12)
    assert [name.decode() for name in gallery.names] == NAMES_OF_3
    assert gallery.ids.tolist() == [7, 5, 6]
    assert gallery.about["method"] == "itq" and gallery.stamp == STAMP
    assert all(isinstance(array, np.memmap) for array in (gallery.codes, gallery.names, gallery.ids))
    assert not gallery.codes.flags.writeable
    gallery.check(read=True)


def test_codes_are_what_numpy_reads(folder, codes):
    assert np.array_equal(np.load(folder / CODES, allow_pickle=False), codes)
    assert np.load(folder / NAMES, allow_pickle=False)[1].decode() == NAMES_OF_3[1]


def test_blocks_make_the_file_that_one_array_makes(folder, codes, tmp_path):
    write_gallery(tmp_path / "blocks", iter([codes[:2], codes[:0], codes[2:]]), bits=12)
    assert (tmp_path / "blocks" / CODES).read_bytes() == (folder / CODES).read_bytes()


def test_a_gallery_takes_the_place_of_another(folder, codes):
    before = open_gallery(folder)
    after = write_gallery(folder, codes[:1], bits=12)
    assert (len(after), after.names, after.ids, after.stamp) == (1, None, None, None)
    assert not (folder / NAMES).exists() and not (folder / IDS).exists()
    assert len(before) == 3 and np.array_equal(before.codes, codes), "who has it open goes on reading the one before"


def test_what_fails_half_way_leaves_the_gallery_before(folder, codes):
    def blocks():
        yield codes
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_gallery(folder, blocks(), bits=12)
    assert np.array_equal(open_gallery(folder).codes, codes)
    assert sorted(path.name for path in folder.iterdir()) == [ABOUT, CODES, IDS, NAMES]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bits": 11}, "unused high bits"),
        ({"bits": 20}, r"uint8 of shape \(n, 3\)"),
        ({"names": ["a"]}, "3 codes"),
        ({"ids": np.arange(3.0)}, "ids must be int64"),
        ({"about": {"files": {}}}, "'files' of its own"),
    ],
)
def test_what_is_no_gallery_is_not_written(tmp_path, codes, changes, message):
    with pytest.raises(ValueError, match=message):
        write_gallery(tmp_path / "out", codes | 0b1000, **{"bits": 12, **changes})
    assert not (tmp_path / "out" / ABOUT).exists()


def test_no_codes_are_no_gallery(tmp_path, codes):
    with pytest.raises(ValueError, match="no codes"):
        write_gallery(tmp_path, codes[:0], bits=12)


def test_a_folder_without_codes(tmp_path):
    with pytest.raises(DataError, match=r"holds no codes .*vhbench encode RUN FEATURES -o"):
        open_gallery(tmp_path)
    (tmp_path / ABOUT).write_text('{"run": "another program\'s"}')
    with pytest.raises(DataError, match=r"is not of the form 'vhbench.codes/1'"):
        open_gallery(tmp_path)


def rewrite(folder, **changes):
    """Write `about.json` anew with a right digest."""
    write_sealed(folder / ABOUT, {**json.loads((folder / ABOUT).read_text()), **changes})


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda f: (f / CODES).unlink(), "it is missing"),
        (lambda f: (f / NAMES).write_bytes((f / NAMES).read_bytes()[:-1]), "bytes that were written"),
        (lambda f: (f / CODES).write_bytes(b"\x93NUMPY\x01\x00"), r"no \.npy file"),
        (lambda f: np.save(f / CODES, np.zeros((4, 2), np.uint8)), r"holds uint8 \(4, 2\)"),
        (lambda f: np.save(f / IDS, np.zeros(3)), r"holds float64 \(3,\)"),
        (lambda f: np.save(f / NAMES, np.array([b"a", b"b", b"c"])), "bytes that were written"),
        (lambda f: (f / ABOUT).write_text((f / ABOUT).read_text().replace('"itq"', '"pca"')), "after it was written"),
        (lambda f: (f / ABOUT).write_bytes((f / ABOUT).read_bytes()[:-9]), "not JSON"),
        (lambda f: rewrite(f, bits=-1), "lacks entries"),
        (lambda f: rewrite(f, files={"../x": "0" * 64}, sizes={"../x": 1}), "lacks entries"),
    ],
)
def test_damage_is_named(folder, damage, what):
    damage(folder)
    with pytest.raises(DamagedGallery, match=what):
        gallery = open_gallery(folder)
        gallery.check()


def test_changed_bits_are_told_by_the_digests(folder):
    content = bytearray((folder / CODES).read_bytes())
    content[-2] ^= 1
    (folder / CODES).write_bytes(content)
    open_gallery(folder)
    with pytest.raises(DamagedGallery, match=r"sha256 is not the one in about\.json"):
        open_gallery(folder).check(read=True)


def test_pickles_are_refused(folder):
    np.save(folder / NAMES, np.array([object] * 3), allow_pickle=True)
    rewrite(folder, sizes={name: (folder / name).stat().st_size for name in (CODES, IDS, NAMES)})
    with pytest.raises(DamagedGallery, match=r"names.npy is damaged \(no .npy file of a plain array"):
        open_gallery(folder)
