"""The published JSON schemas of the web service's request and answer, and the code, agree."""

import json
from datetime import timedelta
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from common.clocks import market_now
from connections.models import DecisionProvider, ExecutionConnection
from execution.decision_step import asking
from execution.decision_step.answer_schema import FOLDER, schema
from execution.decision_step.http_provider import VERSION, read_answer
from execution.decision_step.types import Decided, Failure, NoAnswerError
from prices.models import PriceBar
from signals.models import Feed, OrderType
from tests.execution.decision_step.test_http import accounts, provider, waiting
from tests.execution.submission.test_slices import store_bar
from tests.fakes.decision_service import DecisionService

__all__ = ["accounts", "provider"]
REQUEST, ANSWER = schema("decision-request-v1"), schema("decision-answer-v1")
DOCS = Path(__file__).parents[3] / "docs" / "schemas"


def test_schemas_are_valid_and_the_documentation_has_them() -> None:
    for found in (REQUEST, ANSWER):
        Draft202012Validator.check_schema(found)
    names = sorted(path.name for path in FOLDER.glob("*.json"))
    assert names == ["decision-answer-v1.json", "decision-request-v1.json"]
    assert [(DOCS / name).read_text() for name in names] == [
        (FOLDER / name).read_text() for name in names
    ]
    assert REQUEST["properties"]["version"] == {"const": VERSION}
    types = REQUEST["$defs"]["entry"]["properties"]["order_type"]["enum"]
    assert set(types) == set(OrderType.values)


@pytest.mark.django_db
@pytest.mark.usefixtures("accounts")
def test_real_request_fits_its_schema(
    feed: Feed, service: DecisionService, provider: DecisionProvider
) -> None:
    """With and without what the market analysis needs."""
    ids = waiting(feed, targets=[("1.20000", "1")])
    asking.ask_provider(provider.pk, ids)
    now = market_now()
    for account in ExecutionConnection.objects.all():
        for minute in range(1, 20):
            at = now.replace(second=0, microsecond=0) - minute * timedelta(minutes=1)
            if not PriceBar.objects.filter(data_connection=account.data_connection, minute=at):
                store_bar(account, at, f"1.10{minute:02}0")
    provider.candle_minutes = 1
    provider.save()
    asking.ask_provider(provider.pk, waiting(feed))
    first, second = service.journal
    assert first["entries"][0]["market"]["atr"] is None
    assert second["entries"][0]["market"]["atr"] is not None
    for request in (first, second):
        assert list(Draft202012Validator(REQUEST).iter_errors(request)) == []
        [entry, _] = request["entries"]
        assert set(request) == set(REQUEST["properties"])
        assert set(entry) == set(REQUEST["$defs"]["entry"]["properties"])
        assert set(entry["market"]) == set(REQUEST["$defs"]["market"]["properties"])


@pytest.mark.django_db
@pytest.mark.usefixtures("accounts")
def test_range_of_a_low_priced_symbol_keeps_its_digits(
    feed: Feed, service: DecisionService, provider: DecisionProvider
) -> None:
    now = market_now().replace(second=0, microsecond=0)
    for account in ExecutionConnection.objects.all():
        for minute in range(1, 20):
            at = now - minute * timedelta(minutes=1)
            if not PriceBar.objects.filter(data_connection=account.data_connection, minute=at):
                store_bar(account, at, str(D("0.00001") + minute * D("0.00000001")))
    DecisionProvider.objects.filter(pk=provider.pk).update(candle_minutes=1)
    asking.ask_provider(provider.pk, waiting(feed))
    [request] = service.journal
    assert request["entries"][0]["market"]["atr"] == "0.00000001"
    assert list(Draft202012Validator(REQUEST).iter_errors(request)) == []


@pytest.mark.parametrize(
    ("factor", "is_valid"),
    [
        ("0", True), ("1", True), ("0.5", True), ("3", True), ("3.000", True),
        ("2.999999999", True),
        ("0.0000000001", False), ("3.1", False), ("-1", False), ("1e0", False), ("", False),
        ("NaN", False), ("٣", False), (" 1", False), (0, True), (3, True), (0.25, True), (4, False),
        (-1, False), (None, False), (True, False), ([], False), ({}, False),
    ],
)  # fmt: skip
def test_schema_and_code_agree_about_a_factor(factor: Any, is_valid: bool) -> None:
    body = {"request_id": "r", "decisions": [{"order_id": 7, "factor": factor}]}
    assert Draft202012Validator(ANSWER).is_valid(body) == is_valid
    answer = read(body)[7]
    if is_valid:
        assert answer == Decided(D(str(factor)))
    else:
        assert isinstance(answer, NoAnswerError)
        assert answer.failure is Failure.BAD_FACTOR


@pytest.mark.parametrize(
    "wrong",
    [
        [], {}, {"request_id": "r"}, {"request_id": 1, "decisions": []},
        {"request_id": "r", "decisions": {}}, {"request_id": "r", "decisions": [7]},
        {"request_id": "r", "decisions": [{"factor": "1"}]},
        {"request_id": "r", "decisions": [{}]},
        {"request_id": "r", "decisions": [{"order_id": "x", "factor": "1"}]},
        {"request_id": "r", "decisions": [{"order_id": 7.5, "factor": "1"}]},
        {"request_id": "r", "decisions": [{"order_id": None, "factor": "1"}]},
    ],
)  # fmt: skip
def test_answer_that_contradicts_the_schema_as_a_whole_is_none(wrong: Any) -> None:
    assert not Draft202012Validator(ANSWER).is_valid(wrong)
    with pytest.raises(NoAnswerError) as error:
        read(wrong)
    assert error.value.failure is Failure.BAD_ANSWER


def test_fault_of_one_decision_leaves_the_others() -> None:
    items = [
        {"order_id": 7, "factor": "1", "reason": 5},
        {"order_id": 8},
        {"order_id": "9", "factor": "2", "note": "ignored"},
    ]
    answers = read({"request_id": "r", "decisions": items})
    failures = [a.failure if isinstance(a, NoAnswerError) else a for a in answers.values()]
    assert failures == [Failure.BAD_ANSWER, Failure.BAD_FACTOR, Decided(D(2))]


def test_more_decisions_than_entries_are_no_answer() -> None:
    items = [{"order_id": 7, "factor": "1"}] * 4
    with pytest.raises(NoAnswerError, match="more decisions"):
        read({"request_id": "r", "decisions": items})


def read(body: Any) -> Any:
    return read_answer(json.dumps(body).encode(), "r", {7, 8, 9}, 10_000)
