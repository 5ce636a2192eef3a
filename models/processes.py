"""What processes that train one model together tell each other; alone, each is the first of one."""

from __future__ import annotations

from torch import Tensor, distributed


def place() -> tuple[int, int]:
    """This process's number, and how many there are."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


def mean_of_all(amount: Tensor) -> Tensor:
    """The mean over all processes of an amount that no gradient is asked of."""
    _, count = place()
    if count == 1:
        return amount
    total = amount.detach().clone()
    distributed.all_reduce(total)
    return total / count
