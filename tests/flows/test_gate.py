"""What the gate lets into service, on real bundles: the pipeline's champion, and the same spoiled."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import bentoml
import pytest
from typer.testing import CliRunner

from benchmarks.ops.worse import WAYS, published
from flows import cli, gate
from flows.alarms import SAID
from flows.bentos import is_packed
from flows.decisions import Decision, decisions, record
from flows.errors import ModelRefusedError
from flows.gate import judge
from flows.pipeline import PipelineReport
from flows.publish import approve_flow, publish_flow, was_decided
from infra.settings import Settings
from models import registry
from models.gate import Finding
from tests.flows.heard import heard

SURE = (
    "labels shuffled over items",
    "ranks backwards",
    "weights that are no numbers",
    "stale",
    "saw the holdout",
    "asks for a feature that is gone",
    "damaged on disk",
    "a file is missing",
)
"""Ways to be worse that eighty households are enough to see; the benchmark has the others."""


@pytest.fixture
def champion(pipeline: PipelineReport, slice_home: Settings) -> Iterator[Path]:
    """The champion's folder; what a test puts into the stores or into service is gone after it."""
    pointer = slice_home.champion
    held = pointer.read_bytes()
    stores = (bentoml.models, bentoml.bentos)
    before = [{str(each.tag) for each in store.list()} for store in stores]
    yield registry.bundle_path(registry.champion(pointer).tag)
    pointer.write_bytes(held)
    for store, known in zip(stores, before, strict=True):
        for each in store.list():
            if str(each.tag) not in known:
                store.delete(each.tag)


def refused(decision: Decision) -> set[str]:
    return {finding.check for finding in decision.findings if not finding.passed}


def test_the_first_model_was_judged_by_itself(pipeline: PipelineReport, slice_home: Settings) -> None:
    first = decisions(slice_home)[0]
    assert (first.challenger, first.champion, first.accepted) == (pipeline.model, None, True)
    checks = {finding.check for finding in first.findings}
    assert checks >= {
        "whole",
        "reproducible",
        "features",
        "better than popularity",
        "latency",
        "same answers",
        "answers over HTTP",
    }


def test_a_model_as_good_is_accepted_and_is_no_improvement(
    champion: Path, slice_home: Settings, tmp_path: Path
) -> None:
    tag = registry.publish(champion, {})
    decision = judge(slice_home, tag)
    assert decision.accepted, decision.reasons
    assert not decision.improvement
    assert decision.champion == registry.champion(slice_home.champion).tag
    assert {"quality, all items", "quality, novel items", "coverage", "as fresh"} <= {
        f.check for f in decision.findings
    }


@pytest.mark.parametrize("name", SURE)
def test_a_worse_model_is_refused_for_its_reason(
    name: str, champion: Path, slice_home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # None of these is refused for it, and a service that starts for each takes a third of the time: see test_trial.py.
    monkeypatch.setattr(gate, "try_over_http", lambda *asked: Finding("answers over HTTP", True, "not asked"))
    tag = published(champion, WAYS[name], tmp_path)
    decision = judge(slice_home, tag)
    assert not decision.accepted
    assert refused(decision) & set(WAYS[name].refused_by), decision.reasons


def test_a_bundle_that_was_published_is_not_published_again_by_itself(
    champion: Path, pipeline: PipelineReport, slice_home: Settings
) -> None:
    before = len(bentoml.models.list())
    assert publish_flow() == pipeline.model
    assert len(bentoml.models.list()) == before


def test_what_is_refused_does_not_go_into_service_until_somebody_says_so(
    champion: Path, slice_home: Settings, tmp_path: Path
) -> None:
    held = registry.champion(slice_home.champion).tag
    worse = tmp_path / "worse"
    tag = published(champion, WAYS["stale"], tmp_path)
    worse.symlink_to(registry.bundle_path(tag))
    begun = datetime.now(UTC)
    with pytest.raises(ModelRefusedError, match=r"as fresh: .* kairos approve") as error:
        publish_flow(worse)
    assert heard("challenger-refused", begun) == str(error.value)[:SAID]
    assert registry.champion(slice_home.champion).tag == held
    challenger = str(error.value).partition(" ")[0]
    with pytest.raises(ModelRefusedError, match="needs a reason"):
        approve_flow(challenger, " ")
    with pytest.raises(ModelRefusedError, match="has not judged it"):
        approve_flow("kairos:unheardof", "why not")
    assert approve_flow(challenger, "last month's data are damaged", "ada") == challenger
    assert registry.champion(slice_home.champion).tag == challenger
    last = decisions(slice_home)[-1]
    assert (last.accepted, last.by, last.because) == (True, "ada", "last month's data are damaged")
    assert refused(last) == {"as fresh", "reproducible"}  # its moment is another than its data's
    shown = CliRunner().invoke(cli.app, ["decisions"]).output
    assert "damaged" in shown  # its table is as wide as the terminal, so lines are broken anywhere


@pytest.fixture
def history(slice_home: Settings, tmp_path: Path) -> Iterator[None]:
    """Pointer and decisions are afterwards what they were, and one Bento is left."""
    shutil.copytree(slice_home.decisions, tmp_path / "decisions")
    held = slice_home.champion.read_bytes()
    yield
    shutil.rmtree(slice_home.decisions)
    shutil.copytree(tmp_path / "decisions", slice_home.decisions)
    slice_home.champion.write_bytes(held)
    for bento in bentoml.bentos.list()[1:]:
        bentoml.bentos.delete(bento.tag)


@pytest.mark.usefixtures("history")
def test_a_run_that_was_killed_is_brought_to_its_end(pipeline: PipelineReport, slice_home: Settings) -> None:
    [bento] = [each for each in bentoml.bentos.list() if pipeline.model in {str(m.tag) for m in each.info.all_models}]
    ended = decisions(slice_home)
    pointer = slice_home.champion
    # After the model was put into service
    bentoml.bentos.delete(bento.tag)
    assert publish_flow() == pipeline.model
    assert is_packed(pipeline.model)
    assert decisions(slice_home) == ended
    # After it was decided
    pointer.unlink()
    assert publish_flow() == pipeline.model
    assert registry.champion(pointer).tag == pipeline.model
    # After it was published
    pointer.unlink()
    for file in slice_home.decisions.glob("*.json"):
        file.unlink()
    assert publish_flow() == pipeline.model
    assert registry.champion(pointer).tag == pipeline.model
    [decision] = decisions(slice_home)
    assert decision.accepted


def test_what_was_decided_stays(pipeline: PipelineReport, slice_home: Settings, tmp_path: Path) -> None:
    config = slice_home.model_copy(update={"home": tmp_path})
    held, other = pipeline.model, "kairos:other"

    def said(accepted: bool, at: str) -> None:
        record(config, Decision(other, held, accepted, False, (), at=f"2024-05-0{at}T00:00:00+00:00"))

    def crowned(day: int) -> None:
        registry.crown(config.champion, held, now=datetime(2024, 5, day, tzinfo=UTC))

    assert not was_decided(config, other)
    crowned(1)
    said(True, "2")
    assert not was_decided(config, other)  # the one before it is still in service
    crowned(3)
    assert was_decided(config, other)  # back to the one before
    said(False, "4")
    assert was_decided(config, other)
