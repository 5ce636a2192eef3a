"""Typed settings: environment variables win over the profile file, which wins over the defaults.

Every path and every connection string of Kairos is named here and nowhere else.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from infra.keys import checked_rate

PROFILES = Path(__file__).parent / "profiles"
PROJECT_ROOT = Path(__file__).parent.parent

# Nobody's run of Kairos reports home. Set before the frameworks are imported; an explicit choice wins.
for _switch, _value in {
    "GX_ANALYTICS_ENABLED": "false",
    "BENTOML_DO_NOT_TRACK": "true",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "FEAST_USAGE": "False",
}.items():
    os.environ.setdefault(_switch, _value)


class SettingsError(RuntimeError):
    """A setting is missing or wrong; the message names it and says what was expected."""


class Settings(BaseSettings):
    """What an installation of Kairos can be told. Environment names are `KAIROS_` + the field's."""

    model_config = SettingsConfigDict(env_prefix="KAIROS_", extra="forbid", frozen=True)

    profile: str = "local"
    home: Path = Field(default=Path(".kairos"), description="everything Kairos keeps, in one folder")
    reports: Path = Field(default=Path("reports"), description="where reports/*.json are written")

    backups: Path | None = Field(
        default=None, description="folder of the backups, best on another disk; unset: beside the home"
    )
    backups_kept: int = Field(default=7, ge=1, description="how many backups stay; the oldest go")
    keep_days: float | None = Field(
        default=None, ge=1, description="rejected rows, training runs and models of no use go when older; unset: none"
    )

    thresholds: Path | None = Field(
        default=None, description="TOML file whose values win over those of infra/thresholds.toml"
    )

    operator: str | None = Field(
        default=None, description="who approves models and rolls back, for the record; unset: the user's name"
    )

    # Ingest
    source_url: str | None = Field(default=None, description="PostgreSQL URL of the shop's database")
    chunk_rows: int = Field(default=250_000, ge=1_000, description="rows in memory at once while ingesting")
    max_rejected_share: float = Field(default=0.05, ge=0, le=1, description="a batch with more is refused")
    max_batch_age_days: float | None = Field(
        default=None, gt=0, description="refuse a batch whose newest event is older; unset: history is welcome"
    )

    # Feast
    project: str = Field(default="kairos", pattern=r"^[a-z][a-z0-9_]*$")
    engine: Literal["duckdb", "spark"] = Field(default="duckdb", description="what computes the features in batch")
    spark_master: str = Field(default="local[*]", description="Spark's master URL; local[*]: this machine's cores")
    registry_type: Literal["file", "sql"] = Field(default="file", description="where Feast's registry is")
    registry: str | None = Field(default=None, description="the registry's file, or its PostgreSQL URL")
    online_store: Literal["sqlite", "redis"] = "sqlite"
    redis_url: str | None = Field(default=None, description="redis://[user:password@]host:port/db, or Feast's form")
    redis_timeout_s: float = Field(
        default=0.5, gt=0, description="the longest that a connection to Redis or one of its answers may take"
    )

    holidays: str = Field(
        default="US", pattern="^[A-Z]{2}(-[A-Z0-9]+)?$", description="country whose public holidays count: US, DE-BY"
    )

    # Training
    holdout_days: int = Field(default=31, ge=1, description="the newest days, kept for evaluation")
    snapshot_days: int = Field(default=30, ge=1, description="distance of the training cuts")
    full_training_days: float = Field(
        default=180,
        ge=0,
        description="a training goes on from the champion until the last that began anew is older; 0: each begins anew",
    )
    trees: bool = Field(
        default=False, description="fit boosted trees beside the network; they rank where they gain 3 %"
    )
    training_cuts: int = Field(default=6, ge=1, description="how many cuts the ranker learns from")
    training_devices: int = Field(
        default=1, ge=1, description="GPUs or, without any, processes that train the sequence encoder together"
    )
    seed: int = 7

    # Event log
    event_stream: Literal["sqlite", "redis"] = Field(default="sqlite", description="where arriving events are kept")
    event_log_mb: float = Field(
        default=4096, gt=0, description="the SQLite event log, or the spool of events before Redis, grows no larger"
    )
    event_log_days: float = Field(
        default=30, gt=0, description="events leave the log when they are older, and in the features and the lake"
    )
    event_spool: Path | None = Field(
        default=None,
        description="file on this machine's own disk for events while Redis is away; unset: spool.db in the home",
    )

    # Local platform
    prefect_port: int = Field(default=4200, ge=1, le=65535, description="of the Prefect server that kairos up starts")

    # Service
    host: str = "127.0.0.1"
    port: int = Field(default=3000, ge=1, le=65535)
    service_url: str | None = Field(
        default=None, description="where commands ask the service that runs elsewhere; unset: at its host and port"
    )
    workers: int = Field(default=1, ge=1, description="processes that answer requests; each has the model in memory")
    rank_within_s: float = Field(
        default=0.25, gt=0, description="the longest that a request waits for the model before a lower rung answers"
    )
    require_keys: bool = Field(default=False, description="refuse clients without a key even where no key exists yet")
    rate_limit: str | None = Field(
        default=None, description="requests per client, by key or else by address, as in 1000/second; unset: no limit"
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="origins whose pages may call the service from a browser, separated by commas"
    )
    features_within_ms: float = Field(
        default=100, gt=0, description="the longest that a request waits for the online store; then it goes on without"
    )
    request_log_share: float = Field(
        default=0.01, ge=0, le=1, description="share of the answers that are logged with what they were made from"
    )
    request_log_mb: float = Field(default=200, gt=0, description="the oldest go when they take more")
    request_log_days: float = Field(default=30, gt=0, description="and when they are older")
    clock_start: AwareDatetime | None = Field(
        default=None,
        description="ISO 8601 with zone: the service's clock starts here and runs on from there, for data that are "
        "history; unset: the wall clock",
    )
    clock_began: AwareDatetime | None = Field(
        default=None,
        description="what the wall clock showed when the service's clock stood at its start; unset: when the first "
        "process of the service began, and its children take it over",
    )
    max_events_waiting: int = Field(
        default=200_000, ge=1, description="events are refused while the features lag behind by more than this"
    )

    @field_validator("rate_limit")
    @classmethod
    def _a_rate(cls, value: str | None) -> str | None:
        return checked_rate(value) if value else None

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _origins(cls, value: str | Sequence[str]) -> tuple[str, ...]:
        given = value.split(",") if isinstance(value, str) else value
        origins = tuple(part.strip().rstrip("/") for part in given if part.strip())
        for origin in origins:
            scheme, found, host = origin.partition("://")
            if scheme not in ("http", "https") or not found or not host or "/" in host:
                raise ValueError(f"{origin!r} is no origin; expected for example https://shop.example")
        return origins

    @field_validator("holidays")
    @classmethod
    def _known_country(cls, value: str) -> str:
        from holidays import list_supported_countries  # a tenth of a second that only this check needs

        nation, _, part = value.partition("-")
        known = list_supported_countries()
        if nation not in known or (part and part not in known[nation]):
            raise ValueError("no such country; expected a code of the `holidays` package, as in US, DE or DE-BY")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        profile = InitSettingsSource(settings_cls, init_kwargs=_profile_values())
        return init_settings, env_settings, profile

    @property
    def service_address(self) -> str:
        """Where commands ask the service."""
        return (self.service_url or f"http://{self.host}:{self.port}").rstrip("/")

    @property
    def registry_url(self) -> str | None:
        """The registry's database in SQLAlchemy's form, with the driver that is installed; None: it is a file."""
        scheme, found, rest = (self.registry or "").partition("://")
        return f"postgresql+psycopg://{rest}" if found and scheme.startswith("postgres") else None

    @property
    def backups_folder(self) -> Path:
        """Where backups are kept: never inside of the home, which may be lost."""
        return (self.backups or self.home.with_name(f"{self.home.name}-backups")).absolute()

    @property
    def lake(self) -> Path:
        """Accepted events and tables, Parquet. Written by ingest alone, read through Feast alone."""
        return self.home / "lake"

    @property
    def quarantine(self) -> Path:
        """Rejected rows with the rule that each broke, one Parquet file per batch."""
        return self.home / "quarantine"

    @property
    def staging(self) -> Path:
        """Batches on their way in; whatever a killed run left here is dropped by the next."""
        return self.home / "staging"

    @property
    def source_marks(self) -> Path:
        """Up to where each database was read, for ingests that read only what is new."""
        return self.home / "source_marks.json"

    @property
    def gx(self) -> Path:
        """Great Expectations' file context, with the Data Docs."""
        return self.home / "gx"

    @property
    def features(self) -> Path:
        """Feature snapshots, one folder per Feast view, one Parquet file per moment."""
        return self.home / "features"

    @property
    def accepted_features(self) -> Path:
        """What the features of the last accepted run looked like, one JSON per feature: the measure of drift."""
        return self.home / "accepted_features"

    @property
    def monitoring(self) -> Path:
        """What `kairos monitor` measured, a folder per part, and the same for Prometheus."""
        return self.home / "monitoring"

    @property
    def packed(self) -> Path:
        """The packed item table, a folder per version."""
        return self.home / "packed"

    @property
    def scratch(self) -> Path:
        """What the embedded engine keeps on disk while it computes more events than it has in memory."""
        return self.home / "scratch"

    @property
    def spark(self) -> Path:
        """Spark's log, and its scratch files while it runs."""
        return self.home / "spark"

    @property
    def feast(self) -> Path:
        """Feast's registry and online store in profile local."""
        return self.home / "feast"

    @property
    def tuning(self) -> Path:
        """The trials of `kairos tune`, so that a search goes on where it was cut short."""
        return self.home / "tuning.journal"

    def evaluation(self, tag: str) -> Path:
        """The leaderboard of a published bundle."""
        return self.home / "evaluations" / f"{tag.partition(':')[2]}.json"

    @property
    def platform(self) -> Path:
        """What `kairos up` runs: process numbers, logs, Prefect's database."""
        return self.home / "platform"

    @property
    def decisions(self) -> Path:
        """What the gate and operators decided of models, a file each."""
        return self.home / "decisions"

    @property
    def rollbacks(self) -> Path:
        """Who went back to which champion, a file each."""
        return self.home / "rollbacks"

    @property
    def runs(self) -> Path:
        """Training runs: checkpoints and TensorBoard logs."""
        return self.home / "runs"

    @property
    def bundles(self) -> Path:
        """Model bundles as trained, before they are published."""
        return self.home / "bundles"

    @property
    def champion(self) -> Path:
        """The pointer to the bundle in service."""
        return self.home / "champion.json"

    @property
    def bentoml_home(self) -> Path:
        """BentoML's model and Bento stores, unless `BENTOML_HOME` names others."""
        return self.home / "bentoml"

    @property
    def keys_file(self) -> Path:
        """The clients' keys, hashed; where the file exists, nobody gets in without one."""
        return self.home / "keys.json"

    @property
    def event_log(self) -> Path:
        """The durable log of events posted to the service, where it is SQLite."""
        return self.home / "events.db"

    @property
    def spool(self) -> Path:
        """Events that this machine took while the event log in Redis was away."""
        return (self.event_spool or self.home / "spool.db").absolute()

    @property
    def request_log(self) -> Path:
        """A share of the answers with what they were made from; for its owner's eyes alone."""
        return self.home / "requests.db"


def environment(config: Settings) -> dict[str, str]:
    """The environment in which a child process has these settings, whatever this process was told; a Bento's code, no
    installed package, included."""
    ours = {f"KAIROS_{name.upper()}" for name in Settings.model_fields}
    others = {name: value for name, value in os.environ.items() if name not in ours}
    values = config.model_dump(mode="json", exclude_none=True)
    texts = {
        name: ",".join(map(str, value)) if isinstance(value, list) else str(value) for name, value in values.items()
    }
    path = os.pathsep.join([str(PROJECT_ROOT), os.environ.get("PYTHONPATH", "")])
    return others | {f"KAIROS_{name.upper()}": text for name, text in texts.items()} | {"PYTHONPATH": path}


def _profile_values() -> dict[str, Any]:
    name = os.environ.get("KAIROS_PROFILE", "local")
    file = PROFILES / f"{name}.toml"
    if not file.is_file():
        known = ", ".join(sorted(p.stem for p in PROFILES.glob("*.toml")))
        raise SettingsError(f"KAIROS_PROFILE={name!r}: no such profile, expected one of: {known}")
    return {"profile": name, **tomllib.loads(file.read_text())}


def _check_connections(loaded: Settings) -> None:
    """Their values are never shown: they hold passwords."""
    users = {"online store": loaded.online_store, "event log": loaded.event_stream}
    if in_redis := [what for what, where in users.items() if where == "redis"]:
        example = "KAIROS_REDIS_URL=redis://:password@localhost:6379/0"
        if not loaded.redis_url:
            raise SettingsError(
                f"KAIROS_REDIS_URL is not set; it names the Redis of the {' and the '.join(in_redis)}, "
                f"set for example {example}"
            )
        scheme, found, _ = loaded.redis_url.partition("://")
        if found and scheme not in ("redis", "rediss"):
            raise SettingsError(f"KAIROS_REDIS_URL begins with {scheme}://, expected redis:// or rediss://: {example}")
    if loaded.registry_type == "sql" and not loaded.registry_url:
        state = "names no PostgreSQL database" if loaded.registry else "is not set"
        raise SettingsError(
            f"KAIROS_REGISTRY {state}; the registry is in PostgreSQL, set for example "
            f"KAIROS_REGISTRY=postgresql+psycopg://kairos:password@localhost:5432/kairos"
        )


@lru_cache
def settings() -> Settings:
    """The settings of this process, read once. Tests call `settings.cache_clear()` after changing the environment.

    Raises:
        SettingsError: a value is missing or wrong; the message names the variable.
    """
    try:
        loaded = Settings()
    except ValidationError as error:
        lines = [
            f"KAIROS_{'_'.join(map(str, e['loc'])).upper()}={e.get('input')!r}: {e['msg']}" for e in error.errors()
        ]
        raise SettingsError("; ".join(lines)) from error
    _check_connections(loaded)
    absolute = loaded.model_copy(update={"home": loaded.home.absolute(), "reports": loaded.reports.absolute()})
    if loaded.clock_start and not loaded.clock_began:
        # Told to the workers that this process will start, and to those that take their place.
        began = datetime.now(UTC)
        os.environ["KAIROS_CLOCK_BEGAN"] = began.isoformat()
        absolute = absolute.model_copy(update={"clock_began": began})
    # BentoML knows its home from the environment alone, and reads it once.
    os.environ.setdefault("BENTOML_HOME", str(absolute.bentoml_home))
    return absolute
