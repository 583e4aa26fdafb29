"""Alerts about a symbol that an account maps to another one of its broker's: what they close."""

import json
from decimal import Decimal as D
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client

from common.clocks import market_now
from connections.models import ExecutionConnection
from execution.models import Order
from positions.models import ExecutionPosition
from signals.feeds.services import create_feed_token
from signals.models import Feed, Signal
from tests.alert_inbox import answer_of
from tests.connections import make
from tests.execution import factories
from tests.execution.submission.test_listed_symbols import INDEX

pytestmark = [pytest.mark.usefixtures("inline_commits", "alice")]


@pytest.fixture
def alice(feed: Feed) -> ExecutionConnection:
    """Alice maps DAX/EUR to GER40.cash, which her broker lists as GER40/EUR."""
    cache.clear()
    factories.instrument("GER40/EUR", symbol="GER40.cash", **INDEX)
    row = factories.account(snapshot_currency="EUR", preset_fixed_quantity=D(1))
    make.subscription(row, feed, symbol_map={"DAX/EUR": "GER40.cash"})
    factories.quote(row, "18000", "18001", pair="GER40/EUR")
    return row


class AlertClient:
    """The alert address of a feed."""

    def __init__(self, feed: Feed) -> None:
        self.path = f"/hooks/tradingview/{feed.slug}/{create_feed_token(feed)[1]}/"

    def send(self, **fields: Any) -> dict[str, Any]:
        body = {"ticker": "DAX/EUR", "timenow": market_now().isoformat(), **fields}
        response = Client().post(self.path, json.dumps(body), content_type="text/plain")
        answer = answer_of(response)
        assert answer.status_code in (200, 201), answer.content
        return dict(answer.json())

    def open(self) -> Order:
        """Publish a limit entry; return its waiting order."""
        self.send(action="OPEN", direction="BUY", sl="17000", order_type="LIMIT", price="17500")
        order = Order.objects.get()
        assert (order.status, order.pair) == ("PENDING", "GER40/EUR")
        return order


def brought_to(order: Order, state: str) -> None:
    """Bring an entry to a state as claims and the broker's answers do."""
    if state == "PENDING":
        return
    (outgoing,) = factories.claim_all()
    if state == "SUBMITTED":
        factories.answer(outgoing, factories.fake_broker().rest(outgoing.request))
    elif state == "FILLED":
        factories.answer(outgoing, factories.fake_broker().fill_at_once(outgoing.request))
    order.refresh_from_db()
    assert order.status == state


either_exit = pytest.mark.parametrize(
    "fields",
    [
        {"action": "CLOSE"},
        {"action": "sell", "prev_market_position": "long", "market_position": "flat"},
    ],
    ids=["close", "strategy"],
)
"""The two alerts that close a trade: one names the action, one is a strategy's."""


CLOSED = {  # state of the entry → its state, the action requested, and the exits, after a CLOSE
    "PENDING": ("CANCELLED", "", 0),
    "SUBMITTING": ("SUBMITTING", "CLOSE", 0),
    "SUBMITTED": ("SUBMITTED", "CLOSE", 0),
    "FILLED": ("FILLED", "", 1),
}


@pytest.mark.parametrize("state", CLOSED)
@either_exit
def test_close_alert_ends_entry_of_a_mapped_symbol(
    feed: Feed, state: str, fields: dict[str, str]
) -> None:
    client = AlertClient(feed)
    entry = client.open()
    brought_to(entry, state)
    answer = client.send(**fields)
    assert answer["summary"] == f"Closed S-{entry.signal_id}."
    entry.refresh_from_db()
    exits = Order.objects.exclude(position=None)
    assert (entry.status, entry.pending_action, exits.count()) == CLOSED[state]


@pytest.mark.parametrize("state", CLOSED)
def test_reversal_ends_the_mapped_entry_that_it_reverses(feed: Feed, state: str) -> None:
    client = AlertClient(feed)
    entry = client.open()
    brought_to(entry, state)
    answer = client.send(
        action="sell", prev_market_position="long", market_position="short", sl="19000"
    )
    assert answer["change"] == "reverse"
    entry.refresh_from_db()
    exits = Order.objects.exclude(position=None)
    assert (entry.status, entry.pending_action, exits.count()) == CLOSED[state]
    assert Order.objects.get(side="SELL", position=None).pair == "GER40/EUR"


@pytest.mark.parametrize("state", ["SUBMITTED", "FILLED"])
def test_modify_alert_reaches_a_mapped_entry(feed: Feed, state: str) -> None:
    client = AlertClient(feed)
    entry = client.open()
    brought_to(entry, state)
    client.send(action="MODIFY", refers_to=entry.signal_id, sl="17100")
    (modified,) = Signal.objects.filter(action="MODIFY")
    assert modified.candidate_count == 1
    for position in ExecutionPosition.objects.all():
        assert position.sl == D(17100)
