"""Small networks for tests, as ONNX files: quick, and without torch."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def small_network(path, *, side=8, dim=4, batch="m", maps=False, scale=1.0):
    """Write a network: patches of 4 x 4 times random weights, and their mean; returns the path.

    Args:
        maps: give (m, dim, h, w) in place of their mean.
        scale: of the weights.
    """
    weights = scale * np.random.default_rng(0).normal(size=(dim, 3, 4, 4)).astype(np.float32)
    nodes = [helper.make_node("Conv", ["x", "w"], ["maps"], strides=[4, 4])]
    nodes += [
        helper.make_node("GlobalAveragePool", ["maps"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["vectors"]),
    ]
    outputs = [
        helper.make_tensor_value_info("vectors", TensorProto.FLOAT, [batch, dim]),
        helper.make_tensor_value_info("maps", TensorProto.FLOAT, [batch, dim, side // 4, side // 4]),
    ]
    graph = helper.make_graph(
        nodes, "small", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, side, side])],
        outputs[::-1] if maps else outputs, [numpy_helper.from_array(weights, "w")],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def by_hand(pictures, dim=4):
    """Return what the network makes of pictures, uint8 (m, 8, 8, 3), in float64."""
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    weights = np.random.default_rng(0).normal(size=(dim, 3, 4, 4)).astype(np.float32).astype(float)
    inputs = (pictures / 255 - mean) / deviation
    features = np.zeros((len(pictures), dim))
    for row in (0, 4):
        for column in (0, 4):
            features += np.einsum("mhwc,dchw->md", inputs[:, row : row + 4, column : column + 4], weights) / 4
    return features
