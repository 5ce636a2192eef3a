"""Whatever the document allows is answered as the document says; whatever it forbids is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from infra.keys import Keys, Right

from .conftest import Shop, serving

EXAMPLES = 5


def test_no_answer_is_outside_of_the_document(shop: Shop, tmp_path: Path) -> None:
    own = shop.copy(tmp_path / "home")
    keys, secret = Keys().add("fuzz", list(Right), None, datetime.now(UTC))
    keys.save(own.settings.keys_file)
    with serving(own, tmp_path / "log") as service:
        arguments = [
            *("--header", f"Authorization: Bearer {secret}"),
            *("--phases", "examples,coverage,fuzzing"),
            *("--max-examples", str(EXAMPLES)),
            *("--exclude-path", "/recommend", "--exclude-path", "/events"),  # the same as their newest versions
            *("--suppress-health-check", "all", "--continue-on-failure", "--no-color", "--seed", "7"),
        ]
        done = subprocess.run(
            [Path(sys.executable).with_name("schemathesis"), "run", f"{service.client.base_url}/docs.json", *arguments],
            cwd=tmp_path,
            env=os.environ | {"SCHEMATHESIS_HOOKS": "fuzz_hooks", "PYTHONPATH": str(Path(__file__).parent)},
            capture_output=True,
            text=True,
            check=False,
        )
        log = service.log()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in log
