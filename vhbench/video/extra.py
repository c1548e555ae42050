"""The packages of the extra `video`, asked for in one place."""

from __future__ import annotations

import importlib
from typing import Any

from vhbench.errors import UsageError


def import_extra(module: str) -> Any:
    """Import a module of the extra `video`.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise UsageError(
            f'To read videos vhbench needs packages that are not there ({error.name}): `pip install "vhbench[video]"`.'
        ) from error
