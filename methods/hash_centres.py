"""Hash centres: a binary code for each cluster, far from the others' and placed among them as the clusters are.

S5VH (Wang et al., AAAI 2025) computes them as Wang et al. (Deep Hashing with Minimal-Distance-Separated Hash Centers,
CVPR 2023) do, with Lp-box ADMM (Wu, Ghanem: Lp-Box ADMM, IEEE TPAMI 2019). What is known of the released program in
words leaves the form of a step open; the one below gives its centres on the example that it was run on, but for which
of two bits is which that all codes of the start have alike: there the iterates meet, and rounding parts them.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.linalg import hadamard

SWEEPS, PATIENCE = 20, 5  # over all centres at most; without a gain, after which they end
PENALTY, GROWTH, MOST_PENALTY = 5e-5, 1.07, 1e9  # rho at first, its growth, and where it stays
INNER, LAST = 10, 100  # ADMM steps at a penalty; rounds at the last penalty, whose codes are tried
GOLDEN = (1 + math.sqrt(5)) / 2  # length of a multiplier's step in penalties


def hash_centres(semantic: np.ndarray, bits: int, rng: np.random.Generator) -> np.ndarray:
    """Return a code for each cluster.

    Starting from rows of a Hadamard matrix, the codes are changed one after the other (`moved`), again and again; the
    set with the best `score` after a sweep over all of them is returned.

    Args:
        semantic: the clusters' centres, of length 1, shape (clusters, width).
        bits: k.
        rng: draws rows and ADMM's first multipliers.

    Returns:
        -1 and +1, float64, shape (clusters, bits).
    """
    cosines = semantic @ semantic.T
    codes = first_codes(len(semantic), bits, rng)
    if len(codes) < 2:
        return codes
    margin = distance(len(codes), bits)
    best, best_score, last_gain = codes, -math.inf, 0
    for sweep in range(SWEEPS):
        for i in range(len(codes)):
            others = np.delete(codes, i, axis=0)
            codes[i] = moved(codes[i], others, np.delete(cosines[i], i), margin, rng)
        if (reached := score(codes, cosines)) > best_score:
            best, best_score, last_gain = codes.copy(), reached, sweep
        if sweep - last_gain == PATIENCE:
            break
    return best


def first_codes(clusters: int, bits: int, rng: np.random.Generator) -> np.ndarray:
    """Return the codes to start from: rows of a Hadamard matrix H and of -H, or random rows of as many -1 as +1.

    The latter where `bits` is no power of two, or there are more than 2 bits clusters.
    """
    if clusters <= 2 * bits and bits & (bits - 1) == 0:
        rows = hadamard(bits).astype(np.float64)
        return np.concatenate([rows, -rows])[:clusters]
    half = np.where(np.arange(bits) < bits // 2, -1.0, 1.0)
    return np.array([half[rng.permutation(bits)] for _ in range(clusters)])


def distance(clusters: int, bits: int) -> int:
    """Return the least Hamming distance d for which balls of radius d - 1 around the codes exceed all 2^bits words.

    By the bound of Gilbert and Varshamov, codes of distance d - 1 exist.
    """
    words = 0
    for d in range(1, bits + 1):
        words += math.comb(bits, d - 1)
        if clusters * words > 2**bits:
            return d
    return bits


def score(codes: np.ndarray, cosines: np.ndarray) -> float:
    """Return the sum of the distances of pairs / clusters^2, less that of (their codes' cosines - the clusters')."""
    clusters, bits = codes.shape
    pairs = np.triu_indices(clusters, 1)
    products = (codes @ codes.T)[pairs]
    return float((bits - products).sum() / 2 / clusters**2 - (products / bits - cosines[pairs]).sum())


def spread(code: np.ndarray, others: np.ndarray) -> float:
    """Return the mean and the least distance of a code to others, added."""
    distances = (len(code) - others @ code) / 2
    return float(distances.mean() + distances.min())


def moved(
    code: np.ndarray, others: np.ndarray, cosines: np.ndarray, margin: int, rng: np.random.Generator
) -> np.ndarray:
    """Return the code of the largest `spread` that ADMM comes to in its last rounds, or the present one.

    ADMM looks for the x that minimises the mean over other codes c of (x . c / bits - s_c)^2, with s the cosines of the
    clusters scaled to [-1, 1], where x . c <= bits - 2 margin for all and x is binary: in the box [-1, 1]^bits (z1) and
    on the sphere of radius sqrt(bits) (z2). z3 is the slack of the inequalities, y1, y2 and y3 are the multipliers.

    Args:
        code: shape (bits,).
        others: shape (n, bits).
        cosines: between its cluster and the others', shape (n,).
        margin: the distance that is asked for.
        rng: draws the first multipliers.
    """
    count, bits = others.shape
    low, high = cosines.min(), cosines.max()
    target = 2 * (cosines - low) / (high - low if high > low else 1.0) - 1
    pull = 2 / (bits * count) * (others.T @ target)
    products, own = others.T @ others, 2 * np.eye(bits)
    y1, y2, y3 = rng.random(bits), rng.random(bits), rng.random(count)
    z1, z2, z3 = np.zeros(bits), np.zeros(bits), np.zeros(count)
    best, best_spread = code, spread(code, others)
    penalty, rounds, limit = PENALTY, 0, bits - 2 * margin
    while rounds < LAST:
        inverse = np.linalg.inv((penalty + 2 / (bits**2 * count)) * products + penalty * own)
        for _ in range(INNER):
            x = inverse @ (pull + penalty * (z1 + z2) - y1 - y2 + others.T @ (penalty * (limit - z3) - y3))
            excess = others @ x - limit
            z1 = np.clip(x + y1 / penalty, -1, 1)
            z2 = x + y2 / penalty
            z2 *= math.sqrt(bits) / np.linalg.norm(z2)
            z3 = np.maximum(0, -excess - y3 / penalty)
            y1 += GOLDEN * penalty * (x - z1)
            y2 += GOLDEN * penalty * (x - z2)
            y3 += GOLDEN * penalty * (excess + z3)
        if penalty == MOST_PENALTY:
            rounds += 1
            found = np.where(x >= 0, 1.0, -1.0)
            if (reached := spread(found, others)) > best_spread:
                best, best_spread = found, reached
        penalty = min(GROWTH * penalty, MOST_PENALTY)
    return best
