"""End to end: trailing stops, which TWS holds itself."""

from decimal import Decimal as D
from typing import Any

import pytest

from common.errors import ConflictError
from common.reason_codes import Code
from connections.models import ExecutionConnection
from execution.changes.order_changes import change_order
from execution.models import Order, OrderTrigger
from execution.services import cancel_order
from execution.submission.change_terms import WantedTerms
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.execution.brisk_jobs import brisk_jobs
from tests.execution.trading_process import until
from tests.fakes.tws.server_process import TwsProcess
from tests.ibkr.test_engine import alice, compare, engine, feed, tws

__all__ = ["alice", "brisk_jobs", "engine", "feed", "tws"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("alice")]


TRAILING: dict[str, Any] = {
    "order_type": "TRAILING_STOP", "trail_distance": D("0.005"), "sl": D("1.05"),
}  # fmt: skip


def test_trailing_stop_works_at_tws_and_is_filled_when_the_market_turns(
    alice: ExecutionConnection, feed: Feed, tws: TwsProcess
) -> None:
    """It begins at 1.1052, follows the ask down from 1.1002 to 1.0902, and waits at 1.0952."""
    signal = factories.signal(feed, [("1.12000", "1")], **TRAILING)
    until(lambda: Order.objects.filter(status="SUBMITTED").exists())
    order = Order.objects.get()
    assert (order.stop_price, order.trail_distance) == (D("1.1052"), D("0.005"))
    assert not OrderTrigger.objects.exists()
    tws.do("quote", "EURUSD", "1.0900", "1.0902")
    compare(alice)
    assert factories.drift_items() == []
    with pytest.raises(ConflictError) as refused:
        change_order(order.pk, WantedTerms(quantity=D(30000)))
    assert refused.value.code is Code.CHANGE_UNSUPPORTED
    tws.do("quote", "EURUSD", "1.0960", "1.0962")
    until(lambda: ExecutionPosition.objects.filter(broker_sl=D("1.05")).exists())
    position = ExecutionPosition.objects.get(signal=signal)
    assert (position.quantity, position.entry_price) == (D(20000), D("1.0962"))
    order.refresh_from_db()
    assert (order.status, order.slippage_pips) == ("FILLED", None)
    assert tws.state()["received"].count(order.client_order_id) == 1


def test_trailing_stop_filled_beyond_its_stop_loss_is_closed_at_once(
    alice: ExecutionConnection, feed: Feed, tws: TwsProcess
) -> None:
    """It follows down to 1.0902, past the stop loss: the stop at the broker executes with it."""
    signal = factories.signal(feed, **TRAILING | {"sl": D("1.095")})
    until(lambda: Order.objects.filter(status="SUBMITTED").exists())
    tws.do("quote", "EURUSD", "1.0850", "1.0852")
    tws.do("quote", "EURUSD", "1.0904", "1.0906")
    until(lambda: ExecutionPosition.objects.filter(quantity=0, closed_at__isnull=False).exists())
    position = ExecutionPosition.objects.get(signal=signal)
    assert (position.entry_price, position.close_reason) == (D("1.0906"), "sl")
    assert D(next(iter(tws.state()["positions"].values()))) == 0
    compare(alice)
    assert factories.drift_items() == []


def test_trailing_stop_whose_answer_was_lost_is_found_and_can_be_cancelled(
    feed: Feed, tws: TwsProcess
) -> None:
    tws.do("fault", "accept and cut")
    factories.signal(feed, **TRAILING)
    until(lambda: Order.objects.filter(status="SUBMITTED").exists())
    order = Order.objects.get()
    assert tws.state()["accepted"].count(order.client_order_id) == 1
    cancel_order(order.pk)
    until(lambda: Order.objects.filter(status="CANCELLED").exists())
    tws.do("quote", "EURUSD", "1.2000", "1.2002")
    ended = [one for one in tws.state()["orders"] if one["ref"] == order.client_order_id]
    assert [(one["status"], D(one["filled"])) for one in ended] == [("Cancelled", D(0))]
