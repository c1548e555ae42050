"""The page of neighbours: what is on it, whatever names say, and where pictures may come from."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from vhbench.search.answers import find
from vhbench.search.gallery import write_gallery
from vhbench.search.page import render
from vhbench.search.queries import Queries
from vhbench.search.thumbnails import Thumbnails
from vhbench.video.failures import VideoError

HOSTILE = "</h2><script>alert(1)</script>\u202e{{style}}.mp4"
NAMES = ["a.mp4", "deep/b.mp4", "../outside.mp4", HOSTILE, "broken.mp4", "missing.mp4"]


@pytest.fixture
def gallery(tmp_path):
    codes = np.array([[1], [3], [7], [15], [31], [63]], np.uint8)
    return write_gallery(tmp_path / "codes", codes, bits=8, names=NAMES, about={"method": "<b>itq</b>"})


@pytest.fixture
def videos(tmp_path, monkeypatch):
    """A folder of files that a stand-in for the decoder takes for videos, the second of them broken."""
    folder = tmp_path / "videos"
    (folder / "deep").mkdir(parents=True)
    for path in (folder / "a.mp4", folder / "deep" / "b.mp4", folder / "broken.mp4", tmp_path / "outside.mp4"):
        path.write_text(path.stem)

    def read_pictures(path, count, longest):
        asked.append(path)
        if path.read_text() == "broken":
            raise VideoError("none of its frames can be decoded")
        return np.full((count, 30, 40, 3), len(path.read_text()), np.uint8)

    asked = []
    monkeypatch.setattr("vhbench.video.frames.read_pictures", read_pictures)
    return folder, asked


def page_of(gallery, thumbnails, row=0, k=5):
    queries = Queries(np.array(gallery.codes[row : row + 1]), (NAMES[row],), row)
    return render(gallery, queries, find(gallery, queries, k), thumbnails)


def test_neighbours_stand_in_order_with_their_distances(gallery):
    page = page_of(gallery, Thumbnails())
    assert re.findall(r"(\d+) of 8 bits", page) == ["1", "2", "3", "4", "5"]
    assert re.findall(r'class="rank">(\d+)<', page) == ["1", "2", "3", "4", "5"]
    assert "left out of its own neighbours" in page and "--videos says where these lie" in page


def test_no_name_is_markup_and_no_script_may_run(gallery):
    page = page_of(gallery, Thumbnails())
    assert "<script" not in page and "<b>" not in page and "\u202e" not in page
    assert "&lt;/h2&gt;&lt;script&gt;" in page and page.count("<style>") == 1 and "{{style}}.mp4" in page
    assert "default-src 'none'" in page and "script-src" not in page


def test_pictures_are_of_videos_below_the_folder_and_of_no_others(gallery, videos):
    folder, asked = videos
    thumbnails = Thumbnails(folder)
    page = page_of(gallery, thumbnails)
    pictures = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    assert len(pictures) == 2 and page.count("no picture") == 4
    assert Image.open(io.BytesIO(base64.b64decode(pictures[0]))).size == (40, 30)
    assert sorted(path.name for path in asked) == ["a.mp4", "b.mp4", "broken.mp4"]
    assert thumbnails.words() == f"4 of 6 videos are not to be found or seen in {folder}"
    assert "4 of 6 videos are not to be found" in page


@pytest.mark.parametrize("name", ["../outside.mp4", "deep/../../outside.mp4", "{}/outside.mp4", "a\0.mp4", ""])
def test_no_name_leads_out_of_the_folder(gallery, videos, tmp_path, name):
    folder, asked = videos
    assert Thumbnails(folder).of_name(name.format(tmp_path)) is None and asked == []


def test_a_link_in_the_folder_is_followed(gallery, videos, tmp_path):
    (videos[0] / "missing.mp4").symlink_to(tmp_path / "outside.mp4")
    assert Thumbnails(videos[0]).of_name("missing.mp4")


def test_a_video_is_decoded_once_for_all_queries(gallery, videos):
    folder, asked = videos
    queries = Queries(np.array(gallery.codes[[0, 0]]), ("one", "other"), video=folder / "a.mp4")
    page = render(gallery, queries, find(gallery, queries, 6), Thumbnails(folder))
    assert page.count("data:image/jpeg") == 2 * 3 and len(asked) == 3
    assert re.findall(r'href="#(query-\d)"', page) == re.findall(r'h2 id="(query-\d)"', page) == ["query-0", "query-1"]


def test_a_page_shows_a_hundred_queries_and_says_of_how_many(gallery):
    names = tuple(f"query {i}" for i in range(101))
    queries = Queries(np.repeat(gallery.codes[:1], 101, axis=0), names)
    page = render(gallery, queries, find(gallery, queries, 1), Thumbnails())
    assert page.count("<section") == 100 and "the first 100 of 101 queries" in page
