"""Whether faults in what a shop delivers are noticed: a year of real purchases month by month, as it is and spoiled.

Months as they are must raise no alarm, nor the weeks of another shop, RetailRocket, where `KAIROS_DATASETS` has it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import pyarrow as pa
from pyarrow.csv import ParseOptions, read_csv

from benchmarks.models.public import FOLDER
from benchmarks.ops.faults import FAULTS, Fault, Month
from feature_repo import schema as s
from flows.connectors.base import Chunk, Connector
from flows.connectors.complete_journey import CompleteJourney
from flows.errors import BatchRefusedError
from flows.ingest import ingest
from flows.monitoring.freshness import look_at_freshness
from flows.monitoring.incoming import look_at_data
from infra.settings import Settings

HOUSEHOLDS: Final = 500
"""Of Complete Journey: about 23,000 purchases a month"""
SPOILED: Final = (6, 11)
"""The months of 2017 that faults are put into; what came before is as it was."""
WEEK_S: Final = 7 * 86_400
AFTER: Final = timedelta(hours=1)
"""Each month is delivered so long after its end."""


@dataclass(frozen=True)
class Year:
    """Complete Journey by month of 2017."""

    events: pa.Table
    items: pa.Table

    @classmethod
    def read(cls) -> Year:
        source = CompleteJourney(HOUSEHOLDS)
        return cls(pa.concat_tables(chunk.rows for chunk in source.chunks(250_000)).combine_chunks(), source.items())

    @cached_property
    def _number(self) -> np.ndarray:
        times = self.events[s.TIMESTAMP].to_numpy().astype("datetime64[M]").astype(np.int64)
        return times - times.min() + 1

    def month(self, number: int) -> Month:
        return Month(self.events.filter(pa.array(self._number == number)), self.items)


class Delivery(Connector):
    """One month as a source."""

    name: ClassVar[str] = "delivery"
    behaviours = {"view": s.VIEW, "cart": s.CART, "buy": s.PURCHASE}  # noqa: RUF012 - as the base has it

    def __init__(self, month: Month) -> None:
        self._month = month
        self.source = "a month"

    def chunks(self, chunk_rows: int) -> Iterator[Chunk]:
        for first in range(0, self._month.events.num_rows, chunk_rows):
            yield Chunk(self._month.events.slice(first, chunk_rows), first_row=first + 1)

    def items(self) -> pa.Table | None:
        return self._month.items


def measure() -> dict[str, Any]:
    """The figure: faults that are noticed in every month that they are put into, by what is meant for them."""
    year = Year.read()
    with tempfile.TemporaryDirectory(prefix="kairos-drift-") as folder:
        root = Path(folder)
        weeks = _clean_weeks(root)
        clean = _clean(year, root) | weeks
        found = {name: _noticed(year, root, fault) for name, fault in FAULTS.items()}
    noticed = sum(
        all(set(said) & set(FAULTS[name].noticed_by) for said in by_month.values()) for name, by_month in found.items()
    )
    false_alarms = {month: said for month, said in clean.items() if said}
    return {
        "value": noticed,
        "unit": f"of {len(FAULTS)} faults noticed; {len(false_alarms)} of {len(clean)} clean deliveries with an alarm"
        + ("" if weeks else f", RetailRocket's not among them: {FOLDER} does not have it"),
        "target": len(FAULTS),
        "met": noticed == len(FAULTS) and not false_alarms,
        "detail": {"clean": clean, "faults": found},
    }


def _clean(year: Year, root: Path) -> dict[str, dict[str, str]]:
    """Month -> what was said of it as it is. The homes as they were before the months to be spoiled stay there."""
    found = {}
    config = Settings(home=root / "clean")
    for number in range(1, 13):
        for spoiled in SPOILED:
            if number in (spoiled - 1, spoiled):
                _copy(config, root / f"before-{number}")
        said = _delivered(config, year.month(number), _after(number))
        found[f"2017-{number:02}"] = said
        print(f"  2017-{number:02}: {said or 'nothing'}", flush=True)
    return found


def _clean_weeks(root: Path) -> dict[str, dict[str, str]]:
    """Week of RetailRocket -> what was said of it; empty where the set is not there."""
    file = Path(os.environ.get(FOLDER, "datasets")) / "retailrocket" / "train_events.tsv"
    if not file.exists():
        return {}
    table = read_csv(file, parse_options=ParseOptions(delimiter="\t"))
    table = table.rename_columns({"user": s.USER_ID, "item": s.ITEM_ID}).sort_by(s.TIMESTAMP)
    # Monday is the fifth day of 1970.
    week = (np.asarray(table[s.TIMESTAMP]) - 4 * 86_400) // WEEK_S
    config, found = Settings(home=root / "retailrocket"), {}
    for number in np.unique(week)[:-1]:  # the last one is cut off
        end = datetime.fromtimestamp(int(number + 1) * WEEK_S + 4 * 86_400, UTC)
        said = _delivered(config, Month(table.filter(pa.array(week == number)), None), end + AFTER)
        found[f"the week before {end:%Y-%m-%d}"] = said
        print(f"  RetailRocket, the week before {end:%Y-%m-%d}: {said or 'nothing'}", flush=True)
    return found


def _noticed(year: Year, root: Path, fault: Fault) -> dict[str, dict[str, str]]:
    """Month -> what was said of it with the fault."""
    found = {}
    for number in SPOILED:
        draw = np.random.default_rng(7)
        month = year.month(number)
        home = root / "spoiled"
        if fault.withheld:
            _copy(Settings(home=root / f"before-{number - 1}"), home)
            config = Settings(home=home)
            before = year.month(number - 1)
            later = draw.random(before.events.num_rows) < fault.withheld
            _delivered(config, before.only(~later), _after(number - 1))
            month = Month(pa.concat_tables([month.events, before.only(later).events]), month.items)
        else:
            _copy(Settings(home=root / f"before-{number}"), home)
            config = Settings(home=home)
        found[f"2017-{number:02}"] = _delivered(config, fault.spoil(month, draw), _after(number))
        shutil.rmtree(home)
    print(f"  {fault.spoil.__name__}: {found}", flush=True)
    return found


def _after(number: int) -> datetime:
    """When a month is delivered."""
    return datetime(2017 + number // 12, number % 12 + 1, 1, tzinfo=UTC) + AFTER


def _delivered(config: Settings, month: Month, now: datetime) -> dict[str, str]:
    """What the platform says of a delivery: measure or rule -> what was found."""
    try:
        ingest(Delivery(month), config, now=now, progress=False)
    except BatchRefusedError as refused:
        rules = {line.partition(":")[0] for line in refused.measured.partition("(")[2].rstrip(")").split("; ")}
        return dict.fromkeys(rules, str(refused.measured))
    look = look_at_data(config, now)
    # Of the other stages none runs here.
    behind = [measured for measured in look_at_freshness(config, now).broken if measured.name == "events"]
    return {measured.name: str(measured) for measured in [*(look.broken if look else ()), *behind]}


def _copy(config: Settings, home: Path) -> None:
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(config.home, home, symlinks=True) if config.home.exists() else home.mkdir()
