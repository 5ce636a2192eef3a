"""Feast on the backends that the settings name. Beside the settings, the only file that looks at which they are."""

from __future__ import annotations

import logging
import os
from typing import Any

import yaml
from feast import FeatureStore
from feast.repo_config import RepoConfig
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext, make_url
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from feature_repo.errors import RegistryDownError
from infra.settings import Settings

CONNECT_WITHIN_S = 3

# Feast logs every view that it materialises, and warns of what Kairos configures on purpose.
logging.getLogger("feast").setLevel(logging.ERROR)


def open_feast(settings: Settings) -> FeatureStore:
    """Feast on the backends that the settings name.

    Raises:
        RegistryDownError: the registry's database cannot be reached, or refuses to work. The online store is not
            touched before it is used.
    """
    settings.feast.mkdir(parents=True, exist_ok=True)
    _write_yaml(settings)
    config = _config(settings, _online_store(settings, settings.redis_url), _registry(settings, settings.registry_url))
    store = FeatureStore(config=RepoConfig(**config, repo_path=settings.feast))
    if not settings.registry_url:
        return store
    try:
        engine = store.registry.write_engine
    except SQLAlchemyError as error:
        raise _registry_down(settings.registry_url, error) from error
    # Later, too, whatever is asked of it.
    event.listen(engine, "handle_error", lambda context: _translate(settings.registry_url, context))
    return store


def _config(settings: Settings, online_store: dict[str, Any], registry: dict[str, Any]) -> dict[str, Any]:
    return {
        "project": settings.project,
        "provider": "local",
        "registry": registry,
        "online_store": online_store,
        "offline_store": {"type": "feature_repo.offline_store.AsOfOfflineStore"},
        "entity_key_serialization_version": 3,
        # Without a size Feast writes only the first chunk of what the offline store returns.
        "materialization": {"online_write_batch_size": 10_000},
    }


def _online_store(settings: Settings, redis_url: str | None) -> dict[str, Any]:
    if settings.online_store == "redis":
        return {
            "type": "feature_repo.online_store.redis.PipelinedRedisOnlineStore",
            "connection_string": redis_url,
            "timeout_s": settings.redis_timeout_s,
        }
    return {
        "type": "feature_repo.online_store.sqlite.RowsSqliteOnlineStore",
        "path": str(settings.feast / "online.db"),
    }


def _registry(settings: Settings, url: str | None) -> dict[str, Any]:
    registry: dict[str, Any] = {
        "path": url or str(settings.registry or settings.feast / "registry.db"),
        # thread: the registry is refreshed beside the requests, never within one.
        "cache_ttl_seconds": 60,
        "cache_mode": "thread",
        # Else every request for a view is refused from the moment that somebody begins to materialise it.
        "serve_features_while_materializing": True,
    }
    if not url:
        registry["registry_store_type"] = "feature_repo.registry_file.WholeFileRegistryStore"
    else:
        registry["registry_type"] = "sql"
        # A connection that the server has closed in the meantime is replaced, not handed out.
        connect = {"connect_timeout": CONNECT_WITHIN_S, "application_name": f"kairos {settings.project}"}
        registry["sqlalchemy_config_kwargs"] = {"pool_pre_ping": True, "connect_args": connect}
    return registry


def _write_yaml(settings: Settings) -> None:
    """Lets the `feast` command line look at the same store: feast -f .kairos/feast/feature_store.yaml ...

    Connection strings hold passwords, so the file names the variables and Feast looks them up.
    """
    registry = _registry(settings, settings.registry_url and "${KAIROS_REGISTRY}")
    config = _config(settings, _online_store(settings, "${KAIROS_REDIS_URL}"), registry)
    partial = settings.feast / f"feature_store.yaml.{os.getpid()}.partial"
    partial.write_text(yaml.safe_dump(config, sort_keys=False))
    os.replace(partial, settings.feast / "feature_store.yaml")


def _translate(url: str | None, context: ExceptionContext) -> None:
    """Feast handles broken constraints itself; what remains is a server that is away or unwell."""
    if url and isinstance(context.sqlalchemy_exception, OperationalError | InterfaceError):
        raise _registry_down(url, context.sqlalchemy_exception) from context.original_exception


def _registry_down(url: str, error: SQLAlchemyError) -> RegistryDownError:
    address = make_url(url)
    reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
    return RegistryDownError(
        f"Feast's registry, PostgreSQL at {address.host}:{address.port or 5432}, database {address.database!r}, "
        f"failed: {reason}; see that it runs and that KAIROS_REGISTRY names it"
    )
