"""The command line: help everywhere, errors as one sentence, exit codes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL
from typer.testing import CliRunner

from flows import cli
from flows.cli import app
from flows.cli_options import pairs
from infra.settings import Settings

COMMANDS = [
    "demo", "ingest", "features", "train", "publish", "rollback", "evaluate", "recommend", "replay", "serve", "status",
    "keys", "quarantine", "lake", "monitor", "backup", "restore", "prune", "up", "down", "deploy", "notify",
]  # fmt: skip


def kairos(*arguments: str, home: Path, **more: str) -> subprocess.CompletedProcess[str]:
    program = str(Path(sys.executable).with_name("kairos"))
    environment = os.environ | {"KAIROS_HOME": str(home), "KAIROS_PORT": "39217"} | more
    return subprocess.run([program, *arguments], env=environment, capture_output=True, text=True, timeout=200)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert command in result.output


@pytest.mark.parametrize("file", sorted(Path(cli.__file__).parent.glob("cli*.py")), ids=lambda file: file.stem)
def test_no_command_calls_a_flow_past_the_local_platform(file: Path) -> None:
    assert set(re.findall(r"\b(\w+_flow)\(", file.read_text())) <= {"run_flow"}


def test_an_error_is_one_sentence_that_says_what_to_do(tmp_path: Path) -> None:
    result = kairos("recommend", "anybody", home=tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith("error: no model in service")
    assert "kairos train" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    here = str(PREFECT_API_URL.value())  # else it would start a server of its own
    result = kairos("ingest", str(tmp_path / "nothing.csv"), home=tmp_path, PREFECT_API_URL=here)
    assert result.returncode == 1
    assert "nothing.csv" in result.stderr
    assert "Traceback" not in result.stderr


def test_status_of_nothing_says_what_to_do_first(tmp_path: Path) -> None:
    result = kairos("status", home=tmp_path)
    assert result.returncode == 0
    for hint in ("kairos demo", "kairos features", "kairos train", "kairos serve"):
        assert hint in result.stdout.replace("\n", " ")


def test_quarantine_shows_what_was_rejected(tmp_path: Path) -> None:
    rows = [
        "user_id,item_id,behavior,timestamp",
        *(f"u,i{n},browse,1700000000" for n in range(30)),
        "u,i,juggle,1700000000",
    ]
    (tmp_path / "events.csv").write_text("\n".join(rows))
    ingested = kairos("ingest", str(tmp_path / "events.csv"), home=tmp_path)
    assert ingested.returncode == 0, ingested.stderr
    assert "Data Docs" in ingested.stdout
    [batch] = [path.stem for path in Settings(home=tmp_path).quarantine.glob("*.parquet")]
    assert "1" in kairos("quarantine", "list", home=tmp_path).stdout
    assert "juggle" in kairos("quarantine", "show", batch, home=tmp_path).stdout


def test_pairs_want_both_sides() -> None:
    assert pairs("--column", ["user_id=visitor", "item_id=a=b"]) == {"user_id": "visitor", "item_id": "a=b"}
    with pytest.raises(Exception, match="--column wants NAME=NAME"):
        pairs("--column", ["user_id"])
