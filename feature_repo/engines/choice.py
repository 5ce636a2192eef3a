"""The engine that the settings name."""

from __future__ import annotations

from feature_repo.engines.base import Engine
from feature_repo.engines.duckdb import DuckDBEngine
from feature_repo.engines.spark import SparkEngine
from feature_repo.lake import Lake
from infra.settings import Settings


def engine_of(settings: Settings) -> Engine:
    """The engine over the installation's lake. Spark is not started before it is used."""
    lake = Lake(settings.lake)
    if settings.engine == "spark":
        return SparkEngine(lake, settings.spark_master, settings.spark)
    return DuckDBEngine(lake, scratch=settings.scratch)
