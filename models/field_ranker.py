"""A deep ranker over categorical fields, of two streams that see the same row differently.

FinalMLP (Mao et al., 2023): each stream weighs the fields' embeddings by a gate of its own (section 3.2) and is a
perceptron; what the two say is brought together by a bilinear form over groups of their outputs (section 3.3).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.errors import FieldCodesError, FieldRankerFileError

Array = npt.NDArray[Any]
_CONFIG, _WEIGHTS = "field_ranker.json", "field_ranker.npz"
_ROWS: Final = 8_192
"""That are scored at once."""


@dataclass(frozen=True)
class FieldRankerConfig:
    """The network."""

    dim: int = 10
    """Width of a code's embedding."""
    conditions: tuple[str, str] = ("user", "item")
    """The field that decides, for each stream, how much each part of the embeddings counts."""
    gate: int = 400
    """Hidden width of a gate."""
    hidden: tuple[int, int] = (400, 100)
    """Width of each stream; multiples of `groups`."""
    groups: int = 5
    """Into which the streams' outputs are divided for the bilinear form."""
    dropout: float = 0.4


class FieldRanker(nn.Module):
    """Logits that a row's label is 1.

    Args:
        fields: name -> how many codes it has, 0-based; in the order of the rows' columns.

    Raises:
        FieldCodesError: the configuration names a field that is not among them.
    """

    def __init__(self, fields: Mapping[str, int], config: FieldRankerConfig = FieldRankerConfig()) -> None:
        super().__init__()
        for name in config.conditions:
            if name not in fields:
                raise FieldCodesError(f"conditions: {name!r} is no field, expected two of {', '.join(fields)}")
        self.fields, self.config = dict(fields), config
        sizes = np.array(list(fields.values()))
        starts = torch.from_numpy(np.cumsum(sizes) - sizes)
        self.register_buffer("starts", starts, persistent=False)
        self.starts: Tensor
        self.embedding = nn.Embedding(int(sizes.sum()), config.dim)
        width = len(sizes) * config.dim
        self.conditioned_on = [list(fields).index(name) for name in config.conditions]
        self.conditions = nn.ModuleList(nn.Embedding(fields[name], config.dim) for name in config.conditions)
        self.gates = nn.ModuleList(
            nn.Sequential(nn.Linear(config.dim, config.gate), nn.ReLU(), nn.Linear(config.gate, width), nn.Sigmoid())
            for _ in config.conditions
        )
        self.streams = nn.ModuleList(
            nn.Sequential(nn.Linear(width, out), nn.BatchNorm1d(out), nn.ReLU(), nn.Dropout(config.dropout))
            for out in config.hidden
        )
        self.out = nn.Linear(sum(config.hidden), 1)
        left, right = (out // config.groups for out in config.hidden)
        self.bilinear = nn.Parameter(torch.empty(config.groups, left, right))
        nn.init.normal_(self.bilinear, std=(config.groups * left * right) ** -0.5)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_normal_(module.weight)
                nn.init.zeros_(module.bias)
        for table in self.tables():
            nn.init.normal_(table, std=1e-4)

    def tables(self) -> list[Tensor]:
        """The weights of every embedding: what is kept small in training."""
        return [module.weight for module in self.modules() if isinstance(module, nn.Embedding)]

    def forward(self, codes: Tensor) -> Tensor:
        """[N, F] int64 -> [N]."""
        embedded = self.embedding(codes + self.starts).flatten(1)  # [N, F * dim]
        left, right = (
            stream(embedded * 2.0 * gate(condition(codes[:, column])))
            for stream, gate, condition, column in zip(
                self.streams, self.gates, self.conditions, self.conditioned_on, strict=True
            )
        )
        grouped = left.unflatten(1, (self.config.groups, -1))  # [N, groups, left / groups]
        over = torch.einsum("ngl,glr->ngr", grouped, self.bilinear).flatten(1)  # [N, right]
        logits: Tensor = self.out(torch.cat([left, right], 1))[:, 0] + (over * right).sum(1)
        return logits

    def score(self, codes: Array) -> npt.NDArray[np.float32]:
        """[N, F] -> logits [N].

        Raises:
            FieldCodesError: codes are no numbers of their fields.
        """
        checked = torch.from_numpy(checked_codes(codes, self.fields))
        self.eval()
        with torch.inference_mode():
            parts = [self(part.to(self.starts.device)).float().cpu() for part in torch.split(checked, _ROWS)]
        return torch.cat(parts).numpy() if parts else np.empty(0, dtype=np.float32)

    def save(self, folder: Path) -> None:
        """Writes the network as JSON and arrays into an existing folder."""
        (folder / _CONFIG).write_text(json.dumps({"fields": self.fields, "config": asdict(self.config)}))
        np.savez(folder / _WEIGHTS, **{name: tensor.cpu().numpy() for name, tensor in self.state_dict().items()})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote.

        Raises:
            FieldRankerFileError: the folder holds something else.
        """
        try:
            read = json.loads((folder / _CONFIG).read_text())
            choices = {**read["config"], **{name: tuple(read["config"][name]) for name in ("conditions", "hidden")}}
            ranker = cls(read["fields"], FieldRankerConfig(**choices))
            with np.load(folder / _WEIGHTS, allow_pickle=False) as weights:
                ranker.load_state_dict({name: torch.from_numpy(weights[name]) for name in weights.files})
        except (OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
            raise FieldRankerFileError(
                f"{folder}: no field ranker ({error}); write it with FieldRanker.save"
            ) from error
        return ranker.eval()


def checked_codes(codes: Array, fields: Mapping[str, int]) -> npt.NDArray[np.int64]:
    """Codes [N, F] as int64, each a number of its field.

    Raises:
        FieldCodesError: another number of columns, no whole numbers, or a code that its field does not have.
    """
    if codes.ndim != 2 or codes.shape[1] != len(fields):
        raise FieldCodesError(f"codes: shape {codes.shape}, expected [rows, {len(fields)}]: {', '.join(fields)}")
    for column, (name, size) in zip(codes.T, fields.items(), strict=True):
        wrong = np.flatnonzero(~((column >= 0) & (column < size) & (column == np.floor(column))))
        if len(wrong):
            raise FieldCodesError(
                f"{name}: {column[wrong[0]]} in row {wrong[0]}, expected a whole number 0..{size - 1}"
            )
    return np.ascontiguousarray(codes, dtype=np.int64)
