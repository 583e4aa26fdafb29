"""Updates of a feed's only trade that arrive late, with real positions in Alice's account."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from common.clocks import market_now
from positions.models import ExecutionPosition
from signals.models import Signal
from tests.alert_inbox import answer_of
from tests.api.conftest import AsWeb
from tests.api.factories import World
from tests.api.test_alert_sequence import AlertEndpoint, at, exits
from tests.api.test_problems import problem


@pytest.fixture
def endpoint(world: World, as_web: AsWeb) -> AlertEndpoint:
    return AlertEndpoint(world, as_web)


def say(endpoint: AlertEndpoint, as_web: AsWeb, text: str) -> Any:
    """Post a text; return what became of it."""
    client: Any = Client(enforce_csrf_checks=True)
    with as_web():
        response = client.post(endpoint.path, text.encode(), content_type="text/plain")
    return answer_of(response)


def stop_out(position: ExecutionPosition, *, minutes_ago: int) -> None:
    """Let a position's stop have closed it."""
    at_time = market_now() - timedelta(minutes=minutes_ago)
    ExecutionPosition.objects.filter(pk=position.pk).update(
        quantity=0, reserved=0, close_reason="sl", closed_at=at_time
    )


def test_update_is_refused_while_a_stop_has_just_closed_another_trade(
    endpoint: AlertEndpoint, as_web: AsWeb
) -> None:
    stopped, opened = endpoint.trade(), endpoint.trade()
    stop_out(stopped, minutes_ago=1)
    refused = say(endpoint, as_web, "EURUSD close half")
    assert problem(refused, 400, "ALERT_AMBIGUOUS")
    for position in (stopped, opened):
        assert position.signal.number in problem(refused, 400, "ALERT_AMBIGUOUS")["detail"]
    assert exits(opened) == []


def test_update_is_about_the_open_trade_once_the_stop_is_past(
    endpoint: AlertEndpoint, as_web: AsWeb
) -> None:
    stopped, opened = endpoint.trade(), endpoint.trade()
    stop_out(stopped, minutes_ago=10)
    assert say(endpoint, as_web, "EURUSD close half").status_code == 201
    assert exits(opened) == [500]


def test_time_of_an_update_decides_between_a_stopped_trade_and_the_open_one(
    endpoint: AlertEndpoint, as_web: AsWeb
) -> None:
    stopped, opened = endpoint.trade(), endpoint.trade()
    stop_out(stopped, minutes_ago=1)
    before = say(endpoint, as_web, f"EURUSD close half {at(-90)}")
    assert problem(before, 400, "ALERT_AMBIGUOUS")
    after = say(endpoint, as_web, f"EURUSD close half {at(2)}")
    assert after.status_code == 201
    assert exits(opened) == [500]


def test_update_is_refused_while_a_later_entry_is_in_no_account(
    endpoint: AlertEndpoint, as_web: AsWeb
) -> None:
    opened = endpoint.trade()
    denied = Signal.objects.create(
        feed=endpoint.feed, currency_pair="GBP/USD", direction="SELL", approval="APPROVED",
        published_at=market_now() - timedelta(minutes=20),
    )  # fmt: skip
    refused = say(endpoint, as_web, "close half")
    assert denied.number in problem(refused, 400, "ALERT_AMBIGUOUS")["detail"]
    assert say(endpoint, as_web, "EURUSD close half").status_code == 201
    assert exits(opened) == [500]
