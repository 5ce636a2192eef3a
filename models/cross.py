"""Feature crosses: what two inputs say together, explicitly and to a bounded degree."""

from __future__ import annotations

from torch import Tensor, nn


class Cross(nn.Module):
    """A cross layer of DCN-v2 (Wang et al., 2021, section 3.3): start * (W x + b) + x, W of low rank."""

    def __init__(self, width: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, rank, bias=False)
        self.up = nn.Linear(rank, width)

    def forward(self, start: Tensor, x: Tensor) -> Tensor:
        """The input of the first layer and that of this one, [..., width] both."""
        crossed: Tensor = start * self.up(self.down(x)) + x
        return crossed
