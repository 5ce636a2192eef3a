"""A first look at many vectors: how large their products with a query can be at most, from 8 bits a number.

Rounded vectors are a quarter of the memory that a search reads, and processors multiply them several times as fast.
What rounding may have taken away is bounded by Cauchy and Schwarz, so whoever asks can tell when enough was looked at.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from models.onnx import on_one_thread

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]

_LARGEST: Final = 127
_ZERO: Final = np.uint8(128)
"""The query's code of 0: unsigned times signed is what the processor's instruction does."""
_FLOAT_ERROR: Final = 1e-5
"""Of the lengths' product: what sums of single-precision numbers may be off by, with room to spare."""


class FirstLook:
    """Upper bounds of `query @ vector + bias` for m vectors."""

    def __init__(self, vectors: Floats, bias: Floats) -> None:
        """
        Args:
            vectors: [m, d], m at least 1.
            bias: [m], finite.
        """
        scale = _scale(vectors)
        codes = np.rint(vectors / scale)
        length = np.linalg.norm(vectors, axis=1)
        error = np.linalg.norm(vectors - codes * scale, axis=1)
        self._loss = float((error / np.maximum(length, 1e-30)).max())
        """The most that rounding took from a vector, relative to its length"""
        self._session = _session(codes.astype(np.int8), scale[:, 0], length, bias)

    def highest(self, queries: Floats, count: int) -> tuple[Floats, Places]:
        """The rows with the highest bounds, in no order.

        Args:
            queries: [B, d]
            count: how many, at most m.

        Returns:
            [B, count] bounds and rows.
        """
        scale = _scale(queries)
        codes = np.rint(queries / scale)
        rounded = codes * scale
        lost = np.linalg.norm(queries - rounded, axis=1, keepdims=True)
        length = np.linalg.norm(rounded, axis=1, keepdims=True)
        given = {
            "codes": (codes + _ZERO).astype(np.uint8),
            "scale": scale,
            "slack": lost + (self._loss + _FLOAT_ERROR) * length,
            "count": np.array([count]),
        }
        bounds, rows = self._session.run(None, given)
        return bounds, rows


def _scale(vectors: Floats) -> Floats:
    """[n, 1] the size of a step, so that each vector's largest number has the largest code."""
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    return np.where(largest > 0, largest / _LARGEST, 1.0).astype(np.float32)


def _session(codes: npt.NDArray[np.int8], scale: Floats, length: Floats, bias: Floats) -> onnxruntime.InferenceSession:
    """The bounds' formula: codes · codes × both scales + bias + slack × length, and the highest of them."""
    kept = {
        "rows": np.ascontiguousarray(codes.T),
        "zero": _ZERO,
        "row_scale": scale,
        "row_length": length,
        "bias": bias,
    }
    steps = [
        helper.make_node("MatMulInteger", ["codes", "rows", "zero"], ["whole"]),
        helper.make_node("Cast", ["whole"], ["product"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["product", "row_scale"], ["of_rows"]),
        helper.make_node("Mul", ["of_rows", "scale"], ["of_both"]),
        helper.make_node("Mul", ["slack", "row_length"], ["unsure"]),
        helper.make_node("Add", ["of_both", "bias"], ["likely"]),
        helper.make_node("Add", ["likely", "unsure"], ["bound"]),
        helper.make_node("TopK", ["bound", "count"], ["bounds", "places"], sorted=0),
    ]
    inputs = [
        helper.make_tensor_value_info("codes", TensorProto.UINT8, ["queries", codes.shape[1]]),
        helper.make_tensor_value_info("scale", TensorProto.FLOAT, ["queries", 1]),
        helper.make_tensor_value_info("slack", TensorProto.FLOAT, ["queries", 1]),
        helper.make_tensor_value_info("count", TensorProto.INT64, [1]),
    ]
    outputs = [
        helper.make_tensor_value_info("bounds", TensorProto.FLOAT, ["queries", "count"]),
        helper.make_tensor_value_info("places", TensorProto.INT64, ["queries", "count"]),
    ]
    constants = [numpy_helper.from_array(np.asarray(array), name) for name, array in kept.items()]
    graph = helper.make_graph(steps, "first_look", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return on_one_thread(model.SerializeToString())
