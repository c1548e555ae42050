"""The structure of MATLAB 5 files, looked through before SciPy reads one: it trusts every type and size, and crashes.

A file is 128 bytes and then data elements: a tag with type and size, and as many bytes. An array (`MATRIX`) holds
elements itself: flags with its class, shape, name, and what its class asks for; see "MAT-File Format", The MathWorks.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

HEADER = 128
MATRIX, COMPRESSED = 14, 15
NAMES = {1, 16}  # types of names: bytes or UTF-8
NUMERIC = {1, 2, 3, 4, 5, 6, 7, 9, 12, 13}  # types of numbers
TEXT = NUMERIC | {16, 17, 18}  # of characters: numbers, or UTF-8, -16 and -32
CELL, STRUCT, OBJECT, CHAR, SPARSE = 1, 2, 3, 4, 5
NUMBERS = range(6, 16)  # classes of arrays of numbers
COMPLEX = 0x08
LARGEST = 2**30  # bytes of an array of labels
DEEPEST = 16  # cells in cells


@dataclass(frozen=True)
class _Element:
    kind: int
    content: memoryview


def check_structure(content: bytes) -> None:
    """Raise ValueError where a MATLAB 5 file's elements do not fit into each other; other content passes.

    Arrays of classes that only MATLAB reads are not looked into.
    """
    order = {b"IM": "<", b"MI": ">"}.get(content[126:HEADER])
    if order is None:
        return
    for element in _elements(memoryview(content)[HEADER:], order):
        if element.kind == COMPRESSED:
            inner = zlib.decompressobj().decompress(element.content, LARGEST)
            if len(inner) == LARGEST:
                raise ValueError("it unpacks to more than any labels need")
            for matrix in _elements(memoryview(inner), order):
                _check_matrix(matrix, order, 0)
        else:
            _check_matrix(element, order, 0)


def _elements(content: memoryview, order: str) -> Iterator[_Element]:
    """Yield the elements that follow each other in some bytes."""
    place = 0
    while place < len(content):
        if len(content) - place < 8:
            raise ValueError("an element is cut off")
        kind, size = struct.unpack_from(f"{order}II", content, place)
        start = place + 8
        if small := kind >> 16:  # up to 4 bytes lie in the tag itself
            kind, size, start = kind & 0xFFFF, small, place + 4
            place += 8
        else:
            place = start + (size if kind == COMPRESSED else -(-size // 8) * 8)
        if start + size > len(content) or (small and size > 4):
            raise ValueError(f"an element of type {kind} should have {size} bytes")
        yield _Element(kind, content[start : start + size])


def _check_matrix(element: _Element, order: str, depth: int) -> None:
    """Check an array: the types and sizes of its elements, whatever their values."""
    if element.kind != MATRIX:
        raise ValueError(f"an element of type {element.kind} stands where an array should")
    if depth > DEEPEST:
        raise ValueError("its cells are nested too deeply")
    if not element.content:
        return  # an empty array
    parts = _elements(element.content, order)
    flags, shape, name = (_next(parts) for _ in range(3))
    dimensions, rest = divmod(len(shape.content), 4)
    sound = (flags.kind, len(flags.content), shape.kind, rest) == (6, 8, 5, 0) and name.kind in NAMES
    if not sound or not 2 <= dimensions <= 32:
        raise ValueError("an array's flags, shape or name is damaged")
    (bits,) = struct.unpack_from(f"{order}I", flags.content)
    of_class, imaginary = bits & 0xFF, bool(bits >> 8 & COMPLEX)
    lengths = struct.unpack(f"{order}{dimensions}i", shape.content)
    if min(lengths) < 0:
        raise ValueError(f"an array has shape {lengths}")
    if of_class in NUMBERS:
        _check_types(parts, [NUMERIC] * (1 + imaginary))
    elif of_class == CHAR:
        _check_types(parts, [TEXT])
    elif of_class == SPARSE:
        _check_types(parts, [NUMERIC] * (3 + imaginary))
    elif of_class == CELL:
        _check_matrices(parts, order, depth, math.prod(lengths))
    elif of_class in (STRUCT, OBJECT):
        _check_types(parts, [NAMES] if of_class == OBJECT else [])
        _check_matrices(parts, order, depth, math.prod(lengths) * _count_fields(parts, order))


def _count_fields(parts: Iterator[_Element], order: str) -> int:
    """Return how many fields a struct has, whose names are all of one length."""
    length, names = _next(parts), _next(parts)
    width = struct.unpack(f"{order}i", length.content)[0] if len(length.content) == 4 else 0
    if length.kind != 5 or names.kind not in NAMES or width < 1 or len(names.content) % width:
        raise ValueError("the names of a struct's fields are damaged")
    return len(names.content) // width


def _check_types(parts: Iterator[_Element], types: list[set[int]]) -> None:
    for allowed in types:
        kind = _next(parts).kind
        if kind not in allowed:
            raise ValueError(f"an element is of type {kind}")


def _check_matrices(parts: Iterator[_Element], order: str, depth: int, count: int) -> None:
    for _ in range(count):
        _check_matrix(_next(parts), order, depth + 1)


def _next(parts: Iterator[_Element]) -> _Element:
    element = next(parts, None)
    if element is None:
        raise ValueError("an array ends before all its elements")
    return element
