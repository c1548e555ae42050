import io

import numpy as np
import pytest
from PIL import Image

from vhbench.protocols import demo_copies
from vhbench.protocols._demo_copies import COUNT, CROP, KINDS, LOGO, QUALITY, SET, SPEEDS, copies, kinds, sources
from vhbench.protocols._demo_store import digest
from vhbench.protocols._demo_video import COUNTS, frames


def rows_of(kind):
    return np.flatnonzero(kinds() == KINDS.index(kind))[:6]


def pairs(kind):
    """Videos and their copies: uint8 (6, 16, 32, 32) each."""
    rows = rows_of(kind)
    return zip(frames(SET, "database", sources()[rows]), copies(rows), strict=True)


def test_the_copies_are_the_published_ones():
    assert digest(demo_copies.make()) == demo_copies.EXPECTED


def test_every_query_has_a_source_of_its_own_and_kinds_are_equally_many():
    assert len(set(sources().tolist())) == COUNT
    assert sources().min() >= 0 and sources().max() < COUNTS["database"]
    assert np.bincount(kinds()).tolist() == [75] * 4


def test_a_crop_is_a_part_of_the_picture_enlarged():
    for video, copy in pairs("crop"):
        parts = [
            (side, top, left)
            for side in range(CROP[0], CROP[1] + 1)
            for top in range(33 - side)
            for left in range(33 - side)
            if np.array_equal(enlarged(video, side, top, left), copy)
        ]
        assert parts


def enlarged(video, side, top, left):
    """A window of the pictures, each pixel of the larger picture the one below it."""
    larger = np.empty_like(video)
    for y in range(32):
        for x in range(32):
            larger[:, y, x] = video[:, top + y * side // 32, left + x * side // 32]
    return larger


def test_a_re_encoding_is_jpeg_of_low_quality():
    def encoded(picture, quality):
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=quality)
        return np.asarray(Image.open(file))

    qualities = range(QUALITY[0], QUALITY[1] + 1)
    for video, copy in pairs("re-encoding"):
        (quality,) = [q for q in qualities if np.array_equal(encoded(video[0], q), copy[0])][:1]
        np.testing.assert_array_equal(encoded(video[9], quality), copy[9])
        assert not np.array_equal(video, copy)


def test_a_speed_change_shows_pictures_sooner_or_later():
    for video, copy in pairs("speed change"):
        shown = [[min(t * times // over, 15) for t in range(16)] for times, over in SPEEDS]
        assert sum(np.array_equal(video[chosen], copy) for chosen in shown) == 1
        assert not np.array_equal(video, copy)


def test_a_logo_covers_one_corner_alone():
    for video, copy in pairs("logo"):
        y, x = np.nonzero((video != copy).any(axis=0))
        assert max(np.ptp(y), np.ptp(x)) < LOGO[1]
        assert {0, 31} & {*y.tolist()} and {0, 31} & {*x.tolist()}
        marked = copy[:, y, x]
        assert set(np.unique(marked)) <= {0, 255} and (marked == marked[0]).all()


def test_copies_drawn_alone_are_the_same():
    np.testing.assert_array_equal(copies(np.arange(8))[[6, 1]], copies(np.array([6, 1])))


@pytest.mark.parametrize("role", ["query", "database"])
def test_the_protocol_shows_both_sides(role):
    shown = demo_copies.DemoCopies().pictures("demo-copies", role, np.array([5]))
    wanted = copies(np.array([5])) if role == "query" else frames(SET, "database", np.array([5]))
    np.testing.assert_array_equal(shown, wanted)
