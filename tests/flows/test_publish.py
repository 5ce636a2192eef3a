"""What a Bento is made of."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

from bentoml._internal.bento.build_config import BentoPathSpec

from infra.settings import PROJECT_ROOT


def test_a_bento_takes_nothing_from_the_bentos_of_a_home_inside_the_project() -> None:
    # With a pattern that holds at any depth, the second build copied itself until names were too long.
    build = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["tool"]["bentoml"]["build"]
    taken = BentoPathSpec(build["include"], build.get("exclude", []))
    for file in ("requirements.lock", "models/ids.py", "services/service.py", "infra/profiles/local.toml"):
        assert taken.includes(f"./{file}")
        assert not taken.includes(f".kairos/bentoml/bentos/kairos/x/src/{file}")


def test_a_store_without_any_model_knows_of_none(tmp_path: Path) -> None:
    # In a process of its own: BentoML has one store per process.
    code = "from pathlib import Path; from flows.bundles import published_as; print(published_as(Path('of-today')))"
    environment = os.environ | {"BENTOML_HOME": str(tmp_path)}
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.strip().endswith("None"), done.stderr
