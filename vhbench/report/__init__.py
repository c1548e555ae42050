"""Tables, figures and the page, from recorded runs; called as a function, it is `vhbench.api.results.report`."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    # Python binds `vhbench.report` to this package as soon as any module of it is imported
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from vhbench.api.results import report

        return report(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable
