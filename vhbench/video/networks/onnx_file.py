"""A network in an ONNX file, computed by onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vhbench.errors import DataError, UsageError, unknown
from vhbench.system.files import check_regular, sha256_of
from vhbench.system.text import plain
from vhbench.video.extra import import_extra
from vhbench.video.networks.network import USUAL

SIZE = 224  # where the file leaves it open
BATCH = 5  # pictures at a time: a third faster on a CPU than 25, whose maps leave its cache
SILENT = 4  # onnxruntime's level at which only what ends it is said


class OnnxFile:
    """A network of onnxruntime; see `vhbench.video.networks.Network`.

    Its one input is float32 (m, 3, s, s); m and s may be left open, s is 224 then. An output (m, d) is taken as it is,
    of one (m, d, h, w) the mean over h and w. Pictures are normalised with ImageNet's mean and deviation.

    Args:
        path: the file.
        layer: name of the output to take; None takes the first.
        device: "cpu" or "cuda:N".

    Raises:
        DataError: it cannot be read, or its input has another form.
        UsageError: it has no such output, or onnxruntime no such device.
    """

    def __init__(self, path: Path, layer: str | None, device: str):
        runtime = import_extra("onnxruntime")
        try:
            check_regular(path)
            self.weights = sha256_of(path)
        except FileNotFoundError as error:
            raise DataError(f"There is no network {path}.") from error
        except OSError as error:
            raise DataError(f"Cannot read the network {path}: {error.strerror or error}.") from error
        self._session = _session(runtime, path, device)
        outputs = [output.name for output in self._session.get_outputs()]
        if layer is not None and layer not in outputs:
            raise unknown(f"output of {path.name}", layer, outputs)
        self.name, self.layer, self.normalisation = path.name, layer or outputs[0], USUAL
        self.versions = {"onnxruntime": runtime.__version__}
        self._input, self._batch, self.size = _form_of_input(self._session, path)
        self.dim = self(np.zeros((1, 3, self.size, self.size), dtype=np.float32)).shape[1]

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Compute the features of pictures with one thread, so that jobs share the cores."""
        size = self._batch or BATCH
        parts = [self._compute(inputs[start : start + size], size) for start in range(0, len(inputs), size)]
        return np.concatenate(parts)

    def _compute(self, inputs: np.ndarray, size: int) -> np.ndarray:
        real = len(inputs)
        if real < size and self._batch:  # a file that names its number of pictures takes no other
            inputs = np.concatenate([inputs, np.zeros((size - real, *inputs.shape[1:]), dtype=np.float32)])
        try:
            (output,) = self._session.run([self.layer], {self._input: inputs})
        except Exception as error:  # of classes that onnxruntime does not name
            raise DataError(f"The network {self.name} cannot compute: {plain(error)[:200]}.") from error
        if output.ndim == 4:
            output = output.mean((2, 3))
        if output.ndim != 2 or len(output) != len(inputs):
            raise DataError(
                f"The output {self.layer!r} of {self.name} has the shape {tuple(output.shape)}, not (m, d) or "
                "(m, d, h, w): name another with --layer."
            )
        return np.asarray(output[:real], dtype=np.float32)


def _session(runtime: Any, path: Path, device: str) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = SILENT
    providers: list[Any] = ["CPUExecutionProvider"]
    if device != "cpu":
        if "CUDAExecutionProvider" not in runtime.get_available_providers():
            raise UsageError(f"--device {device}: this onnxruntime has no CUDA; use --device cpu.")
        providers = [("CUDAExecutionProvider", {"device_id": int(device.partition(":")[2] or 0)}), *providers]
    try:
        return runtime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # of classes that onnxruntime does not name
        raise DataError(f"{path} is no ONNX network that can be used: {plain(error)[:200]}.") from error


def _form_of_input(session: Any, path: Path) -> tuple[str, int | None, int]:
    """Return the name of the input, how many pictures it takes (None: any), and the pixels of their side."""
    inputs = session.get_inputs()
    shape = list(inputs[0].shape) if len(inputs) == 1 else []
    sizes = [value if isinstance(value, int) else None for value in shape]
    fits = len(shape) == 4 and sizes[1] in (3, None) and sizes[2] == sizes[3] and inputs[0].type == "tensor(float)"
    if not fits:
        described = ", ".join(f"{entry.name} {entry.type} {entry.shape}" for entry in inputs)
        raise DataError(f"{path} must have one input, float32 (m, 3, s, s), not {plain(described)[:200]}.")
    return inputs[0].name, sizes[0], sizes[2] or SIZE
