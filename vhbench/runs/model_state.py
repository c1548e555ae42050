"""What a fitted method has learnt, as arrays and plain values, and a fitted method made of them again."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from vhbench.errors import MethodError

if TYPE_CHECKING:
    from torch import nn

    from vhbench.method import Method
    from vhbench.training import NeuralMethod

MODULE = "module_."  # before the names of a network's arrays
LEARNT = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}_")  # an attribute that `fit` sets
OF_METHODS = ("vhbench.method", "vhbench.training")  # whose `save` and `load` are known
SCALARS = (bool, int, float, str, type(None))
NATIVE = "biuf"  # kinds of dtypes that safetensors has; of others the bytes are kept
KINDS = f"{NATIVE}cSUMm"


def keeps_its_own_form(method: type[Method]) -> bool:
    """Say whether a method overrides `save` or `load`: what it learns may be more than arrays then."""
    owners = [next(cls for cls in method.__mro__ if name in vars(cls)) for name in ("save", "load")]
    return any(owner.__module__ not in OF_METHODS for owner in owners)


def state_of(method: Method) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return what a fitted method has learnt: arrays by name, in host memory, and JSON scalars by name.

    Of a network each entry of its `state_dict` is an array `module_.NAME`.

    Raises:
        MethodError: it is not fitted, or an attribute that ends in an underscore is neither an array nor a scalar.
    """
    from vhbench.training import NeuralMethod

    method.check_fitted()
    if isinstance(method, NeuralMethod):
        network = {f"{MODULE}{name}": tensor.cpu() for name, tensor in method.module_.state_dict().items()}
        learnt: dict[str, Any] = {"shape_": method.shape_, **network}
    else:
        learnt = {name: value for name, value in vars(method).items() if LEARNT.fullmatch(name)}
    values = {name: value for name, value in learnt.items() if _is_scalar(value)}
    return {name: _array(method, name, value) for name, value in learnt.items() if name not in values}, values


def restore(method: Method, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> Method:
    """Give an unfitted method what `state_of` returned; it computes on the CPU, in eval mode.

    Raises:
        ValueError: this is not the state of such a method; the message says why.
    """
    from vhbench.training import NeuralMethod

    own = {name: array for name, array in arrays.items() if not name.startswith(MODULE)} | values
    for name, value in own.items():
        if not LEARNT.fullmatch(name):
            raise ValueError(f"{name!r} is no name of an attribute that a method learns")
        setattr(method, name, value)
    network = {name.removeprefix(MODULE): array for name, array in arrays.items() if name not in own}
    if isinstance(method, NeuralMethod):
        method.module_ = _network(method, network)
    elif network:
        raise ValueError(f"it has the arrays of a network, and {type(method).__name__} has none")
    return method


def to_octets(array: np.ndarray) -> np.ndarray:
    """Return an array as safetensors can write it: rows in order, little-endian, its bytes where it has no such dtype.

    safetensors writes the memory of an array, whatever its strides say.
    """
    rows = np.array(array, dtype=array.dtype.newbyteorder("<"), order="C")
    return rows if rows.dtype.kind in NATIVE and rows.itemsize <= 8 else np.frombuffer(rows.tobytes(), np.uint8)


def describe(array: np.ndarray) -> dict[str, Any]:
    """Return what `from_octets` has to know: with another order in memory, products are rounded otherwise."""
    fortran = array.flags.f_contiguous and not array.flags.c_contiguous
    return {
        "dtype": array.dtype.newbyteorder("<").str,
        "shape": list(array.shape),
        "order": "F" if fortran else "C",
    }


def from_octets(stored: np.ndarray, described: Mapping[str, Any]) -> np.ndarray:
    """Return the array of which `to_octets` and `describe` were made.

    Raises:
        ValueError: what is stored is not what is described.
    """
    try:
        dtype = np.dtype(described["dtype"])
    except (TypeError, ValueError, SyntaxError) as error:
        raise ValueError(f"there is no dtype {described['dtype']!r}") from error
    shape = tuple(described["shape"])
    if dtype.kind not in KINDS or not dtype.itemsize or dtype.str != described["dtype"]:
        raise ValueError(f"{described['dtype']!r} is no dtype of plain numbers or text")
    if stored.dtype == np.uint8 and dtype != np.uint8:
        if stored.ndim != 1 or stored.size != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"it has not the bytes of {dtype} {shape}")
        stored = stored.view(dtype).reshape(shape)
    if (stored.dtype, stored.shape) != (dtype, shape):
        raise ValueError(f"it holds {stored.dtype} {stored.shape} and says {dtype} {shape}")
    return np.array(stored, order=described["order"])


def _is_scalar(value: Any) -> bool:
    """Say whether a value is a number, a text or nothing as JSON has them; not NumPy's numbers, which are arrays."""
    return type(value) in SCALARS and not (isinstance(value, float) and not math.isfinite(value))


def _array(method: Method, name: str, value: Any) -> np.ndarray:
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise MethodError(f"{type(method).__name__}.{name} cannot be kept as an array ({error}).") from error
    if array.dtype.kind not in KINDS or not array.dtype.itemsize:
        raise MethodError(
            f"{type(method).__name__}.{name} is neither an array nor a scalar, and no model can hold it: keep what "
            "`encode` uses in arrays."
        )
    return array


def _network(method: NeuralMethod, arrays: Mapping[str, np.ndarray]) -> nn.Module:
    """Return a method's network with these arrays in it; raise ValueError where they are not those of such a one."""
    import torch

    shape = method.shape_
    if not (isinstance(shape, np.ndarray) and shape.dtype.kind == "i" and shape.shape == (2,) and (shape > 0).all()):
        raise ValueError("it does not say for how many frames and dimensions its network was built")
    frames, dim = shape.tolist()
    with torch.random.fork_rng(devices=[]):
        _check_sizes(method, frames, dim, arrays)
        module = method.build(frames, dim)
    try:
        module.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"its arrays are not those of such a network: {' '.join(str(error).split())[:200]}") from error
    return module.eval()


def _check_sizes(method: NeuralMethod, frames: int, dim: int, arrays: Mapping[str, np.ndarray]) -> None:
    """Raise ValueError where the network that the hyper-parameters ask for has other sizes than its arrays.

    It is built without memory: a foreign file may ask for more than there is.
    """
    import torch

    try:
        with torch.device("meta"):
            sizes = {name: tuple(tensor.shape) for name, tensor in method.build(frames, dim).state_dict().items()}
    except Exception:  # a network that needs memory to be built; what is wrong with it is said when it is
        return
    if sizes != {name: array.shape for name, array in arrays.items()}:
        raise ValueError("its arrays have other sizes than its hyper-parameters ask for")
