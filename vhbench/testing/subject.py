"""Subject: one method under check, with toy data and the fits that the rules share."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any, TypeVar

import numpy as np

from vhbench.errors import UsageError
from vhbench.method import Budget, Epoch, FitContext, Method
from vhbench.testing.toy import toy_videos
from vhbench.videos import VideoSet

BITS = 16
EPOCHS = 4  # of the shared fit: enough for a network to beat chance on the toy videos, little enough for a slow core
FRAMES = 16

Make = Callable[[int], Method]
T = TypeVar("T")


@dataclass(frozen=True)
class Fit:
    """One finished fit and what it left behind.

    Attributes:
        method: the fitted method.
        returned: what `fit` returned.
        train: the training videos as `fit` left them.
        before: fingerprint of each attribute of the unfitted method.
        after: fingerprint of each attribute of the fitted method, before anything was encoded.
        disturbed: the global generators whose state `fit` changed.
        epochs: what was reported to the context.
    """

    method: Method
    returned: object
    train: VideoSet
    before: dict[str, str]
    after: dict[str, str]
    disturbed: list[str]
    epochs: list[Epoch]


class Subject:
    """A method under check. Fits are made when a rule first asks for them, and kept for the others.

    Args:
        make: builds a fresh unfitted method of as many bits as it is given.
    """

    def __init__(self, make: Make):
        self.make = make

    @cached_property
    def frames(self) -> int:
        """Frames of the toy videos: as many as the method needs."""
        return max(FRAMES, self.make(BITS).tags.min_frames)

    def toy(self) -> tuple[VideoSet, np.ndarray]:
        """Return fresh toy videos and their labels; the same ones each time."""
        return toy_videos(frames=self.frames)

    @property
    def videos(self) -> VideoSet:
        """Fresh toy videos."""
        return self.toy()[0]

    def fit(self, bits: int, epochs: int) -> Fit:
        """Build a method and fit it to the toy videos with seed 0.

        Raises:
            UsageError: the method cannot run on this machine.
        """
        method, train = self.make(bits), self.videos
        device = "cuda:0" if method.tags.needs_cuda else "cpu"
        if device != "cpu" and not _has_cuda():
            raise UsageError("this method needs a CUDA device: check it on a machine that has one")
        reports: list[Epoch] = []
        ctx = FitContext(seed=0, device=device, budget=Budget(epochs=epochs), report=reports.append)
        before, state = attributes(method), random_state()
        returned = method.fit(train, ctx)
        return Fit(method, returned, train, before, attributes(method), changed(state, random_state()), reports)

    @property
    def fitted(self) -> Fit:
        """The fit that most rules look at: `BITS` bits, `EPOCHS` epochs."""
        return unwrap(self._fitted)

    @property
    def short(self) -> Fit:
        """A fit of 8 bits with a budget of one epoch."""
        return unwrap(self._short)

    @property
    def codes(self) -> np.ndarray:
        """The shared fit's codes of all toy videos."""
        return unwrap(self._codes)

    @cached_property
    def _fitted(self) -> Fit | Exception:
        return attempt(lambda: self.fit(BITS, EPOCHS))

    @cached_property
    def _short(self) -> Fit | Exception:
        return attempt(lambda: self.fit(8, 1))

    @cached_property
    def _codes(self) -> np.ndarray | Exception:
        return attempt(lambda: copy.copy(self.fitted.method.encode(self.videos)))  # it may use an array again


def attempt(work: Callable[[], T]) -> T | Exception:
    """Return the result or the error, so that what fails is tried once and not by every rule."""
    try:
        return work()
    except Exception as error:
        return error
    except SystemExit as error:
        return RuntimeError(f"the method ended the program (SystemExit: {error})")


def unwrap(outcome: T | Exception) -> T:
    """Return what `attempt` returned if it is a result, and raise it if it is an error."""
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let torch and the linear algebra libraries compute in one thread: on toy data more only wait for each other."""
    import torch
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)


def random_state() -> dict[str, str]:
    """Return a fingerprint of each global generator's state."""
    import torch

    states = {
        "Python's `random`": random.getstate(),
        "`numpy.random`": np.random.get_state(),  # noqa: NPY002 - the state that others may rely on
        "torch's generator": torch.get_rng_state(),
    }
    return {name: state_digest(state) for name, state in states.items()}


def attributes(method: Method) -> dict[str, str]:
    """Return a fingerprint of each of a method's attributes."""
    return {name: state_digest(value) for name, value in vars(method).items()}


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return the names whose fingerprints differ, that went or that came."""
    return [name for name in {**before, **after} if before.get(name) != after.get(name)]


def state_digest(value: object) -> str:
    """Return a digest that changes when a value or anything in it changes: arrays, tensors, modules, containers."""
    content = hashlib.blake2b(digest_size=16)
    _add(content, value, set())
    return content.hexdigest()


def _add(content: Any, value: Any, seen: set[int]) -> None:
    import torch

    content.update(f"<{type(value).__qualname__}>".encode())
    if isinstance(value, np.ndarray) and value.dtype != object:
        content.update(f"{value.dtype} {value.shape}".encode())
        content.update(np.ascontiguousarray(value).data)
    elif isinstance(value, torch.Tensor) and value.layout == torch.strided:
        content.update(f"{value.dtype} {tuple(value.shape)}".encode())
        content.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    elif id(value) in seen:
        content.update(b"again")
    elif isinstance(value, Mapping):
        seen.add(id(value))
        for key, item in value.items():
            content.update(repr(key).encode())
            _add(content, item, seen)
    elif isinstance(value, list | tuple):
        seen.add(id(value))
        for item in value:
            _add(content, item, seen)
    elif hasattr(value, "__dict__") and not isinstance(value, type | ModuleType):
        seen.add(id(value))
        _add(content, vars(value), seen)
    else:
        content.update(repr(value).encode())


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()
