import json

import numpy as np
import pytest

from vhbench import codes


@pytest.mark.parametrize("bits", [1, 7, 16, 63, 64, 65, 128, 511, 512])
def test_pack_and_unpack_are_inverse(bits):
    bools = np.random.default_rng(bits).random((9, bits)) < 0.5
    packed = codes.pack(bools)
    assert packed.dtype == np.uint64
    assert packed.shape == (9, -(-bits // 64))
    assert np.array_equal(codes.unpack(packed, bits), bools)


def test_bit_j_is_bit_j_of_its_word():
    bools = np.zeros((1, 70), bool)
    bools[0, [0, 3, 69]] = True
    assert codes.pack(bools).tolist() == [[0b1001, 1 << 5]]


@pytest.mark.parametrize(
    "wrong", [np.zeros((2, 8)), np.zeros((2, 8), np.uint8), np.zeros(8, bool), np.zeros((0, 8), bool), [[0, 1]]]
)
def test_only_bool_codes_are_accepted(wrong):
    for function in (codes.pack, codes.audit):
        with pytest.raises(ValueError, match="codes"):
            function(wrong)


def test_unpack_wants_its_own_shape():
    with pytest.raises(ValueError, match=r"65 bits must be uint64 of shape \(n, 2\)"):
        codes.unpack(np.zeros((3, 1), np.uint64), 65)


def test_audit_of_a_worked_example():
    """Bit 0 dead, bit 2 = bit 1, bit 3 = not bit 1, bit 4 independent of bit 1; codes 0 and 4 collide."""
    b1 = np.array([0, 0, 1, 1, 0, 0, 1, 1], bool)
    b4 = np.array([0, 1, 0, 1, 0, 1, 0, 0], bool)
    found = codes.audit(np.stack([np.ones(8, bool), b1, b1, ~b1, b4], axis=1))
    r = abs(np.corrcoef(b1, b4)[0, 1])
    assert found == {
        "n": 8,
        "bits": 5,
        "balance_mean": pytest.approx((0.5 + 0.125) / 5),
        "balance_worst": 0.5,
        "dead_bits": 1,
        "duplicate_bits": 2,
        "correlation_mean": pytest.approx((3 + 3 * r) / 6),
        "correlation_max": pytest.approx(1.0),
        "distinct_codes": 4,
        "collisions": 4,
        "largest_bucket": 3,
    }


def test_audit_agrees_with_numpy_on_random_codes():
    rng = np.random.default_rng(0)
    bools = rng.random((500, 24)) < rng.uniform(0.2, 0.8, 24)
    found = codes.audit(bools)
    pairs = np.abs(np.corrcoef(bools.T.astype(float)))[np.triu_indices(24, 1)]
    assert found["correlation_mean"] == pytest.approx(pairs.mean())
    assert found["correlation_max"] == pytest.approx(pairs.max())
    assert found["balance_worst"] == pytest.approx(np.abs(bools.mean(0) - 0.5).max())
    assert found["dead_bits"] == found["duplicate_bits"] == 0


@pytest.mark.parametrize("case", [np.ones((1, 1), bool), np.zeros((5, 3), bool), np.array([[True], [False]])])
def test_audit_is_json_even_when_degenerate(case):
    found = json.loads(json.dumps(codes.audit(case), allow_nan=False))
    assert found["distinct_codes"] + found["collisions"] == found["n"]


SOUND = {"n": 1000, "bits": 32, "dead_bits": 0, "duplicate_bits": 0, "distinct_codes": 100, "largest_bucket": 250}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, []),
        ({"duplicate_bits": 27}, ["27 of 32 bits are copies of another"]),
        ({"dead_bits": 1}, ["1 of 32 bits are constant"]),
        ({"distinct_codes": 99}, ["1000 items have only 99 different codes"]),
        ({"n": 10_000, "distinct_codes": 100, "largest_bucket": 9}, []),
        ({"bits": 8, "distinct_codes": 26}, []),
        ({"bits": 8, "distinct_codes": 25}, ["1000 items have only 25 different codes"]),
        ({"n": 100, "distinct_codes": 10, "largest_bucket": 9}, []),
        ({"largest_bucket": 251}, ["251 of 1000 items share one code"]),
        ({"bits": 3, "distinct_codes": 8, "largest_bucket": 400}, []),
    ],
)
def test_faults_of_an_audit_in_words(change, said):
    assert codes.faults(SOUND | change) == said


def test_random_codes_have_no_faults():
    for bits in (1, 4, 16, 64):
        assert codes.faults(codes.audit(np.random.default_rng(0).random((300, bits)) < 0.5)) == []


def test_audit_counts_in_blocks():
    bools = np.random.default_rng(1).random((70_000, 3)) < 0.5
    ones, both = codes._cooccurrence(bools, block=1000)
    assert ones.tolist() == bools.sum(0).tolist()
    assert both[0, 1] == (bools[:, 0] & bools[:, 1]).sum()
