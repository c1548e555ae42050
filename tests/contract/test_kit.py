"""The contract kit: results, expected failures, pytest tests, and the toy data that it works on."""

from __future__ import annotations

import random
import subprocess
import sys

import numpy as np
import pytest
import torch

from vhbench.datasets.manifest_protocol import load_manifest
from vhbench.errors import UsageError
from vhbench.method import FitContext
from vhbench.testing import (
    RULES,
    BrokenRule,
    FakeMethod,
    check_method,
    make_protocol,
    parametrize_with_checks,
    toy_videos,
)
from vhbench.testing.fakes import FakeEncodeRaises, FakeFitRaises, FakeNanLoss
from vhbench.testing.subject import state_digest

PASSING_WITHOUT_FIT = {
    "constructor_takes_keywords_with_defaults",
    "constructor_only_stores",
    "encode_before_fit_raises_method_error",
    "nested_codes_are_prefixes",  # says nothing of methods that are not
}


class NeedsWholeBytes(FakeMethod):
    def fit(self, train, ctx):
        if self.bits % 8:
            raise ValueError("whole bytes only")
        return super().fit(train, ctx)


class ReturnsNothing(FakeMethod):
    def fit(self, train, ctx):
        super().fit(train, ctx)


def test_a_correct_method_passes_every_rule():
    results = check_method(FakeMethod)
    assert [result.name for result in results] == list(RULES)
    assert {(result.status, result.message) for result in results} == {("passed", "")}
    assert all(result.seconds >= 0 for result in results)


def test_every_rule_states_itself_in_one_sentence():
    for name, rule in RULES.items():
        assert rule.__name__ == name
        assert rule.__doc__.count("\n") == 0 and rule.__doc__.endswith(".")


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (FakeFitRaises, "ZeroDivisionError: with a message of two lines"),
        (FakeNanLoss, "MethodError: The loss became nan in epoch 1 of 2: training diverged."),
    ],
)
def test_a_failing_fit_is_a_result_and_is_tried_once_a_length(method, message):
    fits = []

    class Counts(method):
        def fit(self, train, ctx):
            fits.append(self.bits)
            return super().fit(train, ctx)

    results = check_method(Counts)
    assert {r.name for r in results if r.status == "passed"} == PASSING_WITHOUT_FIT
    assert {r.message for r in results if r.status == "failed"} == {message}
    assert sorted(fits) == [8, 16]


def test_a_failing_encode_is_a_result():
    results = {r.name: r for r in check_method(FakeEncodeRaises)}
    assert results["encode_is_pure"].message == "IndexError: a bug in encode"
    assert results["fit_returns_self"].status == "passed"


def test_a_method_that_ends_the_program_does_not_end_the_kit():
    class Exits(FakeMethod):
        def fit(self, train, ctx):
            sys.exit(3)

    results = check_method(Exits)
    assert {r.name for r in results if r.status == "passed"} == PASSING_WITHOUT_FIT


def test_a_method_that_cannot_be_built_fails_every_rule():
    def make(bits):
        raise KeyError("no such weights")

    assert {(r.status, r.message) for r in check_method(make)} == {("failed", "KeyError: 'no such weights'")}


def test_expected_failures():
    reason = "codes come in bytes"
    results = {r.name: r for r in check_method(NeedsWholeBytes, expected_failures={"all_code_lengths_work": reason})}
    assert (results.pop("all_code_lengths_work").status) == "expected failure"
    assert {r.status for r in results.values()} == {"passed"}


def test_an_expected_failure_that_passes_is_reported():
    results = check_method(FakeMethod, expected_failures={"fit_returns_self": "it used not to"})
    (failed,) = [r for r in results if r.status != "passed"]
    assert (failed.name, failed.status) == ("fit_returns_self", "failed")
    assert "it used not to" in failed.message


def test_an_expected_failure_of_an_unknown_rule_is_an_error():
    with pytest.raises(UsageError, match="fit_returns_self"):
        check_method(FakeMethod, expected_failures={"fit_return_self": ""})
    with pytest.raises(UsageError, match="fit_returns_self"):
        parametrize_with_checks([FakeMethod], expected_failures={"fake": {"fit_return_self": ""}})


def test_parametrize_makes_one_test_a_rule_and_shares_the_fit():
    fits = []

    class Counts(FakeMethod):
        def fit(self, train, ctx):
            fits.append(self.bits)
            return super().fit(train, ctx)

    mark = parametrize_with_checks([Counts], expected_failures={"fake": {"encode_is_pure": "known"}}).mark
    argument, tests = mark.args
    assert argument == "check"
    assert [test.id for test in tests] == [f"fake-{name}" for name in RULES]
    marks = {test.id: [mark.name for mark in test.marks] for test in tests}
    assert marks.pop("fake-encode_is_pure") == ["xfail"] and not any(marks.values())
    for test in tests:
        test.values[0]()
    assert sorted(fits) == [8, 8, 16, 33, 128]


def test_parametrized_check_fails_with_the_message():
    (check,) = [t.values[0] for t in parametrize_with_checks([ReturnsNothing]).mark.args[1] if "returns_self" in t.id]
    with pytest.raises(BrokenRule, match="return self"):
        check()


def test_the_kit_keeps_torch_threads_and_random_state():
    torch.manual_seed(3)
    before = (torch.get_num_threads(), state_digest(torch.get_rng_state()), state_digest(random.getstate()))
    check_method(FakeMethod)
    assert before == (torch.get_num_threads(), state_digest(torch.get_rng_state()), state_digest(random.getstate()))


def test_importing_the_kit_imports_neither_torch_nor_pytest():
    code = "import sys, vhbench.testing; sys.exit(bool({'torch', 'pytest', 'h5py'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_toy_videos():
    videos, labels = toy_videos(50, 9, 20, classes=5, seed=1)
    assert (len(videos), videos.frames, videos.dim, labels.shape) == (50, 9, 20, (50,))
    features = next(videos.arrays(50))
    assert features.dtype == np.float32 and features.min() == 0 and 0.2 < (features == 0).mean() < 0.8
    assert sorted(np.bincount(labels)) == [10] * 5
    assert state_digest(toy_videos(50, 9, 20, classes=5, seed=1)[0]) == state_digest(videos)
    assert state_digest(toy_videos(50, 9, 20, classes=5, seed=2)[0]) != state_digest(videos)
    with pytest.raises(ValueError, match="read-only"):
        videos._features[0] = 0


def test_the_order_of_toy_frames_says_more_than_their_mean():
    videos, labels = toy_videos()
    features = next(videos.arrays(len(videos)))
    halves = features.reshape(len(videos), 2, -1, videos.dim).mean(axis=2)

    def accuracy(described: np.ndarray) -> float:
        centres = np.stack([described[labels == c].mean(axis=0) for c in range(6)])
        margins = np.sort(((described[:, None] - centres) ** 2).sum(axis=2), axis=1)
        return float((margins[:, 1] / margins[:, 0]).mean())  # how much nearer the own class is than the next

    assert accuracy(halves.reshape(len(videos), -1)) > accuracy(halves.mean(axis=1))


def test_make_protocol_writes_data_that_a_method_can_learn(tmp_path):
    (split,) = load_manifest(make_protocol(tmp_path / "data", videos=20, queries=4)).load(None)
    assert (len(split.train.videos), len(split.query.videos), split.name) == (20, 4, "tiny")
    codes = FakeMethod(8).fit(split.train.videos, FitContext()).encode(split.query.videos)
    assert codes.shape == (4, 8)


def test_fingerprint_sees_into_containers_and_modules():
    net = torch.nn.Linear(2, 2)
    assert state_digest({"a": [np.zeros(2), net]}) == state_digest({"a": [np.zeros(2), net]})
    before = state_digest([net])
    with torch.no_grad():
        net.weight[0, 0] += 1
    assert state_digest([net]) != before
    assert state_digest(np.zeros(2, np.float32)) != state_digest(np.zeros(2, np.float64))
    looped: list = []
    looped.append(looped)
    assert state_digest(looped)
