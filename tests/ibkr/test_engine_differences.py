"""End to end: what a comparison with TWS finds, and what it leaves to a person."""

from decimal import Decimal as D

import pytest
from django.test import Client

from connections.models import ExecutionConnection
from execution.models import DriftItem, Fill, Order
from execution.services import cancel_order
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.execution.brisk_jobs import brisk_jobs
from tests.execution.trading_process import until
from tests.fakes.tws.server_process import TwsProcess
from tests.ibkr.test_engine import alice, compare, engine, feed, tws
from users.models import User

__all__ = ["alice", "brisk_jobs", "engine", "feed", "tws"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("alice")]


def test_levels_of_working_entry_cause_no_drift_and_no_adoption(
    alice: ExecutionConnection, feed: Feed
) -> None:
    """One position and one working entry in a contract, each with its own levels."""
    held = factories.signal(feed, [("1.12000", "1")], sl=D("1.09000"))
    until(lambda: ExecutionPosition.objects.filter(broker_sl=D("1.09000")).exists())
    factories.signal(
        feed, [("1.10000", "1")], sl=D("1.04000"), order_type="LIMIT", open_price=D("1.05000")
    )
    until(lambda: Order.objects.filter(leg="entry", status="SUBMITTED").exists())
    compare(alice)
    assert factories.drift_items() == []

    position = ExecutionPosition.objects.get(signal=held)
    item = levels_item(position)
    client = Client()
    client.force_login(User.objects.get(pk=alice.owner_id))
    answer = client.post(f"/api/v1/drift/{item.pk}/adopt/", {}, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (409, "STATE_CONFLICT")
    position.refresh_from_db()
    assert (position.sl, position.broker_sl, position.tp) == (D("1.09"), D("1.09"), D("1.12"))


def test_entry_price_of_position_that_overlapped_a_closed_one_is_not_compared(
    alice: ExecutionConnection, feed: Feed, tws: TwsProcess
) -> None:
    """IBKR has one average price per contract, which includes the closed position."""
    first = factories.signal(feed)
    until(lambda: Order.objects.filter(leg="entry", status="FILLED").count() == 1)
    tws.do("quote", "EURUSD", "1.1200", "1.1202")
    factories.quote(alice, "1.12000", "1.12020")
    second = factories.signal(feed)
    until(lambda: Order.objects.filter(leg="entry", status="FILLED").count() == 2)
    factories.close_signal(first)
    until(lambda: ExecutionPosition.objects.get(signal=first).quantity == 0)
    left = ExecutionPosition.objects.get(signal=second)
    assert (left.quantity, left.entry_price) == (D(20000), D("1.1202"))
    compare(alice)
    kinds = set(DriftItem.objects.exclude(state="RESOLVED").values_list("kind", flat=True))
    assert "PRICE_DIFFERS" not in kinds


def test_working_order_that_vanished_is_a_difference_for_a_person(
    alice: ExecutionConnection, feed: Feed, tws: TwsProcess
) -> None:
    """It neither ends nor is sent again by itself, also when its cancel finds nothing."""
    factories.signal(feed, order_type="LIMIT", open_price=D("1.09000"), sl=D("1.08000"))
    until(lambda: Order.objects.filter(status="SUBMITTED").exists())
    order = Order.objects.get()
    refs = [order.client_order_id, f"{order.client_order_id}:sl"]
    for ref in refs:
        tws.do("forget", ref)

    def is_missing() -> bool:
        compare(alice)  # not compared while TWS may not list it yet
        return factories.drift_items() == [("ORDER_MISSING", "OPEN")]

    until(is_missing)
    cancel_order(order.pk)
    until(lambda: Order.objects.filter(status="CANCEL_REQUESTED").exists())
    assert is_missing()
    assert tws.state()["received"] == refs


def test_corrected_execution_corrects_the_position(
    alice: ExecutionConnection, feed: Feed, tws: TwsProcess
) -> None:
    """A smaller one; one that leaves nothing is for a person."""
    factories.signal(feed)
    until(lambda: Order.objects.filter(status="FILLED").exists())
    tws.do("correct", 1, "1.1002", "15000")
    until(lambda: ExecutionPosition.objects.get().quantity == D(15000))
    compare(alice)
    fill = Fill.objects.get()
    assert (fill.quantity, fill.inferred) == (D(15000), False)
    assert (Order.objects.get().filled_quantity, factories.drift_items()) == (D(15000), [])
    tws.do("correct", 1, "1.1002", "0")
    until(lambda: factories.drift_items() == [("REPORT_PROCESSING_FAILED", "OPEN")])
    assert ExecutionPosition.objects.get().quantity == D(15000)


def levels_item(of: ExecutionPosition) -> DriftItem:
    """Create a drift item as a former version did, which knew no levels of single entries."""
    theirs = {"side": "BUY", "quantity": "20000", "entry_price": "1.1002", "stop_loss": None,
              "take_profit": None}  # fmt: skip
    evidence = {"symbol": "EURUSD", "theirs": theirs, "differs": "1.09 1.12 none none",
                "broker_position_id": of.broker_position_id}  # fmt: skip
    return DriftItem.objects.create(
        kind="LEVELS_DIFFER", connection=of.connection, position_id=of.pk,
        key=of.broker_position_id, evidence=evidence,
    )  # fmt: skip
