"""A first look at many vectors: how large their products with a query can be at most, from 8 bits a number.

Rounded vectors are a quarter of the memory that a search reads, and processors multiply them several times as fast.
What rounding may have taken away is bounded by Cauchy and Schwarz, so whoever asks can tell when enough was looked at.
The same bound says when short vectors need no look at all (as in LEMP; Teflioudi et al., 2015).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from models.onnx import on_one_thread

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]

_LARGEST: Final = 127
"""The largest code of a vector's number."""
_LARGEST_ASKED: Final = 63
"""That of a query's: some processors add two products up in 16 bits, and cut off what is beyond."""
_ZERO: Final = np.uint8(64)
"""A query's code of 0: unsigned times signed is what the processor's instruction does."""
_FLOAT_ERROR: Final = 1e-5
"""Of the lengths' product: what sums of single-precision numbers may be off by, with room to spare."""
_LONG: Final = 0.25
"""The share of the vectors, the longest, that is looked at first where lengths differ much."""
_MUCH: Final = 4.0
"""That is where the longest of all is so many times as long as the longest of the others."""


class FirstLook:
    """Upper bounds of `query @ vector + bias` for m vectors."""

    def __init__(self, vectors: Floats, bias: Floats) -> None:
        """
        Args:
            vectors: [m, d], m at least 1.
            bias: [m], finite.
        """
        length = np.linalg.norm(vectors, axis=1)
        order = np.argsort(-length, kind="stable")
        long = int(_LONG * len(order))
        differs = long > 0 and length[order[0]] >= _MUCH * length[order[long]]
        parts = np.split(order, [long]) if differs else [order]
        self._parts = [_Part(vectors[rows], bias[rows], rows) for rows in parts]

    def highest(self, queries: Floats, count: int) -> tuple[Floats, Places]:
        """Rows with high bounds, in no order, and the bounds: no other row has a product above the lowest of them.

        Args:
            queries: [B, d]
            count: how many, at most m.

        Returns:
            [B, count] bounds and rows.
        """
        asked = _Asked.of(queries)
        bounds, rows = self._parts[0].highest(asked, count)
        for part in self._parts[1:]:
            if bounds.shape[1] == count and (bounds.min(axis=1) >= part.limit(asked)).all():
                continue
            more_bounds, more_rows = part.highest(asked, count)
            bounds, rows = np.hstack([bounds, more_bounds]), np.hstack([rows, more_rows])
            best = np.argpartition(-bounds, count - 1, axis=1)[:, :count]
            bounds, rows = np.take_along_axis(bounds, best, axis=1), np.take_along_axis(rows, best, axis=1)
        return bounds, rows


@dataclass(frozen=True)
class _Asked:
    """Rounded queries."""

    codes: npt.NDArray[np.uint8]
    """[B, d]"""
    scale: Floats
    """[B, 1] the size of a step"""
    length: Floats
    """[B, 1] of the rounded queries"""
    lost: Floats
    """[B, 1] the length of what rounding took"""

    @classmethod
    def of(cls, queries: Floats) -> _Asked:
        scale = _scale(queries, _LARGEST_ASKED)
        codes = np.rint(queries / scale)
        rounded = codes * scale
        length = np.linalg.norm(rounded, axis=1, keepdims=True)
        lost = np.linalg.norm(queries - rounded, axis=1, keepdims=True)
        return cls((codes + _ZERO).astype(np.uint8), scale, length, lost)


class _Part:
    """Some of the vectors."""

    def __init__(self, vectors: Floats, bias: Floats, rows: Places) -> None:
        """
        Args:
            vectors: [p, d]
            bias: [p]
            rows: [p] which of all the vectors they are.
        """
        scale = _scale(vectors, _LARGEST)
        codes = np.rint(vectors / scale)
        length = np.linalg.norm(vectors, axis=1)
        error = np.linalg.norm(vectors - codes * scale, axis=1)
        self._loss = float((error / np.maximum(length, 1e-30)).max())
        """The most that rounding took from a vector, relative to its length"""
        self._longest, self._best_bias = float(length.max()), float(bias.max())
        self._rows = rows
        self._session = _session(codes.astype(np.int8), scale[:, 0], length, bias)

    def limit(self, asked: _Asked) -> Floats:
        """[B] what no product is above."""
        return (asked.length[:, 0] + self._slack(asked)[:, 0]) * self._longest + self._best_bias

    def highest(self, asked: _Asked, count: int) -> tuple[Floats, Places]:
        """[B, at most count] the highest bounds and their rows."""
        given = {
            "codes": asked.codes,
            "scale": asked.scale,
            "slack": self._slack(asked),
            "count": np.array([min(count, len(self._rows))]),
        }
        bounds, places = self._session.run(None, given)
        return bounds, self._rows[places]

    def _slack(self, asked: _Asked) -> Floats:
        """[B, 1] how far a product can be above that of the rounded vectors, relative to a vector's length."""
        return asked.lost + (self._loss + _FLOAT_ERROR) * asked.length


def _scale(vectors: Floats, most: int) -> Floats:
    """[n, 1] the size of a step, so that each vector's largest number has the largest code."""
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    return np.where(largest > 0, largest / most, 1.0).astype(np.float32)


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
