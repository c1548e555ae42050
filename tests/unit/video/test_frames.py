"""Which frames of a video are taken, of sound files and of hard ones; the yardstick is a plain loop over all frames."""

import os

import numpy as np
import pytest
from video import hard_files
from video.hard_files import cut, decoded, flipped, picture, sound_only, truncated, write

from vhbench.video import frames
from vhbench.video.failures import VideoError
from vhbench.video.frames import decode_all, positions, read_index, read_pictures, sample

LONG = {"count": 300, "gop": 5}  # of 60 groups at most 25 hold a frame that is taken
SOUND = {
    "short.mp4": {},
    "one.mp4": {"count": 1},
    "long.mp4": LONG,
    "transport.ts": LONG,
    "matroska.mkv": LONG,
    "xvid.avi": {**LONG, "codec": "mpeg4"},
    "open-groups.ts": {**LONG, "options": {"x264-params": "open-gop=1:bframes=3"}},
    "no-whole-pictures.ts": {**LONG, "options": {"x264-params": "intra-refresh=1"}},
    "raw.h264": {"container": "h264"},
    "hevc.mp4": {"codec": "libx265", "count": 100, "gop": 2},
    "av1.mp4": {"codec": "libsvtav1", "count": 30},
    "vp9.webm": {"codec": "libvpx-vp9", "count": 30},
    "varying.mkv": {"count": 40, "times": np.cumsum(np.arange(40) % 7 * 20 + 7).tolist()},
    "interlaced.mxf": {
        "codec": "mpeg2video", "pixels": "yuv422p", "size": (720, 576), "count": 8, "options": {"flags": "+ildct+ilme"},
    },
    "odd.mp4": {"size": (35, 17), "pixels": "yuv444p", "count": 8},
    "ten-bits.mp4": {"codec": "libx265", "pixels": "yuv420p10le", "colours": hard_files.PQ, "count": 6},
    "one.gif": {"codec": "gif", "pixels": "rgb8", "count": 1},
    "five.gif": {"codec": "gif", "pixels": "rgb8", "count": 5},
    "-'quote\" and blank 视频.mp4": {"count": 6},
}  # fmt: skip


def own_pixels(shown):
    return shown.frame.to_ndarray()


def centres(shown, count):
    """Return the frames at the centres of equal parts, by exact fractions."""
    return [(2 * part + 1) * shown // (2 * count) for part in range(count)]


def assert_as_all(path, count=25):
    """Check a sample against all frames; return the sample."""
    everything, taken = decoded(path), sample(path, count, own_pixels)
    assert taken.shown == len(everything) > 0
    assert taken.positions.tolist() == centres(len(everything), count)
    for position, values in zip(taken.positions, taken.values, strict=True):
        np.testing.assert_array_equal(values, everything[position])
    return taken


@pytest.mark.parametrize("name", SOUND)
def test_sampled_frames_are_those_of_decoding_everything(tmp_path, name):
    path = write(tmp_path / name, **SOUND[name])
    assert_as_all(path)


@pytest.mark.parametrize("name", ["long.mp4", "transport.ts", "matroska.mkv", "hevc.mp4", "open-groups.ts"])
def test_groups_without_a_frame_to_take_are_left_out(tmp_path, monkeypatch, name):
    path = write(tmp_path / name, **SOUND[name])
    monkeypatch.setattr(frames, "_from_all", None)  # it is not called
    packets = 0
    decode = frames._decode

    def counted(stream, packet):
        nonlocal packets
        packets += packet is not None
        return decode(stream, packet)

    monkeypatch.setattr(frames, "_decode", counted)
    assert assert_as_all(path, 10).distinct == 10
    assert packets <= len(read_index(path).times) / 2


@pytest.mark.parametrize("how", [{}, {"codec": "libx265"}])
def test_frames_that_a_cut_hides_are_not_taken(tmp_path, how):
    path = cut(tmp_path / "cut.mp4", **how)
    assert len(read_index(path).times) == 120
    assert assert_as_all(path).shown == 75


def test_fewer_frames_than_wanted_are_taken_several_times(tmp_path):
    taken = assert_as_all(write(tmp_path / "short.mp4", 3), 7)
    assert taken.positions.tolist() == [0, 0, 1, 1, 1, 2, 2]
    assert taken.distinct == 3


def test_centres_of_equal_parts_in_exact_fractions():
    for shown in (1, 2, 7, 25, 60, 61, 89_999):
        for count in (1, 2, 25, 64):
            assert positions(shown, count).tolist() == centres(shown, count)
            assert positions(shown, count)[0] >= 0 and positions(shown, count)[-1] < shown


def test_a_header_that_counts_wrong_is_not_believed(tmp_path, monkeypatch):
    path = write(tmp_path / "video.mp4", 40)
    whole = read_index(path)
    fewer = whole._replace(times=np.full(31, frames.NONE), keys=whole.keys[:31], hidden=whole.hidden[:31])
    monkeypatch.setattr(frames, "read_index", lambda path: fewer)
    assert assert_as_all(path).shown == 40


def test_a_broken_packet_costs_itself(tmp_path):
    whole = write(tmp_path / "whole.mkv", 60, gop=1)  # each picture stands for itself
    content = bytearray(whole.read_bytes())
    everything = decoded(whole)
    with frames._opened(whole) as (container, stream):
        packet = [bytes(packet) for packet in frames._packets(container, stream)][30]
    start = content.find(packet)
    content[start + 4 : start + len(packet)] = b"\xff" * (len(packet) - 4)
    broken = tmp_path / "broken.mkv"
    broken.write_bytes(content)
    left = [shown.frame.to_ndarray() for shown in decode_all(broken)]
    assert len(left) in (59, 60)  # a decoder may hide the damage
    same = [any(np.array_equal(one, other) for other in left) for one in everything]
    assert same.count(False) == 1 and not same[30]
    assert sample(broken, 25, own_pixels).distinct == 25


@pytest.mark.parametrize("name", ["flipped.mp4", "flipped.ts", "flipped.mkv", "flipped.avi"])
def test_flipped_bits_leave_what_can_be_decoded(tmp_path, name):
    how = {"codec": "mpeg4"} if name.endswith("avi") else {}
    whole = write(tmp_path / f"whole-{name}", 120, movflags="faststart" if name.endswith("mp4") else None, **how)
    for seed in range(3):
        path = flipped(tmp_path / name, whole, bits=40, seed=seed)
        shown = [one.frame.to_ndarray() for one in decode_all(path)]
        taken = sample(path, 25, own_pixels)
        assert taken.shown == len(shown) > 60
        for position, values in zip(taken.positions, taken.values, strict=True):
            np.testing.assert_array_equal(values, shown[position])


def test_the_first_part_of_a_file_gives_its_frames(tmp_path):
    whole = write(tmp_path / "whole.mp4", 60, movflags="faststart")
    taken = sample(truncated(tmp_path / "part.mp4", whole), 25, own_pixels)
    assert taken.distinct == 25 and 25 < taken.shown < 60
    everything = decoded(whole)
    np.testing.assert_array_equal(taken.values[0], everything[taken.positions[0]])


def reason(path):
    with pytest.raises(VideoError) as error:
        sample(path, 25, own_pixels)
    return str(error.value)


def test_what_is_no_video_says_why(tmp_path):
    whole = write(tmp_path / "whole.mp4")
    assert "no video that can be read" in reason(truncated(tmp_path / "no-header.mp4", whole))
    assert "no video stream" in reason(sound_only(tmp_path / "sound.mp4"))
    (tmp_path / "empty.mp4").touch()
    assert "0 bytes" in reason(tmp_path / "empty.mp4")
    for name in ("text.mp4", "text.txt", "text.avi"):
        (tmp_path / name).write_text("not a video\n" * 99)
        assert "no video that can be read" in reason(tmp_path / name)
    os.mkfifo(tmp_path / "pipe.mp4")
    assert "named pipe" in reason(tmp_path / "pipe.mp4")
    assert "cannot be read" in reason(tmp_path)
    assert "No such file" in reason(tmp_path / "absent.mp4")


def test_a_playlist_opens_no_other_file(tmp_path):
    write(tmp_path / "secret.ts")
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{tmp_path}/secret.ts\n#EXT-X-ENDLIST\n"
    for name in ("list.m3u8", "list.mp4"):
        (tmp_path / name).write_text(playlist)
        assert "no video that can be read" in reason(tmp_path / name)
    (tmp_path / "list.ffconcat").write_text(f"ffconcat version 1.0\nfile '{tmp_path}/secret.ts'\n")
    assert "no video that can be read" in reason(tmp_path / "list.ffconcat")


def test_a_picture_too_large_is_not_decoded(tmp_path, monkeypatch):
    path = write(tmp_path / "video.mp4", 5)
    monkeypatch.setattr(frames, "PIXELS", 1000)
    assert "none of its frames" in reason(path)


def test_frames_that_cannot_be_used_say_why(tmp_path):
    path = write(tmp_path / "video.avi", 2, codec="ffv1", pixels="bgr0")
    assert "cannot be used" in reason(path) and "bgr0" in reason(path)  # the library makes no array of these


def test_a_name_that_is_not_utf_8(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9 \xff.mp4")
    write(tmp_path / "video.mp4", 30).rename(path)
    assert sample(path, 5, own_pixels).shown == 30


def test_pictures_for_people(tmp_path):
    path = write(tmp_path / "video.mp4", 12, size=(96, 48), aspect=2, rotation=90, options={"crf": "1"})
    pictures = read_pictures(path, 4)
    assert pictures.shape == (4, 192, 48, 3) and pictures.dtype == np.uint8
    assert read_pictures(path, 2, longest=96).shape == (2, 96, 24, 3)
    upright = np.rot90(picture(4, (96, 48)), -1).repeat(2, axis=0)
    assert np.abs(pictures[1].astype(int) - upright).mean() < 8


@pytest.mark.slow
def test_an_hour_is_decoded_in_bounded_memory(tmp_path):
    """Ninety thousand frames: what is kept of them are the sample and some bytes a packet."""
    import resource

    path = write(
        tmp_path / "hour.mp4", 90_000, gop=250, make=lambda number, size: np.full((48, 64, 3), number % 251, np.uint8)
    )
    read_index(path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    taken = sample(path, 25, own_pixels)
    assert taken.shown == 90_000 and taken.distinct == 25
    assert sum(1 for _ in decode_all(path)) == 90_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # KiB; all frames take 415 MB
