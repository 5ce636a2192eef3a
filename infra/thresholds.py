"""The limits of what is out of order, typed: `thresholds.toml` beside this file, and the installation's own on top."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError

from infra.settings import Settings, SettingsError

FILE: Final = Path(__file__).with_suffix(".toml")


class _Table(BaseModel):
    """A table of the file; each value is explained there."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DataLimits(_Table):
    every_hours: PositiveFloat
    least_events: PositiveInt
    stretches: PositiveInt
    least_stretches: PositiveInt
    volume: float = Field(gt=1)
    events_per_user: float = Field(gt=1)
    event_type: float = Field(gt=1)
    busiest: float = Field(gt=1)
    empty_days: PositiveFloat
    nulls: PositiveFloat
    duplicates: PositiveFloat
    rejected: PositiveFloat
    late: PositiveFloat
    new_categories: PositiveFloat
    new_users: PositiveFloat
    new_items: PositiveFloat
    distance: PositiveFloat


class PredictionLimits(_Table):
    users: PositiveInt
    least_users: PositiveInt
    distance: PositiveFloat
    unknown_users: PositiveFloat
    coverage: float = Field(gt=1)
    busiest: float = Field(gt=1)


class OutcomeLimits(_Table):
    days: PositiveFloat
    before_days: PositiveFloat
    follows_hours: PositiveFloat
    least_impressions: PositiveInt
    fall: float = Field(gt=0, lt=1)


class FreshnessLimits(_Table):
    events: PositiveFloat
    log: PositiveFloat
    features: PositiveFloat
    online: PositiveFloat
    training: PositiveFloat
    catch_up: PositiveFloat
    evaluation: PositiveFloat
    backup: PositiveFloat


class ServiceLimits(_Table):
    events_waiting: PositiveInt
    item_table_s: PositiveFloat


class Thresholds(_Table):
    data: DataLimits
    predictions: PredictionLimits
    outcomes: OutcomeLimits
    freshness: FreshnessLimits
    service: ServiceLimits


def thresholds(config: Settings) -> Thresholds:
    """The limits of an installation.

    Raises:
        SettingsError: the installation's own file cannot be read, or names what is no limit; it says which.
    """
    values = tomllib.loads(FILE.read_text())
    own = config.thresholds
    try:
        for table, changed in (_read(own) if own else {}).items():
            values[table] = {**values.get(table, {}), **changed}
        return Thresholds.model_validate(values)
    except (OSError, TypeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"KAIROS_THRESHOLDS={own}: {error}; expected tables as in {FILE}") from error
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise SettingsError(f"{own or FILE}: {'; '.join(lines)}") from error


def _read(file: Path) -> dict[str, dict[str, Any]]:
    return tomllib.loads(file.read_text())
