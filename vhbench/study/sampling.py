"""Which settings a study tries next, by Optuna. Its state is made anew each time from what the study has kept."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vhbench.errors import UsageError
from vhbench.study.space import Range, Space

SAMPLERS = {
    "tpe": "where earlier trials were good (tree-structured Parzen estimators), after 10 at random",
    "random": "anywhere",
}


@dataclass(frozen=True)
class Trial:
    """One setting that a study tries.

    Attributes:
        number: counted from 0.
        params: the values, by hyper-parameter of the space.
        value: what it was judged with; None where it has failed, or is still to be done.
    """

    number: int
    params: Mapping[str, Any]
    value: float | None = None


def check_optuna() -> None:
    """Raise UsageError where Optuna is not installed."""
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f'Tuning needs Optuna, which cannot be imported ({error}): pip install "vhbench[tune]".'
        ) from error


def ask(
    space: Space, sampler: str, seed: int, told: Sequence[Trial], count: int, *, largest: bool
) -> list[dict[str, Any]]:
    """Return the settings of the next trials.

    Each trial's random numbers depend on the seed and its number alone, so that a study that was interrupted goes on as
    it would have without.

    Args:
        space: what is searched.
        sampler: a name of SAMPLERS.
        seed: the study's.
        told: the trials so far, all of them over.
        count: how many more.
        largest: the largest value is the best, not the least.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = {name: _distribution(choice) for name, choice in space.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(direction="maximize" if largest else "minimize")
        study.add_trials([_frozen(trial, distributions) for trial in told])
        found = []
        for number in range(len(told), len(told) + count):
            study.sampler = _sampler(sampler, int(np.random.SeedSequence([seed, number]).generate_state(1)[0]))
            params = study.ask(distributions).params
            found.append({name: choice.rounded(params[name]) for name, choice in space.items()})
    return found


def _distribution(choice: Any) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if not isinstance(choice, Range):
        return CategoricalDistribution(choice.values)
    if choice.whole:
        return IntDistribution(int(choice.low), int(choice.high), log=choice.log)
    return FloatDistribution(choice.low, choice.high, log=choice.log)


def _sampler(name: str, seed: int) -> Any:
    from optuna.samplers import RandomSampler, TPESampler

    if name == "random":
        return RandomSampler(seed=seed)
    return TPESampler(seed=seed, multivariate=True, constant_liar=True)  # trials of a batch keep apart


def _frozen(trial: Trial, distributions: Mapping[str, Any]) -> Any:
    from optuna.trial import TrialState, create_trial

    state = TrialState.FAIL if trial.value is None else TrialState.COMPLETE
    return create_trial(params=dict(trial.params), distributions=dict(distributions), value=trial.value, state=state)
