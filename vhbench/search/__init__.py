"""Galleries of codes and their nearest neighbours; called as a function, it is `vhbench.api.videos.search`."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    # Python binds `vhbench.search` to this package as soon as any module of it is imported
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from vhbench.api.videos import search

        return search(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable
