"""The contract kit: every rule of `vhbench.testing.rules` on one method, as data or as pytest tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from vhbench.errors import unknown
from vhbench.method import Method
from vhbench.testing.rules import RULES, BrokenRule, Rule
from vhbench.testing.subject import Make, Subject, one_thread

if TYPE_CHECKING:
    from vhbench.plugins.registry import MethodEntry

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


def check_method(make: Make, *, expected_failures: Mapping[str, str] = _NONE) -> list[CheckResult]:
    """Check a method against every rule of the contract, on toy videos, in about 20 seconds for a network.

    Args:
        make: builds a fresh unfitted method of as many bits as it is given; a method's class will do.
        expected_failures: rules that the method is known to break: rule -> reason. One that passes all the same is
            reported as failed, so that the list stays true.

    Returns:
        One result a rule, in the order of `RULES`. Whatever the method raises is a failure of that rule.

    Raises:
        UsageError: `expected_failures` names a rule that does not exist.
    """
    _check_names(expected_failures)
    subject = Subject(make)
    return [_check(rule, subject, expected_failures.get(name)) for name, rule in RULES.items()]


def parametrize_with_checks(
    methods: Iterable[MethodEntry | type[Method]], *, expected_failures: Mapping[str, Mapping[str, str]] = _NONE
) -> Any:
    """Make a pytest test of every rule for every method.

    The decorated test takes the check and calls it::

        @parametrize_with_checks([MyHash])
        def test_contract(check):
            check()

    Args:
        methods: classes, or entries of the registry.
        expected_failures: method name -> rule -> reason; these tests must fail (strict xfail).

    Raises:
        UsageError: `expected_failures` names a rule that does not exist.
    """
    import pytest

    tests = []
    for method in methods:
        expected = expected_failures.get(method.name, {})
        _check_names(expected)
        make = method if isinstance(method, type) else method.make
        for name, rule in RULES.items():
            marks = [pytest.mark.xfail(reason=expected[name], strict=True)] if name in expected else []
            tests.append(pytest.param(_test(make, rule), id=f"{method.name}-{name}", marks=marks))
    return pytest.mark.parametrize("check", tests)


def _test(make: Make, rule: Rule) -> Callable[[], None]:
    def check() -> None:
        with one_thread():
            rule(_latest_subject(make))

    return check


@lru_cache(maxsize=1)  # rules of one method follow each other; an earlier method's fits would only fill the memory
def _latest_subject(make: Make) -> Subject:
    return Subject(make)


def _check_names(expected_failures: Mapping[str, str]) -> None:
    for name in expected_failures:
        if name not in RULES:
            raise unknown("rule", name, RULES)


def _check(rule: Rule, subject: Subject, reason: str | None) -> CheckResult:
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
