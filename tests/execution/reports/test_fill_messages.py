"""The message about a real fill and its position states each fact once."""

from dataclasses import replace
from decimal import Decimal as D

import pytest

from brokers.types import CloseCause
from connections.models import ExecutionConnection
from events.context import EventContext, context_of
from events.messages import Message, render_digest
from events.models import Event
from events.routing import EVENT
from execution.models import Order
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories

pytestmark = pytest.mark.usefixtures("inline_commits")


@pytest.fixture
def entry(alice: ExecutionConnection, feed: Feed) -> Order:
    """A filled entry for 100."""
    factories.signal(feed, trade_plan_id="plan-7")
    factories.claim_all()
    made = Order.objects.get()
    factories.apply(factories.fill_report(made, 100, "e1", price="1.10050"))
    return made


def message() -> Message:
    """Return the message about all events, then forget them."""
    found = Event.objects.exclude(kind="signal.published").order_by("id")
    events = [EventContext(*row) for row in found.values_list(*EVENT.split(", "))]
    facts = context_of(events)
    Event.objects.all().delete()
    return render_digest([replace(event, facts=facts[event.id]) for event in events])


def test_fill_of_an_entry_states_that_its_position_is_open(entry: Order) -> None:
    kinds = set(Event.objects.values_list("kind", flat=True))
    assert "order.filled" in kinds
    assert "position.opened" not in kinds
    Event.objects.filter(kind="slippage.alert").delete()
    stated = message()
    assert stated.title == "Filled: Buy 100 EUR/USD at 1.1005"
    for part in ("Slippage +", "The position is open.", "plan plan-7", f"S-{entry.signal_id}"):
        assert part in stated.body


def test_order_that_has_filled_nothing_opens_nothing(entry: Order) -> None:
    """On a netting account a slice that was not filled shares the position of the others."""
    Event.objects.filter(kind="slippage.alert").delete()
    Order.objects.update(filled_quantity=0)
    assert "open" not in message().body


def test_exit_and_its_closed_position_are_one_message(entry: Order) -> None:
    message()
    report = factories.fill_report(entry, 100, "x1", price="1.10000", broker_order_id="X1")
    fill = replace(report.fills[0], commission=D("0.5"))
    factories.apply(replace(report, fills=(fill,), close_cause=CloseCause.STOP_LOSS, levels=None))
    kinds = set(Event.objects.values_list("kind", flat=True))
    assert {"order.filled", "position.closed"} <= kinds
    Event.objects.filter(kind="slippage.alert").delete()
    stated = message()
    position = ExecutionPosition.objects.get()
    assert stated.title.startswith("Closed with −")
    assert stated.title.endswith(": Buy 100 EUR/USD")
    assert position.quantity == 0
    assert "The stop loss was hit." in stated.body
    assert "Last exit: " in stated.body
    assert "Sell 100 EUR/USD at 1.1" in stated.body
    assert "plan plan-7" in stated.body
