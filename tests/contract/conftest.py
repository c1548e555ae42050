"""All rules of a method go to one of pytest's workers: they share its trainings."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "check" in getattr(item, "fixturenames", ()) and isinstance(item, pytest.Function):
            method = item.callspec.id.rpartition("-")[0]
            item.add_marker(pytest.mark.xdist_group(f"{item.originalname} {method}"))
