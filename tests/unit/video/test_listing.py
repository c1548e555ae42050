"""Which files an extraction takes, what they are called, and what class they are of."""

import os

import pytest

from vhbench.errors import UsageError
from vhbench.video.listing import list_videos


def make(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def names(*paths, **how):
    return [video.name for video in list_videos(paths, **how).own]


def test_videos_of_folders_in_the_order_of_their_names(tmp_path):
    make(tmp_path, "b/2.mp4", "a/1.MKV", "b/1.avi", "a/read me.txt", ".hidden/1.mp4", "b/.1.mp4")
    listing = list_videos([tmp_path])
    assert [video.name for video in listing.own] == ["a/1.MKV", "b/1.avi", "b/2.mp4"]
    assert listing.classes == ["a", "b"] and listing.left_out == ("a/read me.txt",)
    make(tmp_path, "top.mp4")
    assert list_videos([tmp_path]).classes == []


def test_files_that_are_named_themselves(tmp_path):
    make(tmp_path, "x/film", "y/1.mp4", "z/1.mp4")
    assert names(tmp_path / "x/film", tmp_path / "y") == ["1.mp4", "film"]
    assert names(tmp_path / "y", tmp_path / "y/1.mp4") == ["1.mp4"]
    with pytest.raises(UsageError, match=r"Two videos would have the name 1\.mp4"):
        names(tmp_path / "y", tmp_path / "z")


def test_links_are_followed_but_not_in_a_circle(tmp_path):
    make(tmp_path / "far", "1.mp4")
    make(tmp_path / "here", "a/2.mp4")
    (tmp_path / "here/b").symlink_to(tmp_path / "far")
    (tmp_path / "here/a/up").symlink_to(tmp_path / "here")
    (tmp_path / "here/a/gone.mp4").symlink_to(tmp_path / "absent")
    assert names(tmp_path / "here") == ["a/2.mp4", "a/gone.mp4", "b/1.mp4"]


def test_shards_are_consecutive_and_leave_nothing_out(tmp_path):
    make(tmp_path, *(f"{number:02}.mp4" for number in range(11)))
    for total in (1, 2, 3, 11, 16):
        shards = [names(tmp_path, shard=(number, total)) for number in range(1, total + 1)]
        assert [name for shard in shards for name in shard] == names(tmp_path)
        assert max(map(len, shards)) - min(map(len, shards)) <= 1


def test_a_name_that_is_not_utf_8_is_written_with_escapes(tmp_path):
    make(tmp_path, os.fsdecode(b"caf\xe9.mp4"))
    (video,) = list_videos([tmp_path]).own
    assert video.name == "caf\\udce9.mp4" and video.path.exists()


def test_nothing_to_take(tmp_path):
    with pytest.raises(UsageError, match="There is no file or folder"):
        list_videos([tmp_path / "absent"])
    with pytest.raises(UsageError, match="There are no videos in"):
        list_videos([tmp_path])
    make(tmp_path, "notes.txt")
    with pytest.raises(UsageError, match=r"do not end as a video's \(notes.txt\)"):
        list_videos([tmp_path])
