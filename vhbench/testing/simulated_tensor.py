"""Tensors that say they are on a GPU, compute on the CPU, and keep a GPU's rules; see `vhbench.testing.simulated_gpu`.

Of torch's internals this file uses wrapper subclasses (`Tensor._make_wrapper_subclass`), function modes, the aliasing
helper of `torch.utils._python_dispatch`, and operators' tags.
"""

# mypy: disable-error-code="override, no-untyped-call"
# (what stands in place of torch's own attributes and functions)

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import return_and_correct_aliasing

from vhbench.testing.simulated_device import Gpu, Held, Traffic, caller

aten = torch.ops.aten
INDEXING = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
COPY = aten.copy_.default
# beside elementwise operators these take a number that lies on the CPU
TAKE_NUMBERS = {COPY, *(getattr(aten, name).Tensor for name in ("fill", "fill_", "masked_fill", "masked_fill_"))}
# besides those whose result, or its size, is for the host, these look at error codes that the GPU computes
CHECKED = {"aten::_linalg_check_errors", "aten::_linalg_eigh", "aten::_linalg_svd"}
RECURRENT = {"lstm", "gru", "rnn_tanh", "rnn_relu"}


class OnGpu(torch.Tensor):
    """A tensor on a simulated GPU.

    Args:
        held: its values, a plain tensor without a gradient.
        gpu: where it says it is.
        requires_grad: whether it takes part in gradients as a leaf.
    """

    held: torch.Tensor
    gpu: Gpu
    _memory: Held
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, held: torch.Tensor, gpu: Gpu, requires_grad: bool = False) -> OnGpu:
        """Make torch take it for a tensor of the CPU, so that the CPU's operators are called."""
        self: OnGpu = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype,
            layout=held.layout, device=held.device, requires_grad=requires_grad,
        )  # fmt: skip
        self.held, self.gpu = held, gpu
        self._memory = gpu.hold(held)
        return self

    def __init__(self, held: torch.Tensor, gpu: Gpu, requires_grad: bool = False):
        pass

    def __repr__(self, **options: Any) -> str:
        return f"OnGpu({self.held!r}, device='{self.gpu.device}')"

    @property
    def device(self) -> torch.device:
        """Where it says it is."""
        return self.gpu.device

    @property
    def is_cuda(self) -> bool:
        """True."""
        return True

    @property
    def is_cpu(self) -> bool:
        """False."""
        return False

    def get_device(self) -> int:
        """Return the number of its GPU."""
        return self.gpu.device.index

    def numpy(self, *arguments: Any, **options: Any) -> NoReturn:
        """Refuse, as a GPU does."""
        raise TypeError(f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() first.")

    def __array__(self, *arguments: Any, **options: Any) -> np.ndarray:
        return self.numpy()

    def tolist(self) -> Any:
        """Return the values, for which the host waits."""
        self.gpu.traffic.wait("tolist")
        return self.held.tolist()

    def record_stream(self, stream: Any) -> None:
        """Do nothing: the simulation computes one thing after the other."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        # a file of a GPU's tensors, read with map_location="cpu" as it must be where there is none
        return self.held.detach().__reduce_ex__(protocol)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Compute on the CPU, after a look at where the operands are."""
        kwargs = kwargs or {}
        operands = list(_tensors([args, list(kwargs.values())]))
        gpu = next(operand.gpu for operand in operands if isinstance(operand, OnGpu))
        _count(func, args, kwargs, gpu.traffic)
        _refuse_two_devices(func, args, operands, gpu)
        with torch.inference_mode(False):  # whose tensors cannot be wrapped as views of others
            out = gpu.compute(func, _plain(args), {name: _plain(value) for name, value in kwargs.items()})
            if func is COPY and not isinstance(args[0], OnGpu):
                return args[0]
            return return_and_correct_aliasing(func, args, kwargs, _wrapped(out, gpu))


def _tensors(values: Any) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def _plain(value: Any) -> Any:
    if isinstance(value, OnGpu):
        return value.held
    if isinstance(value, list | tuple):
        return type(value)([_plain(item) for item in value])
    return value


def _wrapped(value: Any, gpu: Gpu) -> Any:
    if isinstance(value, torch.Tensor):
        return OnGpu(value, gpu)
    if isinstance(value, list | tuple):
        return type(value)([_wrapped(item, gpu) for item in value])
    return value


class _Traits(NamedTuple):
    """What an operator is.

    Attributes:
        name: without its overload.
        for_host: its result, or that result's size, is for the host.
        checked: it looks at an error code that the GPU computes.
        pointwise: it works on elements, and takes a number that lies on the CPU.
    """

    name: str
    for_host: bool
    checked: bool
    pointwise: bool


@functools.cache
def _traits(func: Any) -> _Traits:
    tags, name = set(func.tags), func.name()
    for_host = bool({torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & tags)
    return _Traits(
        name.removeprefix("aten::").partition(".")[0], for_host, name in CHECKED, torch.Tag.pointwise in tags
    )


def _count(func: Any, args: Any, kwargs: Any, traffic: Traffic) -> None:
    """Count what an operator makes the host wait for, and what it copies to the GPU."""
    traits = _traits(func)
    if func is COPY:
        there, source = args[0], args[1]
        if not isinstance(there, OnGpu):
            traffic.wait("copy_ to the CPU")
            traffic.downloaded += there.nbytes
        elif not isinstance(source, OnGpu):
            traffic.upload("copy_", waits=not (is_pinned(source) and _non_blocking(args[2:], kwargs)))
    elif func in INDEXING:
        indices = [index for index in args[1] if index is not None]
        value = args[2] if len(args) > 2 else None  # of an assignment
        number = value is not None and not isinstance(value, OnGpu)
        masks = [index for index in indices if index.dtype in (torch.bool, torch.uint8)]
        for index in indices:
            if isinstance(args[0], OnGpu) and not isinstance(index, OnGpu):
                traffic.upload("an index on the CPU")
        if masks and number and len(indices) == 1:
            pass  # masked_fill does it, which need not know how many there are
        elif masks:
            traffic.wait("a boolean mask as index")
        elif number:
            traffic.upload("a number put in at an index")
    elif traits.checked or (traits.for_host and kwargs.get("output_size") is None):
        traffic.wait("item" if traits.name == "_local_scalar_dense" else traits.name)


def _refuse_two_devices(func: Any, args: Any, operands: Sequence[torch.Tensor], gpu: Gpu) -> None:
    """Raise torch's error where operands lie on two devices that the operator does not bring together."""
    indices: list[torch.Tensor] = []
    if func in INDEXING:
        indices = [index for index in args[1] if index is not None]
        if not isinstance(args[0], OnGpu):
            raise RuntimeError("indices should be either on cpu or on the same device as the indexed tensor (cpu)")
    numbers = func in TAKE_NUMBERS or func in INDEXING or _traits(func).pointwise
    for operand in operands:
        if isinstance(operand, OnGpu):
            allowed = operand.gpu is gpu or func is COPY
        else:
            allowed = func is COPY or (numbers and operand.dim() == 0) or any(operand is index for index in indices)
        if not allowed:
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found at least two devices, "
                f"{gpu.device} and {operand.device}! ({func}, a tensor of shape {tuple(operand.shape)})"
            )


def _non_blocking(rest: Sequence[Any], kwargs: Any) -> bool:
    return bool(rest[0] if rest else kwargs.get("non_blocking", False))


_PINNED = "_vhbench_pinned"  # where a tensor in pinned memory keeps that it is


def is_pinned(tensor: torch.Tensor) -> bool:
    """Say whether a tensor of the CPU, or the one that it is a view of, was made by `pinned`."""
    return hasattr(tensor, _PINNED) or hasattr(tensor._base, _PINNED)


def pinned(tensor: torch.Tensor) -> torch.Tensor:
    """Return a copy that counts as one in pinned memory."""
    copy = tensor.detach().clone()
    setattr(copy, _PINNED, True)
    return copy


class Mode(TorchFunctionMode):
    """Sends to the simulated GPUs what is asked for there; belongs to one thread.

    Args:
        gpus: by number.
        current: returns the number that "cuda" stands for.
    """

    def __init__(self, gpus: Sequence[Gpu], current: Callable[[], int]):
        super().__init__()
        self._gpus, self._current = gpus, current

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Take over what concerns places; everything else goes its way."""
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        first = args[0] if args and isinstance(args[0], torch.Tensor) else None
        if first is not None and name in ("to", "cpu", "cuda", "type_as"):
            return self._move(name, first, args[1:], kwargs)
        if first is not None and name == "pin_memory" and not isinstance(first, OnGpu):
            return pinned(first)
        if first is not None and name == "is_pinned":
            return is_pinned(first)
        if name == "__set__" and isinstance(first, OnGpu) and args[1:] and isinstance(args[1], torch.Tensor):
            return self._set_data(func, first, args[1])
        if name in RECURRENT and isinstance(first, OnGpu) and torch.is_autocast_enabled("cuda"):
            first.gpu.traffic.float16[f"{name} under autocast at {caller()}"] += 1
        if "device" in kwargs or (name == "new_tensor" and isinstance(first, OnGpu)):
            return self._make(name, func, first, args, kwargs)
        return func(*args, **kwargs)

    def gpu(self, device: Any) -> Gpu | None:
        """Return the GPU that a device names, None for the CPU.

        Raises:
            RuntimeError: there is no such GPU.
        """
        device = torch.device("cuda", device) if isinstance(device, int) else torch.device(device)
        if device.type != "cuda":
            return None
        number = self._current() if device.index is None else device.index
        if number >= len(self._gpus):
            raise RuntimeError("CUDA error: invalid device ordinal")
        return self._gpus[number]

    def _make(self, name: str, func: Any, first: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Make a tensor where it is asked for, or where the tensor is that it is made like."""
        device = kwargs.pop("device", None)
        made_like = first.gpu if isinstance(first, OnGpu) else None
        gpu = made_like if device is None else self.gpu(device)
        generator = kwargs.get("generator")
        if generator is not None and generator.device.type != ("cpu" if gpu is None else "cuda"):
            there = "cpu" if gpu is None else "cuda"
            raise RuntimeError(f"Expected a '{there}' device type for generator but found '{generator.device.type}'")
        out = func(*args, **kwargs) if made_like else func(*args, **kwargs, device="cpu" if gpu else device)
        if gpu is None:
            return out.held if isinstance(out, OnGpu) else out
        if name in ("tensor", "as_tensor", "asarray", "new_tensor") and not isinstance(out, OnGpu):
            gpu.traffic.upload(name)
        held = out.held if isinstance(out, OnGpu) else out.detach()
        return out if isinstance(out, OnGpu) and out.gpu is gpu else OnGpu(held, gpu, out.requires_grad)

    def _move(self, name: str, tensor: torch.Tensor, rest: Any, kwargs: dict[str, Any]) -> Any:
        """Do `to`, `cpu`, `cuda` and `type_as`."""
        device: Any = {"cpu": "cpu", "cuda": "cuda"}.get(name)
        dtype: torch.dtype | None = None
        for value in (*rest, *(kwargs.pop(key, None) for key in ("other", "device", "dtype"))):
            if isinstance(value, torch.dtype):
                dtype = value
            elif isinstance(value, torch.Tensor):
                device, dtype = value.device, value.dtype
            elif isinstance(value, str | torch.device) or (isinstance(value, int) and not isinstance(value, bool)):
                device = value
        free_of_waiting = bool(kwargs.pop("non_blocking", False)) and is_pinned(tensor)
        if dtype is not None or kwargs:
            # as torch does: to a smaller dtype before the copy or to a larger one after it, with the same values
            was_pinned, tensor = is_pinned(tensor), tensor.to(tensor.dtype if dtype is None else dtype, **kwargs)
            free_of_waiting &= was_pinned
        if device is None:
            return tensor
        gpu = self.gpu(device)
        if isinstance(tensor, OnGpu) and gpu is None:
            tensor.gpu.traffic.wait(f"{name} the CPU" if name == "to" else name)
            tensor.gpu.traffic.downloaded += tensor.held.nbytes
            return _Down.apply(tensor)  # type: ignore[no-untyped-call]
        if gpu is None or (isinstance(tensor, OnGpu) and tensor.gpu is gpu):
            return tensor
        if not isinstance(tensor, OnGpu):
            gpu.traffic.upload(name, waits=not free_of_waiting)
        return _Up.apply(tensor, gpu)  # type: ignore[no-untyped-call]

    def _set_data(self, func: Any, tensor: OnGpu, data: torch.Tensor) -> None:
        """Do `tensor.data = data`."""
        if not isinstance(data, OnGpu):
            raise NotImplementedError(
                "The simulation cannot take a tensor off its GPU by `.data =`: use `.to(device)`."
            )
        func(tensor, data)
        tensor.held, tensor.gpu, tensor._memory = data.held, data.gpu, data.gpu.hold(data.held)


class _Up(torch.autograd.Function):
    """A copy on a GPU, from the CPU or another GPU."""

    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor, gpu: Gpu) -> torch.Tensor:
        """Copy."""
        ctx.source = tensor.gpu if isinstance(tensor, OnGpu) else None
        return OnGpu(_plain(tensor).detach().clone(), gpu)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Copy the gradient back."""
        plain = _plain(grads[0])
        return OnGpu(plain, ctx.source) if ctx.source else plain, None


class _Down(torch.autograd.Function):
    """A copy on the CPU."""

    @staticmethod
    def forward(ctx: Any, tensor: OnGpu) -> torch.Tensor:
        """Copy."""
        ctx.source = tensor.gpu
        return tensor.held.detach().clone()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Copy the gradient back."""
        return OnGpu(grads[0], ctx.source)
