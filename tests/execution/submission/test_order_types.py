"""Stop-limit and good-till-date entries: what is sent, and what is denied before it is sent."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from brokers.types import OrderType, Quote, ReportKind, TimeInForce
from common.clocks import market_now
from common.db.sql import rows
from common.reason_codes import Code
from connections.models import ExecutionConnection
from execution.models import Order
from execution.monitoring.trigger_monitor import TriggerMonitor
from execution.recovery import sweeps
from signals.models import Feed, Signal
from signals.publishing.preview import require_possible
from signals.reading.errors import InvalidSignalError
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker

pytestmark = pytest.mark.django_db
STOP_LIMIT: dict[str, Any] = {
    "order_type": "STOP_LIMIT", "stop_price": D("1.10500"), "open_price": D("1.10600"),
}  # fmt: skip
SELL: dict[str, Any] = {
    "direction": "SELL", "order_type": "STOP_LIMIT", "sl": D("1.12"), "stop_price": D("1.09500"),
}  # fmt: skip


def claims(broker: FakeBroker, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Change what the account supports."""
    usual = broker.capabilities
    monkeypatch.setattr(broker, "capabilities", lambda spec: replace(usual(spec), **changes))


def seen() -> tuple[str, str]:
    order = Order.objects.latest("id")
    return order.status, order.reason


def figures() -> dict[str, str]:
    return dict(rows("SELECT numbers FROM execution_executionlog ORDER BY id DESC LIMIT 1")[0][0])


def test_stop_limit_order_is_sized_to_its_limit(alice: ExecutionConnection, feed: Feed) -> None:
    """Risk 1 % of 10,000 over 1.106 − 1.090 = 0.016 a unit: 6,250, not 6,660 as from the stop."""
    type(alice.preset).objects.update(sizing_mode="RISK", risk_percent=D(1))  # type: ignore[union-attr]
    factories.signal(feed, **STOP_LIMIT)
    [outgoing] = factories.claim_all()
    request = outgoing.request
    assert (request.order_type, request.quantity) == (OrderType.STOP_LIMIT, D(6250))
    assert (request.stop_price, request.limit_price) == (D("1.10500"), D("1.10600"))
    assert request.expires_at is None
    assert Order.objects.get().expected_price == D("1.10600")


def test_both_prices_are_rounded_to_ticks(alice: ExecutionConnection, feed: Feed) -> None:
    factories.signal(
        feed, **(STOP_LIMIT | {"stop_price": D("1.105001"), "open_price": D("1.106009")})
    )
    [outgoing] = factories.claim_all()
    assert outgoing.request.stop_price == D("1.10501")  # never triggered before its price
    assert outgoing.request.limit_price == D("1.10600")  # never filled beyond it


@pytest.mark.parametrize(
    ("fields", "is_beyond"),
    [
        (STOP_LIMIT | {"open_price": D("1.10499")}, False),
        (STOP_LIMIT | {"open_price": D("1.10500")}, True),  # reached once the market is there
        (STOP_LIMIT, True),
        (SELL | {"open_price": D("1.09501")}, False),
        (SELL | {"open_price": D("1.09500")}, True),
        (SELL | {"open_price": D("1.09400")}, True),
    ],
)
@pytest.mark.parametrize("refuses", [True, False])
def test_limit_beyond_its_stop_price_is_denied_where_the_broker_refuses_it(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch,
    fields: dict[str, Any], is_beyond: bool, refuses: bool,
) -> None:  # fmt: skip
    if refuses:
        claims(broker, monkeypatch, refuses_reached=frozenset({OrderType.LIMIT}))
    factories.signal(feed, **fields)
    factories.claim_all()
    denied = is_beyond and refuses
    assert seen() == (("DENIED", "LIMIT_BEYOND_STOP") if denied else ("SUBMITTING", ""))
    if denied:
        assert figures()["bound_name"] == "stop price"


def test_held_stop_limit_order_may_have_its_limit_beyond_its_stop_price(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is held, and what fires goes out at market where the limit would be refused."""
    claims(
        broker, monkeypatch, refuses_reached=frozenset({OrderType.LIMIT}), keeps_worst_price=True,
        order_types=frozenset({OrderType.MARKET, OrderType.LIMIT, OrderType.STOP}),
    )  # fmt: skip
    factories.signal(feed, **STOP_LIMIT)
    assert factories.claim_all() == []
    assert seen() == ("PENDING", "AWAITING_TRIGGER")
    at = market_now()
    order = Order.objects.get()
    monitor = TriggerMonitor()
    quotes = [Quote("EUR/USD", D("1.10490"), D("1.10500"), at)]
    assert monitor.process_quotes(alice.data_connection_id or 0, quotes) == [order.pk]
    factories.quote(alice, "1.10490", "1.10500")
    [outgoing] = factories.claim_all()
    request = outgoing.request
    assert (request.order_type, request.worst_price) == (OrderType.MARKET, D("1.10600"))


@pytest.mark.parametrize(("ask", "denied"), [("1.10499", False), ("1.10500", True)])
def test_stop_price_that_the_market_has_reached_is_denied(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch,
    ask: str, denied: bool,
) -> None:  # fmt: skip
    claims(broker, monkeypatch, refuses_reached=frozenset({OrderType.STOP_LIMIT}))
    factories.quote(alice, "1.10400", ask)
    factories.signal(feed, **STOP_LIMIT)
    factories.claim_all()
    assert seen() == (("DENIED", "PRICE_WRONG_SIDE") if denied else ("SUBMITTING", ""))


@pytest.mark.parametrize(("sl", "passed"), [("1.10499", False), ("1.10500", True)])
def test_stop_loss_moved_in_front_of_the_trigger_cancels_the_entry(
    alice: ExecutionConnection, feed: Feed, sl: str, passed: bool
) -> None:
    """A MODIFY may move it before the entry is sent."""
    opened = factories.signal(feed, **STOP_LIMIT)
    factories.signal(feed, action="MODIFY", refers_to=opened, sl=D(sl))
    factories.claim_all()
    entry = Order.objects.get()
    assert (entry.status, entry.reason) == (
        ("CANCELLED", "LEVEL_PAST_ENTRY") if passed else ("SUBMITTING", "")
    )


@pytest.mark.parametrize(
    ("missing", "detail"),
    [
        ({"order_types": frozenset({OrderType.MARKET})}, "STOP_LIMIT"),
        ({"times_in_force": frozenset({TimeInForce.IOC})}, "GTD or GTC"),
    ],
)
def test_account_without_the_type_or_time_in_force_denies_it(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch,
    missing: dict[str, Any], detail: str,
) -> None:  # fmt: skip
    claims(broker, monkeypatch, **missing)
    until = market_now() + timedelta(hours=1)
    signal = factories.signal(feed, **STOP_LIMIT, time_in_force="GTD", valid_until=until)
    factories.claim_all()
    assert seen() == ("DENIED", "ORDER_TYPE_UNSUPPORTED")
    assert Order.objects.get().detail == detail
    signal.pk, signal.published_at = None, None
    with pytest.raises(InvalidSignalError) as refused:  # no entry point stores it
        require_possible(signal)
    [error] = refused.value.errors
    field = "order_type" if detail == "STOP_LIMIT" else "time_in_force"
    assert (error.code, error.field) == (Code.ORDER_TYPE_UNSUPPORTED, field)


def test_good_till_date_order_carries_its_expiry(alice: ExecutionConnection, feed: Feed) -> None:
    until = market_now() + timedelta(hours=1)
    fields = {**STOP_LIMIT, "valid_until": until}
    factories.signal(feed, **fields, time_in_force="GTD")
    factories.signal(feed, **fields)
    till_date, till_cancelled = (outgoing.request for outgoing in factories.claim_all())
    assert (till_date.time_in_force, till_date.expires_at) == (TimeInForce.GTD, until)
    assert (till_cancelled.time_in_force, till_cancelled.expires_at) == (TimeInForce.GTC, None)


@pytest.mark.parametrize(("seconds", "denied"), [(590, True), (610, False)])
def test_expiry_nearer_than_the_broker_accepts_is_denied(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch,
    seconds: int, denied: bool,
) -> None:  # fmt: skip
    claims(broker, monkeypatch, shortest_gtd=timedelta(minutes=10))
    until = market_now() + timedelta(seconds=seconds)
    factories.signal(feed, **STOP_LIMIT, time_in_force="GTD", valid_until=until)
    factories.claim_all()
    assert seen() == (("DENIED", "EXPIRY_TOO_NEAR") if denied else ("SUBMITTING", ""))
    if denied:
        assert figures()["minimum"] == "600"
        assert 580 < int(figures()["value"]) <= 590


@pytest.mark.parametrize(
    ("time_in_force", "late", "cancelled"),
    [("GTC", 1, 1), ("GTD", 29, 0), ("GTD", 31, 1)],
)
def test_broker_ends_its_good_till_date_order_before_we_cancel_it(
    alice: ExecutionConnection, feed: Feed, time_in_force: str, late: int, cancelled: int
) -> None:
    until = market_now() + timedelta(hours=1)
    factories.signal(feed, **STOP_LIMIT, time_in_force=time_in_force, valid_until=until)
    factories.claim_all()
    factories.apply(factories.report(Order.objects.get(), ReportKind.ACCEPTED))
    Signal.objects.update(valid_until=market_now() - timedelta(seconds=late))
    assert sweeps.cancel_expired_working() == cancelled


@pytest.mark.parametrize(
    "wrong",
    [
        {"open_price": None},
        {"stop_price": None},
        {"sl": D("1.10550")},  # behind its limit, in front of its trigger
        {"open_price": D("1.08"), "sl": D("1.09")},
        {"time_in_force": "GTD"},
    ],
)
def test_database_refuses_a_stop_limit_signal_that_contradicts_itself(
    feed: Feed, wrong: dict[str, Any]
) -> None:
    fields = {"currency_pair": "EUR/USD", "direction": "BUY", "sl": D("1.09"), **STOP_LIMIT}
    with pytest.raises(IntegrityError), transaction.atomic():
        Signal.objects.create(feed=feed, **fields | wrong)
    Signal.objects.create(feed=feed, **fields)
