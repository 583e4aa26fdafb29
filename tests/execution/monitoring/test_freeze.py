"""Changes within the freeze level wait, and go as soon as the market has moved away."""

from datetime import timedelta
from decimal import Decimal as D

import pytest

from analytics.orders.reasons import reason_of
from common.clocks import market_now
from connections.models import ExecutionConnection, Instrument
from execution.changes.forms import change_line
from execution.changes.order_changes import change_order
from execution.models import EntryChange, Order
from execution.monitoring.pending_actions import process_pending_actions
from execution.runtime.trading_runtime import TradingRuntime
from execution.services import cancel_order, modify_position
from execution.submission.change_terms import WantedTerms
from positions.models import ExecutionPosition
from prices.models import LatestQuote
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker

pytestmark = pytest.mark.django_db
FREEZE = D("0.00005")
LIMIT = D("1.09500")


@pytest.fixture(autouse=True)
def frozen_near(alice: ExecutionConnection, runtime: TradingRuntime) -> None:
    Instrument.objects.filter(symbol="EURUSD").update(freeze_level=FREEZE)


@pytest.fixture
def order(alice: ExecutionConnection, feed: Feed, runtime: TradingRuntime) -> Order:
    """A buy limit at 1.095 that works at the broker."""
    signal = factories.signal(feed, order_type="LIMIT", open_price=LIMIT)
    [outgoing] = factories.claim_all()
    factories.answer(outgoing, factories.fake_broker().rest(outgoing.request))
    return Order.objects.get(signal=signal)


def calls(broker: FakeBroker, *names: str) -> list[str]:
    return [name for name, _ in broker.calls if name in names]


def ask(of: ExecutionConnection, price: str) -> None:
    factories.quote(of, D(price) - D("0.00010"), price)


def frozen_lines() -> int:
    codes = [code for code, _ in factories.log_codes(Order.objects.get().pk)]
    return codes.count("LEVELS_FROZEN")


def test_cancel_waits_until_the_market_has_moved_away(
    order: Order, broker: FakeBroker, alice: ExecutionConnection
) -> None:
    ask(alice, "1.09505")  # exactly at the distance
    cancel_order(order.pk)
    for _ in range(3):
        process_pending_actions()
        factories.pass_time(1.1)
        ask(alice, "1.09505")
    order.refresh_from_db()
    assert (calls(broker, "cancel"), order.status, order.reason) == (
        [],
        "SUBMITTED",
        "LEVELS_FROZEN",
    )
    assert order.detail == "1.095 is within 0.00005 of 1.09505"
    assert reason_of(order).since is not None
    assert frozen_lines() == 1
    ask(alice, "1.09506")
    process_pending_actions()
    order.refresh_from_db()
    assert (calls(broker, "cancel"), order.status) == (["cancel"], "CANCELLED")


def test_cancel_without_a_fresh_price_is_sent(
    order: Order, broker: FakeBroker, alice: ExecutionConnection
) -> None:
    ask(alice, "1.09500")
    LatestQuote.objects.update(received_at=market_now() - timedelta(minutes=5))
    cancel_order(order.pk)
    process_pending_actions()
    assert calls(broker, "cancel") == ["cancel"]


def test_change_waits_until_the_market_has_moved_away(
    order: Order, broker: FakeBroker, alice: ExecutionConnection
) -> None:
    change_order(order.pk, WantedTerms(limit_price=D("1.094")))
    ask(alice, "1.09503")
    process_pending_actions()
    waiting = EntryChange.objects.get()
    assert (waiting.state, waiting.code, calls(broker, "change_order")) == (
        "REQUESTED", "LEVELS_FROZEN", [],
    )  # fmt: skip
    line = change_line(waiting)
    assert "under way since" in line
    assert "1.095 is within 0.00005 of 1.09503" in line
    factories.pass_time(90)  # it lowers the risk: it waits on
    ask(alice, "1.09503")
    process_pending_actions()
    assert (calls(broker, "change_order"), frozen_lines()) == ([], 1)
    factories.pass_time(2)
    ask(alice, "1.09600")
    process_pending_actions()
    assert EntryChange.objects.get().state == "DONE"
    order.refresh_from_db()
    assert order.limit_price == D("1.094")


def test_frozen_change_that_raises_the_risk_is_given_up_after_a_minute(
    order: Order, broker: FakeBroker, alice: ExecutionConnection
) -> None:
    change_order(order.pk, WantedTerms(quantity=D(150)))
    ask(alice, "1.09503")
    process_pending_actions()
    factories.pass_time(61)
    ask(alice, "1.09600")
    process_pending_actions()
    change = EntryChange.objects.get()
    assert (change.state, change.code, calls(broker, "change_order")) == (
        "REFUSED", "CHANGE_TOO_OLD", [],
    )  # fmt: skip


def test_stop_waits_until_the_market_has_moved_away(
    feed: Feed, broker: FakeBroker, runtime: TradingRuntime
) -> None:
    account = factories.account(feed, settings={"native_stops": True})
    factories.signal(feed)
    factories.fill_all()
    position = ExecutionPosition.objects.get(connection=account)
    ExecutionPosition.objects.filter(pk=position.pk).update(
        broker_sl=D("1.09"), sl_guardian="BROKER", level_sync_due_at=None
    )
    modify_position(position.pk, stop_loss=D("1.085"), take_profit=None)
    broker.calls.clear()
    for _ in range(2):
        factories.quote(account, "1.09005")  # the bid reaches the stop
        process_pending_actions()
        factories.pass_time(1.1)
    position.refresh_from_db()
    assert calls(broker, "modify") == []
    assert position.levels_frozen_at is not None
    factories.quote(account, "1.09006")
    process_pending_actions()
    assert calls(broker, "modify") == ["modify"]
    assert ExecutionPosition.objects.get(pk=position.pk).levels_frozen_at is None
