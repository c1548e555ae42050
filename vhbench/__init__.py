"""vhbench: train, encode, score and compare unsupervised video hashing methods under one protocol."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vhbench.version import __version__ as __version__

if TYPE_CHECKING:
    from vhbench.api.results import compare as compare
    from vhbench.api.results import export as export
    from vhbench.api.results import report as report
    from vhbench.api.results import rescore as rescore
    from vhbench.api.runs import reproduce as reproduce
    from vhbench.api.runs import run as run
    from vhbench.api.runs import tune as tune
    from vhbench.api.videos import encode as encode
    from vhbench.api.videos import extract as extract
    from vhbench.api.videos import search as search
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
    "compare": "vhbench.api.results",
    "encode": "vhbench.api.videos",
    "evaluate": "vhbench.scoring",
    "export": "vhbench.api.results",
    "fit": "vhbench.grid.fit",
    "load": "vhbench.search.loading",
    "extract": "vhbench.api.videos",
    "report": "vhbench.api.results",
    "reproduce": "vhbench.api.runs",
    "rescore": "vhbench.api.results",
    "run": "vhbench.api.runs",
    "search": "vhbench.api.videos",
    "tune": "vhbench.api.runs",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'vhbench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
