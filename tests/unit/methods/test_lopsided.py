"""Features with one direction above all others: what becomes of a learnt code, and that its audit says so."""

import numpy as np
import pytest

from vhbench.codes import audit, faults
from vhbench.method import Budget, FitContext
from vhbench.methods.uvvh import UVVH
from vhbench.testing.toy import lopsided_videos


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
