"""Weights of a model that OpenVINO has read, in eight bits: one text at a time waits for weights, not for products."""

from typing import Any

import numpy as np

GROUP = 64  # neighbouring inputs of a product that share a scale
_LARGEST = 127


def round_weights(model: Any) -> int:
    """Replaces the constant matrices of a model's products by 8-bit ones, a scale for each output and group of inputs.

    OpenVINO's CPU plugin knows the pattern (constant, conversion, multiplication, reshaping) and keeps the weights as
    they are.

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
        codes, scales = rounded(weights)
        grouped = ops.multiply(ops.convert(ops.constant(codes), "f32"), ops.constant(scales))
        whole = ops.reshape(grouped, ops.constant(np.array(weights.shape, np.int64)), False)
        flipped = node.get_attributes().get("transpose_a", False)
        node.output(0).replace(ops.matmul(node.input_value(0), whole, flipped, True).output(0))
        replaced += 1
    model.validate_nodes_and_infer_types()
    return replaced


def rounded(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[O, I] float32 weights as codes [O, G, I / G] int8 and scales [O, G, 1] float32; G is 1 where no group fits."""
    outputs, inputs = weights.shape
    groups = weights.reshape(outputs, -1, GROUP if inputs % GROUP == 0 else inputs)
    scales = np.maximum(np.abs(groups).max(axis=2, keepdims=True) / _LARGEST, np.finfo(np.float32).tiny)
    return np.rint(groups / scales).astype(np.int8), scales.astype(np.float32)


def _matrix(node: Any) -> np.ndarray | None:
    """[outputs, inputs] float32 weights of a product, None where it has no constant matrix."""
    constant = node.input_value(1).get_node()
    if constant.get_type_name() != "Constant" or len(constant.get_output_shape(0)) != 2:
        return None
    weights = constant.get_data().astype(np.float32)
    return weights if node.get_attributes().get("transpose_b", False) else np.ascontiguousarray(weights.T)
