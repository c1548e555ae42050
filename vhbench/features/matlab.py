"""Arrays out of MATLAB files: 5 and older through SciPy, 7.3 as HDF5, where MATLAB's own attributes say what one is."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vhbench.errors import DataError
from vhbench.features.headers import check_links, missing_key
from vhbench.features.matlab5 import LARGEST, check_structure

if TYPE_CHECKING:
    import h5py
    import scipy.sparse

SETTING = 'label_key = "..."'
OBJECTS = "save numbers as double(x) and names as cellstr(x)"
NUMBERS = {"double", "single", "logical", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))}


def read_matlab(path: Path, keys: Sequence[str]) -> np.ndarray:
    """Return a variable of a MATLAB file up to version 7: an array of numbers, or the texts of a char array or cells.

    Args:
        path: the file.
        keys: names to try; "a.b" is field b of struct a.

    Raises:
        DataError: the file is not sound, has none of the variables, or the variable is neither numbers nor texts.
    """
    import scipy.io

    try:
        check_size(path.stat().st_size, str(path))
        content = path.read_bytes()
        check_structure(content)
        file = io.BytesIO(content)
        names = [name for name, _, _ in scipy.io.whosmat(file)]
        found = [(key, name) for key in keys for name in (key, key.partition(".")[0]) if name in names]
        key, name = found[0] if found else ("", "")
        value = scipy.io.loadmat(file, variable_names=[name])[name] if found else None
    except (DataError, MemoryError):
        raise
    except Exception as error:  # scipy lets whatever its parser trips over escape, from TypeError to zlib.error
        raise DataError(
            f"{path} is neither a sound MATLAB file nor HDF5, .npy, .npz, .txt, .csv or .tsv ({error}): labels must be "
            "in one of these formats. Copy or download it again."
        ) from error
    if not found:
        raise missing_key(path, list(keys), names, SETTING)
    for field in key[len(name) + 1 :].split(".") if key != name else []:
        value = _field(value, name, field, path)
        name = f"{name}.{field}"
    return _plain(value, f"{name!r} of {path}", name)


def read_matlab_73(file: h5py.File, path: Path, keys: Sequence[str], count: int | None) -> np.ndarray:
    """Return a variable of a MATLAB 7.3 file, or a data set of an HDF5 file that another program wrote.

    MATLAB's arrays have the attribute MATLAB_class and lie transposed; others lie as they are, or transposed where only
    so they label as many videos as there are.

    Args:
        file: the open file.
        path: its name, for messages.
        keys: names to try; "a.b" or "a/b" is b in a.
        count: how many videos there are; None where that is not known.

    Raises:
        DataError: there is none of the variables, or it is neither numbers nor texts.
    """
    import h5py

    item, name = _find(file, path, keys)
    what = f"{name!r} of {path}"
    of_class = _text(item.attrs.get("MATLAB_class", b""))
    if "MATLAB_sparse" in item.attrs and isinstance(item, h5py.Group):
        return _sparse_73(item, what)
    if isinstance(item, h5py.Group):
        raise _struct_error(what, name, list(item))
    if item.attrs.get("MATLAB_empty", 0):
        return np.empty((0, 0))
    if of_class not in {"", "char", "cell", *NUMBERS} or "MATLAB_object_decode" in item.attrs:
        raise DataError(f"{what} is a MATLAB {of_class or 'object'}, which only MATLAB reads: {OBJECTS}.")
    _check_size(item.shape, item.dtype, what)
    if of_class == "cell":
        return _texts([_char(file[cell], f"cell {place} of {what}") for place, cell in enumerate(item[()].flat)])
    if of_class == "char":
        return _texts(_char_rows(item))
    if h5py.check_string_dtype(item.dtype):
        return _texts(item.asstr()[()].ravel().tolist())
    array = np.asarray(item[()])
    transposed = bool(of_class) or (array.ndim == 2 and array.shape[0] != count == array.shape[1])
    return array.T if transposed else array


def _field(value: Any, name: str, field: str, path: Path) -> Any:
    """Return a field of the one struct that a variable holds."""
    names = value.dtype.names if isinstance(value, np.ndarray) and value.dtype.names else ()
    if field not in names:
        raise missing_key(path, [f"{name}.{field}"], [f"{name}.{other}" for other in names], SETTING)
    if value.size != 1:
        raise DataError(f"{name!r} of {path} is an array of {value.size} structs: save the labels as one array.")
    return value.flat[0][field]


def _plain(value: Any, what: str, name: str) -> np.ndarray:
    """Return what SciPy made of a variable as an array of numbers or texts."""
    import scipy.io.matlab
    import scipy.sparse

    if scipy.sparse.issparse(value):
        return _dense(value.tocsc(), what)
    if isinstance(value, scipy.io.matlab.MatlabOpaque | scipy.io.matlab.MatlabFunction):
        raise DataError(f"{what} is a MATLAB object, which only MATLAB reads: {OBJECTS}.")
    if value.dtype.names:
        raise _struct_error(what, name, value.dtype.names)
    if value.dtype == object:
        return _texts([_cell(cell, f"cell {place} of {what}") for place, cell in enumerate(value.flat)])
    if value.dtype.kind == "U":
        return _texts(value.ravel().tolist())
    return np.asarray(value)


def _cell(cell: Any, what: str) -> str:
    if isinstance(cell, np.ndarray) and cell.dtype.kind == "U" and cell.size <= 1:
        return str(cell.item()) if cell.size else ""
    raise _cell_error(what)


def _char(item: Any, what: str) -> str:
    if _text(item.attrs.get("MATLAB_class", b"")) != "char":
        raise _cell_error(what)
    rows = [] if item.attrs.get("MATLAB_empty", 0) else _char_rows(item)
    if len(rows) > 1:
        raise _cell_error(what)
    return rows[0] if rows else ""


def _char_rows(item: h5py.Dataset) -> list[str]:
    """Return the rows of a char array, which lie as columns of UTF-16 numbers."""
    rows = np.ascontiguousarray(item[()].T.astype("<u2"))
    return [row.tobytes().decode("utf-16-le", errors="replace") for row in np.atleast_2d(rows)]


def _cell_error(what: str) -> DataError:
    return DataError(
        f"{what} is not one text: a cell array of labels must hold one class name a video; save class numbers as a "
        "vector, and several classes a video as a matrix of zeros and ones."
    )


def _struct_error(what: str, name: str, fields: Sequence[str]) -> DataError:
    keys = ", ".join(f'"{name}.{field}"' for field in fields[:10])
    return DataError(f"{what} is a struct or group: name the field that holds the labels, label_key = one of {keys}.")


def _texts(texts: list[str]) -> np.ndarray:
    return np.array(texts, dtype=np.str_)


def _text(value: Any) -> str:
    return value.decode("ascii", errors="replace") if isinstance(value, bytes) else str(value)


def _find(file: h5py.File, path: Path, keys: Sequence[str]) -> tuple[Any, str]:
    """Return what lies under the first of the names that the file has, and its name."""
    import h5py

    for key in keys:
        for name in (key, key.replace(".", "/")):
            check_links(file, path, name)
            item = file.get(name)
            if isinstance(item, h5py.Dataset | h5py.Group) and item.name != "/":
                if "MATLAB_sparse" in item.parent.attrs:
                    raise DataError(
                        f"{key!r} of {path} is a part of a sparse matrix: name the whole, "
                        f'label_key = "{item.parent.name.strip("/")}".'
                    )
                return item, key
    raise missing_key(path, list(keys), _names(file), SETTING)


def _names(file: h5py.File) -> list[str]:
    """Return the names of the arrays of a file: a sparse matrix counts as one, MATLAB's own tables do not count."""
    import h5py

    names: list[str] = []
    wholes: list[str] = ["#refs#", "#subsystem#"]

    def visit(name: str, item: Any) -> None:
        if any(name == whole or name.startswith(f"{whole}/") for whole in wholes):
            return
        sparse = "MATLAB_sparse" in item.attrs
        if sparse:
            wholes.append(name)
        if sparse or isinstance(item, h5py.Dataset):
            names.append(name)

    file.visititems(visit)
    return names


def _sparse_73(group: h5py.Group, what: str) -> np.ndarray:
    """Return a sparse matrix, whose values and row numbers lie column by column; an empty one lacks both."""
    import scipy.sparse

    starts = group["jc"][()].astype(np.int64) if "jc" in group else np.zeros(1, np.int64)
    values, rows = ((group[key][()] if key in group else np.empty(0)) for key in ("data", "ir"))
    shape = (int(group.attrs["MATLAB_sparse"]), len(starts) - 1)
    try:
        matrix = scipy.sparse.csc_matrix((values, rows.astype(np.int64), starts), shape=shape)
    except ValueError as error:
        raise DataError(f"{what} is a damaged sparse matrix ({error}). Copy or download it again.") from error
    return _dense(matrix, what)


def _dense(matrix: scipy.sparse.csc_matrix, what: str) -> np.ndarray:
    """Return a sparse matrix as an array, once its numbers of rows are known to lie within its shape."""
    _check_size(matrix.shape, matrix.dtype, what)
    try:
        matrix.check_format(full_check=True)
    except ValueError as error:
        raise DataError(f"{what} is a damaged sparse matrix ({error}). Copy or download it again.") from error
    array: np.ndarray = matrix.toarray()
    return array


def _check_size(shape: Sequence[int] | None, dtype: np.dtype, what: str) -> None:
    """Refuse an array that cannot be labels before it fills the memory."""
    if shape is None or len(shape) > 2:
        raise DataError(f"{what} has shape {shape}: labels have one or two dimensions.")
    size = dtype.itemsize
    for length in shape:
        size *= int(length)
    check_size(size, f"{what}, of shape {tuple(shape)},")


def check_size(size: int, what: str) -> None:
    """Raise DataError where so many bytes are to be read as labels."""
    if size > LARGEST:
        raise DataError(
            f"{what} takes {size / 1e9:.3g} GB: labels of that size cannot be right. Save zeros and ones as uint8, or "
            "get the right version of the file."
        )
