"""vhbench: train, encode, score and compare unsupervised video hashing methods under one protocol."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vhbench.version import __version__ as __version__

if TYPE_CHECKING:
    from vhbench.api import compare as compare
    from vhbench.api import encode as encode
    from vhbench.api import export as export
    from vhbench.api import extract as extract
    from vhbench.api import report as report
    from vhbench.api import reproduce as reproduce
    from vhbench.api import rescore as rescore
    from vhbench.api import run as run
    from vhbench.grid.fit import fit as fit
    from vhbench.method import Budget as Budget
    from vhbench.method import FitContext as FitContext
    from vhbench.method import Method as Method
    from vhbench.method import Tags as Tags
    from vhbench.scoring import Scores as Scores
    from vhbench.scoring import evaluate as evaluate
    from vhbench.search.loading import load as load
    from vhbench.training import NeuralMethod as NeuralMethod
    from vhbench.videos import VideoSet as VideoSet

# large tensors on huge pages: 1.4 times as fast a training step on CPUs; torch reads it at its first allocation
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
# threads that wait give their core away: on shared cores a training step otherwise takes several times as long
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_here = Path(__file__).resolve().parent
if not (_here / "methods").is_dir() and (_here.parent / "methods" / "__init__.py").is_file():
    __path__.append(str(_here.parent))  # a source checkout: methods/ and protocols/ lie beside this package

_HOME = {  # public name -> module, imported on first use so that `vhbench --help` loads no torch
    "Budget": "vhbench.method",
    "FitContext": "vhbench.method",
    "Method": "vhbench.method",
    "NeuralMethod": "vhbench.training",
    "Scores": "vhbench.scoring",
    "Tags": "vhbench.method",
    "VideoSet": "vhbench.videos",
    "compare": "vhbench.api",
    "encode": "vhbench.api",
    "evaluate": "vhbench.scoring",
    "export": "vhbench.api",
    "fit": "vhbench.grid.fit",
    "load": "vhbench.search.loading",
    "extract": "vhbench.api",
    "report": "vhbench.api",
    "reproduce": "vhbench.api",
    "rescore": "vhbench.api",
    "run": "vhbench.api",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'vhbench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
