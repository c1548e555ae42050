"""Every built-in method and variant keeps the contract."""

from __future__ import annotations

from vhbench.registry import BUILT_IN, Registry
from vhbench.testing import parametrize_with_checks


@parametrize_with_checks([entry for entry in Registry().methods() if entry.origin == BUILT_IN])
def test_contract(check):
    check()
