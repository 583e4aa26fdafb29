"""A market entry never fills beyond its worst price: the broker's own field or a limit order."""

from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest

from brokers.types import OrderType, ReportKind, TimeInForce
from brokers.worst_price import with_worst_price
from common.reason_codes import Code
from connections.models import ExecutionConnection
from events.messages import render
from execution.models import Order
from signals.models import Feed
from tests.events.test_messages import event
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("alice")]


def can_be(broker: FakeBroker, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    usual = broker.capabilities
    monkeypatch.setattr(broker, "capabilities", lambda spec: replace(usual(spec), **changes))


def test_entry_is_sent_as_an_immediate_or_cancel_limit_order(feed: Feed) -> None:
    factories.signal(feed, max_slippage_pips=D(3))
    (outgoing,) = factories.claim_all()
    request, order = outgoing.request, Order.objects.get()
    assert (request.order_type, request.time_in_force) == (OrderType.LIMIT, TimeInForce.IOC)
    assert request.limit_price == request.worst_price == order.worst_price == D("1.1003")
    assert (order.order_type, order.limit_price) == ("MARKET", None)
    factories.apply(factories.report(order, ReportKind.EXPIRED, code=Code.TIME_IN_FORCE_ENDED))
    order.refresh_from_db()
    assert (order.status, order.reason) == ("EXPIRED", "SLIPPAGE_LIMIT")
    assert order.detail == "worst price 1.1003."


def test_partial_fill_states_why_the_remainder_ended(feed: Feed) -> None:
    factories.signal(feed, max_slippage_pips=D(3))
    factories.claim_all()
    order = Order.objects.get()
    factories.apply(
        factories.fill_report(order, 40, "f1"), factories.report(order, ReportKind.CANCELLED)
    )
    order.refresh_from_db()
    assert (order.status, order.reason, order.filled_quantity) == (
        "CANCELLED",
        "SLIPPAGE_LIMIT",
        40,
    )


def test_brokers_own_price_limit_field_is_used(
    feed: Feed, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    can_be(broker, monkeypatch, keeps_worst_price=True)
    factories.signal(feed, max_slippage_pips=D(3))
    (outgoing,) = factories.claim_all()
    assert outgoing.request.order_type is OrderType.MARKET
    assert outgoing.request.worst_price == D("1.1003")


def test_entry_is_denied_where_the_worst_price_cannot_be_enforced(
    feed: Feed, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    can_be(broker, monkeypatch, order_types=frozenset({OrderType.MARKET}))
    factories.signal(feed, max_slippage_pips=D(3))
    assert factories.claim_all() == []
    assert Order.objects.get().reason == "SLIPPAGE_NOT_KEPT"
    factories.signal(feed)
    assert len(factories.claim_all()) == 1


def test_other_order_types_are_unchanged(feed: Feed) -> None:
    factories.signal(feed, max_slippage_pips=D(3), order_type="LIMIT", open_price=D("1.09"),
                sl=D("1.08"))  # fmt: skip
    (outgoing,) = factories.claim_all()
    request = outgoing.request
    assert (request.worst_price, request.limit_price) == (None, D("1.09"))
    can = factories.fake_broker().capabilities(outgoing.spec)
    assert with_worst_price(request, can) is request


@pytest.mark.parametrize(
    ("side", "sl", "price", "passed"),
    [
        ("BUY", "1.09", "1.10030", None),
        ("BUY", "1.09", "1.10031", "1.10030"),
        ("SELL", "1.11", "1.09960", None),
        ("SELL", "1.11", "1.09959", "1.09960"),
    ],
)
def test_fill_beyond_the_worst_price_raises_the_alarm_below_its_threshold(
    feed: Feed,
    broker: FakeBroker,
    monkeypatch: pytest.MonkeyPatch,
    side: str,
    sl: str,
    price: str,
    passed: str | None,
) -> None:
    """The alert's threshold is 5 pips, the signal's limit 3: some brokers enforce neither."""
    can_be(broker, monkeypatch, keeps_worst_price=True, checks_worst_price=True)
    factories.signal(feed, max_slippage_pips=D(3), direction=side, sl=D(sl))
    factories.claim_all()
    factories.apply(factories.fill_report(Order.objects.get(), 100, "f1", price=price))
    events = factories.events("slippage.alert")
    assert [D(payload["passed_limit"]) for payload in events] == ([D(passed)] if passed else [])
    for payload in events:
        assert "does not enforce at the fill" in render(event("slippage.alert", **payload)).body


FILLS = {  # what the broker reports, in flushes of (quantity, price), and the fills beyond 1.10030
    "within": ([[("50", "1.10000"), ("50", "1.10030")]], []),
    "one of two at once": ([[("50", "1.10000"), ("50", "1.10050")]], ["1.10050"]),
    "the first of two at once": ([[("50", "1.10040"), ("50", "1.10000")]], ["1.10040"]),
    "the second of two": ([[("50", "1.10000")], [("50", "1.10050")]], ["1.10050"]),
    "the first of two": ([[("50", "1.10060")], [("50", "1.10001")]], ["1.10060"]),
    "both": ([[("50", "1.10040")], [("50", "1.10035")]], ["1.10040", "1.10035"]),
    "the worst of one flush": ([[("50", "1.10040"), ("50", "1.10035")]], ["1.10040"]),
}


@pytest.mark.parametrize("name", FILLS)
def test_worst_price_applies_to_each_fill_not_to_their_average(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:  # fmt: skip
    can_be(broker, monkeypatch, keeps_worst_price=True, checks_worst_price=True)
    flushes, beyond = FILLS[name]
    factories.signal(feed, max_slippage_pips=D(3))
    factories.claim_all()
    order = Order.objects.get()
    for number, flush in enumerate(flushes):
        fills = [(f"f{number}.{nth}", *fill) for nth, fill in enumerate(flush)]
        factories.apply(
            *[factories.fill_report(order, qty, key, price=price) for key, qty, price in fills]
        )
    events = factories.events("slippage.alert")
    assert [D(payload["beyond_limit_at"]) for payload in events] == [D(price) for price in beyond]
    for payload, price in zip(events, beyond, strict=True):
        assert D(payload["passed_limit"]) == D("1.10030")
        body = render(event("slippage.alert", **payload)).body
        assert f"A fill at {D(price).normalize():f} is beyond the limit 1.1003" in body


@pytest.mark.parametrize(("average", "at_once"), [("1.10025", []), ("1.10031", ["1.10031"])])
def test_cumulative_fill_is_checked_by_average_then_by_executions(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch,
    average: str, at_once: list[str],
) -> None:  # fmt: skip
    """The broker reports the cumulative quantity first and its executions later."""
    can_be(broker, monkeypatch, keeps_worst_price=True, checks_worst_price=True)
    factories.signal(feed, max_slippage_pips=D(3))
    factories.claim_all()
    order = Order.objects.get()
    factories.apply(factories.fill_report(order, 100, "", price=average, inferred=True))
    found = [D(payload["beyond_limit_at"]) for payload in factories.events("slippage.alert")]
    assert found == [D(price) for price in at_once]
    second = D(average) * 2 - D("1.1")
    factories.apply(
        factories.fill_report(order, 50, "f1", price="1.10000"),
        factories.fill_report(order, 50, "f2", price=second),
    )
    assert D(factories.events("slippage.alert")[-1]["beyond_limit_at"]) == second


def test_a_later_flush_does_not_repeat_the_alarm_of_an_earlier_fill(
    feed: Feed, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    can_be(broker, monkeypatch, keeps_worst_price=True, checks_worst_price=True)
    factories.signal(feed, max_slippage_pips=D(3))
    factories.claim_all()
    order = Order.objects.get()
    factories.apply(factories.fill_report(order, 90, "f1", price="1.10045"))
    factories.apply(
        factories.fill_report(order, 10, "f2", price="1.10030")
    )  # the average is still beyond
    assert len(factories.events("slippage.alert")) == 1
