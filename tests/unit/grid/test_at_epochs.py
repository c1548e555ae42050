"""Scores on the way that a killed run has left: taken as they were written, or not at all."""

import json

import pytest

from vhbench.grid.at_epochs import AtEpochs


def at_epochs(folder, made_by="code", value=0.25):
    return AtEpochs((1, 2), folder, made_by, lambda method: {"map@5": value})


@pytest.fixture
def kept(tmp_path):
    """The file with the scores at epoch 1, from before a kill."""
    at_epochs(tmp_path)(1, None)
    return tmp_path / "scores.json"


def test_what_was_scored_before_a_kill_is_recorded(kept):
    again = at_epochs(kept.parent, value=0.5)
    assert again.lacking() == [2]
    again(2, None)
    assert again.to_record() == {"at_epochs": {"1": {"map@5": 0.25}, "2": {"map@5": 0.5}}}
    assert at_epochs(kept.parent, made_by="other code").to_record() == {}


def test_a_flipped_bit_is_noticed_or_without_effect(kept):
    content = kept.read_bytes()
    for place in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        kept.write_bytes(flipped)
        assert at_epochs(kept.parent).to_record() in ({}, {"at_epochs": {"1": {"map@5": 0.25}}})


@pytest.mark.parametrize("value", [[], 3, {}, {"digest": ""}, {"made_by": "code", "scores": {"1": {"map@5": 0.9}}}])
def test_other_content_counts_as_none(kept, value):
    kept.write_text(json.dumps(value))
    assert at_epochs(kept.parent).to_record() == {}
