"""The rules of the contract: one function a rule, named after the rule; its docstring is the rule.

A rule raises `BrokenRule`, or whatever the method raises; the message says what the method's author should do.
"""

from __future__ import annotations

import inspect
import itertools
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from vhbench.errors import MethodError
from vhbench.testing.subject import BITS, Fit, Subject, attributes, changed, random_state, state_digest

CODE_LENGTHS = (8, 16, 33, 128)
ROUNDING = 1000  # one bit in so many may differ where the same number is rounded in another order
TOP = 20
MARGIN = 1.25  # map@20 of random codes lies below the share of relevant items, that of useful codes well above

Rule = Callable[[Subject], None]


class BrokenRule(AssertionError):
    """A method breaks a rule of the contract; the message says what its author should do."""


def constructor_takes_keywords_with_defaults(subject: Subject) -> None:
    """The constructor takes `bits` and keyword-only hyper-parameters, each with a default."""
    cls = type(subject.make(BITS))
    parameters = dict(inspect.signature(cls).parameters)
    bits = parameters.pop("bits", None)
    _require(
        bits is not None and bits.kind is bits.POSITIONAL_OR_KEYWORD,
        f"the first argument of {cls.__name__} must be `bits`: def __init__(self, bits: int, *, ...)",
    )
    for parameter in parameters.values():
        _require(
            parameter.kind is parameter.KEYWORD_ONLY,
            f"put a * before `{parameter.name}` in {cls.__name__}.__init__: hyper-parameters are named keywords, "
            "not positional ones, *args or **kwargs",
        )
        _require(parameter.default is not parameter.empty, f"give `{parameter.name}` a default: the published value")


def constructor_only_stores(subject: Subject) -> None:
    """The constructor stores its arguments under their own names, unchanged, and does nothing else."""
    made = subject.make(BITS)
    cls, names = type(made), {"bits", *made.hyper_parameters()}
    extra, missing = vars(made).keys() - names, names - vars(made).keys()
    _require(not missing, f"store {_names(missing)} in {cls.__name__}.__init__ under the same name: self.x = x")
    _require(not extra, f"{cls.__name__}.__init__ sets {_names(extra)}: compute it in `fit` or `encode` instead")
    _require(made.bits == BITS, f"self.bits is {made.bits!r} after {cls.__name__}({BITS}): store `bits` unchanged")
    given = made.get_params()
    stored = cls(BITS, **given).get_params()  # type: ignore[call-arg]
    altered = changed(*({name: state_digest(value) for name, value in params.items()} for params in (given, stored)))
    _require(
        not altered, f"{cls.__name__}.__init__ alters {_names(altered)}: store it as given and convert it in `fit`"
    )


def fit_returns_self(subject: Subject) -> None:
    """`fit` returns the method itself."""
    fit = subject.fitted
    _require(fit.returned is fit.method, f"end `fit` with `return self`; it returned {type(fit.returned).__name__}")


def fit_keeps_hyper_parameters(subject: Subject) -> None:
    """`fit` leaves `bits` and the hyper-parameters as they were given."""
    fit = subject.fitted
    altered = changed(fit.before, {name: fit.after.get(name, "deleted") for name in fit.before})
    _require(not altered, f"`fit` changes {_names(altered)}: put what it learns into attributes that end in _")


def learnt_attributes_end_in_an_underscore(subject: Subject) -> None:
    """What `fit` learns goes into attributes whose names end in an underscore."""
    fit = subject.fitted
    learnt = fit.after.keys() - fit.before.keys()
    wrong = {name for name in learnt if not (name.endswith("_") or name.startswith("_"))}
    _require(not wrong, f"`fit` sets {_names(wrong)}: end the name in _, so that `save` and `check_fitted` know it")
    _require(any(name.endswith("_") for name in learnt), "`fit` learns nothing: keep what it learns as self.name_")


def codes_are_bool_of_bits_columns(subject: Subject) -> None:
    """`encode` returns a bool array of shape (videos, bits)."""
    codes, expected = subject.codes, (len(subject.videos), BITS)
    kind = type(codes).__name__
    _require(isinstance(codes, np.ndarray), f"`encode` must return a numpy array; it returned {kind}")
    _require(codes.dtype == np.bool_, f"`encode` must return bool codes, e.g. `values >= 0`; it returned {codes.dtype}")
    _require(codes.shape == expected, f"`encode` must return shape {expected} here; it returned {codes.shape}")


def codes_do_not_depend_on_the_other_videos(subject: Subject) -> None:
    """A video's code is the same alone, in a small group and in the whole set."""
    method, videos, whole = subject.fitted.method, subject.videos, np.asarray(subject.codes)
    bounds = [0, 1, 3, 10, 50, len(videos)]
    groups = [videos.subset(np.arange(*pair)) for pair in itertools.pairwise(bounds)]
    codes = np.concatenate([np.array(method.encode(group)) for group in groups])
    _require(
        _differing(codes, whole) <= whole.size // ROUNDING,
        "a video's code changes with the videos encoded beside it: use what `fit` learnt (means, thresholds, running "
        "statistics in eval mode), nothing computed over the videos given to `encode`",
    )


def codes_do_not_depend_on_the_order(subject: Subject) -> None:
    """Encoding the same videos in another order gives the same codes in that order."""
    whole = np.asarray(subject.codes)
    order = np.random.default_rng(0).permutation(len(subject.videos))
    codes = subject.fitted.method.encode(subject.videos.subset(order))
    _require(
        _differing(codes, whole[order]) <= whole.size // ROUNDING,
        "codes change with the order of the videos: `encode` must treat each video by itself and keep their order",
    )


def encode_is_pure(subject: Subject) -> None:
    """`encode` gives the same codes each time and changes no attribute, the training mode included."""
    fit, codes = subject.fitted, np.asarray(subject.codes)
    again = fit.method.encode(subject.videos)
    _require(
        _differing(again, codes) == 0, "encoding the same videos twice gives two results: use no randomness in `encode`"
    )
    altered = changed(fit.after, attributes(fit.method))
    _require(
        not altered,
        f"`encode` changes {_names(altered)}: use local variables, and put networks into eval mode in `fit`",
    )


def codes_are_not_overwritten(subject: Subject) -> None:
    """What `encode` has returned stays as it is when it encodes other videos."""
    method, videos = subject.fitted.method, subject.videos
    half = len(videos) // 2
    first = method.encode(videos.subset(np.arange(half)))
    before = np.array(first)
    second = method.encode(videos.subset(np.arange(half, 2 * half)))
    _require(
        _differing(first, before) == 0 and not np.shares_memory(np.asarray(first), np.asarray(second)),
        "`encode` returns an array that it uses again, so that a second call overwrites the codes of the first: return "
        "a new array each time, e.g. a copy",
    )


def encodes_one_video(subject: Subject) -> None:
    """One video can be encoded by itself."""
    codes = np.asarray(subject.fitted.method.encode(subject.videos.subset(np.array([0]))))
    _require(codes.shape == (1, BITS), f"`encode` must return shape (1, {BITS}) for one video, not {codes.shape}")


def encodes_no_videos(subject: Subject) -> None:
    """No videos give no codes: an array of shape (0, bits)."""
    codes = np.asarray(subject.fitted.method.encode(subject.videos.subset(np.array([], dtype=np.int64))))
    _require(codes.shape == (0, BITS), f"`encode` must return shape (0, {BITS}) for no videos, not {codes.shape}")


def same_seed_gives_same_codes(subject: Subject) -> None:
    """Two fits with one seed give the same codes."""
    first, second = subject.short, subject.fit(8, 1)
    codes = np.array(first.method.encode(subject.videos))
    _require(
        _differing(second.method.encode(subject.videos), codes) == 0,
        "two fits with the same seed give different codes: draw all randomness from ctx.rng(stream), or seed torch "
        "with ctx.torch_seed(stream)",
    )


def global_random_state_is_untouched(subject: Subject) -> None:
    """`fit` and `encode` leave the global generators of Python, numpy and torch as they found them."""
    _require(not subject.fitted.disturbed, _advice("fit", subject.fitted.disturbed))
    state = random_state()
    subject.fitted.method.encode(subject.videos)
    disturbed = changed(state, random_state())
    _require(not disturbed, _advice("encode", disturbed))


def _advice(function: str, disturbed: list[str]) -> str:
    return (
        f"`{function}` seeds or draws from {_names(disturbed)}: take numbers from ctx.rng(stream), and wrap code that "
        "needs torch's generator in vhbench.training.isolated_torch(ctx)"
    )


def inputs_are_not_written(subject: Subject) -> None:
    """`fit` and `encode` leave the videos they are given as they were."""
    original = state_digest(subject.videos)
    _require(
        state_digest(subject.fitted.train) == original,
        "`fit` changes the training videos: work on copies of what `arrays` and `batches` yield",
    )
    videos = subject.videos
    subject.fitted.method.encode(videos)
    _require(
        state_digest(videos) == original,
        "`encode` changes the videos it is given: work on copies of what `arrays` and `batches` yield",
    )


def saved_and_loaded_is_the_same(subject: Subject) -> None:
    """What `load` reads from `save`'s file has the same hyper-parameters and gives the same codes."""
    method, codes = subject.fitted.method, np.asarray(subject.codes)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fitted"
        method.save(path)
        loaded = type(method).load(path)
        same = (loaded.bits, loaded.get_params()) == (method.bits, method.get_params())
        _require(same, "`load` gives other hyper-parameters than were saved: keep them in `save`'s file")
        _require(
            _differing(loaded.encode(subject.videos), codes) == 0,
            "a loaded method gives other codes than the saved one: keep all that `encode` uses in attributes ending "
            "in _, or override `save` and `load`",
        )


def saved_file_is_read_without_running_code(subject: Subject) -> None:
    """`save` writes arrays, tensors and plain values, nothing that unpickling would have to run code for."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fitted"
        subject.fitted.method.save(path)
        files = [file for file in Path(folder).rglob("*") if file.is_file()]
        _require(bool(files), "`save` wrote no file at the path it was given")
        for file in files:
            try:
                _read_safely(file)
            except Exception as error:
                raise BrokenRule(
                    "`save` writes a pickle that runs code when it is read: write arrays with numpy.savez, or a "
                    f"state_dict with torch.save ({type(error).__name__})"
                ) from error


def _read_safely(path: Path) -> None:
    """Read an `.npz` or a torch file in the reader's safe mode; refuse a bare pickle; accept any other format."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            is_numpy = all(name.endswith(".npy") for name in archive.namelist())
        if is_numpy:
            with np.load(path, allow_pickle=False) as arrays:
                for name in arrays.files:
                    arrays[name]
        else:
            import torch

            torch.load(path, map_location="cpu", weights_only=True)
    elif path.read_bytes().startswith(b"\x80"):
        raise ValueError("a bare pickle")


def encode_before_fit_raises_method_error(subject: Subject) -> None:
    """`encode` of an unfitted method raises MethodError."""
    advice = "start `encode` with `self.check_fitted()`: before `fit` it must raise MethodError"
    unfitted, videos = subject.make(BITS), subject.videos
    try:
        unfitted.encode(videos)
    except MethodError:
        return
    except Exception as error:
        raise BrokenRule(f"{advice}, not {type(error).__name__}") from error
    raise BrokenRule(advice)


def one_epoch_budget_ends_after_one(subject: Subject) -> None:
    """A budget of one epoch is kept: no second epoch is reported, or none of a stage of `NeuralMethod.stages`."""
    from vhbench.training import NeuralMethod

    method = subject.short.method
    allowed = len(method.stages(1)) if isinstance(method, NeuralMethod) else 1
    most = max((epoch.number for epoch in subject.short.epochs), default=0)
    _require(
        most <= allowed, f"`fit` trained {most} epochs with Budget(epochs=1): use `ctx.budget.epochs or self.epochs`"
    )


def all_code_lengths_work(subject: Subject) -> None:
    """Codes of 8, 16, 33 and 128 bits can be learnt."""
    for bits in CODE_LENGTHS:
        codes = np.asarray(_fit_of(subject, bits).method.encode(subject.videos.subset(np.arange(3))))
        _require(codes.shape == (3, bits), f"with {bits} bits `encode` returns shape {codes.shape} for 3 videos")


def nested_codes_are_prefixes(subject: Subject) -> None:
    """Where `nested` is true, a code's first bits are the code of as many bits."""
    if not subject.make(BITS).nested:
        return
    short = np.array(subject.short.method.encode(subject.videos))
    codes = np.asarray(subject.fit(BITS, 1).method.encode(subject.videos))
    _require(
        _differing(codes[:, : short.shape[1]], short) <= short.size // ROUNDING,
        f"the first 8 bits of codes of {BITS} bits are not the codes of 8 bits: leave `nested` false",
    )


def _fit_of(subject: Subject, bits: int) -> Fit:
    shared = {BITS: "fitted", 8: "short"}
    return getattr(subject, shared[bits]) if bits in shared else subject.fit(bits, 1)


def codes_are_better_than_chance(subject: Subject) -> None:
    """On toy videos of six classes, the codes bring videos of the query's class to the front."""
    from vhbench.scoring import evaluate

    codes, (_, labels) = subject.codes, subject.toy()
    scores = evaluate(codes, codes, labels, labels, self_index=np.arange(len(labels)))
    found = scores.map(TOP, self_match="drop")
    chance = float((labels == labels[:, None]).mean())
    _require(
        found > MARGIN * chance,
        f"map@{TOP} on toy videos is {found:.3f}, where {chance:.3f} of them are relevant: the codes say little about "
        "what a video shows",
    )


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        rule.__name__: rule
        for rule in (
            constructor_takes_keywords_with_defaults,
            constructor_only_stores,
            fit_returns_self,
            fit_keeps_hyper_parameters,
            learnt_attributes_end_in_an_underscore,
            codes_are_bool_of_bits_columns,
            codes_do_not_depend_on_the_other_videos,
            codes_do_not_depend_on_the_order,
            encode_is_pure,
            codes_are_not_overwritten,
            encodes_one_video,
            encodes_no_videos,
            same_seed_gives_same_codes,
            global_random_state_is_untouched,
            inputs_are_not_written,
            saved_and_loaded_is_the_same,
            saved_file_is_read_without_running_code,
            encode_before_fit_raises_method_error,
            one_epoch_budget_ends_after_one,
            all_code_lengths_work,
            nested_codes_are_prefixes,
            codes_are_better_than_chance,
        )
    }
)
"""Every rule by name, in the order in which they are checked."""


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise BrokenRule(message)


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _differing(codes: object, expected: np.ndarray) -> int:
    """Return how many bits differ; all of them where the shapes differ."""
    found = np.asarray(codes)
    return int((found != expected).sum()) if found.shape == expected.shape else max(1, expected.size)
