"""The BentoML service. It only delegates: `services.runtime` holds what does the work."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bentoml
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from infra.settings import settings
from models.registry import MODEL_NAME, bundle_path
from services import endpoints as e
from services.answers import answered
from services.door import Door
from services.edge import Edge, NotTheClients, known_paths
from services.exposure import listens_to, warn_if_open
from services.keys import KeyRing
from services.messages import (
    BatchRequest,
    CartRequest,
    EventsRequest,
    ExplainRequest,
    Health,
    ProfileRequest,
    RankRequest,
    RecommendRequest,
    SimilarRequest,
)
from services.openapi import Document
from services.packed import packed_model
from services.rates import Rates

if TYPE_CHECKING:
    from services.profiles import Profiles
    from services.runtime import Runtime

log = logging.getLogger("bentoml.kairos")

REQUEST_WITHIN_S = 10
# BentoML's own begin at 5 ms, where most answers are done.
BUCKETS_S = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0]


class EdgedService(bentoml.Service):  # type: ignore[misc]
    """A BentoML service inside our edge."""

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        inside, config = super().to_asgi(is_main=is_main), settings()
        door = Door(key_ring(), Rates(config.rate_limit))
        edge = Edge(inside, paths=known_paths(inside), aliases=e.ALIASES, door=door, health=_health)
        if not config.cors_origins:
            return edge
        # Outermost: a page must be able to read a refusal too, and asks first without a key.
        return CORSMiddleware(
            edge,
            allow_origins=config.cors_origins,
            allow_methods=["POST"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key"],
            expose_headers=["Retry-After"],
        )

    @property
    def openapi_spec(self) -> Any:
        version = self.bento.tag.version if self.bento else None
        return Document(version, keys_in_force=key_ring().in_force)


def key_ring() -> KeyRing:
    """The keys of this installation."""
    return KeyRing(settings().keys_file, required=settings().require_keys)


async def _health() -> Health | None:
    try:
        instance: Kairos = bentoml.get_current_service()
    except bentoml.exceptions.BentoMLException:
        return None
    return await instance.runtime.health()


@bentoml.service(
    name="kairos",
    service_class=EdgedService,
    description="Recommendations that know the last click.",
    labels={"project": "kairos"},
    workers=settings().workers,
    traffic={"timeout": REQUEST_WITHIN_S},
    metrics={"enabled": True, "duration": {"buckets": BUCKETS_S}},
    # Pages of other origins are let in by the edge, if at all.
    http={"cors": {"enabled": False}},
)
class Kairos:
    """Real-time recommendations for shops: `POST /v1/recommend` asks, `POST /v1/events` tells what happened."""

    packed = packed_model(settings().champion)
    """What `bentoml build` packs; None where no bundle exists yet."""
    runtime: Runtime
    profiles: Profiles
    bento_service: Any
    """Set by BentoML: the service that this class became, with its Bento if it runs from one."""

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def start(self) -> None:
        # Imported here: the process that watches over the worker needs neither torch nor Feast.
        from services.profiles import Profiles
        from services.runtime import Runtime

        logging.getLogger("bentoml._internal.server.http_app").addFilter(NotTheClients())
        warn_if_open(listens_to(), keys_in_force=key_ring().in_force)
        if self.bento_service.bento and settings().home.is_relative_to(Path.cwd()):
            log.warning("KAIROS_HOME is no absolute path: events are kept inside the Bento, in %s", settings().home)
        self.runtime = Runtime(settings(), self._packed_folder)
        self.profiles = Profiles(self.runtime.champions, self.runtime.online, self.runtime.clock)
        await self.runtime.start()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    async def stop(self) -> None:
        await self.runtime.stop()

    @bentoml.api(route=e.RECOMMEND.path, output_spec=e.RECOMMEND.answer)  # type: ignore[untyped-decorator]
    async def recommend(self, request: RecommendRequest, /) -> Response:
        """The best items for a user now."""
        return await answered(self.runtime.pipeline.answer(request))

    @bentoml.api(route=e.BATCH.path, output_spec=e.BATCH.answer)  # type: ignore[untyped-decorator]
    async def recommend_batch(self, request: BatchRequest, /) -> Response:
        """Several recommendation requests at once."""
        return await answered(self.runtime.pipeline.batch(request))

    @bentoml.api(route=e.SIMILAR.path, output_spec=e.SIMILAR.answer)  # type: ignore[untyped-decorator]
    async def similar(self, request: SimilarRequest, /) -> Response:
        """Items that go with one item."""
        return await answered(self.runtime.pipeline.similar(request))

    @bentoml.api(route=e.CART.path, output_spec=e.CART.answer)  # type: ignore[untyped-decorator]
    async def cart(self, request: CartRequest, /) -> Response:
        """Items that go well with what lies in a cart."""
        return await answered(self.runtime.pipeline.cart(request))

    @bentoml.api(route=e.RANK.path, output_spec=e.RANK.answer)  # type: ignore[untyped-decorator]
    async def rank(self, request: RankRequest, /) -> Response:
        """Given items in the order that suits a user."""
        return await answered(self.runtime.pipeline.rank(request))

    @bentoml.api(route=e.EXPLAIN.path, output_spec=e.EXPLAIN.answer)  # type: ignore[untyped-decorator]
    async def explain(self, request: ExplainRequest, /) -> Response:
        """Why an item for a user."""
        return await answered(self.runtime.pipeline.explain(request))

    @bentoml.api(route=e.PROFILE.path, output_spec=e.PROFILE.answer)  # type: ignore[untyped-decorator]
    async def profile(self, request: ProfileRequest, /) -> Response:
        """What the feature store knows of a user."""
        return await answered(self.profiles.answer(request))

    @bentoml.api(route=e.EVENTS.path, output_spec=e.EVENTS.answer)  # type: ignore[untyped-decorator]
    async def events(self, request: EventsRequest, /) -> Response:
        """Tell what somebody did."""
        return await answered(self.runtime.intake.accept(request))

    async def __is_ready__(self) -> bool:
        return self.runtime.is_ready

    async def __is_alive__(self) -> bool:
        return self.runtime.is_alive

    def _packed_folder(self) -> tuple[str, Path] | None:
        """Tag and folder of the bundle in the Bento that runs; without a Bento, of the newest one there is."""
        if self.bento_service.bento:
            [tag] = [str(info.tag) for info in self.bento_service.bento.info.all_models if info.tag.name == MODEL_NAME]
            return tag, bundle_path(tag)
        model: Any = self.packed
        return (str(model.tag), Path(model.path)) if model else None
