"""What arrives is held beside what came before: days that are alike raise nothing, days that are not say in what."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from feature_repo import schema as s
from feature_repo.errors import FeaturesBusyError
from feature_repo.lake import Lake
from flows.monitoring import incoming
from flows.monitoring.distance import distance, to_the_others
from flows.monitoring.incoming import State, accept_data, look_at_data
from flows.monitoring.measured import Look
from flows.monitoring.stretches import count, opened
from infra.settings import Settings
from infra.thresholds import thresholds
from tests.flows.shop_days import DAY, EVENTS, FIRST, Spoil, bring, bring_items, day

BEFORE = 6
"""Days that came as one batch, at first"""


@pytest.fixture
def config(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


@pytest.fixture
def shop(config: Settings) -> Settings:
    """Six days were looked at."""
    bring_items(config)
    bring(config, pd.concat([day(n) for n in range(BEFORE)]), FIRST + BEFORE * DAY)
    assert look(config, BEFORE).measures == ()
    return config


def look(config: Settings, number: int) -> Look:
    """At the end of a day."""
    found = look_at_data(config, FIRST + number * DAY + timedelta(minutes=5))
    assert found is not None
    return found


def deliver(config: Settings, number: int, events: pd.DataFrame | None = None, rejected: int = 0) -> Look:
    """A day's batch arrives at its end and is looked at."""
    bring(config, day(number) if events is None else events, FIRST + (number + 1) * DAY, rejected)
    return look(config, number + 1)


def broken(found: Look) -> set[str]:
    return {measured.name for measured in found.broken}


def test_what_is_accepted_while_somebody_looks_waits_for_the_look(
    shop: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incoming, "WAIT_S", 0.0)
    tried = []

    def accept(found: Look) -> None:
        with pytest.raises(FeaturesBusyError, match="the look at the data is held by process"):
            accept_data(shop)
        tried.append(found)

    bring(shop, day(BEFORE), FIRST + (BEFORE + 1) * DAY)
    assert look_at_data(shop, FIRST + (BEFORE + 1) * DAY, accept) == tried[0]


def test_days_that_are_alike_raise_nothing(shop: Settings) -> None:
    for number in range(BEFORE, BEFORE + 5):
        found = deliver(shop, number)
        assert found.said == ""
        assert len(found.measures) > 15
    assert State.of(shop).aside == ()


def with_column(column: str, value: object) -> Spoil:
    return lambda events: events.assign(**{column: value})


def bots(events: pd.DataFrame) -> pd.DataFrame:
    more = events.head(300).assign(**{s.USER_ID: [f"bot{n}" for n in range(300)], s.ITEM_ID: "i1"})
    return pd.concat([events, more])


def one_bot(events: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([events, events.head(300).assign(**{s.USER_ID: "u1", s.PRICE: 3.0})])


FAULTS: dict[str, tuple[Spoil, str]] = {
    "half is missing": (lambda e: e[::2], "events a day"),
    "no carts": (lambda e: e[e[s.EVENT_TYPE] != s.CART], "share of events: cart"),
    "clicks for carts": (
        lambda e: e.assign(**{s.EVENT_TYPE: e[s.EVENT_TYPE].replace(s.CART, s.CLICK)}), "share of events: click",
    ),
    "cents": (lambda e: e.assign(**{s.PRICE: e[s.PRICE] * 100}), "distance: price"),
    "one price": (with_column(s.PRICE, 1.0), "distance: price"),
    "nulls": (lambda e: e.assign(**{s.PRICE: e[s.PRICE].where(e.index % 5 > 0)}), "nulls: price"),
    "another zone": (lambda e: e.assign(**{s.TIMESTAMP: e[s.TIMESTAMP] - timedelta(hours=7)}), "distance: hours"),
    "a clock that stands": (lambda e: e.assign(**{s.TIMESTAMP: e[s.TIMESTAMP].iloc[0]}), "distance: hours"),
    "twice": (lambda e: pd.concat([e, e.head(200)]), "equal rows with other ids"),
    "other users": (lambda e: e.assign(**{s.USER_ID: "x" + e[s.USER_ID]}), "of new users"),
    "other items": (lambda e: e.assign(**{s.ITEM_ID: "x" + e[s.ITEM_ID]}), "of new items"),
    "many bots": (bots, "share of the busiest item"),
    "one bot": (one_bot, "share of the busiest user"),
    "late": (lambda e: pd.concat([e, day(2, seed=8).head(400)]), "older than what was known"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_day_with_a_fault_is_told_with_what_is_wrong(fault: str, shop: Settings) -> None:
    spoil, measure = FAULTS[fault]
    found = deliver(shop, BEFORE, spoil(day(BEFORE)))
    assert measure in broken(found)
    assert measure in found.said


def test_days_without_events_are_noticed_in_a_longer_batch(shop: Settings) -> None:
    bring(shop, pd.concat([day(n) for n in range(BEFORE, 3 * BEFORE)]), FIRST + 3 * BEFORE * DAY)
    look(shop, 3 * BEFORE)
    week = pd.concat([day(n) for n in range(3 * BEFORE, 4 * BEFORE) if n not in (20, 21)])
    bring(shop, week, FIRST + 4 * BEFORE * DAY)
    assert "days without events" in broken(look(shop, 4 * BEFORE))


def test_a_category_that_was_renamed_is_noticed(shop: Settings) -> None:
    bring_items(shop, c1="other")
    assert broken(deliver(shop, BEFORE)) == {"in new categories"}


def test_rows_that_broke_a_rule_are_noticed_in_a_batch_that_was_taken(shop: Settings) -> None:
    assert broken(deliver(shop, BEFORE, rejected=EVENTS // 40)) == {"rejected rows"}


def test_what_was_out_of_order_is_no_measure_until_it_is_accepted(shop: Settings) -> None:
    def dearer(number: int) -> pd.DataFrame:
        return day(number).assign(**{s.PRICE: day(number)[s.PRICE] * 100})

    assert broken(deliver(shop, BEFORE, dearer(BEFORE))) == {"distance: price"}
    assert broken(deliver(shop, BEFORE + 1)) == set()
    assert broken(deliver(shop, BEFORE + 2, dearer(BEFORE + 2))) == {"distance: price"}
    aside = State.of(shop).aside
    assert len(aside) == 2
    assert accept_data(shop) == aside
    assert broken(deliver(shop, BEFORE + 3, dearer(BEFORE + 3))) == set()


def test_who_is_new_is_told_once(shop: Settings) -> None:
    """Ids that were made anew are known from then on: not every later day is an alarm."""

    def renamed(number: int) -> pd.DataFrame:
        return day(number).assign(**{s.USER_ID: "x" + day(number)[s.USER_ID]})

    assert "of new users" in broken(deliver(shop, BEFORE, renamed(BEFORE)))
    assert State.of(shop).aside
    assert broken(deliver(shop, BEFORE + 1, renamed(BEFORE + 1))) == set()


def test_a_day_is_looked_at_as_a_whole(shop: Settings) -> None:
    """Five-minute batches are no days: what comes within one waits for it to be over."""
    events = day(BEFORE)
    for part in range(3):
        bring(shop, events[part::3], FIRST + BEFORE * DAY + timedelta(hours=8 * (part + 1)))
        when = FIRST + BEFORE * DAY + timedelta(hours=8 * (part + 1), minutes=5)
        found = look_at_data(shop, when)
        assert (found is None) == (part < 2)
    assert found is not None
    assert "1,500 events in 3 batches" in found.about
    assert found.said == ""


def test_of_a_few_events_only_that_is_told(shop: Settings) -> None:
    found = deliver(shop, BEFORE, day(BEFORE).head(300))
    assert broken(found) == {"events a day"}
    assert not any(measured.name.startswith("distance") for measured in found.measures)


def test_a_small_shop_waits_until_there_is_enough(config: Settings) -> None:
    small = [day(n)[::5] for n in range(20)]
    bring(config, pd.concat(small[:12]), FIRST + 12 * DAY)
    look(config, 12)
    for number in range(12, 16):
        bring(config, small[number], FIRST + (number + 1) * DAY)
        found = look_at_data(config, FIRST + (number + 1) * DAY + timedelta(minutes=5))
        assert (found is None) == (number < 15)
    assert found is not None
    assert "1,200 events in 4 batches" in found.about
    assert "beside 2 stretches of 4.0 days" in found.about
    assert found.said == ""


def test_the_limits_can_be_the_shops_own(shop: Settings, tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text("[data]\nvolume = 1.2\n")
    closer = shop.model_copy(update={"thresholds": own})
    fewer = day(BEFORE).sample(1_150, random_state=7)
    copied = tmp_path / "again"
    shutil.copytree(shop.home, copied)
    assert broken(deliver(shop.model_copy(update={"home": copied}), BEFORE, fewer)) == set()
    assert broken(deliver(closer, BEFORE, fewer)) == {"events a day"}


def test_the_counts_by_hand(config: Settings) -> None:
    hour = timedelta(hours=1)

    def events(*rows: tuple[str, str, float]) -> pd.DataFrame:
        columns = [s.USER_ID, s.ITEM_ID, s.TIMESTAMP]
        frame = pd.DataFrame([(user, item, FIRST + at * hour) for user, item, at in rows], columns=columns)
        ids = [f"{n}{rows}" for n in range(len(rows))]
        return frame.assign(**{s.EVENT_TYPE: s.VIEW, s.EVENT_ID: ids, s.PRICE: [None, *[2.0] * (len(rows) - 1)]})

    known = events(("a", "x", 0), ("b", "x", 10), ("b", "y", 30), ("b", "y", 30), ("c", "x", 48))
    bring(config, known, FIRST + 2 * DAY)
    # On time: two; late: one that is a copy of (b, y, 30), and one that is none.
    new = bring(config, events(("d", "x", 49), ("a", "z", 72), ("b", "y", 30), ("a", "x", 31)), FIRST + 3 * DAY)
    lake = Lake(config.lake)
    with opened(config, [new], ()) as con:
        found = count(con, lake, FIRST + 48 * hour, 5)
    assert (found.days, sorted(found.counts)) == (1.0, [0, 1, 2])
    ours, before = found.counts[0], found.counts[1]
    assert {name: ours[name] for name in ("events", "users", "late", "copies", "busiest_user", "busiest_item")} == {
        "events": 4, "users": 3, "late": 2, "copies": 1, "busiest_user": 2, "busiest_item": 2,
    }  # fmt: skip
    assert (ours["new_users"], ours["new_items"], ours["null:price"], ours["empty_days"]) == (1, 1, 1, 0)
    assert (before["events"], before["copies"], before["new_users"], before["new_items"]) == (3, 1, 1, 2)
    assert found.bins["hours"].names == ["0", "1", "6", "7", "10"]
    assert found.bins["hours"].counts[1].tolist() == [1, 0, 2, 0, 0]


def test_quiet_sundays_are_held_to_quiet_sundays(config: Settings) -> None:
    """They have too few events for shares, and not for their number."""
    days = [day(n).sample(600 if n % 7 == 6 else 1_100, random_state=7) for n in range(14)]
    bring(config, pd.concat(days[:13]), FIRST + 13 * DAY)
    look(config, 13)
    assert "events a day" not in broken(deliver(config, 13, days[13]))


def test_the_first_table_of_items_is_no_drift(config: Settings) -> None:
    bring(config, pd.concat([day(n) for n in range(BEFORE)]), FIRST + BEFORE * DAY)
    Lake(config.lake).prepare()
    look(config, BEFORE)
    bring_items(config)
    assert broken(deliver(config, BEFORE)) == set()
    assert State.of(config).categories == ("c0", "c1", "c2", "c3")


def test_categories_become_known_by_a_day_that_is_out_of_order(config: Settings) -> None:
    bring(config, pd.concat([day(n) for n in range(BEFORE)]), FIRST + BEFORE * DAY)
    look(config, BEFORE)
    bring_items(config)
    assert broken(deliver(config, BEFORE, day(BEFORE)[::2])) == {"events a day"}
    assert State.of(config).categories == ("c0", "c1", "c2", "c3")


def test_a_batch_that_comes_during_the_look_is_none_of_before(config: Settings) -> None:
    names = [bring(config, day(n), FIRST + (n + 1) * DAY) for n in range(3)]
    with opened(config, [names[1]], ()) as con:
        seen = con.sql(f"SELECT DISTINCT {s.BATCH_ID}, is_new FROM events ORDER BY 1").fetchall()
    assert seen == [(names[0], False), (names[1], True)]


def test_a_batch_whose_events_are_not_there_yet_is_looked_at_when_they_are(shop: Settings) -> None:
    arrived = FIRST + (BEFORE + 1) * DAY
    name = bring(shop, day(BEFORE), arrived)
    file = shop.lake / "events" / f"{name}.parquet"
    aside = file.rename(shop.home / file.name)
    before = State.of(shop)
    assert look_at_data(shop, arrived) is None
    assert State.of(shop) == before
    aside.rename(file)
    assert look(shop, BEFORE + 1).said == ""


def test_a_look_that_was_not_told_is_done_again(shop: Settings) -> None:
    def fail(found: Look) -> None:
        raise ConnectionError(found.said)

    arrived = FIRST + (BEFORE + 1) * DAY
    bring(shop, day(BEFORE)[::2], arrived)
    before = State.of(shop)
    with pytest.raises(ConnectionError):
        look_at_data(shop, arrived, fail)
    assert State.of(shop) == before


def test_a_job_that_starts_some_seconds_early_is_not_put_off() -> None:
    limits = thresholds(Settings()).data
    state = State(looked_at=FIRST.isoformat())
    assert state.is_due(FIRST + DAY - timedelta(seconds=9), limits)
    assert not state.is_due(FIRST + DAY - timedelta(hours=1), limits)


def test_distances_by_hand() -> None:
    same, other, both = (np.array(counts, float) for counts in ([2, 0], [0, 5], [1, 1]))
    assert distance(same, 3 * same) == 0
    assert distance(same, other) == pytest.approx(1)
    assert distance(same, both) == pytest.approx(0.5579, abs=1e-4)
    assert distance(same, 0 * same) == 1
    assert to_the_others(np.stack([same, same, other])) == pytest.approx([0.7133, 0.7133, 1], abs=1e-4)
