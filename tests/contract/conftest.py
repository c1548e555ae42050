"""All rules of a method go to one of pytest's workers: they share its trainings."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and item.originalname == "test_contract":
            method, _, _ = item.callspec.id.rpartition("-")
            item.add_marker(pytest.mark.xdist_group(f"contract of {method}"))
