"""Which settings a study tries: the same ones whether it was interrupted or not."""

import pytest

from vhbench.study.sampling import Trial, ask
from vhbench.study.space import Range, Values

SPACE = {"lr": Range(1e-4, 1e-1, log=True), "width": Range(8, 64, whole=True), "form": Values(("a", "b"))}


def asked(sampler, batches, seed=0):
    """Return the settings of a study whose trials are worth their learning rate."""
    told = []
    for count in batches:
        settings = ask(SPACE, sampler, seed, told, count, largest=False)
        told += [Trial(len(told) + n, setting, setting["lr"]) for n, setting in enumerate(settings)]
    return [dict(trial.params) for trial in told]


def test_a_trial_at_random_depends_on_seed_and_number_alone():
    found = asked("random", [9])
    assert found == asked("random", [1, 3, 5]) != asked("random", [9], seed=1)
    assert len({setting["lr"] for setting in found}) == 9


def test_settings_lie_in_the_space_and_have_three_digits():
    for setting in asked("random", [20]):
        assert 1e-4 <= setting["lr"] <= 1e-1 and setting["lr"] == float(f"{setting['lr']:.3g}")
        assert isinstance(setting["width"], int) and 8 <= setting["width"] <= 64 and setting["form"] in "ab"


@pytest.fixture(scope="module")
def by_tpe():
    return asked("tpe", [12, 4])


def test_what_is_asked_again_with_the_same_told_is_the_same(by_tpe):
    assert asked("tpe", [12, 4]) == by_tpe


def test_tpe_looks_where_earlier_trials_were_good(by_tpe):
    told = [Trial(n, setting, setting["lr"]) for n, setting in enumerate(by_tpe)]
    later = ask(SPACE, "tpe", 0, told, 8, largest=False)
    middle = sorted(setting["lr"] for setting in asked("random", [24]))[12]
    assert sum(setting["lr"] < middle for setting in later) >= 6


def test_a_failed_trial_is_told_without_a_value():
    told = [Trial(n, setting, None if n == 1 else 1.0) for n, setting in enumerate(asked("random", [3]))]
    assert len(ask(SPACE, "tpe", 0, told, 2, largest=True)) == 2
