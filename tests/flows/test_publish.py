"""What a Bento is made of."""

from __future__ import annotations

import tomllib

from bentoml._internal.bento.build_config import BentoPathSpec

from infra.settings import PROJECT_ROOT


def test_a_bento_takes_nothing_from_the_bentos_of_a_home_inside_the_project() -> None:
    # With a pattern that holds at any depth, the second build copied itself until names were too long.
    build = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["tool"]["bentoml"]["build"]
    taken = BentoPathSpec(build["include"], build.get("exclude", []))
    for file in ("requirements.lock", "models/ids.py", "services/service.py", "infra/profiles/local.toml"):
        assert taken.includes(f"./{file}")
        assert not taken.includes(f".kairos/bentoml/bentos/kairos/x/src/{file}")
