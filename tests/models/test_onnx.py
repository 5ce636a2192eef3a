"""A network is traced once; the same with other weights, or more rows in its tables, takes the graph that is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models import onnx
from models.onnx import Session, export

AXES = {"at": {0: "users"}}


class Small(nn.Module):
    """A table and two layers."""

    def __init__(self, rows: int, width: int = 4) -> None:
        super().__init__()
        self.table = nn.Embedding(rows, width)
        self.register_buffer("scale", torch.rand(width), persistent=False)
        self.layers = nn.Sequential(nn.Linear(width, 3), nn.GELU(), nn.Linear(3, 2))

    def forward(self, at: Tensor) -> Tensor:
        return self.layers(self.table(at).sum(1) * self.scale)


class Other(Small):
    def forward(self, at: Tensor) -> Tensor:
        return self.layers(self.table(at).amax(1))


def written(network: nn.Module, file: Path, like: Path | None = None) -> Path:
    export(network.eval(), {"at": torch.zeros(2, 3, dtype=torch.int64)}, ["out"], file, AXES, like)
    return file


def answers(network: nn.Module, file: Path) -> tuple[np.ndarray, np.ndarray]:
    at = np.array([[0, 1, 2], [3, 4, 4], [1, 1, 0]])
    return Session(file)(at=at)[0], network(torch.from_numpy(at)).detach().numpy()


@pytest.fixture
def first(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    return written(Small(5), tmp_path / "first.onnx")


@pytest.fixture
def never_traced(first: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: object) -> None:
        raise AssertionError("traced")

    monkeypatch.setattr(onnx, "_traced", refuse)


@pytest.mark.usefixtures("never_traced")
@pytest.mark.parametrize("rows", [5, 9])
def test_other_weights_and_larger_tables_take_the_graph(first: Path, rows: int, tmp_path: Path) -> None:
    torch.manual_seed(2)
    network = Small(rows)
    second = written(network, tmp_path / "second.onnx", first)
    assert np.allclose(*answers(network, second), atol=1e-6)
    third = written(network, tmp_path / "third.onnx", second)
    assert np.array_equal(answers(network, third)[0], answers(network, second)[0])


@pytest.mark.usefixtures("never_traced")
@pytest.mark.parametrize("network", [Other(5), Small(5, width=6)], ids=["code", "width"])
def test_another_network_is_traced(first: Path, network: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="traced"):
        written(network, tmp_path / "second.onnx", first)


def test_a_traced_network_answers_as_torch_does(first: Path, tmp_path: Path) -> None:
    network = Other(7)
    assert np.allclose(*answers(network, written(network, tmp_path / "second.onnx", first)), atol=1e-6)
