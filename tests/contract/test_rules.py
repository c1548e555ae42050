"""Each rule of the contract catches methods that break it, and says what to do."""

from __future__ import annotations

import pickle
import random

import numpy as np
import pytest
import torch

from vhbench.method import Epoch
from vhbench.testing import RULES, FakeMethod, Subject
from vhbench.testing.fakes import FakeFloatCodes, FakeWrongShape

BROKEN = []


def breaks(rule, message):
    """Register a class as one that breaks `rule`, with a message that contains `message`."""

    def register(cls):
        BROKEN.append(pytest.param(rule, cls, message, id=f"{rule}-{cls.__name__}"))
        return cls

    return register


@breaks("constructor_takes_keywords_with_defaults", "named keywords")
class TakesAnything(FakeMethod):
    def __init__(self, bits, *, epochs=2, spread=1.0, **others):
        super().__init__(bits, epochs=epochs, spread=spread)


@breaks("constructor_takes_keywords_with_defaults", "put a * before `epochs`")
class PositionalHyperParameters(FakeMethod):
    def __init__(self, bits, epochs=2, spread=1.0):
        super().__init__(bits, epochs=epochs, spread=spread)


@breaks("constructor_takes_keywords_with_defaults", "must be `bits`")
class OtherFirstArgument(FakeMethod):
    def __init__(self, code_length, *, epochs=2, spread=1.0):
        super().__init__(code_length, epochs=epochs, spread=spread)


@breaks("constructor_only_stores", "sets cache")
class ComputesInConstructor(FakeMethod):
    def __init__(self, bits, *, epochs=2, spread=1.0):
        super().__init__(bits, epochs=epochs, spread=spread)
        self.cache = {}


@breaks("constructor_only_stores", "alters spread")
class ConvertsInConstructor(FakeMethod):
    def __init__(self, bits, *, epochs=2, spread=1.0):
        super().__init__(bits, epochs=epochs, spread=spread + 1)


@breaks("constructor_only_stores", "store spread")
class ForgetsInConstructor(FakeMethod):
    def __init__(self, bits, *, epochs=2, spread=1.0):
        self.bits, self.epochs = bits, epochs


@breaks("fit_returns_self", "return self")
class ReturnsNothing(FakeMethod):
    def fit(self, train, ctx):
        super().fit(train, ctx)


@breaks("fit_keeps_hyper_parameters", "changes spread")
class ChangesHyperParameter(FakeMethod):
    def fit(self, train, ctx):
        super().fit(train, ctx)
        self.spread = 2.0
        return self


@breaks("learnt_attributes_end_in_an_underscore", "sets count")
class LearnsWithoutUnderscore(FakeMethod):
    def fit(self, train, ctx):
        self.count = len(train)
        return super().fit(train, ctx)


@breaks("learnt_attributes_end_in_an_underscore", "learns nothing")
class LearnsNothing(FakeMethod):
    def fit(self, train, ctx):
        return self


breaks("codes_are_bool_of_bits_columns", "it returned float64")(FakeFloatCodes)
breaks("codes_are_bool_of_bits_columns", "it returned (144, 15)")(FakeWrongShape)


@breaks("codes_are_bool_of_bits_columns", "numpy array")
class ReturnsTensor(FakeMethod):
    def encode(self, videos):
        return torch.from_numpy(super().encode(videos))


@breaks("codes_do_not_depend_on_the_other_videos", "videos encoded beside it")
class CentresByBatch(FakeMethod):
    def encode(self, videos):
        self.check_fitted()
        means = videos.mean_frames()
        return (means - means.mean(axis=0)) @ self.directions_ >= 0


@breaks("codes_do_not_depend_on_the_order", "order of the videos")
class LooksAtThePreviousVideo(FakeMethod):
    def encode(self, videos):
        codes = super().encode(videos)
        return codes ^ np.roll(codes, 1, axis=0)


@breaks("encode_is_pure", "changes calls_")
class CountsCalls(FakeMethod):
    def fit(self, train, ctx):
        self.calls_ = 0
        return super().fit(train, ctx)

    def encode(self, videos):
        codes = super().encode(videos)
        self.calls_ += 1
        return codes


@breaks("encode_is_pure", "changes net_")
class LeavesTrainingModeOn(FakeMethod):
    def fit(self, train, ctx):
        self.net_ = torch.nn.Sequential(torch.nn.Dropout()).eval()
        return super().fit(train, ctx)

    def encode(self, videos):
        codes = super().encode(videos)
        self.net_.train()
        return codes


@breaks("encode_is_pure", "randomness in `encode`")
class RandomCodes(FakeMethod):
    def encode(self, videos):
        return super().encode(videos) ^ (np.random.default_rng().random(self.bits) < 0.5)


BUFFER = np.empty((1000, 200), dtype=bool)


@breaks("codes_are_not_overwritten", "a second call overwrites the codes of the first")
class UsesABufferAgain(FakeMethod):
    def encode(self, videos):
        codes = super().encode(videos)
        BUFFER[: len(codes), : self.bits] = codes
        return BUFFER[: len(codes), : self.bits]


@breaks("encodes_one_video", "one video")
class Squeezes(FakeMethod):
    def encode(self, videos):
        return super().encode(videos).squeeze()


@breaks("encodes_no_videos", "at least one array")
class ConcatenatesBatches(FakeMethod):
    def encode(self, videos):
        self.check_fitted()
        parts = [batch.mean(axis=1) for batch in videos.arrays(64)]
        return (np.concatenate(parts) - self.mean_) @ self.directions_ >= 0


@breaks("same_seed_gives_same_codes", "ctx.rng(stream)")
class IgnoresTheSeed(FakeMethod):
    def fit(self, train, ctx):
        super().fit(train, ctx)
        self.directions_ = np.random.default_rng().standard_normal(self.directions_.shape)
        return self


@breaks("global_random_state_is_untouched", "`fit` seeds or draws from `numpy.random`, torch's generator")
class SeedsEverything(FakeMethod):
    def fit(self, train, ctx):
        np.random.seed(ctx.seed)  # noqa: NPY002
        torch.manual_seed(ctx.seed)
        return super().fit(train, ctx)


@breaks("global_random_state_is_untouched", "`encode` seeds or draws from Python's `random`")
class DrawsInEncode(FakeMethod):
    def encode(self, videos):
        random.random()
        return super().encode(videos)


@breaks("inputs_are_not_written", "`fit` changes the training videos")
class ShufflesItsInput(FakeMethod):
    def fit(self, train, ctx):
        super().fit(train, ctx)
        train._rows[:] = train._rows[::-1].copy()
        return self


@breaks("inputs_are_not_written", "`encode` changes the videos")
class WritesThroughATensor(FakeMethod):
    def encode(self, videos):
        codes = super().encode(videos)
        videos._features.flags.writeable = True
        torch.from_numpy(videos._features).mul_(2)
        return codes


@breaks("inputs_are_not_written", "read-only")
class WritesFeatures(FakeMethod):
    def fit(self, train, ctx):
        train._features[:] = 0
        return super().fit(train, ctx)


@breaks("saved_and_loaded_is_the_same", "'_directions'")
class LearnsInPrivate(FakeMethod):
    def fit(self, train, ctx):
        super().fit(train, ctx)
        self._directions = self.directions_
        return self

    def encode(self, videos):
        self.check_fitted()
        return (videos.mean_frames() - self.mean_) @ self._directions >= 0


@breaks("saved_and_loaded_is_the_same", "other codes")
class LoadsOtherValues(FakeMethod):
    @classmethod
    def load(cls, path):
        method = super().load(path)
        method.mean_ = method.mean_ + 1
        return method


@breaks("saved_and_loaded_is_the_same", "other hyper-parameters")
class LoadsDefaults(FakeMethod):
    @classmethod
    def load(cls, path):
        method = super().load(path)
        method.epochs += 1
        return method


@breaks("saved_file_is_read_without_running_code", "runs code")
class Pickles(FakeMethod):
    def save(self, path):
        path.write_bytes(pickle.dumps(vars(self)))


@breaks("saved_file_is_read_without_running_code", "runs code")
class SavesItselfByTorch(FakeMethod):
    def save(self, path):
        torch.save(self, path)


@breaks("saved_file_is_read_without_running_code", "runs code")
class SavesObjects(FakeMethod):
    def save(self, path):
        with path.open("wb") as file:
            np.savez(file, everything=np.array([self], dtype=object))


@breaks("saved_file_is_read_without_running_code", "no file")
class SavesNothing(FakeMethod):
    def save(self, path):
        pass


@breaks("encode_before_fit_raises_method_error", "not AttributeError")
class ForgetsToCheck(FakeMethod):
    def encode(self, videos):
        return (videos.mean_frames() - self.mean_) @ self.directions_ >= 0


@breaks("encode_before_fit_raises_method_error", "self.check_fitted()")
class EncodesUnfitted(FakeMethod):
    def encode(self, videos):
        return np.zeros((len(videos), self.bits), dtype=bool)


@breaks("one_epoch_budget_ends_after_one", "trained 2 epochs")
class IgnoresTheBudget(FakeMethod):
    def fit(self, train, ctx):
        super().fit(train, ctx)
        for number in (1, 2):
            ctx.report(Epoch(number, 2, 0.0, {}, 0.0))
        return self


@breaks("all_code_lengths_work", "whole bytes")
class NeedsWholeBytes(FakeMethod):
    def fit(self, train, ctx):
        if self.bits % 8:
            raise ValueError("whole bytes only")
        return super().fit(train, ctx)


@breaks("nested_codes_are_prefixes", "leave `nested` false")
class SaysNested(FakeMethod):
    nested = True


@breaks("codes_are_better_than_chance", "say little")
class HashesTheContent(FakeMethod):
    def encode(self, videos):
        self.check_fitted()
        seeds = (videos.mean_frames()[:, :4] * 1e6).astype(np.int64)
        codes = [np.random.default_rng(seed).random(self.bits) < 0.5 for seed in np.abs(seeds)]
        return np.array(codes, dtype=bool).reshape(-1, self.bits)


@pytest.mark.parametrize(("rule", "method", "message"), BROKEN)
def test_rule_catches(rule, method, message):
    with pytest.raises(Exception) as failure:
        RULES[rule](Subject(method))
    assert message in str(failure.value)


def test_a_buffer_that_is_used_again_breaks_no_other_rule():
    subject = Subject(UsesABufferAgain)
    for name, rule in RULES.items():
        if name != "codes_are_not_overwritten":
            rule(subject)


def test_every_rule_has_a_method_that_breaks_it():
    assert {param.values[0] for param in BROKEN} == set(RULES)
