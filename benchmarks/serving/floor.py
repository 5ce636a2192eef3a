"""The floor: what BentoML and Feast take by themselves for a request of the same shape, and for a leaner one.

`/recommend` reads the bundle's own feature list for the user with Feast's own `get_online_features_async` from Feast's
own Redis store, and answers as many items as were asked for; `/lean` reads ten features of one view. Nothing of ours
runs in it but the messages: what Kairos does better than Feast does not lower its own floor.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any, Final

import bentoml
from feast import FeatureStore
from feast.repo_config import RepoConfig

from benchmarks.serving.traffic import RECOMMEND
from feature_repo import schema as s
from feature_repo.store import Features
from infra.settings import Settings, settings
from models import bundle, registry
from services.messages import RecommendAnswer, RecommendedItem, RecommendRequest, Step
from services.service import BUCKETS_S, REQUEST_WITHIN_S

SERVICE: Final = "benchmarks.serving.floor:Floor"
LEAN_VIEW: Final = "user_activity"
LEAN: Final = 10


def _stock(config: Settings) -> RepoConfig:
    """Feast as it comes, over the registry and the rows that Kairos reads."""
    address = str(config.redis_url).partition("://")[2].partition("/")[0]
    return RepoConfig(
        project=config.project,
        provider="local",
        registry={"path": str(config.feast / "registry.db"), "cache_ttl_seconds": 60, "cache_mode": "thread"},
        online_store={"type": "redis", "connection_string": address},
        offline_store={"type": "duckdb"},
        entity_key_serialization_version=3,
        repo_path=config.feast,
    )


@bentoml.service(
    name="kairos_floor",
    workers=1,
    traffic={"timeout": REQUEST_WITHIN_S},
    metrics={"enabled": True, "duration": {"buckets": BUCKETS_S}},
    http={"cors": {"enabled": False}},
)
class Floor:
    """The same request, one Feast read, an answer of the same size."""

    @bentoml.on_startup
    async def start(self) -> None:
        config = settings()
        self.feast = FeatureStore(config=_stock(config))
        await self.feast.initialize()
        folder = registry.bundle_path(registry.champion(config.champion).tag)
        self.features = bundle.manifest(folder)["features"]
        self.lean_features = [name for name in self.features if name.partition(":")[0] == LEAN_VIEW][:LEAN]
        self.moment = Features.open(config).moment_keys(config.clock_start or datetime.now(UTC))
        catalogue = bundle.load(folder).item_names.items()
        self.items = [
            RecommendedItem(item_id=item, name=name, score=0.4123456789, sources=["own", "als"])
            for (item, name), _ in zip(catalogue, range(100), strict=False)
        ]

    @bentoml.on_shutdown
    async def stop(self) -> None:
        await self.feast.close()

    @bentoml.api(route=RECOMMEND, output_spec=RecommendAnswer)
    async def recommend(self, request: RecommendRequest, /) -> RecommendAnswer:
        """The whole row."""
        row = await self.feast.get_online_features_async(self.features, [{s.USER_ID: request.user_id, **self.moment}])
        return self._answer(request, row)

    @bentoml.api(route="/lean", output_spec=RecommendAnswer)
    async def lean(self, request: RecommendRequest, /) -> RecommendAnswer:
        """Ten features of one view."""
        row = await self.feast.get_online_features_async(self.lean_features, [{s.USER_ID: request.user_id}])
        return self._answer(request, row)

    def _answer(self, request: RecommendRequest, row: Any) -> RecommendAnswer:
        return RecommendAnswer(
            items=[RecommendedItem(**item.__dict__) for item in self.items[: request.k]],
            request_id=uuid.uuid4().hex,
            model_version="floor",
            variant="floor",
            served_by=Step.FULL,
            user_known=bool(row.proto.results),
            unknown_items=[],
        )
