"""EfficientNet-Lite0 as an ONNX model: the graph of `efficientnet_lite0`, operator by operator."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from vhbench.video.networks.efficientnet_lite0 import DIM, EPSILON, SIZE, EfficientNetLite0, padding

OPSET, IR = 17, 8  # the oldest that has all of it


class _Graph:
    """Nodes and constants of a graph that grows by convolutions."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants = [numpy_helper.from_array(np.float32(value), name) for name, value in (("0", 0), ("6", 6))]

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add an operator; return the name of its output."""
        output = f"{operator}-{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def convolve(self, x: str, convolution: Any, norm: Any, *, relu: bool = True) -> str:
        """Add a convolution, the batch normalisation behind it and ReLU6; return the name of the output."""
        scale = norm.weight.double() / (norm.running_var.double() + EPSILON).sqrt()
        weight = convolution.weight.double() * scale[:, None, None, None]
        bias = norm.bias.double() - norm.running_mean.double() * scale
        name = f"weights-{len(self.nodes)}"
        for key, value in ((name, weight), (f"{name}-bias", bias)):
            self.constants.append(numpy_helper.from_array(value.float().numpy(), key))
        (kernel, _), (stride, _) = convolution.kernel_size, convolution.stride
        before, after = padding(kernel, stride)
        x = self.add(
            "Conv", x, name, f"{name}-bias", kernel_shape=[kernel] * 2, strides=[stride] * 2,
            group=convolution.groups, pads=[before, before, after, after],
        )  # fmt: skip
        return self.add("Clip", x, "0", "6") if relu else x


def model(network: EfficientNetLite0, layer: str) -> bytes:
    """Return an ONNX model: `pictures`, float32 (m, 3, 224, 224), to pooled features, float32 (m, 1280).

    Args:
        network: in evaluation mode.
        layer: name of the output.
    """
    graph = _Graph()
    x = graph.convolve("pictures", network._conv_stem, network._bn0)
    for block in network._blocks:
        before = x
        if hasattr(block, "_expand_conv"):
            x = graph.convolve(x, block._expand_conv, block._bn0)
        x = graph.convolve(x, block._depthwise_conv, block._bn1)
        x = graph.convolve(x, block._project_conv, block._bn2, relu=False)
        x = graph.add("Add", x, before) if block.adds else x
    x = graph.convolve(x, network._conv_head, network._bn1)
    graph.nodes.append(helper.make_node("Flatten", [graph.add("GlobalAveragePool", x)], [layer]))
    pictures = helper.make_tensor_value_info("pictures", TensorProto.FLOAT, ["m", 3, SIZE, SIZE])
    features = helper.make_tensor_value_info(layer, TensorProto.FLOAT, ["m", DIM])
    whole = helper.make_graph(graph.nodes, "efficientnet-lite0", [pictures], [features], graph.constants)
    made = helper.make_model(whole, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    onnx.checker.check_model(made)
    content: bytes = made.SerializeToString()
    return content
