"""What the feature store knows of a user."""

from __future__ import annotations

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from feature_repo.event import Id
from services.messages.common import Request
from services.messages.examples import ITEM, USER

_ANSWER: JsonDict = {
    "user_id": USER,
    "user_known": True,
    "now": "2017-12-31T12:00:00Z",
    "model_version": "2hz3xkqyt2ekr6vj",
    "views": [
        {
            "view": "session",
            "at": "2017-12-30T17:02:00Z",
            "expired": False,
            "values": {"session_items": [ITEM], "session_types": ["purchase"], "session_times": [1514653320.0]},
        },
        {"view": "user_profile", "at": None, "expired": False, "values": {"age_group": None}},
    ],
}

Plain = bool | int | float | str | None


class ProfileRequest(Request):
    """Whose profile."""

    model_config = ConfigDict(json_schema_extra={"example": {"user_id": USER}})

    user_id: Id


class ProfileView(BaseModel):
    """One feature view's row."""

    view: str
    at: AwareDatetime | None = Field(description="the moment that the values are true for; null: there is no row")
    expired: bool = Field(description="the row is older than the view allows; its values count as unknown")
    values: dict[str, Plain | list[Plain]] = Field(description="by feature; null: unknown")


class ProfileAnswer(BaseModel):
    """Everything that the model in service reads of the user."""

    model_config = ConfigDict(protected_namespaces=(), json_schema_extra={"example": _ANSWER})

    user_id: str
    user_known: bool = Field(description="whether anything that the user did is known")
    now: AwareDatetime = Field(description="the service's clock")
    model_version: str = Field(description="the model whose features these are")
    views: list[ProfileView]
