"""Binary codes: bit packing, and an audit of how well a set of codes works as a hash."""

from __future__ import annotations

import numpy as np

WORD = 64
"""Bits in a packed word."""
DISTINCT_SHARE, MANY_CODES = 0.1, 1000
"""Different codes are few below a tenth of what there could be, one an item or 2^bits; 100 are enough of any number."""
BUCKET_SHARE, SHORT_BITS = 0.25, 3
"""A code is shared by too many from a quarter of the items on; up to 3 bits, codes in balance come near that."""


def check_codes(codes: object, name: str = "codes") -> np.ndarray:
    """Return `codes` as an array if they are bool of shape (n, bits), n and bits at least 1.

    Raises:
        ValueError: the dtype or the shape is another one; `name` is what the message calls the array.
    """
    array = np.asarray(codes)
    if array.dtype != np.bool_ or array.ndim != 2:
        raise ValueError(f"{name} must be bool of shape (n, bits), not {array.dtype} of shape {array.shape}.")
    if 0 in array.shape:
        raise ValueError(f"{name} are empty: shape {array.shape}.")
    return array


def pack(codes: np.ndarray) -> np.ndarray:
    """Pack bits into 64-bit words: bit j of a code is bit j % 64 of word j // 64; unused high bits are 0.

    Args:
        codes: bool, shape (n, bits).

    Returns:
        uint64, shape (n, ceil(bits / 64)).

    Raises:
        ValueError: codes are not bool of shape (n, bits), or empty.
    """
    codes = check_codes(codes)
    packed = np.packbits(codes, axis=1, bitorder="little")
    missing = -packed.shape[1] % (WORD // 8)
    return np.ascontiguousarray(np.pad(packed, ((0, 0), (0, missing)))).view("<u8").astype(np.uint64, copy=False)


def unpack(packed: np.ndarray, bits: int) -> np.ndarray:
    """Undo `pack`.

    Args:
        packed: uint64, shape (n, ceil(bits / 64)).
        bits: length of the codes.

    Returns:
        bool, shape (n, bits).

    Raises:
        ValueError: the array is not uint64 of that shape.
    """
    packed = np.asarray(packed)
    words = -(-bits // WORD)
    if packed.dtype != np.uint64 or packed.ndim != 2 or bits < 1 or packed.shape[1] != words:
        raise ValueError(
            f"packed codes of {bits} bits must be uint64 of shape (n, {words}), "
            f"not {packed.dtype} of shape {packed.shape}."
        )
    octets = np.ascontiguousarray(packed, dtype="<u8").view(np.uint8)
    return np.unpackbits(octets, axis=1, count=bits, bitorder="little").astype(bool)


def audit(codes: np.ndarray) -> dict[str, float]:
    """Describe codes as a hash: are the bits balanced, independent and all in use, and do codes collide?

    Args:
        codes: bool, shape (n, bits).

    Returns:
        Numbers that JSON can hold:

        - `n`, `bits`: the shape.
        - `balance_mean`, `balance_worst`: mean and largest |share of ones - 0.5| over bits; 0 is ideal, 0.5 constant.
        - `dead_bits`: bits that are the same in all codes.
        - `duplicate_bits`: live bits equal or complementary to an earlier live bit.
        - `correlation_mean`, `correlation_max`: absolute Pearson correlation over pairs of live bits; 0 where there are
          fewer than two of them.
        - `distinct_codes`, `collisions`: different codes, and n minus that.
        - `largest_bucket`: items that share the most frequent code.

    Raises:
        ValueError: codes are not bool of shape (n, bits), or empty.
    """
    codes = check_codes(codes)
    n, bits = codes.shape
    ones, both = _cooccurrence(codes)
    deviation = np.abs(ones / n - 0.5)
    live = (ones > 0) & (ones < n)
    # n^2 times the covariance, exact in integers
    covariance = (n * both - np.outer(ones, ones))[np.ix_(live, live)].astype(np.float64)
    spread = np.sqrt(np.diag(covariance))
    correlation = np.abs(covariance) / np.outer(spread, spread)
    pairs = correlation[np.triu_indices(len(spread), 1)]
    same = (ones[:, None] == ones) & (both == ones)
    opposite = (ones[:, None] + ones == n) & (both == 0)
    twins = np.tril((same | opposite)[np.ix_(live, live)], -1)
    _, sizes = np.unique(pack(codes), axis=0, return_counts=True)
    return {
        "n": n,
        "bits": bits,
        "balance_mean": float(deviation.mean()),
        "balance_worst": float(deviation.max()),
        "dead_bits": int(bits - live.sum()),
        "duplicate_bits": int(twins.any(axis=1).sum()),
        "correlation_mean": float(pairs.mean()) if len(pairs) else 0.0,
        "correlation_max": float(pairs.max()) if len(pairs) else 0.0,
        "distinct_codes": len(sizes),
        "collisions": n - len(sizes),
        "largest_bucket": int(sizes.max()),
    }


def faults(found: dict[str, float]) -> list[str]:
    """Return what `faulty_entries` says, without the entries' names."""
    return list(faulty_entries(found).values())


def faulty_entries(found: dict[str, float]) -> dict[str, str]:
    """Say in words what an audit finds wrong with codes as a hash; nothing where they are sound.

    Copies and constant bits make a code shorter than it is called. Few different codes, or one that many items share,
    leave the ranking to the order of ties.

    Args:
        found: what `audit` returns.

    Returns:
        The name of each entry that is too high or too low -> what is wrong.
    """
    n, bits = int(found["n"]), int(found["bits"])
    distinct, largest = int(found["distinct_codes"]), int(found["largest_bucket"])
    said = {}
    if copies := int(found["duplicate_bits"]):
        said["duplicate_bits"] = f"{copies} of {bits} bits are copies of another"
    if dead := int(found["dead_bits"]):
        said["dead_bits"] = f"{dead} of {bits} bits are constant"
    if distinct < DISTINCT_SHARE * min(n, 2**bits, MANY_CODES):
        said["distinct_codes"] = f"{n} items have only {distinct} different codes"
    if largest > BUCKET_SHARE * n and bits > SHORT_BITS:
        said["largest_bucket"] = f"{largest} of {n} items share one code"
    return said


def _cooccurrence(codes: np.ndarray, block: int = 1 << 16) -> tuple[np.ndarray, np.ndarray]:
    """Count ones per bit, and codes where both bits of a pair are one; int64.

    A float32 product is the fast way to count, and exact as a block stays below 2^24 rows.
    """
    both = np.zeros((codes.shape[1], codes.shape[1]), np.int64)
    for start in range(0, len(codes), block):
        part = codes[start : start + block].astype(np.float32)
        both += (part.T @ part).astype(np.int64)
    return np.diag(both).copy(), both
