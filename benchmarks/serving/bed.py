"""Where the service runs that is measured: a scratch home over an installation, and a Redis of its own."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from benchmarks.serving.redis_server import OwnRedis
from feature_repo.store import Features
from flows.serving import clock_start
from infra.ports import free_port
from infra.settings import PROJECT_ROOT, Settings
from models.registry import Champion, NoChampionError, champion

COPIED: Final = ("features", "packed", "bentoml/models")
"""What a service writes into beside its logs; the lake it only reads."""
_HOME, _REDIS, _PORT = "home", "redis", "redis_port"


@dataclass(frozen=True)
class Bed:
    """A folder with everything; by its path alone, so that each figure's process can open it."""

    folder: Path

    @property
    def home(self) -> Path:
        return self.folder / _HOME

    @property
    def redis(self) -> OwnRedis:
        return OwnRedis(self.folder / _REDIS, int((self.folder / _PORT).read_text()))

    def environment(self, start: datetime | None) -> dict[str, str]:
        """For the figures' processes and the services that they start.

        Args:
            start: where the clock of all services starts now; None: the wall clock.
        """
        values = {
            "PROFILE": "local",
            "HOME": str(self.home),
            "ONLINE_STORE": "redis",
            "REDIS_URL": self.redis.url,
            "EVENT_STREAM": "redis",
            "CLOCK_START": start and start.isoformat(),
            "CLOCK_BEGAN": start and datetime.now(UTC).isoformat(),
        }
        given = {
            f"KAIROS_{name}": value for name, value in values.items() if value and name.lower() in Settings.model_fields
        }
        ours = {name: value for name, value in os.environ.items() if not name.startswith("KAIROS_")}
        paths = {
            "BENTOML_HOME": str(self.home / "bentoml"),
            "PYTHONPATH": os.pathsep.join([str(PROJECT_ROOT), os.environ.get("PYTHONPATH", "")]),
        }
        return {**ours, **given, **paths}


@contextmanager
def bed(installed: Settings) -> Iterator[tuple[Bed, dict[str, str]]]:
    """Make a bed, with its environment; gone afterwards.

    Raises:
        SystemExit: the installation has no champion.
    """
    served = _champion(installed)
    with tempfile.TemporaryDirectory(prefix="kairos-bench-serving-") as folder:
        made = Bed(Path(folder))
        _copy(installed, made.home, served)
        (made.folder / _PORT).write_text(str(free_port()))
        made.redis.start()
        try:
            config = Settings(
                home=made.home,
                profile="local",
                registry_type="file",
                registry=None,
                online_store="redis",
                redis_url=made.redis.url,
                redis_timeout_s=30,
            )
            start = clock_start(installed)
            features = Features.open(config)
            with made.redis.hurried():
                features.apply()
                features.materialize(start or features.lake.newest_event())
            yield made, made.environment(start)
        finally:
            made.redis.kill()


def _champion(installed: Settings) -> Champion:
    try:
        return champion(installed.champion)
    except NoChampionError:
        raise SystemExit(
            f"{installed.home}: no champion to measure. Run `make demo` first, or set KAIROS_HOME to an installation"
        ) from None


def _copy(installed: Settings, home: Path, served: Champion) -> None:
    home.mkdir(parents=True)
    (home / "lake").symlink_to(installed.lake.resolve())
    for name in COPIED:
        if (installed.home / name).is_dir():
            shutil.copytree(installed.home / name, home / name)
    shutil.copy(installed.champion, home / installed.champion.name)
    print(f"measuring {served.tag} of {installed.home}", flush=True)
