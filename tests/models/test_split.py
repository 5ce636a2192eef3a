from __future__ import annotations

import numpy as np
import pytest

from models.errors import EmptyTrainingDataError
from models.split import at_moment, leave_last_out
from models.state import DAY_S
from tests.models.logs import log_of

LOG = log_of(
    [
        (0, 1, "view", 1.0), (0, 2, "view", 2.0), (0, 3, "view", 3.0),
        (1, 2, "view", 1.0),
        (2, 1, "view", 5.0), (2, 1, "view", 6.0),
    ],
)  # fmt: skip


def test_the_last_event_is_held_back_and_nowhere_else() -> None:
    held = leave_last_out(LOG)
    assert held.users.tolist() == [0, 2]
    assert held.truth_item.tolist() == [3, 1]
    assert held.now.tolist() == [3 * DAY_S, 6 * DAY_S]
    assert list(zip(held.learned.user.tolist(), held.learned.item.tolist(), strict=True)) == [
        (0, 1), (0, 2), (1, 2), (2, 1),
    ]  # fmt: skip


def test_twice_gives_the_validation() -> None:
    validation = leave_last_out(leave_last_out(LOG).learned)
    assert validation.users.tolist() == [0]
    assert validation.truth_item.tolist() == [2]


def test_users_with_few_events_are_learned_from_and_not_asked() -> None:
    held = leave_last_out(LOG, least=3)
    assert held.users.tolist() == [0]
    assert np.count_nonzero(held.learned.user == 2) == 2
    with pytest.raises(EmptyTrainingDataError, match="10 events"):
        leave_last_out(LOG, least=10)


def test_only_new_items_are_asked_for_if_wanted() -> None:
    held = leave_last_out(LOG, novel=True)
    assert held.users.tolist() == [0]
    assert np.count_nonzero(held.learned.user == 2) == 2
    repeated = log_of([(0, 1, "view", 1.0), (0, 1, "view", 2.0)])
    with pytest.raises(EmptyTrainingDataError, match="new item"):
        leave_last_out(repeated, novel=True)
    with pytest.raises(EmptyTrainingDataError, match="new to them"):
        at_moment(repeated, 1.5 * DAY_S, novel=True)


def test_a_moment_parts_before_from_after() -> None:
    held = at_moment(LOG, 2.0 * DAY_S)
    assert (held.learned.time < 2 * DAY_S).all()
    assert [(int(held.users[row]), int(item)) for row, item in zip(held.truth_row, held.truth_item, strict=True)] == [
        (0, 2), (0, 3), (2, 1),
    ]  # fmt: skip
    assert set(held.now) == {2 * DAY_S}


def test_novel_leaves_out_what_the_user_knew() -> None:
    log = log_of([(0, 1, "view", 1.0), (0, 1, "view", 3.0), (0, 2, "view", 3.0)])
    assert at_moment(log, 2 * DAY_S).truth_item.tolist() == [1, 2]
    assert at_moment(log, 2 * DAY_S, novel=True).truth_item.tolist() == [2]


@pytest.mark.parametrize("day", [0.0, 100.0])
def test_a_moment_with_nothing_on_one_side_says_so(day: float) -> None:
    with pytest.raises(EmptyTrainingDataError, match="both must have some"):
        at_moment(LOG, day * DAY_S)


def test_a_part_asks_the_same_of_some_users() -> None:
    held = at_moment(LOG, 2.0 * DAY_S)
    part = held.part(np.array([1]))
    assert part.users.tolist() == [2]
    assert part.truth_row.tolist() == [0]
    assert part.truth_item.tolist() == [1]
