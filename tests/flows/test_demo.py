"""The demo around the pipeline: one shop per home, and a kill that does no harm."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL

from flows.demo import claim_home, figures, run_demo
from flows.errors import OtherDataError, SourceMissingError
from infra.settings import Settings


def write_events(path: Path) -> Path:
    """Thirty users over a hundred days; each keeps to one of three groups of items."""
    start = datetime(2024, 1, 1, tzinfo=UTC)
    rows = [
        f"u{u},i{(n * 7 + u) % 10 * 3 + u % 3},purchase,{(start + timedelta(days=n, minutes=u)).isoformat()}"
        for n in range(100)
        for u in range(30)
    ]
    path.write_text("\n".join(["user_id,item_id,behavior,timestamp", *rows]))
    return path


def test_a_home_holds_one_shop(tmp_path: Path) -> None:
    config = Settings(home=tmp_path / "home")
    claim_home(config, "csv", {"path": "one.csv"})
    claim_home(config, "csv", {"path": str(Path("one.csv").resolve())})
    with pytest.raises(OtherDataError, match="KAIROS_HOME"):
        claim_home(config, "csv", {"path": "two.csv"})


def test_a_wrong_path_claims_nothing(tmp_path: Path) -> None:
    config = Settings(home=tmp_path / "home")
    with pytest.raises(SourceMissingError):
        run_demo(config, "csv", {"path": str(tmp_path / "typo.csv")})
    assert not config.home.exists()


def test_figures_stand_beside_their_targets() -> None:
    def page(value: float) -> dict[str, dict[str, float]]:
        return {"ndcg@10": {"value": value, "low": value, "high": value}}

    found = figures({"holdout": {"all": page(0.44), "novel": page(0.01)}})
    assert found["ndcg@10 all"]["met"]
    assert not found["ndcg@10 novel"]["met"]


def test_a_killed_demo_can_be_run_again_and_finishes(tmp_path: Path) -> None:
    events = write_events(tmp_path / "events.csv")
    environment = os.environ | {
        "KAIROS_HOME": str(tmp_path / "home"),
        "KAIROS_REPORTS": str(tmp_path / "reports"),
        "BENTOML_HOME": str(tmp_path / "home" / "bentoml"),
        "KAIROS_TRAINING_CUTS": "2",
    }
    command = [str(Path(sys.executable).with_name("kairos")), "demo", "--events", str(events)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True) as first:
        assert first.stdout is not None
        assert any(line.startswith("train ...") for line in first.stdout)
        os.killpg(first.pid, signal.SIGKILL)
    assert not (tmp_path / "reports").exists()
    environment["PREFECT_API_URL"] = str(PREFECT_API_URL.value())  # the first had a server of its own
    again = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stderr[-3000:]
    report = json.loads((tmp_path / "reports" / "demo.json").read_text())
    assert report["rows"]["events"] == 3_000
    assert report["holdout"]["all"]["users"]["value"] == 30
