"""What the service reads and answers: every field with its limits, every message with an example.

Light to import, so that clients can use it without the frameworks.
"""

from services.messages.common import MAX_K, ModelAnswer, RecommendedItem, Step
from services.messages.events import SHAPES, EventsAnswer, EventsRequest
from services.messages.explain import EventReason, ExplainAnswer, ExplainRequest, FeatureReason, SourceReason
from services.messages.failure import CODES, Code, Failure, FailureAnswer
from services.messages.health import Health
from services.messages.profile import ProfileAnswer, ProfileRequest, ProfileView
from services.messages.rank import RankAnswer, RankedItem, RankRequest
from services.messages.recommend import (
    BatchAnswer,
    BatchRequest,
    CartRequest,
    RecommendAnswer,
    RecommendRequest,
    SimilarRequest,
)
from services.messages.rules import Fair, Pin, Ruled

__all__ = [
    "CODES", "MAX_K", "SHAPES", "BatchAnswer", "BatchRequest", "CartRequest", "Code", "EventReason", "EventsAnswer",
    "EventsRequest", "ExplainAnswer", "ExplainRequest", "Failure", "FailureAnswer", "Fair", "FeatureReason", "Health",
    "ModelAnswer", "Pin", "ProfileAnswer", "ProfileRequest", "ProfileView", "RankAnswer", "RankRequest", "RankedItem",
    "RecommendAnswer", "RecommendRequest", "RecommendedItem", "Ruled", "SimilarRequest", "SourceReason", "Step",
]  # fmt: skip
