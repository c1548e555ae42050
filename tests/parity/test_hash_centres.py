"""Hash centres against the numbers of S5VH's program (README.md); its generator is NumPy's of seed 80."""

import numpy as np
import pytest
from reading import Numbers

from vhbench.methods import hash_centres
from vhbench.methods.hash_centres import distance, first_codes, moved, score

NUMBERS = Numbers("s5vh")
SEMANTIC = NUMBERS["in/centres/semantic"].numpy()
SEMANTIC = SEMANTIC / np.linalg.norm(SEMANTIC, axis=1, keepdims=True)
START, AFTER, BEST = (NUMBERS[f"out/centres/{name}"].numpy() for name in ("csq_init", "after_sweep1", "best"))


@pytest.fixture
def rng():
    return np.random.RandomState(80)


def test_the_margins():
    for bits, clusters, margin, _ in NUMBERS["out/centres/margin_table"].tolist():
        assert distance(clusters, bits) == margin
    assert distance(8, 16) == NUMBERS["out/centres/d_max"]


def test_the_start_and_its_score(rng):
    assert np.array_equal(first_codes(8, 16, rng), START)
    assert score(START, SEMANTIC @ SEMANTIC.T) == pytest.approx(NUMBERS["out/centres/eval_init"].item(), rel=1e-9)


def test_the_first_centre(rng):
    drawn = np.random.RandomState(80)
    for y in (1, 2, 3):  # its multipliers, drawn in this order
        expected = NUMBERS[f"in/centres/y{y}_first"].numpy()
        assert np.array_equal(drawn.random(len(expected)), expected)
    others = START[1:].astype(float)
    centre = moved(START[0].astype(float), others, SEMANTIC[1:] @ SEMANTIC[0], 7, rng)
    assert np.array_equal(others @ centre, others @ NUMBERS["out/centres/first_centre"].numpy())


def test_the_sweeps_and_the_best(rng, monkeypatch):
    # bits that all codes of the start have alike may change places, which no product of codes sees
    products, scores = [], []

    def kept(codes, cosines):
        products.append(codes @ codes.T)
        scores.append(score(codes, cosines))
        return scores[-1]

    monkeypatch.setattr(hash_centres, "score", kept)
    monkeypatch.setattr(hash_centres, "PATIENCE", 1)  # four sweeps more than these two gain nothing either
    best = hash_centres.hash_centres(SEMANTIC, 16, rng)
    assert np.array_equal(products[0], AFTER @ AFTER.T)
    assert np.array_equal(best @ best.T, BEST @ BEST.T)
    np.testing.assert_allclose(scores, NUMBERS["out/centres/eval_per_sweep"].numpy()[:2], rtol=1e-9)
