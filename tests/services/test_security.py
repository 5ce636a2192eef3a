"""Keys, rates and origins over HTTP, against a service that asks for them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx
import pytest

from infra.keys import Keys, Right
from services.endpoints import ENDPOINTS
from services.exposure import warn_if_open
from services.keys import LOOK_EVERY_S

from .conftest import Running, Shop, serving

SHOP_PAGE = "https://shop.example"
NOW = datetime(2024, 5, 1, tzinfo=UTC)
EVENT = {"user_id": "u1", "item_id": "i1", "event_type": "view"}


@dataclass(frozen=True)
class Guarded:
    """A service with keys, and the keys by the client's name."""

    service: Running
    secrets: Mapping[str, str]
    before: int
    """The status of its answer while there was no key"""

    def post(self, path: str, key: str | None, body: object = EVENT, **headers: str) -> httpx.Response:
        if key is not None:
            headers["Authorization"] = f"Bearer {self.secrets.get(key, key)}"
        return self.service.client.post(path, json=body, headers=headers)


@pytest.fixture(scope="module")
def guarded(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    own = shop.copy(folder / "home")
    keys, secrets = Keys(), {}
    for name, rights, rate in (
        ("shop", (Right.RECOMMEND,), None),
        ("tracker", (Right.EVENTS,), None),
        ("operator", (Right.ADMIN,), None),
        ("eager", (Right.RECOMMEND,), "3/hour"),
    ):
        keys, secrets[name] = keys.add(name, rights, rate, NOW)
    more = {"KAIROS_CORS_ORIGINS": SHOP_PAGE, "KAIROS_RATE_LIMIT": "1000/second", "KAIROS_REQUIRE_KEYS": "true"}
    with serving(own, folder / "log", more=more) as service:
        guarded = Guarded(service, secrets, service.client.post("/v1/recommend", json=EVENT).status_code)
        keys.save(own.settings.keys_file)
        deadline = time.monotonic() + 20
        while guarded.post("/v1/recommend", "shop").status_code == 401:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield guarded


def _error(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


@pytest.mark.parametrize("path", [*(endpoint.path for endpoint in ENDPOINTS), "/recommend", "/events"])
@pytest.mark.parametrize("key", [None, "kairos_guessed"])
def test_nobody_comes_in_without_a_key(guarded: Guarded, path: str, key: str | None) -> None:
    answer = guarded.post(path, key)
    assert _error(answer) == (401, "unauthenticated")
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("value", ["ключ".encode(), b"Bearer", b"Basic YTpi", b"Bearer " + b"x" * 10_000])
def test_an_odd_key_is_nobodys(guarded: Guarded, value: bytes) -> None:
    answer = guarded.service.client.post("/v1/events", json=EVENT, headers={b"Authorization": value})
    assert _error(answer) == (401, "unauthenticated")


def test_each_key_has_its_rights(guarded: Guarded) -> None:
    assert guarded.post("/v1/events", "tracker").status_code == 200
    assert guarded.post("/recommend", "shop", {"user_id": "u1"}).status_code == 200
    refused = guarded.post("/v1/events", "shop")
    assert _error(refused) == (403, "forbidden")
    assert "`events`" in refused.json()["error"]["message"]
    assert _error(guarded.post("/v1/recommend", "operator", {"user_id": "u1"})) == (403, "forbidden")
    header = {"X-API-Key": guarded.secrets["shop"]}
    assert guarded.service.client.post("/v1/profile", json={"user_id": "u1"}, headers=header).status_code == 200


def test_probes_are_open_and_the_rest_is_the_operators(guarded: Guarded) -> None:
    client = guarded.service.client
    for path in ("/livez", "/readyz", "/healthz"):
        assert client.get(path).status_code == 200
    for path in ("/", "/docs.json", "/metrics"):
        assert client.get(path).status_code == 401
        assert client.get(path, headers={"X-API-Key": guarded.secrets["shop"]}).status_code == 403
        assert client.get(path, headers={"X-API-Key": guarded.secrets["operator"]}).status_code == 200


def test_a_client_has_a_rate(guarded: Guarded) -> None:
    answers = [guarded.post("/v1/recommend", "eager", {"user_id": "u1"}) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert _error(answers[-1]) == (429, "too_many_requests")
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 3_600
    assert guarded.post("/v1/recommend", "shop", {"user_id": "u1"}).status_code == 200


def test_only_the_shops_page_may_call(guarded: Guarded) -> None:
    def asks(origin: str) -> httpx.Headers:
        wanted = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        return guarded.service.client.options("/v1/recommend", headers={"Origin": origin, **wanted}).headers

    assert asks(SHOP_PAGE)["access-control-allow-origin"] == SHOP_PAGE
    assert "access-control-allow-origin" not in asks("https://elsewhere.example")
    refused = guarded.post("/v1/recommend", None, Origin=SHOP_PAGE)
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, SHOP_PAGE)


def test_a_key_comes_and_goes_without_a_restart(guarded: Guarded) -> None:
    file = guarded.service.shop.settings.keys_file
    before = Keys.load(file)
    keys, secret = before.add("guest", (Right.EVENTS,), None, NOW)
    keys.save(file)
    time.sleep(LOOK_EVERY_S + 0.1)
    assert guarded.post("/v1/events", secret).status_code == 200
    file.write_text("{")  # a damaged file changes nothing
    time.sleep(LOOK_EVERY_S + 0.1)
    assert guarded.post("/v1/events", secret).status_code == 200
    before.save(file)
    time.sleep(LOOK_EVERY_S + 0.1)
    assert guarded.post("/v1/events", secret).status_code == 401


def test_neither_log_nor_answer_shows_a_key(guarded: Guarded) -> None:
    answer = guarded.post("/v1/recommend", "kairos_guessed")
    assert answer.headers["server"] == "kairos"
    assert answer.headers["cache-control"] == "no-store"
    shown = guarded.service.log() + answer.text
    assert "kairos_guessed" not in shown
    assert guarded.secrets["shop"] not in shown


def test_required_keys_keep_everybody_out_until_there_is_one(guarded: Guarded) -> None:
    assert guarded.before == 401


@pytest.mark.parametrize(
    ("addresses", "keys", "warns"),
    [
        ({"127.0.0.1", "::1"}, False, False),
        ({"0.0.0.0"}, False, True),
        ({"0.0.0.0"}, True, False),
        ({"::"}, False, True),
    ],
)
def test_an_open_service_warns(addresses: set[str], keys: bool, warns: bool, caplog: pytest.LogCaptureFixture) -> None:
    assert warn_if_open(addresses, keys_in_force=keys) is warns
    assert ("kairos keys add" in caplog.text) is warns
