"""Colours, the way up, the shape: against pictures that were encoded, and formulas written out in float64."""

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace
from video.hard_files import HLG, PQ, picture, write

from vhbench.video.frames import sample
from vhbench.video.pictures import centre, fitted, same_size, upright

FINE = {"options": {"crf": "4"}}


def first(path):
    return sample(path, 1, lambda shown: upright(*shown)).values[0]


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_pictures_are_turned_as_a_player_turns_them(tmp_path, degrees):
    path = write(tmp_path / "video.mp4", 1, rotation=degrees, aspect=2, **FINE)
    turned, aspect = first(path)
    expected = np.rot90(picture(0), -degrees // 90)
    assert turned.shape == expected.shape
    assert np.abs(turned.astype(int) - expected).mean() < 8
    assert aspect == (0.5 if degrees % 180 else 2)


class Turned:
    """A frame with a display matrix of one's own."""

    def __init__(self, frame, matrix):
        self._frame = frame
        numbers = np.zeros((3, 3), np.int32)
        numbers[:2, :2] = np.array(matrix) << 16
        self.side_data = [
            type(
                "Data", (), {"type": av.sidedata.sidedata.Type.DISPLAYMATRIX, "__bytes__": lambda _: numbers.tobytes()}
            )()
        ]

    def __getattr__(self, name):
        return getattr(self._frame, name)


@pytest.mark.parametrize("a, d", [(1, 1), (-1, 1), (1, -1), (-1, -1)])
@pytest.mark.parametrize("crosses", [False, True])
def test_each_of_eight_ways_up_maps_every_point(a, d, crosses):
    """A point (x, y) goes to (a x + c y, b x + d y), moved into the picture."""
    pixels = picture(3, (6, 4))
    frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
    matrix = np.array([[0, a], [d, 0]] if crosses else [[a, 0], [0, d]])
    turned, _ = upright(Turned(frame, matrix), 1.0)
    places = {(x, y): np.array([x, y]) @ matrix for x in range(6) for y in range(4)}
    least = np.min(list(places.values()), axis=0)
    for (x, y), place in places.items():
        column, row = place - least
        np.testing.assert_array_equal(turned[row, column], pixels[y, x])


@pytest.mark.parametrize(
    "matrix, luma", [("ITU709", (0.2126, 0.0722)), ("ITU601", (0.299, 0.114)), ("BT2020", (0.2627, 0.0593))]
)
@pytest.mark.parametrize("full", [False, True])
def test_colours_follow_the_matrix_and_the_range_that_a_video_names(matrix, luma, full):
    rng = np.random.default_rng(0)
    for y, cb, cr in rng.integers([60, 100, 100], [200, 156, 156], (8, 3)):
        frame = av.VideoFrame(32, 32, "yuv444p")
        for plane, value in zip(frame.planes, (y, cb, cr), strict=True):
            plane.update(np.full(plane.buffer_size, value, np.uint8))
        frame.colorspace = Colorspace[matrix]
        frame.color_range = ColorRange.JPEG if full else ColorRange.MPEG
        (red, blue), scale = luma, 255.0
        light = y / 255 if full else (y - 16) / 219
        b, r = ((float(c) - 128) / (255 if full else 224) for c in (cb, cr))
        rgb = [light + 2 * (1 - red) * r, 0, light + 2 * (1 - blue) * b]
        rgb[1] = (light - red * rgb[0] - blue * rgb[2]) / (1 - red - blue)
        expected = np.clip(scale * np.array(rgb), 0, 255)
        assert np.abs(upright(frame, 1.0)[0][16, 16] - expected).max() < 2.5


def by_hand(code, curve):
    """Return the eight-bit value of a grey with a 10-bit code of limited range, by the rule that the module states."""
    level = (code - 64) / 876
    if curve == PQ:
        m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 4096 * 128, 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
        power = level ** (1 / m2)
        light = 10000 * (max(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)
    else:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        scene = level**2 / 3 if level <= 0.5 else (np.exp((level - c) / a) + b) / 12
        light = 1000 * scene**1.2
    x = light / 203
    y = x if x <= 0.8 else 0.8 + 0.2 * (1 - np.exp(-(x - 0.8) / 0.2))
    return 255 * y ** (1 / 2.4)


@pytest.mark.parametrize("curve", [PQ, HLG], ids=["pq", "hlg"])
@pytest.mark.parametrize("code", [100, 300, 448, 502, 600, 750, 900])
def test_hdr_follows_the_stated_rule(curve, code):
    frame = av.VideoFrame(32, 32, "yuv420p10le")
    for plane, value in zip(frame.planes, (code, 512, 512), strict=True):
        plane.update(np.full(plane.buffer_size // 2, value, "<u2").tobytes())
    frame.colorspace, frame.color_trc, frame.color_primaries = curve
    made, _ = upright(frame, 1.0)
    assert made.dtype == np.uint8
    assert np.abs(made.astype(float) - by_hand(code, curve)).max() < 2


def test_hdr_colours_leave_the_wide_primaries():
    """A red that BT.709 has too, (1, 0, 0) there, is (0.6274, 0.0691, 0.0164) in BT.2020 (ITU-R BT.2087)."""
    light = 100 / 10000 * np.array([0.6274, 0.0691, 0.0164])
    power = light ** (2610 / 16384)
    codes = ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)
    frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), np.rint(65535 * codes), np.uint16), "rgb48le")
    frame.color_trc = PQ[1]
    red, green, blue = upright(frame, 1.0)[0][16, 16].astype(int)
    assert abs(red - 255 * (100 / 203) ** (1 / 2.4)) < 2 and max(green, blue) < 20


def test_large_hdr_pictures_become_smaller_first():
    frame = av.VideoFrame(1200, 1080, "yuv420p10le")
    for plane in frame.planes:
        plane.update(np.full(plane.buffer_size // 2, 512, "<u2").tobytes())
    frame.color_trc = PQ[1]
    assert upright(frame, 1.0)[0].shape == (540, 600, 3)


def test_the_middle_of_a_picture():
    """What lies outside the middle square, as a viewer sees it, does not count; an aspect makes it narrower."""
    for width, height, aspect in ((80, 40, 1.0), (40, 40, 2.0), (20, 40, 5.0), (40, 80, 1.0)):
        pixels = np.full((height, width, 3), 10, np.uint8)
        side = 0.5 * min(width * aspect, height)
        across, down = side / aspect, side
        x, y = (np.abs(np.arange(n) - (n - 1) / 2) < length / 2 for n, length in ((width, across), (height, down)))
        pixels[np.ix_(y, x)] = 200
        middle = centre(pixels, aspect, 16, 0.5)
        assert middle.shape == (16, 16, 3)
        assert np.abs(middle[4:12, 4:12].astype(int) - 200).max() < 20
        assert middle[8].min() > 90 and middle[:, 8].min() > 90


def test_sizes_for_people():
    assert fitted(picture(0, (60, 40)), 1.0, 30).shape == (20, 30, 3)
    assert fitted(picture(0, (60, 40)), 1.0).shape == (40, 60, 3)
    assert fitted(picture(0, (60, 40)), 0.5, 60).shape == (60, 45, 3)
    shapes = {made.shape for made in same_size([picture(0, (60, 40)), picture(1, (20, 20))])}
    assert shapes == {(40, 60, 3)}
