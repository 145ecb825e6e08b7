"""Weights of a model that OpenVINO has read, in eight bits: one text at a time waits for weights, not for products."""

from typing import Any

import numpy as np

GROUP = 64  # neighbouring inputs of a product that share the scale by which they are rounded
_LARGEST = 127


def round_weights(model: Any) -> int:
    """Replaces the constant matrices of a model's products by 8-bit ones, each output column with a scale of its own.

    OpenVINO's CPU plugin knows the pattern (constant, conversion, multiplication) and keeps the weights as they are.

    Args:
      model: an `openvino.Model`; it is changed.

    Returns:
      How many were replaced.
    """
    from openvino import opset13 as ops  # an optional wheel

    replaced = 0
    for node in model.get_ordered_ops():
        if node.get_type_name() != "MatMul" or (weights := _matrix(node)) is None:
            continue
        scale = np.maximum(np.abs(weights).max(axis=1, keepdims=True), np.finfo(np.float32).tiny * _LARGEST) / _LARGEST
        rounded = ops.convert(ops.constant(np.rint(weights / scale).astype(np.int8)), "f32")
        flipped = node.get_attributes().get("transpose_a", False)
        product = ops.matmul(node.input_value(0), ops.multiply(rounded, ops.constant(scale)), flipped, True)
        node.output(0).replace(product.output(0))
        replaced += 1
    model.validate_nodes_and_infer_types()
    return replaced


def _matrix(node: Any) -> np.ndarray | None:
    """[outputs, inputs] float32 weights of a product, None where it has no constant matrix."""
    constant = node.input_value(1).get_node()
    if constant.get_type_name() != "Constant" or len(constant.get_output_shape(0)) != 2:
        return None
    weights = constant.get_data().astype(np.float32)
    return weights if node.get_attributes().get("transpose_b", False) else np.ascontiguousarray(weights.T)
