"""Requests are refused by name, and every message has an example that it accepts itself."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from infra.settings import PROJECT_ROOT
from services.endpoints import ENDPOINTS
from services.failures import bad_input
from services.messages import Code, EventsRequest, FailureAnswer, Health, RecommendRequest


@pytest.mark.parametrize("message", [*(m for e in ENDPOINTS for m in (e.request, e.answer)), FailureAnswer, Health])
def test_examples_are_valid(message: type[BaseModel]) -> None:
    example = message.model_json_schema()["example"]
    # Answers take fields that they do not know, for what a newer service may send: an example must have none.
    assert message.model_validate(example).model_dump(mode="json", exclude_unset=True) == example


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        ({}, "user_id", "required"),
        ({"user_id": ""}, "user_id", "at least 1"),
        ({"user_id": "u" * 300}, "user_id", "at most 128"),
        ({"user_id": 7}, "user_id", "string"),
        ({"user_id": "u", "k": 0}, "k", "greater than or equal to 1"),
        ({"user_id": "u", "k": -1}, "k", "greater than or equal to 1"),
        ({"user_id": "u", "k": 1_000_000}, "k", "less than or equal to 100"),
        ({"user_id": "u", "k": "10"}, "k", "integer"),
        ({"user_id": "u", "k": True}, "k", "integer"),
        ({"user_id": "u", "page": "attic"}, "page", "'home', 'category' or 'cart'"),
        ({"user_id": "u", "items": "i1"}, "items", "list"),
        ({"user_id": "u", "items": ["i"] * 101}, "items", "at most 100"),
        ({"user_id": "u", "items": ["i" * 300]}, "items.0", "at most 128"),
        ({"user_id": "u", "exclude": ["i"] * 1001}, "exclude", "at most 1000"),
        ({"user_id": "u", "categories": []}, "categories", "at least 1"),
        ({"user_id": "u", "context": {"a": 1}}, "context.a", "string"),
        ({"user_id": "u", "users": 1}, "users", "not a field"),
        ({"user_id": "u", "diversity": 1.5}, "diversity", "less than or equal to 1"),
        ({"user_id": "u", "diversity": -0.1}, "diversity", "greater than or equal to 0"),
        ({"user_id": "u", "diversity": "much"}, "diversity", "number"),
        ({"user_id": "u", "per_category": 0}, "per_category", "greater than or equal to 1"),
        ({"user_id": "u", "per_category": 1.5}, "per_category", "integer"),
        ({"user_id": "u", "pin": ["i1"]}, "pin.0", "object"),
        ({"user_id": "u", "pin": [{"item_id": "i1", "place": 0}]}, "pin.0.place", "greater than or equal to 1"),
        ({"user_id": "u", "pin": [{"item_id": "i"}] * 21}, "pin", "at most 20"),
        ({"user_id": "u", "fair": {"by": "colour", "least": 1}}, "fair.by", "'category', 'subcategory'"),
        ({"user_id": "u", "fair": {"by": "brand", "least": 2}}, "fair.least", "less than or equal to 1"),
        ({"user_id": "u", "fair": {"by": "brand"}}, "fair.least", "required"),
        ({"user_id": "u", "in_stock_only": 1}, "in_stock_only", "boolean"),
        ([], "body", "object"),
    ],
)
def test_recommend_names_the_field(body: Any, field: str, says: str) -> None:
    with pytest.raises(ValidationError) as refused:
        RecommendRequest.model_validate(body)
    _assert_named(refused.value, field, says)


@pytest.mark.parametrize(
    ("change", "field", "says"),
    [
        ({"user_id": "u" * 300}, "user_id", "at most 128"),
        ({"user_id": " "}, "user_id", "a character that is no space"),
        ({"item_id": "\u3000 "}, "item_id", "a character that is no space"),
        ({"event_id": "\u00a0"}, "event_id", "a character that is no space"),
        ({"event_type": "browse"}, "event_type", "'impression', 'view'"),
        ({"timestamp": "yesterday"}, "timestamp", "datetime"),
        ({"timestamp": "2024-01-01T00:00:00"}, "timestamp", "timezone"),
        ({"timestamp": 1_700_000_000}, "timestamp", "ISO 8601"),
        ({"position": "3"}, "position", "integer"),
        ({"position": True}, "position", "integer"),
        ({"quantity": "2"}, "quantity", "number"),
        ({"price": -1}, "price", "greater than or equal to 0"),
        ({"price": float("nan")}, "price", "finite"),
        ({"price": "NaN"}, "price", "number"),
        ({"colour": "red"}, "colour", "not a field"),
    ],
)
@pytest.mark.parametrize("as_list", [False, True])
def test_events_name_the_field(change: dict[str, Any], field: str, says: str, as_list: bool) -> None:
    good = {"user_id": "u", "item_id": "i", "event_type": "view"}
    body = [good, {**good, **change}] if as_list else {**good, **change}
    with pytest.raises(ValidationError) as refused:
        EventsRequest.model_validate(body)
    _assert_named(refused.value, f"1.{field}" if as_list else field, says)


def test_a_batch_has_limits() -> None:
    event = {"user_id": "u", "item_id": "i", "event_type": "view"}
    assert len(EventsRequest.model_validate([event] * 1000).events) == 1000
    for body in ([], [event] * 1001):
        with pytest.raises(ValidationError):
            EventsRequest.model_validate(body)


def test_category_comes_from_the_filter_or_the_page() -> None:
    on_page = {"user_id": "u", "page": "category", "context": {"category": "milk"}}
    assert RecommendRequest.model_validate(on_page).allowed_categories == ["milk"]
    assert RecommendRequest.model_validate({**on_page, "categories": ["bread"]}).allowed_categories == ["bread"]
    assert RecommendRequest.model_validate({**on_page, "page": "home"}).allowed_categories is None


def test_a_whole_number_may_have_a_point() -> None:
    assert RecommendRequest.model_validate_json('{"user_id": "u", "k": 3.0}').k == 3


def test_every_code_is_one_of_the_closed_list_and_documented() -> None:
    listed = (PROJECT_ROOT / "docs" / "serving.md").read_text()
    assert [code for code in Code if f"`{code}`" not in listed] == []
    with pytest.raises(ValidationError) as refused:
        EventsRequest.model_validate({"user_id": 7, "item_id": "", "event_type": "stare", "price": -1, "more": 1})
    details: Any = refused.value.errors(include_context=False, include_input=False)
    codes = {FailureAnswer.model_validate_json(bytes(bad_input([detail]).body)).error.code for detail in details}
    wanted = {Code.WRONG_TYPE, Code.WRONG_LENGTH, Code.INVALID_VALUE, Code.OUT_OF_RANGE, Code.UNKNOWN_FIELD}
    assert codes == wanted


def test_ids_do_not_reach_error_texts() -> None:
    with pytest.raises(ValidationError) as refused:
        RecommendRequest.model_validate({"user_id": "secret" * 50})
    assert "secret" not in str(refused.value)


def _assert_named(error: ValidationError, field: str, says: str) -> None:
    details: Any = error.errors(include_context=False, include_input=False)
    answer = bad_input(details)
    assert answer.status_code == 400
    failure = FailureAnswer.model_validate_json(bytes(answer.body)).error
    assert failure.field == field
    assert failure.message.startswith(f"{field}: ")
    assert says in failure.message
