"""Packed codes in the forms of other programs: another order of bits, a faiss index, a table of bits for pgvector."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, Any

import numpy as np

BIT_ORDERS = {
    "little": "bit j of a code is bit j % 8 (1 << j % 8) of byte j // 8; unused high bits of the last byte are 0",
    "big": "bit j of a code is bit 7 - j % 8 (128 >> j % 8) of byte j // 8; unused low bits of the last byte are 0",
}
MIRRORED = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1), axis=1, bitorder="little")[:, 0]
BLOCK = 1 << 16  # codes at a time


def in_order(codes: np.ndarray, order: str) -> np.ndarray:
    """Return packed codes in an order of bits.

    Args:
        codes: uint8, shape (n, bytes), in the order "little", which is vhbench's.
        order: "little", or "big": numpy's default, and pgvector's text.
    """
    return codes if order == "little" else MIRRORED[codes]


def import_faiss(say: Callable[[str], None]) -> Any:
    """Return the module, or None and a word on how to get it."""
    try:
        import faiss
    except ImportError:
        say("the faiss index is left out: `pip install faiss-cpu` and run the same command again.")
        return None
    return faiss


def faiss_index(faiss: Any, codes: np.ndarray, ids: np.ndarray | None = None) -> bytes:
    """Return a serialised `IndexBinaryIDMap` over an `IndexBinaryFlat`.

    Args:
        faiss: the module.
        codes: uint8, shape (n, bytes); queries have to be in their order of bits.
        ids: int64, shape (n,); by default 0 to n - 1.
    """
    flat = faiss.IndexBinaryFlat(8 * codes.shape[1])
    index = faiss.IndexBinaryIDMap(flat)
    index.add_with_ids(np.ascontiguousarray(codes), np.arange(len(codes)) if ids is None else np.asarray(ids))
    octets: bytes = faiss.serialize_index_binary(index).tobytes()
    return octets


def write_bits(file: IO[bytes], codes: np.ndarray, bits: int, ids: np.ndarray | None = None) -> None:
    """Write codes as a CSV table of `id` and `code`, the bits in order as 0 and 1: what pgvector's bit(k) takes.

    Args:
        file: open for writing.
        codes: uint8, shape (n, ceil(bits / 8)), in the order "little".
        bits: length of the codes.
        ids: int64, shape (n,); by default 0 to n - 1.
    """
    file.write(b"id,code\n")
    for start in range(0, len(codes), BLOCK):
        block = codes[start : start + BLOCK]
        texts = (np.unpackbits(block, axis=1, count=bits, bitorder="little") + ord("0")).view(f"S{bits}")[:, 0]
        numbers = range(start, start + len(block)) if ids is None else ids[start : start + BLOCK].tolist()
        file.write(b"".join(b"%d,%s\n" % pair for pair in zip(numbers, texts.tolist(), strict=True)))
