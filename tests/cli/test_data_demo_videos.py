"""`vhbench data demo-videos`: real files, the same ones each time, and nobody else's overwritten."""

import sys

import numpy as np
import pytest

from vhbench.protocols._demo_clips import clips

COUNT = 3


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Three videos as the command writes them: name -> content."""
    from vhbench.cli import main

    pytest.importorskip("av")
    folder = tmp_path_factory.mktemp("videos")
    with pytest.raises(SystemExit) as end:
        main(["data", "demo-videos", str(folder), "--count", str(COUNT)])
    assert end.value.code == 0
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.*"))}


@pytest.fixture
def folder(written, tmp_path):
    """A folder with these videos."""
    for name, content in written.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_the_files_show_the_clips_in_h264_and_one_in_av1(folder):
    import av

    found = {path.stem: path for path in folder.rglob("*.mp4")}
    assert found.keys() == {clip.name for clip in clips(COUNT)}
    codecs = []
    for clip in clips(COUNT):
        assert found[clip.name].parent.name == clip.folder
        with av.open(str(found[clip.name])) as container:
            codecs.append(container.streams.video[0].codec_context.name)
            shown = np.stack([frame.to_ndarray(format="gray") for frame in container.decode(video=0)])
        assert np.abs(shown.astype(int) - clip.pictures()).mean() < 2
    assert sorted(codec != "h264" for codec in codecs) == [False, False, True]


def test_only_what_is_missing_is_written_and_to_the_same_bytes(vhbench, folder, written):
    lost, *kept = sorted(folder.rglob("*.mp4"), key=lambda path: path.name != "v_1-growing_g01_c01.mp4")
    lost.unlink()
    times = [path.stat().st_mtime_ns for path in kept]
    result = vhbench("data", "demo-videos", folder, "--count", COUNT)
    assert (result.code, result.out) == (0, f"{folder}\n")
    assert "1 video in" in result.err and "2 were there already" in result.err
    assert f"Next: vhbench extract {folder} -o feats.h5" in result.err
    assert [path.stat().st_mtime_ns for path in kept] == times
    assert lost.read_bytes() == written[str(lost.relative_to(folder))]
    assert "nothing to do" in vhbench("data", "demo-videos", folder, "--count", COUNT).err


@pytest.mark.parametrize("kind", ["text", "another video", "a folder", "a link that leads nowhere"])
def test_what_somebody_else_put_there_is_not_overwritten(vhbench, folder, written, kind):
    first, second, third = sorted(folder.rglob("*.mp4"))
    for path in (first, second):
        path.unlink()
    if kind == "text":
        second.write_text("mine")
    elif kind == "another video":
        second.write_bytes(third.read_bytes())
    elif kind == "a folder":
        second.mkdir()
    else:
        second.symlink_to("nowhere")
    result = vhbench("data", "demo-videos", folder, "--count", COUNT)
    assert result.code == 2 and f"{second} exists and is not the video that belongs there" in result.error
    assert not first.exists()
    assert kind != "text" or second.read_text() == "mine"


@pytest.mark.parametrize("count", [0, -1, 1361])
def test_a_number_of_videos_that_cannot_be_is_refused(vhbench, tmp_path, count):
    result = vhbench("data", "demo-videos", tmp_path / "videos", "--count", count)
    assert result.code == 2 and "from 1 to 1,360" in result.error
    assert not (tmp_path / "videos").exists()


def test_without_the_extra_one_sentence_says_what_to_install(vhbench, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    result = vhbench("data", "demo-videos", tmp_path / "videos")
    assert result.code == 2 and 'pip install "vhbench[video]"' in result.error
    assert not (tmp_path / "videos").exists()
