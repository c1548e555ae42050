"""Features with one direction above all others: what becomes of a learnt code, and that its audit says so."""

import numpy as np
import pytest
from built_ins import built_ins

from vhbench.codes import audit, faults
from vhbench.method import Budget, FitContext
from vhbench.methods.uvvh import UVVH
from vhbench.testing.subject import one_thread
from vhbench.testing.toy import lopsided_videos
from vhbench.training import NeuralMethod

NEURAL = [pytest.param(entry, id=entry.name) for entry in built_ins() if issubclass(entry.load(), NeuralMethod)]


def test_a_third_of_the_variance_lies_in_one_direction_along_which_videos_fall_into_two_groups():
    (features,) = lopsided_videos().arrays(256)
    frames = features.reshape(-1, features.shape[2]).astype(np.float64)
    assert np.square(frames).sum(axis=1).mean() == pytest.approx(17, rel=0.02)
    values, directions = np.linalg.eigh(np.cov(frames.T))
    assert values[-1] / values.sum() == pytest.approx(1 / 3, abs=0.02)
    assert values[-2] < 0.4 * values[-1]
    along = (features.mean(axis=1) - frames.mean(axis=0)) @ directions[:, -1]
    assert abs((along > 0).mean() - 0.5) < 0.02
    assert (np.abs(along) > np.sqrt(17 / 3) / 5).all(), "no video lies between the groups"


def trained(**params) -> dict[str, float]:
    train = lopsided_videos()
    method = UVVH(16, batch_size=32, **params).fit(train, FitContext(budget=Budget(epochs=12)))
    return audit(method.encode(train))


def test_uvvh_as_published_copies_bits_there_and_the_audit_says_so():
    found = trained()
    assert found["duplicate_bits"] >= 8
    assert any("bits are copies of another" in fault for fault in faults(found))
    assert any("different codes" in fault for fault in faults(found))


def test_a_slower_encoder_and_a_kl_term_of_the_features_scale_keep_bits_apart():
    found = trained(encoder_lr_factor=0.1, kl_weight=0.01)
    assert found["duplicate_bits"] <= 1
    assert found["distinct_codes"] > 150


@pytest.mark.parametrize("entry", NEURAL)
def test_no_network_ends_with_copied_or_constant_bits_there_unsaid(entry):
    method = entry.make(16)
    method.batch_size = 32
    train = lopsided_videos(n=128)
    with one_thread():
        codes = method.fit(train, FitContext(budget=Budget(epochs=3))).encode(train)
    live = [tuple(bit) for bit in codes.T if bit.any() and not bit.all()]
    kinds = {min(bit, tuple(not value for value in bit)) for bit in live}
    said = "; ".join(faults(audit(codes)))
    for count, text in ((len(live) - len(kinds), "copies of another"), (16 - len(live), "constant")):
        assert (f"{count} of 16 bits are {text}" in said) if count else (text not in said)
