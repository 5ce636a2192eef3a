"""The real service over HTTP, started as `kairos serve` starts it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bentoml
import httpx
import pytest

from services.endpoints import ENDPOINTS

from .conftest import NOW, Running, Shop, broken_store, crown, serving


def _ask(client: httpx.Client, user: str = "u1", **more: Any) -> dict[str, Any]:
    answer = client.post("/recommend", json={"user_id": user, "k": 10, **more})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def _ids(answer: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


def _tell(client: httpx.Client, event_id: str, item: str, user: str = "u1", kind: str = "cart") -> dict[str, Any]:
    event = {"event_id": event_id, "user_id": user, "item_id": item, "event_type": kind}
    answer = client.post("/events", json=event)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def _tell_until_known(client: httpx.Client, event_id: str, item: str, user: str) -> dict[str, Any]:
    """What the first answer said of the event. On a busy machine it need not have waited for the features."""
    first = _tell(client, event_id, item, user)
    _until(lambda: _tell(client, event_id, item, user)["features_updated"])
    return first


def _until(true: Callable[[], bool], within_s: float = 15.0) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "did not become true in time"
        time.sleep(0.1)


def test_recommends(running: Running) -> None:
    answer = _ask(running.client)
    assert answer["served_by"] == "full"
    assert answer["user_known"] is True
    assert answer["variant"] == "champion"
    assert len(set(_ids(answer))) == 10
    assert answer["items"][0]["sources"]
    assert f"kairos:{answer['model_version']}" == running.shop.tags[0]


def test_an_event_changes_the_next_answer_at_once(running: Running) -> None:
    for n in range(5):
        before = _ask(running.client, "u2", k=20)
        unseen = next(f"i{i}" for i in range(47, -1, -1) if f"i{i}" not in _ids(before)[:10])
        assert _tell_until_known(running.client, f"live-{n}", unseen, "u2")["accepted"] == 1
        after = _ask(running.client, "u2", k=20)
        assert [(i["item_id"], i["score"]) for i in after["items"]] != [
            (i["item_id"], i["score"]) for i in before["items"]
        ]


def test_a_new_user_is_known_after_the_first_event(running: Running) -> None:
    assert _ask(running.client, "newcomer")["user_known"] is False
    _tell_until_known(running.client, "n-1", "i6", "newcomer")
    assert _ask(running.client, "newcomer")["user_known"] is True


def test_a_repeated_event_is_a_duplicate(running: Running) -> None:
    _tell_until_known(running.client, "twice", "i3", "u3")
    answer = _ask(running.client, "u3")
    assert _tell(running.client, "twice", "i3", "u3") == {"accepted": 0, "duplicates": 1, "features_updated": True}
    assert _ids(_ask(running.client, "u3")) == _ids(answer)


def test_a_batch_is_taken(running: Running) -> None:
    batch = [{"user_id": f"b{n}", "item_id": "i1", "event_type": "view"} for n in range(50)]
    assert running.client.post("/events", json=batch).json()["accepted"] == 50


@pytest.mark.parametrize(
    ("path", "body", "status", "field"),
    [
        ("/recommend", '{"user_id": ', 400, "body"),
        ("/recommend", "", 400, "user_id"),
        ("/recommend", "[]", 400, "body"),
        ("/recommend", "[" * 100_000, 400, "body"),
        ("/recommend", '{"user_id": "u", "k": 0}', 400, "k"),
        ("/recommend", '{"user_id": "u", "k": -1}', 400, "k"),
        ("/recommend", '{"user_id": "u", "k": 1000000}', 400, "k"),
        ("/recommend", '{"user_id": "u", "k": "many"}', 400, "k"),
        ("/recommend", '{"user_id": "%s"}' % ("u" * 300), 400, "user_id"),
        ("/recommend", '{"user_id": "\\ud800"}', 400, "body"),
        ("/recommend", '{"user_id": "u", "colour": "red"}', 400, "colour"),
        ("/recommend", '{"user_id": "u", "diversity": 2}', 400, "diversity"),
        ("/recommend", '{"user_id": "u", "pin": [{"place": 1}]}', 400, "pin.0.item_id"),
        ("/recommend", '{"user_id": "u", "context": {"a": "%s"}}' % ("x" * 3_000_000), 413, "body"),
        ("/events", '{"user_id": ', 400, "body"),
        ("/events", "null", 400, "body"),
        ("/events", "[]", 400, "body"),
        ("/events", '{"user_id": "u", "item_id": "i", "event_type": "stare"}', 400, "event_type"),
        ("/events", '[{"user_id": "u", "item_id": "i"}]', 400, "0.event_type"),
        (
            "/events",
            '{"user_id": "u", "item_id": "i", "event_type": "view", "timestamp": "2199-01-01T00:00:00Z"}',
            400,
            "timestamp",
        ),
        ("/nowhere", "{}", 404, None),
        ("/metrics", "{}", 405, None),
    ],
)
def test_bad_input_is_named(running: Running, path: str, body: str, status: int, field: str | None) -> None:
    answer = running.client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    error = answer.json()["error"]
    assert set(error) == {"code", "field", "message"}
    assert error["field"] == field
    assert error["message"]
    assert "Traceback" not in answer.text


def test_a_body_of_unknown_length_is_bounded_too(running: Running) -> None:
    answer = running.client.post("/recommend", content=(b" " * 65_536 for _ in range(64)))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")


@pytest.mark.parametrize("media_type", ["multipart/form-data; boundary=x", "application/vnd.bentoml+pickle"])
def test_only_json_is_read(running: Running, media_type: str) -> None:
    answer = running.client.post("/recommend", content=b"x", headers={"Content-Type": media_type})
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "unsupported_media_type")


def test_odd_ids_are_ids(running: Running) -> None:
    for user in ("a\x00b", "ключ", "'; DROP TABLE events; --", "../../etc", "💥" * 64):
        _tell_until_known(running.client, f"odd-{user[:20]}", "i1", user)
        assert _ask(running.client, user)["user_known"] is True


def test_an_unknown_user_and_an_unknown_item_are_no_error(running: Running) -> None:
    answer = _ask(running.client, "never seen", items=["never seen", "i6"])
    assert answer["user_known"] is False
    assert answer["unknown_items"] == ["never seen"]
    assert len(answer["items"]) == 10


def test_probes_and_health(running: Running) -> None:
    for probe in ("/livez", "/readyz"):
        assert running.client.get(probe).status_code == 200
    health = running.client.get("/healthz").json()
    assert health["status"] == "ok"
    assert health["online_store"] == "up"
    assert health["events_waiting"] == 0
    assert health["now"].startswith(f"{NOW:%Y-%m-%d}")


def test_rules_are_kept_over_http(running: Running) -> None:
    pin = [{"item_id": "i11", "place": 2}]
    answer = _ask(running.client, "u6", per_category=1, pin=pin, diversity=0.5, fair={"by": "category", "least": 0.5})
    assert _ids(answer)[1] == "i11"
    assert sorted(int(item[1:]) % 4 for item in _ids(answer)) == [0, 1, 2, 3]  # no more than there are categories
    assert answer["items"][1]["sources"][0] == "pinned"


def test_metrics_count_the_ladder_and_the_stages(running: Running) -> None:
    _ask(running.client)
    running.client.get("/made-up/path")
    metrics = running.client.get("/metrics").text
    assert 'kairos_answers_total{served_by="full"}' in metrics
    for stage in ("features", "rank", "append", "apply"):
        assert f'kairos_stage_seconds_count{{stage="{stage}"}}' in metrics
    assert 'endpoint="/v1/recommend"' in metrics
    assert 'endpoint="/recommend"' not in metrics  # the same under another name
    assert "made-up" not in metrics  # a stranger's paths must not become time series


def test_the_openapi_page_has_examples(running: Running) -> None:
    page = running.client.get("/")
    assert page.status_code == 200
    assert "default-src 'self'" in page.headers["content-security-policy"]
    document = running.client.get("/docs.json").json()
    posts = {path: item["post"] for path, item in document["paths"].items() if "post" in item}
    assert posts.keys() == {e.path for e in ENDPOINTS} | {"/recommend", "/events"}
    for path, operation in posts.items():
        asked = operation["requestBody"]["content"]["application/json"]["example"]
        assert running.client.post(path, json=asked).status_code == 200
        assert operation["responses"]["200"]["content"]["application/json"]["example"]


def test_bentomls_own_client_works(running: Running) -> None:
    with bentoml.SyncHTTPClient(str(running.client.base_url)) as client:
        assert len(client.recommend({"user_id": "u1", "k": 2})["items"]) == 2


def test_no_origin_is_allowed_in(running: Running) -> None:
    answer = running.client.post("/recommend", json={"user_id": "u1"}, headers={"Origin": "https://elsewhere.example"})
    assert "access-control-allow-origin" not in answer.headers


def test_a_broken_online_store_is_survived(running: Running) -> None:
    with broken_store(running.shop.settings):
        without = _ask(running.client, "u5")
        assert (without["served_by"], len(without["items"])) == ("popular", 10)
        assert _ask(running.client, "u5", items=["i6"])["served_by"] == "no_features"
        assert _tell(running.client, "while-down", "i6", "u5")["features_updated"] is False
        assert running.client.get("/healthz").json()["status"] == "degraded"
    _until(lambda: _ask(running.client, "u5")["served_by"] == "full")
    _until(lambda: running.client.get("/healthz").json()["events_waiting"] == 0)


def test_the_champion_is_followed_without_a_restart(running: Running) -> None:
    first, second = running.shop.tags
    for tag in (second, first):
        crown(running.shop.settings, tag)
        _until(lambda tag=tag: f"kairos:{_ask(running.client)['model_version']}" == tag)


def test_the_log_names_nobody(running: Running) -> None:
    _ask(running.client, "user-with-a-secret")
    running.client.post("/recommend", json={"user_id": "user-with-a-secret", "k": 0})
    log = running.log()
    assert "path=/v1/recommend" in log
    assert "user-with-a-secret" not in log
    assert "ValidationError" not in log


def test_it_waits_for_the_first_champion_and_applies_what_was_left(shop: Shop, tmp_path: Path) -> None:
    fresh = shop.copy(tmp_path / "home")
    pointer = fresh.settings.champion.read_text()
    fresh.settings.champion.unlink()
    models = fresh.settings.bentoml_home / "models"
    models.rename(tmp_path / "models")
    with serving(fresh, tmp_path / "log", until="/livez") as service:
        assert service.client.get("/readyz").status_code == 503
        refused = service.client.post("/recommend", json={"user_id": "u1"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "not_available")
        assert "kairos train" in refused.json()["error"]["message"]
        assert _tell(service.client, "early", "i6")["accepted"] == 1
        models.rmdir() if models.exists() else None
        (tmp_path / "models").rename(models)
        fresh.settings.champion.write_text(pointer)
        _until(lambda: service.client.get("/readyz").is_success)
        # The first read of the features is a cold one, and may be too slow for a full answer.
        _until(lambda: _ask(service.client)["served_by"] == "full")
