import itertools

import numpy as np
import pytest

from vhbench.protocols._demo_clips import CLIPS, GROUPS, MOST, Clip, clips
from vhbench.protocols._demo_video import CLASSES, LOOKS, film


def test_names_are_those_of_ucf101():
    assert (Clip(10, 3, 2).folder, Clip(10, 3, 2).name) == ("4-moving-left", "v_4-moving-left_g03_c02")


@pytest.mark.parametrize(
    ("count", "classes", "groups"), [(1, 1, 1), (2, 2, 1), (12, 2, 3), (160, 8, 10), (400, 20, 10), (MOST, 20, GROUPS)]
)
def test_clips_are_in_classes_of_equally_many(count, classes, groups):
    chosen = clips(count)
    assert len({clip.name for clip in chosen}) == len(chosen) == count
    sizes = np.bincount([clip.kind for clip in chosen])
    assert len(sizes[sizes > 0]) == classes and np.ptp(sizes[sizes > 0]) <= 1
    assert max(clip.group for clip in chosen) == groups
    assert sum(clip.is_first for clip in chosen) == 1


def test_a_larger_choice_has_the_clips_of_a_smaller_one():
    sizes = (1, 2, 9, 12, 40, 160, 400)
    for small, large in itertools.pairwise(sizes):
        assert {clip.name for clip in clips(small)} <= {clip.name for clip in clips(large)}


def test_no_two_groups_share_a_handwritten_image():
    images = [Clip(kind, group, 1)._image() for kind in range(CLASSES) for group in range(1, GROUPS + 1)]
    assert len(set(images)) == len(images)
    assert Clip(7, 4, 1)._image() == Clip(7, 4, CLIPS)._image()


def test_clips_of_a_group_differ_in_ink_and_drift_alone():
    scenes = [Clip(3, group, number).scene() for group in range(1, 6) for number in (1, 2)]
    for one, other in zip(scenes[::2], scenes[1::2], strict=True):
        assert one.images == other.images and (one.corners == other.corners).all()
    assert len({(int(scene.ink[0]), *scene.drift[0].tolist()) for scene in scenes}) > 7
    assert len({tuple(scene.corners[0].tolist()) for scene in scenes}) == 5


def test_pictures_are_the_demos_larger_and_each_shown_twice():
    clip = Clip(13, 2, 1)
    large = clip.pictures()
    np.testing.assert_array_equal(large[::2], large[1::2])
    small = film(LOOKS["demo"], clip.scene())[0].astype(int)
    shrunk = large[::2].reshape(16, 32, 4, 32, 4).mean(axis=(2, 4))
    assert np.abs(shrunk - small).mean() < 3
