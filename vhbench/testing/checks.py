"""The contract kit: every rule on one method, as data or as pytest tests.

The rules are those of `vhbench.testing.rules` and, where asked for, those of `vhbench.testing.gpu_rules`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from vhbench.errors import UsageError, unknown
from vhbench.method import Method
from vhbench.testing.rules import RULES, BrokenRule
from vhbench.testing.subject import Make, Subject, one_thread

if TYPE_CHECKING:
    from vhbench.plugins.entries import MethodEntry

_NONE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class CheckResult:
    """What came of one rule.

    Attributes:
        name: the rule.
        status: "passed", "failed" or "expected failure".
        message: what to do, or the reason given for an expected failure; empty if passed.
        seconds: wall time.
    """

    name: str
    status: str
    message: str
    seconds: float


def check_method(
    make: Make, *, expected_failures: Mapping[str, str] = _NONE, simulate_gpu: bool = False
) -> list[CheckResult]:
    """Check a method against every rule of the contract, on toy videos, in about 20 seconds for a network.

    Args:
        make: builds a fresh unfitted method of as many bits as it is given; a method's class will do.
        expected_failures: rules that the method is known to break: rule -> reason. One that passes all the same is
            reported as failed, so that the list stays true.
        simulate_gpu: check what holds on a GPU, too, on one that is simulated.

    Returns:
        One result a rule, in the order of `RULES`, then of `GPU_RULES`. Whatever the method raises is a failure of that
        rule.

    Raises:
        UsageError: `expected_failures` names a rule that does not exist, or this torch cannot simulate a GPU.
    """
    rules = _rules(simulate_gpu)
    _check_names(expected_failures, rules)
    subjects = {kind: kind(make) for kind, _ in rules.values()}
    return [_check(rule, subjects[kind], expected_failures.get(name)) for name, (kind, rule) in rules.items()]


def parametrize_with_checks(
    methods: Iterable[MethodEntry | type[Method]],
    *,
    expected_failures: Mapping[str, Mapping[str, str]] = _NONE,
    simulate_gpu: bool = False,
) -> Any:
    """Make a pytest test of every rule for every method.

    The decorated test takes the check and calls it::

        @parametrize_with_checks([MyHash])
        def test_contract(check):
            check()

    Args:
        methods: classes, or entries of the registry.
        expected_failures: method name -> rule -> reason; these tests must fail (strict xfail).
        simulate_gpu: check what holds on a GPU, too, on one that is simulated.

    Raises:
        UsageError: `expected_failures` names a rule that does not exist, or this torch cannot simulate a GPU.
    """
    import pytest

    rules = _rules(simulate_gpu)
    tests = []
    for method in methods:
        expected = expected_failures.get(method.name, {})
        _check_names(expected, rules)
        make = method if isinstance(method, type) else method.make
        for name, (kind, rule) in rules.items():
            marks = [pytest.mark.xfail(reason=expected[name], strict=True)] if name in expected else []
            tests.append(pytest.param(_test(make, kind, rule), id=f"{method.name}-{name}", marks=marks))
    return pytest.mark.parametrize("check", tests)


def _rules(simulate_gpu: bool) -> dict[str, tuple[type, Callable[[Any], None]]]:
    """Return the rules by name, each with the kind of subject that it looks at."""
    rules: dict[str, tuple[type, Callable[[Any], None]]] = {name: (Subject, rule) for name, rule in RULES.items()}
    if simulate_gpu:
        from vhbench.testing.simulated_gpu import unavailable

        if reason := unavailable():
            raise UsageError(f"A GPU cannot be simulated here: {reason}.")
        from vhbench.testing.gpu_rules import GPU_RULES, GpuSubject

        rules |= {name: (GpuSubject, rule) for name, rule in GPU_RULES.items()}
    return rules


def _test(make: Make, kind: type, rule: Callable[[Any], None]) -> Callable[[], None]:
    def check() -> None:
        with one_thread():
            rule(_latest_subject(make, kind))

    return check


@lru_cache(maxsize=1)  # rules of one method follow each other; an earlier method's fits would only fill the memory
def _latest_subject(make: Make, kind: type) -> Any:
    return kind(make)


def _check_names(expected_failures: Mapping[str, str], rules: Mapping[str, Any]) -> None:
    for name in expected_failures:
        if name not in rules:
            raise unknown("rule", name, rules)


def _check(rule: Callable[[Any], None], subject: Any, reason: str | None) -> CheckResult:
    started = time.perf_counter()
    try:
        with one_thread():
            rule(subject)
    except (Exception, SystemExit) as error:
        status, message = ("failed", _describe(error)) if reason is None else ("expected failure", reason)
    else:
        status, message = "passed", ""
        if reason is not None:
            status, message = "failed", f"passes, though it is expected to fail ({reason}): expect it no longer"
    return CheckResult(rule.__name__, status, message, time.perf_counter() - started)


def _describe(error: BaseException) -> str:
    """Return an error as one line: its last."""
    line = (str(error).strip().splitlines() or [""])[-1]
    return line if isinstance(error, BrokenRule) else f"{type(error).__name__}: {line}".removesuffix(": ")
