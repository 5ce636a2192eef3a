"""Weights of a network for a larger one of the same kind: new items, brands and the like only add rows to tables."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


@torch.no_grad()
def inherit(larger: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copies weights into a network whose tables may have further rows; those become zeros, as what is unknown has.

    Args:
        larger: the network.
        weights: the smaller one's state, each tensor of the same shape but for fewer rows.
    """
    for name, tensor in larger.state_dict().items():
        tensor.zero_()
        rows = tensor[: len(weights[name])] if tensor.dim() else tensor
        rows.copy_(weights[name])
