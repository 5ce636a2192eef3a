"""The publishing step: a bundle goes into BentoML's store, through the gate, becomes champion, is made a Bento."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Final

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from flows.alarms import alarm
from flows.bentos import build_bento, is_packed
from flows.bundles import newest_bundle, publish_bundle, published_as
from flows.catching_up import catch_up_if_possible
from flows.decisions import Decision, decisions, latest_of, record
from flows.errors import ModelRefusedError
from flows.gate import judge
from flows.naming import run_name
from flows.operator import operator
from flows.retries import again
from flows.time_limits import TIME_LIMITS_S
from infra.settings import Settings, settings
from models import registry

TRIES: Final = 3
"""Another champion may go into service while a challenger is judged."""


def was_decided(config: Settings, tag: str) -> bool:
    """Whether a published model was refused, or has gone into service; else whoever published it did not end."""
    held = _in_service(config)
    if held and tag in (held.tag, *(reign.tag for reign in held.before)):
        return True
    found = [decision for decision in decisions(config) if decision.challenger == tag]
    if not all(decision.accepted for decision in found):
        return True
    # One that has been in service for longer was never replaced by it; a later one has, or is a rollback.
    return bool(found and held and datetime.fromisoformat(held.since) > datetime.fromisoformat(found[-1].at))


def _in_service(config: Settings) -> registry.Champion | None:
    """The champion; None: there is none, or its pointer is damaged."""
    try:
        return registry.champion(config.champion)
    except (registry.NoChampionError, ValueError, TypeError):
        return None


@task(name="publish-bundle", **again(1))
def _publish(folder: Path) -> str:
    return publish_bundle(folder)


@task(name="crown-champion")
def _crown(tag: str, instead_of: str | None) -> registry.Champion:
    return registry.crown(settings().champion, tag, instead_of=instead_of)


@task(name="catch-up-champion", **again(1))
def _catch_up() -> str:
    return catch_up_if_possible(settings(), wait_s=0)  # where a training is at it, the schedule does it later


@task(name="build-bento", **again(1))
def _build() -> str:
    return build_bento(settings())


@task(name="judge-challenger", **again(1))
def _judge(tag: str) -> Decision:
    decision = judge(settings(), tag)
    record(settings(), decision)
    create_table_artifact(key="gate", table=decision.rows(), description=f"{tag}: {decision.verdict}")
    return decision


@flow(name="publish", flow_run_name=run_name, timeout_seconds=TIME_LIMITS_S["publish"])
def publish_flow(folder: Path | None = None) -> str:
    """Publish a bundle, by default the newest; if the gate lets it, put it into service, build its Bento, catch it up.

    Without a folder a bundle that was published before is left alone: whatever was decided of it, or a rollback after
    it, stays. A run that was killed is brought to its end.

    Returns:
        The model's tag.

    Raises:
        ModelRefusedError: the gate did not; the champion stays.
    """
    known = None if folder else published_as(newest_bundle(settings()))
    if known and was_decided(settings(), known):
        held = _in_service(settings())
        if held and held.tag == known and not is_packed(known):
            _take_up(known)
        else:
            create_markdown_artifact(key="champion", markdown=f"Nothing new: the newest bundle is `{known}` already")
        return known
    tag = known or _publish(folder or newest_bundle(settings()))
    for _ in range(TRIES):
        decision = _judge(tag)
        if not decision.accepted:
            alarm("challenger-refused", refusal(decision))
            raise ModelRefusedError(refusal(decision))
        try:
            _crown(tag, decision.champion or "")
        except registry.OtherChampionError:
            continue  # an operator was faster: beside that one, then
        _take_up(tag)
        return tag
    raise ModelRefusedError(f"{tag}: the champion changed {TRIES} times while it was judged; publish again")


@flow(name="approve", flow_run_name=run_name, timeout_seconds=TIME_LIMITS_S["approve"])
def approve_flow(tag: str, because: str, by: str | None = None) -> str:
    """Put a model into service whatever the gate said of it; an operator's decision, which is recorded with its reason.

    Args:
        by: the operator; None: whoever runs this.

    Raises:
        ModelRefusedError: there is no reason, or the gate has not judged it yet.
    """
    if not because.strip():
        raise ModelRefusedError("an approval needs a reason: --because 'TEXT'")
    decision = latest_of(settings(), tag).overridden(because.strip(), operator(settings(), by))
    registry.bundle_path(tag)
    record(settings(), decision)
    create_table_artifact(key="gate", table=decision.rows(), description=f"{tag}: {decision.verdict}")
    _crown(tag, None)
    _take_up(tag)
    return tag


def refusal(decision: Decision) -> str:
    """Why a model was refused, and what can be done."""
    stays = f"{decision.champion} stays in service" if decision.champion else "none is in service"
    return (
        f"{decision.challenger} is refused, {stays}. "
        + "; ".join(decision.reasons)
        + f". To put it into service all the same: kairos approve {decision.challenger} --because 'REASON'"
    )


def _take_up(tag: str) -> None:
    """What is done of a champion that is in service: it is packed, and learns the days that judged it.

    It serves whether it can learn them or not: what goes wrong is told, and the deployment tries again.
    """
    create_markdown_artifact(key="champion", markdown=f"In service: `{tag}`, packed as `{_build()}`")
    if (learned := _catch_up(return_state=True)).is_failed():
        get_run_logger().error("%s answers as it was judged: %s", tag, learned.message)
