"""What a method is: the one interface between vhbench and a hashing method. Plugin authors read this first."""

from __future__ import annotations

import abc
import functools
import inspect
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

import numpy as np

from vhbench.errors import MethodError, VhbenchError
from vhbench.system.arrays import read_npz

if TYPE_CHECKING:
    from vhbench.checkpoint import Checkpoint
    from vhbench.videos import VideoSet


F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Tags:
    """What a method can do, so that an impossible run is skipped with a reason instead of failing.

    Attributes:
        min_frames: fewest frames a video that the method accepts.
        bits_within_dim: the code can be no longer than the feature size (one projection a bit, as in PCA).
        needs_cuda: the method runs on a GPU only.
    """

    min_frames: int = 1
    bits_within_dim: bool = False
    needs_cuda: bool = False

    def conflict(self, *, bits: int, frames: int, dim: int, device: str) -> str | None:
        """Say in one sentence why a run is impossible, or return None."""
        if frames < self.min_frames:
            return f"needs at least {self.min_frames} frames a video; these have {frames}"
        if self.bits_within_dim and bits > dim:
            return f"makes at most one bit a feature dimension; {bits} bits asked of {dim} dimensions"
        if self.needs_cuda and not device.startswith("cuda"):
            return f"needs a CUDA device; this run is on {device!r}"
        return None


@dataclass(frozen=True)
class Budget:
    """How much training a run may spend. None means the method's own published default.

    Attributes:
        epochs: passes over the training set, for methods that train in epochs.
        videos: training videos used, drawn at random; the harness applies it before `fit`.
    """

    epochs: int | None = None
    videos: int | None = None


@dataclass(frozen=True)
class Epoch:
    """One finished epoch of training, as told to `FitContext.report`.

    Attributes:
        number: 1-based number of the epoch.
        total: how many epochs the run will train.
        loss: mean loss a step.
        parts: mean of each named term of the loss.
        seconds: wall time of the epoch.
    """

    number: int
    total: int
    loss: float
    parts: dict[str, float]
    seconds: float


def _ignore(epoch: Epoch) -> None:
    """Do nothing with a report."""


def _look_away(epoch: int, method: Method) -> None:
    """Do nothing with a method on its way."""


@dataclass(frozen=True)
class FitContext:
    """The run's side of training: everything `fit` may depend on beside its videos and hyper-parameters.

    It never holds the protocol's name, the query or database videos, or the output folder.

    Attributes:
        seed: the run's seed; ask `rng` or `torch_seed` for randomness, never the global generators.
        device: where to compute, "cpu" or "cuda:N".
        budget: how long to train.
        precision: "float32"; "tf32" for a GPU's float32 products with factors of 11 bits; or "bf16" for bfloat16
            products with float32 weights.
        deterministic: use deterministic GPU kernels (on the CPU they always are).
        report: call it after each epoch; it writes the log and moves the progress bar.
        checkpoint: where an interrupted training continues from, or None.
        show: call it after each epoch with the epoch's 1-based number and the method as fitted so far: the user may
            have asked for its codes. It changes nothing, and nothing of what comes of it is told.
    """

    seed: int = 0
    device: str = "cpu"
    budget: Budget = field(default_factory=Budget)
    precision: str = "float32"
    deterministic: bool = False
    report: Callable[[Epoch], None] = _ignore
    checkpoint: Checkpoint | None = None
    show: Callable[[int, Method], None] = _look_away

    def rng(self, stream: str) -> np.random.Generator:
        """Return a fresh generator that depends on the seed and the stream's name alone.

        Args:
            stream: what the numbers are for, e.g. "rotation"; different names give independent streams.
        """
        return np.random.default_rng([self.seed, zlib.crc32(stream.encode())])

    def torch_seed(self, stream: str) -> int:
        """Return a 63-bit seed for a torch generator, by the same rule as `rng`."""
        return int(self.rng(stream).integers(2**63))


def _in_one_sentence(load: F) -> F:
    """Make what a `load` raises over a file one sentence, whatever library reads it."""

    @functools.wraps(load)
    def checked(cls: type[Method], path: Path | str) -> Any:
        try:
            return load(cls, path)
        except (VhbenchError, MemoryError):
            raise
        except FileNotFoundError as error:
            raise MethodError(f"There is no file {path}.") from error
        except Exception as error:  # what zipfile, NumPy and torch trip over has many types
            raise MethodError(
                f"{path} holds no fitted {cls.__name__} that can be read: it is damaged, or something else wrote it. "
                "Save the method again."
            ) from error

    return checked  # type: ignore[return-value]


class Method(abc.ABC):
    """A video hashing method: learns from unlabelled videos, then maps each video to a binary code.

    You must write three functions::

        class MyHash(Method):
            \"\"\"One line on what it does; `vhbench list` prints it.\"\"\"

            name = "my-hash"

            def __init__(self, bits: int, *, centred: bool = True):
                self.bits = bits
                self.centred = centred

            def fit(self, train: VideoSet, ctx: FitContext) -> Self:
                self.mean_ = train.mean_frames().mean(axis=0) * self.centred
                self.directions_ = ctx.rng("directions").standard_normal((train.dim, self.bits))
                return self

            def encode(self, videos: VideoSet) -> np.ndarray:
                self.check_fitted()
                return (videos.mean_frames() - self.mean_) @ self.directions_ >= 0

    The rules, each checked by `vhbench check`:

    - the constructor takes `bits` and keyword-only hyper-parameters with defaults (the published values), and only
      stores them under their own names;
    - what `fit` learns goes into attributes whose names end in an underscore, and `fit` returns `self`;
    - `encode` returns bool codes of shape (len(videos), bits); a video's code depends on that video alone, not on its
      neighbours, their order or the batch size; `encode` changes nothing;
    - randomness comes from `ctx.rng(stream)` or `ctx.torch_seed(stream)`, so the same seed gives the same codes and
      the global random state stays untouched.

    You may also set `tags` (what the method can do), `reference` (the paper), `variants` (other names for it with other
    defaults: name -> (summary, hyper-parameters)) and `presets` (published settings where they differ by data set: data
    set -> hyper-parameters, which `--preset auto` takes on that data set); override `nested` where one training
    serves several code lengths, and override `save` and `load` when the learnt state is more than arrays. `describe`
    counts operations by running torch; a method that computes elsewhere may say its own
    (`vhbench.cost.StatesOperations`). Neural methods subclass
    `vhbench.training.NeuralMethod` instead.
    """

    name: ClassVar[str]
    reference: ClassVar[str] = ""
    tags: ClassVar[Tags] = Tags()

    bits: int

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if isinstance(load := vars(cls).get("load"), classmethod):
            cls.load = classmethod(_in_one_sentence(load.__func__))  # type: ignore[assignment, method-assign]

    if TYPE_CHECKING:

        def __init__(self, bits: int, **params: Any): ...

    @abc.abstractmethod
    def fit(self, train: VideoSet, ctx: FitContext) -> Self:
        """Learn from unlabelled videos.

        Args:
            train: the training videos, n of shape (frames, dim).
            ctx: seed, device, budget, progress and checkpoint of this run.

        Raises:
            MethodError: training is impossible or diverged; the run is recorded as failed with this message.
        """

    @abc.abstractmethod
    def encode(self, videos: VideoSet) -> np.ndarray:
        """Map videos to codes: bool array of shape (len(videos), bits)."""

    @property
    def nested(self) -> bool:
        """Whether a code's first b bits are the code of b bits that the same seed and hyper-parameters give.

        Where they are, a run takes its codes from a finished run of a longer code: one training, and one pass over the
        videos, serve all lengths.
        """
        return False

    def get_params(self) -> dict[str, Any]:
        """Return the hyper-parameters (the constructor's keywords, without `bits`) and their values."""
        return {name: getattr(self, name) for name in self.hyper_parameters()}

    @classmethod
    def hyper_parameters(cls) -> dict[str, inspect.Parameter]:
        """Return the constructor's keyword-only parameters by name."""
        parameters = inspect.signature(cls.__init__).parameters.values()
        return {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY}

    def check_fitted(self) -> None:
        """Raise MethodError unless `fit` has set an attribute that ends in an underscore."""
        if not self._state():
            raise MethodError(f"{type(self).__name__} has not been fitted: call fit, or load a saved one.")

    def save(self, path: Path | str) -> None:
        """Write hyper-parameters and learnt arrays to one `.npz` file (no pickle).

        Raises:
            MethodError: an attribute that ends in an underscore is not an array or a number.
        """
        state: dict[str, Any] = {name: np.asarray(value) for name, value in self._state().items()}
        for name, value in state.items():
            if value.dtype == object:
                raise MethodError(f"{type(self).__name__}.{name} is not an array: override save and load to keep it.")
        with Path(path).open("wb") as file:
            np.savez(file, _config=np.asarray(self._config()), **state)

    @classmethod
    @_in_one_sentence
    def load(cls, path: Path | str) -> Self:
        """Read what `save` wrote.

        Raises:
            MethodError: the file is missing or damaged, or belongs to another method.
        """
        state = read_npz(path)
        method = cls._from_config(str(state.pop("_config")), path)
        for name, value in state.items():
            if not name.endswith("_"):
                raise ValueError(f"{name!r} is no attribute that `fit` sets")
            setattr(method, name, value)
        return method

    def _state(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name.endswith("_") and not name.startswith("_")}

    def _config(self) -> str:
        return json.dumps({"class": type(self).__name__, "bits": self.bits, "params": self.get_params()})

    @classmethod
    def _from_config(cls, text: str, path: Path | str) -> Self:
        config = json.loads(text)
        if config["class"] != cls.__name__:
            raise MethodError(f"{path} holds a fitted {config['class']}, not a {cls.__name__}.")
        return cls(config["bits"], **config["params"])
