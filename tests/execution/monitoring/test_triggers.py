"""Entries that the engine holds: armed at the claim, fired by quotes, once, or ended before."""

from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal as D
from random import Random
from typing import Any

import pytest
from django.db import OperationalError

from brokers.types import OrderType, Quote, TimeInForce
from common.clocks import market_now
from common.sql import rows, run
from connections.exposure import is_priced_by_sql
from connections.models import DataConnection, ExecutionConnection
from execution.models import Order, OrderTrigger, PricePeak
from execution.monitoring import trigger_monitor
from execution.monitoring.trigger_monitor import TriggerMonitor
from execution.monitoring.trigger_upkeep import keep_up_triggers
from execution.services import cancel_order
from prices import symbol_selection
from prices.models import LatestQuote, PriceBar
from signals.models import Feed, Signal
from signals.services import cancel
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("inline_commits")]
BUY_STOP: dict[str, Any] = {"order_type": "STOP", "stop_price": D("1.105")}
SELL_STOP: dict[str, Any] = {
    "order_type": "STOP", "stop_price": D("1.095"), "direction": "SELL", "sl": D("1.12"),
}  # fmt: skip
SELL_TRAIL: dict[str, Any] = {
    "order_type": "TRAILING_STOP", "trail_distance": D("0.005"), "direction": "SELL",
    "sl": D("1.2"),
}  # fmt: skip
BUY_TRAIL: dict[str, Any] = {
    "order_type": "TRAILING_STOP", "trail_distance": D("0.005"), "sl": D("1.01"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def market_and_limit_only(broker: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker takes market and limit orders, good till cancelled, like a crypto exchange."""
    usual = broker.capabilities
    taken = frozenset({OrderType.MARKET, OrderType.LIMIT})
    times = frozenset({TimeInForce.GTC, TimeInForce.IOC})
    monkeypatch.setattr(
        broker,
        "capabilities",
        lambda spec: replace(usual(spec), order_types=taken, times_in_force=times),
    )


@pytest.fixture
def monitor() -> TriggerMonitor:
    """A monitor whose triggers were armed before its quotes."""
    return TriggerMonitor()


def quotes_of(*bids: str | D, pair: str = "EUR/USD", seconds: float = 0) -> list[Quote]:
    """Return quotes with a spread of one pip."""
    at = market_now() + timedelta(seconds=seconds)
    return [Quote(pair, D(bid), D(bid) + D("0.0001"), at) for bid in bids]


def held(feed: Feed, **fields: Any) -> Order:
    """Publish an entry that the engine holds, and arm it."""
    signal = factories.signal(feed, **fields)
    assert factories.claim_all() == []
    order = Order.objects.get(signal=signal)
    assert (order.status, order.reason) == ("PENDING", "AWAITING_TRIGGER")
    return order


def source(of: ExecutionConnection) -> int:
    assert of.data_connection_id
    return of.data_connection_id


def state() -> tuple[str, str]:
    order = Order.objects.latest("id")
    return order.status, order.reason


# ---- what is armed ------------------------------------------------------------------------------
def test_stop_that_the_broker_lacks_waits_for_its_trigger(
    alice: ExecutionConnection, feed: Feed
) -> None:
    order = held(feed, **BUY_STOP)
    trigger = order.trigger
    assert (trigger.kind, trigger.sent_as, trigger.level) == ("STOP", "MARKET", D("1.105"))
    assert (trigger.source_id, trigger.pair, trigger.side) == (source(alice), "EUR/USD", "BUY")
    assert trigger.is_armed
    assert (order.client_order_id, order.quantity) == (None, None)
    assert factories.log_codes(order.pk)[-1] == ("AWAITING_TRIGGER", "PENDING")


def test_stop_that_the_broker_has_is_sent_to_it(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims = broker.capabilities
    monkeypatch.setattr(
        broker, "capabilities", lambda spec: replace(claims(spec), order_types=frozenset(OrderType))
    )
    factories.signal(feed, **BUY_STOP)
    [outgoing] = factories.claim_all()
    assert outgoing.request.order_type is OrderType.STOP
    assert not OrderTrigger.objects.exists()


@pytest.mark.parametrize(
    ("fields", "level", "distance"),
    [
        (SELL_TRAIL, "1.0949", "0.005"),  # 0.005 below the bid
        (BUY_TRAIL, "1.105", "0.005"),  # 0.005 above the ask
        (SELL_TRAIL | {"trail_distance": None, "trail_pips": D(20)}, "1.0979", "0.002"),
        (BUY_TRAIL | {"trail_distance": None, "trail_percent": D(1)}, "1.111", "0.011"),
        (SELL_TRAIL | {"activation_price": D("1.11")}, None, "0.005"),
        (
            SELL_TRAIL
            | {"trail_distance": None, "trail_percent": D(1), "activation_price": D("1.2")},
            None, "0.012",
        ),
    ],
)  # fmt: skip
def test_trailing_distance_is_fixed_when_it_is_armed(
    alice: ExecutionConnection, feed: Feed, fields: dict[str, Any], level: str | None, distance: str
) -> None:
    trigger = held(feed, **fields).trigger
    assert trigger.level == (None if level is None else D(level))
    assert trigger.distance == D(distance)
    assert (trigger.active_since is None) == (level is None)


def bars(of: ExecutionConnection, count: int, *, minutes: int, low: str, high: str) -> None:
    """Store candles of one minute bar each, the last one complete just now."""
    now = market_now()
    end = now.replace(minute=now.minute // minutes * minutes if minutes < 60 else 0, second=0,
                      microsecond=0)  # fmt: skip
    for back in range(1, count + 1):
        at = end - timedelta(minutes=minutes * back)
        price = dict.fromkeys(("bid_open", "bid_close", "ask_open", "ask_close"), D(low))
        PriceBar.objects.create(
            data_connection_id=source(of), symbol="EUR/USD", minute=at, bid_low=D(low),
            bid_high=D(high), ask_low=D(low), ask_high=D(high), spread_sum=D(0), quote_count=4,
            first_at=at, last_at=at, **price,
        )  # fmt: skip


BY_ATR = SELL_TRAIL | {"trail_distance": None, "trail_atr": D("1.5")}


@pytest.mark.parametrize(
    ("minutes", "high", "distance"),
    [
        (None, "1.102", "0.003"),
        (15, "1.102", "0.003"),
        (None, "1.10201", "0.00302"),  # 0.003015, to whole ticks
        (None, "1.10000001", "0.00001"),  # at least one
    ],
)
def test_distance_in_atr_is_fixed_when_it_is_armed(
    alice: ExecutionConnection, feed: Feed, minutes: int | None, high: str, distance: str
) -> None:
    bars(alice, 15, minutes=minutes or 60, low="1.1", high=high)
    trigger = held(feed, **BY_ATR, trail_atr_minutes=minutes).trigger
    assert trigger.distance == D(distance)
    PriceBar.objects.update(bid_high=D(2))
    Order.objects.update(due_at=market_now() - timedelta(seconds=1))
    assert factories.claim_all() == []
    trigger.refresh_from_db()
    assert trigger.distance == D(distance)


@pytest.mark.parametrize(
    ("count", "high", "detail"),
    [
        (14, "1.102", "EUR/USD: 14 of 15 candles of 60 min"),
        (0, "1.102", "EUR/USD: 0 of 15 candles of 60 min"),
        (15, "1.1", "EUR/USD: 15 of 15 candles of 60 min"),  # the price has not moved
    ],
)
def test_distance_in_atr_without_enough_prices_is_denied(
    alice: ExecutionConnection, feed: Feed, count: int, high: str, detail: str
) -> None:
    bars(alice, count, minutes=60, low="1.1", high=high)
    factories.signal(feed, **BY_ATR)
    assert factories.claim_all() == []
    assert state() == ("DENIED", "ATR_UNKNOWN")
    assert Order.objects.latest("id").detail == detail


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (SELL_TRAIL | {"activation_price": D("1.0999")}, "ACTIVATION_REACHED"),  # the bid
        (BUY_TRAIL | {"activation_price": D("1.1")}, "ACTIVATION_REACHED"),  # the ask
        (SELL_TRAIL | {"trail_distance": D("1.0999")}, "TRAIL_TOO_WIDE"),
        (SELL_TRAIL | {"trail_distance": D("0.0000001")}, "DISTANCE_BELOW_TICK"),
        (BUY_TRAIL | {"trail_distance": None, "trail_pips": D("0.09")}, "DISTANCE_BELOW_TICK"),
        (BUY_TRAIL | {"trail_distance": None, "trail_percent": D("1E-7")}, "DISTANCE_BELOW_TICK"),
        (BUY_STOP | {"time_in_force": "DAY"}, "ORDER_TYPE_UNSUPPORTED"),
        (BUY_STOP | {"time_in_force": "FOK"}, "ORDER_TYPE_UNSUPPORTED"),
        (BUY_STOP | {"sl": D("1.10499")}, None),
    ],
)
def test_trigger_that_cannot_be_right_is_denied_at_once(
    alice: ExecutionConnection, feed: Feed, fields: dict[str, Any], reason: str | None
) -> None:
    Feed.objects.update(max_price_deviation_percent=None)  # its guard refuses such distances
    LatestQuote.objects.update(received_at=market_now() - timedelta(days=5))  # nothing to compare
    factories.signal(feed, **fields)
    factories.quote(alice)
    factories.claim_all()
    assert state() == (("DENIED", reason) if reason else ("PENDING", "AWAITING_TRIGGER"))


def test_distance_is_armed_in_whole_ticks_rounded_up(
    alice: ExecutionConnection, feed: Feed
) -> None:
    order = held(feed, **SELL_TRAIL | {"trail_distance": None, "trail_percent": D("0.1")})
    assert order.trigger.distance == D("0.00110")  # of 1.0999: 0.0010999
    assert order.trigger.level == D("1.0988")


@pytest.mark.parametrize(
    "fields",
    [
        SELL_TRAIL | {"activation_price": D("1.09991")},
        BUY_TRAIL | {"activation_price": D("1.09999")},
        SELL_TRAIL | {"trail_distance": D("1.09989")},
        BUY_STOP | {"time_in_force": "IOC"},
        BUY_STOP | {"time_in_force": "GTD", "valid_until": market_now() + timedelta(hours=1)},
    ],
)
def test_trigger_at_the_edge_is_armed(
    alice: ExecutionConnection, feed: Feed, fields: dict[str, Any]
) -> None:
    Feed.objects.update(max_price_deviation_percent=None)
    held(feed, **fields)


# ---- what fires ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("fields", "bids", "price"),
    [
        (BUY_STOP, ["1.1048"], None),
        (BUY_STOP, ["1.1", "1.1049", "1.1"], "1.105"),  # its ask, between two others
        (BUY_STOP, ["1.2"], "1.2001"),  # a gap
        (SELL_STOP, ["1.0951"], None),
        (SELL_STOP, ["1.095"], "1.095"),
        (BUY_STOP | {"order_type": "IF_TOUCHED", "stop_price": D("1.095")}, ["1.095"], None),
        (BUY_STOP | {"order_type": "IF_TOUCHED", "stop_price": D("1.095")}, ["1.0949"], "1.095"),
        (SELL_STOP | {"order_type": "IF_TOUCHED", "stop_price": D("1.11")}, ["1.1099"], None),
        (SELL_STOP | {"order_type": "IF_TOUCHED", "stop_price": D("1.11")}, ["1.11"], "1.11"),
        (SELL_TRAIL, ["1.095"], None),  # 0.0049 below the bid at which it was armed
        (SELL_TRAIL, ["1.0949"], "1.0949"),
        (SELL_TRAIL, ["1.11", "1.1051"], None),
        (SELL_TRAIL, ["1.11", "1.105", "1.12"], "1.105"),  # 0.005 below its best, in one batch
        (SELL_TRAIL, ["1.105", "1.11"], None),
        (BUY_TRAIL, ["1.1048"], None),
        (BUY_TRAIL, ["1.1049"], "1.105"),
        (BUY_TRAIL, ["1.09", "1.0949"], None),
        (BUY_TRAIL, ["1.09", "1.095"], "1.0951"),
    ],
)
def test_price_at_the_trigger_makes_the_order_due(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor,
    fields: dict[str, Any], bids: list[str], price: str | None,
) -> None:  # fmt: skip
    order = held(feed, **fields)
    fired = monitor.process_quotes(source(alice), quotes_of(*bids))
    assert fired == ([order.pk] if price else [])
    trigger = OrderTrigger.objects.get()
    assert trigger.is_armed == (price is None)
    if price:
        assert state() == ("PENDING", "TRIGGERED")
        [outgoing] = factories.claim_all()
        request = outgoing.request
        assert (request.order_type, request.stop_price) == (OrderType.MARKET, None)
        assert factories.log_codes(order.pk)[-2:] == [
            ("TRIGGERED", "PENDING"), ("INTENT", "SUBMITTING"),
        ]  # fmt: skip


def test_stop_limit_is_sent_as_a_limit_order_when_it_is_triggered(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor
) -> None:
    until = market_now() + timedelta(hours=1)
    held(
        feed, order_type="STOP_LIMIT", stop_price=D("1.105"), open_price=D("1.106"),
        time_in_force="GTD", valid_until=until,
    )  # fmt: skip
    assert monitor.process_quotes(source(alice), quotes_of("1.1049"))
    [outgoing] = factories.claim_all()
    request = outgoing.request
    assert (request.order_type, request.limit_price) == (OrderType.LIMIT, D("1.106"))
    assert (request.stop_price, request.time_in_force) == (None, TimeInForce.GTC)


def test_other_pairs_and_sources_fire_nothing(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor
) -> None:
    held(feed, **BUY_STOP)
    assert monitor.process_quotes(source(alice) + 1, quotes_of("1.2")) == []
    assert monitor.process_quotes(source(alice), quotes_of("1.2", pair="GBP/USD")) == []


def test_trigger_fires_once(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor
) -> None:
    held(feed, **BUY_STOP)
    assert len(monitor.process_quotes(source(alice), quotes_of("1.2"))) == 1
    assert monitor.process_quotes(source(alice), quotes_of("1.2")) == []
    assert TriggerMonitor().process_quotes(source(alice), quotes_of("1.2")) == []
    assert len(factories.claim_all()) == 1
    assert factories.claim_all() == []


def test_age_of_the_order_counts_from_its_trigger(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor
) -> None:
    """Its signal is hours old by then; a market entry may be 60 seconds old."""
    order = held(feed, **BUY_STOP)
    Signal.objects.update(published_at=market_now() - timedelta(hours=5))
    factories.claim_all()
    assert state() == ("PENDING", "AWAITING_TRIGGER")
    monitor.process_quotes(source(alice), quotes_of("1.2"))
    Order.objects.filter(pk=order.pk).update(retried_at=market_now() - timedelta(seconds=62))
    factories.claim_all()
    assert state() == ("DENIED", "SIGNAL_TOO_OLD")


def test_order_fired_late_is_sent(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor
) -> None:
    held(feed, **BUY_STOP)
    Signal.objects.update(published_at=market_now() - timedelta(hours=5))
    monitor.process_quotes(source(alice), quotes_of("1.2"))
    assert len(factories.claim_all()) == 1


def test_limits_are_checked_when_it_fires(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor
) -> None:
    held(feed, **BUY_STOP)
    type(alice.preset).objects.update(allowed_symbols=["USD/JPY"])  # type: ignore[union-attr]
    monitor.process_quotes(source(alice), quotes_of("1.2"))
    factories.claim_all()
    assert state() == ("DENIED", "SYMBOL_NOT_ALLOWED")


# ---- what trailing stops follow -----------------------------------------------------------------
def test_trailing_stop_follows_over_many_batches(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor
) -> None:
    held(feed, **SELL_TRAIL)
    for number, bid in enumerate(("1.101", "1.11", "1.1051", "1.12", "1.118", "1.1151")):
        assert monitor.process_quotes(source(alice), quotes_of(bid, seconds=number)) == []
    assert PricePeak.objects.get().price == D("1.12")
    assert len(monitor.process_quotes(source(alice), quotes_of("1.115", seconds=9))) == 1


def test_another_process_goes_on_from_the_stored_peak(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor
) -> None:
    held(feed, **SELL_TRAIL)
    monitor.process_quotes(source(alice), quotes_of("1.12"))
    monitor.process_quotes(source(alice), quotes_of("1.117"))
    successor = TriggerMonitor()
    assert successor.process_quotes(source(alice), quotes_of("1.1151")) == []
    assert len(successor.process_quotes(source(alice), quotes_of("1.115"))) == 1


def test_trailing_stop_does_not_follow_prices_from_before_it(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor
) -> None:
    first = held(feed, **SELL_TRAIL)
    monitor.process_quotes(source(alice), quotes_of("1.12"))
    factories.quote(alice, "1.118")
    second = held(feed, **SELL_TRAIL)
    assert monitor.process_quotes(source(alice), quotes_of("1.115")) == [first.pk]
    assert PricePeak.objects.count() == 2
    assert monitor.process_quotes(source(alice), quotes_of("1.1131")) == []
    assert monitor.process_quotes(source(alice), quotes_of("1.113")) == [second.pk]


@pytest.mark.parametrize(
    ("bids", "fires"),
    [
        ([["1.1099"], ["1.1049"]], False),  # never activated
        ([["1.11"], ["1.1051"]], False),
        ([["1.11"], ["1.105"]], True),
        ([["1.1149", "1.11"]], False),  # 0.0049 below its best
        ([["1.1149", "1.1099"]], True),
        ([["1.1", "1.115", "1.11"]], True),  # activated, then hit, in one batch
        ([["1.105", "1.1", "1.11", "1.1051"]], False),  # the fall was before the activation
        ([["1.11"], ["1.13"], ["1.1251"]], False),
        ([["1.11"], ["1.13"], ["1.125"]], True),
    ],
)
def test_trailing_stop_with_an_activation_price_follows_from_there(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor,
    bids: list[list[str]], fires: bool,
) -> None:  # fmt: skip
    held(feed, **SELL_TRAIL, activation_price=D("1.11"))
    fired = []
    for number, batch in enumerate(bids):
        fired += monitor.process_quotes(source(alice), quotes_of(*batch, seconds=number))
    assert bool(fired) == fires


# ---- what does not fire -------------------------------------------------------------------------
def test_quote_from_before_an_earlier_one_fires_nothing(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor
) -> None:
    held(feed, **BUY_STOP)
    monitor.process_quotes(source(alice), quotes_of("1.1"))
    assert monitor.process_quotes(source(alice), quotes_of("1.2", seconds=-1)) == []


def test_quotes_from_before_it_was_armed_fire_nothing(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor
) -> None:
    held(feed, **BUY_STOP)
    assert monitor.process_quotes(source(alice), quotes_of("1.2"), waited=60) == []


def test_cancelled_order_does_not_fire(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor
) -> None:
    order = held(feed, **BUY_STOP)
    cancel_order(order.pk)
    assert monitor.process_quotes(source(alice), quotes_of("1.2")) == []
    assert Order.objects.get().status == "CANCELLED"
    assert not OrderTrigger.objects.get().is_armed


@pytest.mark.parametrize("how", ["close", "cancel"])
def test_closed_or_cancelled_signal_ends_it(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor, how: str
) -> None:
    order = held(feed, **BUY_STOP)
    if how == "close":
        factories.close_signal(Signal.objects.get())
    else:
        cancel(Signal.objects.get().pk, by=None)
    order.refresh_from_db()
    code = "CLOSED_BEFORE_SENT" if how == "close" else "SIGNAL_CANCELLED"
    assert (order.status, order.reason) == ("CANCELLED", code)
    assert monitor.process_quotes(source(alice), quotes_of("1.2")) == []


def test_order_that_is_being_cancelled_does_not_fire(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor
) -> None:
    order = held(feed, **BUY_STOP)
    Order.objects.filter(pk=order.pk).update(pending_action="CANCEL")
    assert monitor.process_quotes(source(alice), quotes_of("1.2")) == []


def test_order_ends_when_its_signal_expires(alice: ExecutionConnection, feed: Feed) -> None:
    order = held(feed, **BUY_STOP, valid_until=market_now() + timedelta(hours=1))
    assert order.due_at is not None
    left = rows(
        "SELECT extract(epoch FROM due_at - clock_timestamp())::float8 AS left FROM execution_order"
    )[0].left
    assert 3590 < left <= 3600.2
    factories.pass_time(3601)
    factories.claim_all()
    assert state() == ("EXPIRED", "SIGNAL_EXPIRED")


def test_trigger_that_fires_after_the_end_sends_nothing(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor
) -> None:
    held(feed, **BUY_STOP, valid_until=market_now() + timedelta(hours=1))
    Signal.objects.update(valid_until=market_now() - timedelta(seconds=1))
    monitor.process_quotes(source(alice), quotes_of("1.2"))
    assert factories.claim_all() == []
    assert state() == ("EXPIRED", "SIGNAL_EXPIRED")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("UPDATE connections_executionconnection SET is_paused = true", "CONNECTION_PAUSED"),
        ("UPDATE connections_executionconnection SET is_active = false", "CONNECTION_INACTIVE"),
        (
            "INSERT INTO connections_killswitch (scope, mode, reason, set_at)"
            " VALUES ('ALL', 'HALTED', '', now())",
            "TRADING_HALTED",
        ),
    ],
)
def test_order_waits_during_a_pause_or_halt_and_is_denied_if_it_fires_then(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor, change: str, reason: str
) -> None:
    held(feed, **BUY_STOP)
    run(change)
    Order.objects.update(due_at=market_now())
    factories.claim_all()
    assert state() == ("PENDING", "AWAITING_TRIGGER")
    monitor.process_quotes(source(alice), quotes_of("1.2"))
    factories.claim_all()
    assert state() == ("DENIED", reason)


# ---- failures -----------------------------------------------------------------------------------
def test_prices_that_could_not_be_judged_are_judged_by_the_next_call(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = held(feed, **SELL_TRAIL)
    with monkeypatch.context() as patched:
        patched.setattr(trigger_monitor, "_judge", _away)
        for bids in (("1.12",), ("1.118", "1.119")):
            with pytest.raises(OperationalError):
                monitor.process_quotes(source(alice), quotes_of(*bids))
    assert monitor.process_quotes(source(alice), quotes_of("1.1151")) == []
    assert monitor.process_quotes(source(alice), quotes_of("1.115")) == [order.pk]


def _away(*_: object, **__: object) -> object:
    raise OperationalError("the database is away")


@pytest.mark.django_db(transaction=True)
def test_order_that_is_locked_fires_with_the_next_call(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor
) -> None:
    order = held(feed, **BUY_STOP)
    lock = f"SELECT id FROM execution_order WHERE id = {order.pk} FOR NO KEY UPDATE"
    with factories.locked_elsewhere(lock):
        assert monitor.process_quotes(source(alice), quotes_of("1.2")) == []
    assert monitor.process_quotes(source(alice), []) == [order.pk]  # without another quote
    assert monitor.process_quotes(source(alice), []) == []


def test_claim_of_an_order_that_has_just_fired_does_not_hold_it_again(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was loaded before its trigger fired, and is written after."""
    from execution.submission import claim, claim_writes

    order = held(feed, **BUY_STOP)
    Order.objects.update(due_at=market_now())
    write = claim_writes.arm_triggers

    def fire_first(*arguments: Any) -> None:
        assert monitor.process_quotes(source(alice), quotes_of("1.2")) == [order.pk]
        write(*arguments)

    monkeypatch.setattr(claim, "arm_triggers", fire_first)
    assert factories.claim_all() == []
    monkeypatch.setattr(claim, "arm_triggers", write)
    assert state() == ("PENDING", "TRIGGERED")
    assert not OrderTrigger.objects.get().is_armed
    assert len(factories.claim_all()) == 1


# ---- upkeep -------------------------------------------------------------------------------------
def test_upkeep_disarms_triggers_of_ended_orders(alice: ExecutionConnection, feed: Feed) -> None:
    order = held(feed, **BUY_STOP)
    keep_up_triggers()
    assert OrderTrigger.objects.get().is_armed
    cancel_order(order.pk)
    keep_up_triggers()
    assert not OrderTrigger.objects.get().is_armed


def test_account_with_another_price_source_follows_that_one(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor
) -> None:
    order = held(feed, **SELL_TRAIL)
    other = DataConnection.objects.create(name="other prices")
    ExecutionConnection.objects.filter(pk=alice.pk).update(data_connection=other)
    alice.refresh_from_db()
    factories.quote(alice, "1.2")
    keep_up_triggers()
    factories.claim_all()
    trigger = OrderTrigger.objects.get()
    assert (trigger.source_id, trigger.level) == (other.pk, D("1.195"))
    assert monitor.process_quotes(other.pk, quotes_of("1.195")) == [order.pk]


ACTIVATED_SELL: dict[str, Any] = {
    "order_type": "TRAILING_STOP", "direction": "SELL", "trail_distance": D("0.005"),
    "activation_price": D("1.11"), "sl": D("1.2"),
}  # fmt: skip


def give_another_source(of: ExecutionConnection, bid: str) -> int:
    """Give an account another price source with this price, and let its triggers follow."""
    other = DataConnection.objects.create(name="other prices")
    ExecutionConnection.objects.filter(pk=of.pk).update(data_connection=other)
    of.refresh_from_db()
    factories.quote(of, bid)
    keep_up_triggers()
    factories.claim_all()
    return other.pk


def test_activated_trailing_stop_follows_another_price_source(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor
) -> None:
    order = held(feed, **ACTIVATED_SELL)
    monitor.process_quotes(source(alice), quotes_of("1.11"))
    monitor.process_quotes(source(alice), quotes_of("1.118", seconds=1))
    other = give_another_source(alice, "1.116")
    trigger = OrderTrigger.objects.get()
    assert (trigger.source_id, trigger.level, trigger.distance) == (other, D("1.111"), D("0.005"))
    assert trigger.active_since is not None
    looked_at = Order.objects.get().due_at
    keep_up_triggers()
    assert Order.objects.get().due_at == looked_at  # not woken again
    assert monitor.process_quotes(other, quotes_of("1.1111")) == []
    assert monitor.process_quotes(other, quotes_of("1.111", seconds=1)) == [order.pk]


@pytest.mark.parametrize(
    ("bid", "level"), [("1.105", None), ("1.11", D("1.105")), ("1.118", D("1.113"))]
)
def test_waiting_trailing_stop_is_activated_by_the_price_of_another_source(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor, bid: str, level: D | None
) -> None:
    held(feed, **ACTIVATED_SELL)
    other = give_another_source(alice, bid)
    trigger = OrderTrigger.objects.get()
    assert (trigger.source_id, trigger.level) == (other, level)
    assert (trigger.active_since is None) == (level is None)
    assert trigger.activation_price == D("1.11")


def test_distance_stays_when_the_price_source_changes(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor
) -> None:
    """One in percent was calculated when it was armed; the other source's price is far higher."""
    held(feed, order_type="TRAILING_STOP", direction="SELL", trail_percent=D(1), sl=D("1.2"))
    distance = OrderTrigger.objects.get().distance
    give_another_source(alice, "2.2")
    trigger = OrderTrigger.objects.get()
    assert (trigger.distance, trigger.level) == (distance, D("2.2") - (distance or 0))


def test_peaks_that_nothing_follows_are_deleted(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor
) -> None:
    held(feed, **SELL_TRAIL)
    monitor.process_quotes(source(alice), quotes_of("1.101"))
    factories.quote(alice, "1.101")
    held(feed, **SELL_TRAIL)
    monitor.process_quotes(source(alice), quotes_of("1.102"))
    assert sorted(PricePeak.objects.values_list("price", flat=True)) == [D("1.101"), D("1.102")]
    keep_up_triggers()
    assert PricePeak.objects.count() == 2  # the monitor may be writing them
    run("UPDATE execution_pricepeak SET began_at = began_at - interval '2 minutes'")
    run("UPDATE execution_ordertrigger SET active_since = active_since - interval '2 minutes'")
    keep_up_triggers()
    assert PricePeak.objects.get().price == D("1.102")  # it has passed the other one
    OrderTrigger.objects.update(is_armed=False)
    keep_up_triggers()
    assert not PricePeak.objects.exists()


def test_price_source_of_a_held_order_is_needed(alice: ExecutionConnection, feed: Feed) -> None:
    used = f"SELECT id FROM connections_dataconnection d WHERE {is_priced_by_sql('d.id')}"
    order = held(feed, **BUY_STOP)
    assert [row.id for row in rows(used)] == [source(alice)]
    of_source = {"sources": [source(alice)]}
    ExecutionConnection.objects.filter(pk=alice.pk).update(data_connection=None)  # not by its order
    found = rows(symbol_selection.required_pairs_sql(), of_source)
    assert [(row.source, row.pair) for row in found] == [(source(alice), "EUR/USD")]
    cancel_order(order.pk)
    keep_up_triggers()
    assert rows(used) == rows(symbol_selection.required_pairs_sql(), of_source) == []


# ---- an oracle: quote by quote, from the definitions ---------------------------------------------
@dataclass
class Oracle:
    """One trigger, judged quote by quote. Prices in pips."""

    kind: str
    side: str
    level: D
    distance: D = D(0)
    activation: D | None = None
    best: D | None = None

    def fires(self, bid: D, ask: D) -> bool:
        """Return whether this quote fires it."""
        price, sign = (ask, 1) if self.side == "BUY" else (bid, -1)
        if self.kind == "STOP":
            return (price - self.level) * sign >= 0
        if self.kind == "IF_TOUCHED":
            return (price - self.level) * sign <= 0
        if self.activation is not None:
            if (price - self.activation) * sign > 0:
                return False
            self.activation = None
        if self.best is None or (price - self.best) * sign < 0:
            self.best = price
        return (price - self.best) * sign >= self.distance


def _random_trigger(random: Random, bid: D, ask: D) -> tuple[dict[str, Any], Oracle]:
    """Return the fields of a random entry that is not reached yet, and its oracle."""
    side = random.choice(["BUY", "SELL"])
    sign, touch = (1, ask) if side == "BUY" else (-1, bid)
    away = D(random.randint(1, 40)) / 10_000
    fields: dict[str, Any] = {"direction": side, "sl": D("0.5") if sign == 1 else D(2)}
    kind = random.choice(["STOP", "IF_TOUCHED", "TRAILING_STOP", "TRAILING_STOP"])
    if kind != "TRAILING_STOP":
        level = touch + away * sign * (1 if kind == "STOP" else -1)
        return fields | {"order_type": kind, "stop_price": level}, Oracle(kind, side, level)
    activation = touch - away * sign if random.random() < 0.5 else None
    distance = D(random.randint(1, 40)) / 10_000
    fields |= {"order_type": kind, "trail_distance": distance, "activation_price": activation}
    best = None if activation is not None else touch
    return fields, Oracle(kind, side, touch, distance, activation, best)


@pytest.mark.parametrize("seed", range(4))
def test_batches_fire_what_their_quotes_would_one_by_one(
    alice: ExecutionConnection, feed: Feed, seed: int
) -> None:
    """Triggers are armed between batches; another process takes over; some batches fail once."""
    random = Random(seed)
    monitor, bid, judged = TriggerMonitor(), D("1.1"), 0
    waiting: dict[int, Oracle] = {}
    for number in range(40):
        for _ in range(random.randint(0, 2)):
            factories.quote(alice, bid)
            fields, oracle = _random_trigger(random, bid, bid + D("0.0001"))
            waiting[held(feed, **fields).pk] = oracle
        steps = [D(random.randint(-12, 12)) / 10_000 for _ in range(random.randint(1, 6))]
        bids = [bid := bid + step for step in steps]
        expected = sorted(
            pk
            for pk, oracle in waiting.items()
            if any(oracle.fires(price, price + D("0.0001")) for price in bids)
        )
        fired = monitor.process_quotes(source(alice), quotes_of(*bids, seconds=number))
        assert fired == expected, f"batch {number}: {bids}"
        waiting = {pk: oracle for pk, oracle in waiting.items() if pk not in fired}
        judged += len(fired)
        Order.objects.filter(pk__in=fired).update(status="CANCELLED")
        if random.random() < 0.2:
            monitor = TriggerMonitor()
    assert judged > 10
