"""Networks as they are served: exported to ONNX once, run by ONNX Runtime on one thread."""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from models.errors import BundleError

Array = npt.NDArray[Any]
_GRAPH: Final = "kairos_graph"
"""In a file's metadata: what its graph was made of."""


def export(
    network: nn.Module,
    example: Mapping[str, Tensor],
    outputs: Sequence[str],
    file: Path,
    dynamic: Mapping[str, Mapping[int, str]],
    like: Path | None = None,
) -> None:
    """Writes a network as an ONNX file, its weights under their own names; the runtime optimises when it loads it.

    Args:
        network: in evaluation mode.
        example: its inputs by name, of any content, with at least 2 along every axis that may vary.
        outputs: the names of its outputs.
        file: where to.
        dynamic: input -> axis -> the name of the length that may vary.
        like: an earlier file, which may be gone. Where the same code made it of the same kind of network, the new one
            is that with other weights; to trace a network anew takes seconds.
    """
    key = _key(network, example, outputs, dynamic)
    known = _reweighted(like, key, network) if like and like.exists() else None
    model = known or _traced(network, example, outputs, dynamic)
    del model.metadata_props[:]
    model.metadata_props.add(key=_GRAPH, value=key)
    onnx.save(model, file)


def _traced(
    network: nn.Module,
    example: Mapping[str, Tensor],
    outputs: Sequence[str],
    dynamic: Mapping[str, Mapping[int, str]],
) -> onnx.ModelProto:
    axes = {
        name: dict.fromkeys(dynamic.get(name, {}), torch.export.Dim.DYNAMIC) or None  # type: ignore[attr-defined]
        for name in example
    }
    chatter = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "torch._dynamo")]
    levels = [logger.level for logger in chatter]
    for logger in chatter:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                network,
                # Copies: of one tensor under two names the exporter makes one input.
                kwargs={name: tensor.clone() for name, tensor in example.items()},
                input_names=list(example),
                output_names=list(outputs),
                dynamic_shapes=axes,
                dynamo=True,
                optimize=False,  # it would fold weights into constants without a name
                verbose=False,
            )
    finally:
        for logger, level in zip(chatter, levels, strict=True):
            logger.setLevel(level)

    assert program is not None
    model: onnx.ModelProto = program.model_proto
    return model


def _key(
    network: nn.Module,
    example: Mapping[str, Tensor],
    outputs: Sequence[str],
    dynamic: Mapping[str, Mapping[int, str]],
) -> str:
    """What a graph depends on but for its weights and their shapes."""
    code = [inspect.getsource(kind) for kind in sorted({type(part) for part in network.modules()}, key=str)]
    axes = {name: dict(each) for name, each in dynamic.items()}
    shapes = {name: list(tensor.shape) for name, tensor in example.items()}
    told = [torch.__version__, code, list(network.state_dict()), shapes, list(outputs), axes]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _reweighted(like: Path, key: str, network: nn.Module) -> onnx.ModelProto | None:
    """None: the file is of another network; one whose tables have other numbers of rows is the same."""
    model = onnx.load(like)
    if {each.key: each.value for each in model.metadata_props}.get(_GRAPH) != key:
        return None
    tables = {f"{name}.weight" for name, part in network.named_modules() if isinstance(part, nn.Embedding)}
    # Not the state: what is no part of a saved network is of the graph all the same.
    weights = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    for tensor in model.graph.initializer:
        new, free = weights.get(tensor.name), tensor.name in tables
        if new is None or list(new.shape[free:]) != list(tensor.dims)[free:]:
            return None
        tensor.CopyFrom(onnx.numpy_helper.from_array(new.detach().numpy(), tensor.name))
    return model


def on_one_thread(model: str | bytes) -> onnxruntime.InferenceSession:
    """A file or its content, ready to run. A request is one user: threads within an operation cost more than they
    bring."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


class Session:
    """A network ready to run."""

    def __init__(self, file: Path) -> None:
        """
        Raises:
            BundleError: the file is missing or damaged.
        """
        try:
            self._session = on_one_thread(str(file))
        except Exception as error:  # a class of its own for each thing that can be wrong with a file
            raise BundleError(f"{file}: cannot be read ({error}); train again") from error
        self._inputs: dict[str, type[np.generic]] = {
            given.name: _TYPES[given.type] for given in self._session.get_inputs()
        }

    def __call__(self, **given: Array) -> list[Array]:
        """Inputs by name -> outputs in order.

        Raises:
            ValueError: an input has another shape or other codes than the network knows.
        """
        inputs = {name: np.ascontiguousarray(given[name], dtype=kind) for name, kind in self._inputs.items()}
        try:
            out: list[Array] = self._session.run(None, inputs)
        except Exception as error:  # as above, and all of them mean that the input is not what the network takes
            raise ValueError(f"the network cannot digest its input: {error}") from error
        return out


_TYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(bool)": np.bool_}
