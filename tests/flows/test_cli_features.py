"""`kairos features plan|apply` on an edited copy of the code, with a published bundle in service."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import feature_repo
from feature_repo.event import to_arrow
from feature_repo.store import Features
from flows.cli import app
from infra.settings import Settings
from models.bundle import MANIFEST
from tests.feature_repo.conftest import event

PUBLISH = """
import sys
from pathlib import Path
from infra.settings import settings
from models import registry
pointer = settings().champion
print(registry.crown(pointer, registry.publish(Path(sys.argv[1]), {})).tag)
"""


@pytest.mark.parametrize("command", ["plan", "apply", "backfill"])
def test_every_command_has_help(command: str) -> None:
    result = CliRunner().invoke(app, ["features", command, "--help"])
    assert result.exit_code == 0
    assert command in result.output


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    """A lake with one event, and our features registered."""
    config = Settings(home=tmp_path / "home")
    (config.lake / "events").mkdir(parents=True)
    rows = to_arrow([event("u", "a", datetime(2024, 3, 1, tzinfo=UTC))])
    pq.write_table(rows, config.lake / "events" / "0.parquet")
    Features.open(config).apply()
    return config


def run(config: Settings, code: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """With the copy of `feature_repo` before the installed one."""
    environment = os.environ | {"KAIROS_HOME": str(config.home), "PYTHONPATH": str(code), "COLUMNS": "200"}
    environment.pop("BENTOML_HOME", None)
    return subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, timeout=300)


def test_a_live_bundles_feature_is_not_taken_away(home: Settings, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / MANIFEST).write_text(json.dumps({"features": ["user_cycles:cycle_days", "user_activity:events_7d"]}))
    code = tmp_path / "code"
    here = Path(feature_repo.__file__).parent
    shutil.copytree(here, code / "feature_repo", ignore=shutil.ignore_patterns("__pycache__"))
    published = run(home, code, "-c", PUBLISH, str(bundle))
    tag = published.stdout.strip()
    assert tag.startswith("kairos:"), published.stderr
    (code / "feature_repo" / "features" / "user_cycles.py").unlink()
    registry = (home.feast / "registry.db").read_bytes()
    kairos = str(Path(sys.executable).with_name("kairos"))

    planned = run(home, code, kairos, "features", "plan")
    assert planned.returncode == 0, planned.stderr
    [row] = [line for line in planned.stdout.splitlines() if "removed" in line]
    assert "user_cycles" in row
    assert f"{tag} (in service)" in row

    refused = run(home, code, kairos, "features", "apply")
    assert refused.returncode == 1
    assert f"{tag} reads user_cycles:cycle_days: removed" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert (home.feast / "registry.db").read_bytes() == registry
    assert not home.features.exists()
