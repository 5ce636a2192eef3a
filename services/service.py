"""The BentoML service. It only delegates: `services.runtime` holds what does the work."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bentoml
from starlette.responses import JSONResponse
from starlette.types import ASGIApp

from infra.settings import settings
from models.registry import MODEL_NAME, bundle_path
from services.edge import Edge, NotTheClients, failure, known_paths
from services.errors import ServiceError
from services.messages import EventsAnswer, EventsRequest, Health, RecommendAnswer, RecommendRequest
from services.openapi import Document
from services.packed import packed_model

if TYPE_CHECKING:
    from services.runtime import Runtime

log = logging.getLogger("bentoml.kairos")

REQUEST_WITHIN_S = 10
# BentoML's own begin at 5 ms, where most answers are done.
BUCKETS_S = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0]


class EdgedService(bentoml.Service):  # type: ignore[misc]
    """A BentoML service inside our edge."""

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        inside = super().to_asgi(is_main=is_main)
        return Edge(inside, paths=known_paths(inside), health=_health)

    @property
    def openapi_spec(self) -> Any:
        return Document(super().openapi_spec)


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
    workers=1,
    traffic={"timeout": REQUEST_WITHIN_S},
    metrics={"enabled": True, "duration": {"buckets": BUCKETS_S}},
    http={"cors": {"enabled": False}},
)
class Kairos:
    """Real-time recommendations for shops: `POST /recommend` asks, `POST /events` tells what happened."""

    packed = packed_model(settings().champion)
    """What `bentoml build` packs; None where no bundle exists yet."""
    runtime: Runtime
    bento_service: Any
    """Set by BentoML: the service that this class became, with its Bento if it runs from one."""

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def start(self) -> None:
        # Imported here: the process that watches over the worker needs neither torch nor Feast.
        from services.runtime import Runtime

        logging.getLogger("bentoml._internal.server.http_app").addFilter(NotTheClients())
        if self.bento_service.bento and settings().home.is_relative_to(Path.cwd()):
            log.warning("KAIROS_HOME is no absolute path: events are kept inside the Bento, in %s", settings().home)
        self.runtime = Runtime(settings(), self._packed_folder)
        await self.runtime.start()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    async def stop(self) -> None:
        await self.runtime.stop()

    @bentoml.api(route="/recommend", output_spec=RecommendAnswer)  # type: ignore[untyped-decorator]
    async def recommend(self, request: RecommendRequest, /) -> RecommendAnswer | JSONResponse:
        """The best items for a user now. An unknown user gets popular items; what is down is made up for."""
        try:
            return await self.runtime.pipeline.answer(request)
        except ServiceError as error:
            return failure(error.status, str(error), retry_after_s=error.retry_after_s)

    @bentoml.api(route="/events", output_spec=EventsAnswer)  # type: ignore[untyped-decorator]
    async def events(self, request: EventsRequest, /) -> EventsAnswer | JSONResponse:
        """Tell what somebody did: one event or a list. Answered once the events are durable; sending again is safe."""
        try:
            return await self.runtime.intake.accept(request)
        except ServiceError as error:
            return failure(error.status, str(error), retry_after_s=error.retry_after_s)

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
