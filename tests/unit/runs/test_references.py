"""Reference scores are computed once for the same data and K, and a file that is not what was written is ignored."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from vhbench.launch.tidy import tidy
from vhbench.protocol import Part, Protocol, Relevance, Split
from vhbench.runs import references
from vhbench.runs.references import keep_references, read_references
from vhbench.scoring.references import references as compute
from vhbench.system.locks import hold
from vhbench.videos import VideoSet

KS = (3, 5)


class Toy(Protocol):
    name, title = "toy", "toy"

    def load(self, data, *, allow_counts=False):
        raise NotImplementedError


@pytest.fixture
def split():
    rng = np.random.default_rng(0)
    parts = [Part(VideoSet(rng.normal(size=(n, 2, 4))), digest * 64) for n, digest in ((30, "a"), (8, "b"))]
    relevance = Relevance.from_labels(rng.integers(0, 3, 8), rng.integers(0, 3, 30))
    return Split("toy", parts[0], parts[1], parts[0], relevance)


def test_what_is_kept_is_what_was_computed_and_is_not_computed_again(out, split, monkeypatch):
    (path,) = keep_references(out, Toy(), [split], KS)
    assert path.parent == out / "toy" and list(path.parent.iterdir()) == [path]
    (kept,), problems = read_references(out)
    found = compute(split, KS)
    assert (kept.values, kept.digests, kept.ks, problems) == (found.values, split.digests(), KS, [])
    assert kept.queries == {"cosine": 8, "total": 8}
    monkeypatch.setattr(references, "_content", None)
    assert keep_references(out, Toy(), [split], KS) == []


def test_other_k_are_another_file(out, split):
    keep_references(out, Toy(), [split], KS)
    keep_references(out, Toy(), [split], (1,))
    assert {kept.ks for kept in read_references(out)[0]} == {KS, (1,)}


def test_another_process_that_computes_them_is_not_waited_for(out, split):
    (path,) = keep_references(out, Toy(), [split], KS)
    path.unlink()
    with hold(path.with_suffix("")):
        assert keep_references(out, Toy(), [split], KS) == []


def tidy_up(out, split):
    tidy(out)


def keep_again(out, split):
    keep_references(out, Toy(), [split], KS)


@pytest.mark.parametrize("remove", [tidy_up, keep_again])
def test_what_a_kill_leaves_while_they_are_written_is_removed(out, split, monkeypatch, remove):
    content = references._content(Toy(), split, KS, "cpu", print)
    with monkeypatch.context() as patch:
        patch.setattr(references, "_content", lambda *given: content)
        patch.setattr(Path, "replace", lambda path, target: os._exit(9))  # as killed just before the file is there
        pid = os.fork()
        if pid == 0:
            keep_references(out, Toy(), [split], KS)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    assert len(list(out.rglob(".tmp-*"))) == 1
    remove(out, split)
    assert not list(out.rglob(".*"))


def test_any_flipped_bit_is_named_and_made_anew(out, split):
    (path,) = keep_references(out, Toy(), [split], KS)
    sound = path.read_bytes()
    rng = np.random.default_rng(1)
    for place in rng.choice(len(sound), 60, replace=False):
        content = bytearray(sound)
        content[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(content))
        kept, problems = read_references(out)
        if kept:  # a blank between two values, or a letter's case that JSON reads alike
            assert json.loads(content) == json.loads(sound)
        else:
            assert len(problems) == 1 and str(path) in problems[0] and "rescore" in problems[0]
    path.write_bytes(b"{")
    assert keep_references(out, Toy(), [split], KS) == [path]
    assert path.read_bytes() == sound


@pytest.mark.parametrize("content", [b"", b"[]", b"[" * 100_000, b'{"schema": "vhbench.references/1"}', b"\xff\xfe"])
def test_content_of_another_form_is_one_sentence(out, content):
    (out / "toy").mkdir(parents=True)
    (out / "toy" / "references-00000000.json").write_bytes(content)
    kept, (problem,) = read_references(out)
    assert kept == [] and problem.count("\n") == 0


def test_a_long_computation_is_said_beforehand(out, split, monkeypatch):
    monkeypatch.setattr(references, "SLOW_PRODUCTS", 1)
    said = []
    keep_references(out, Toy(), [split], KS, say=said.append)
    assert len(said) == 1 and "computed once" in said[0]
