"""Denied orders: codes and numbers; and orders that are never denied."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest

from brokers.types import OrderType, Side
from common.clocks import market_now
from common.db.sql import rows, run
from common.reason_codes import Code
from connections.market_data.sources import (
    SourceReport,
    get_or_create_broker_source,
    record_source_status,
    share_with_all,
)
from connections.models import ExecutionConnection
from execution.models import ExecutionLog, Order
from execution.services import close_position
from execution.submission.quotes import FIRST_PRICE_SECONDS
from signals.models import Feed, Signal
from signals.services import cancel
from tests.connections import make
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker

pytestmark = pytest.mark.django_db
CONNECTION, PRESET = "connections_executionconnection", "connections_tradingpreset"
QUOTE, SNAPSHOT = "prices_latestquote", "connections_accountsnapshot"


def seen() -> tuple[str, str]:
    order = Order.objects.latest("id")
    return order.status, order.reason


def numbers() -> dict[str, str]:
    """Return value and bound of the last log line."""
    found = rows("SELECT numbers FROM execution_executionlog ORDER BY id DESC LIMIT 1")
    return {name: text for name, text in found[0].numbers.items() if name not in ("name", "unit")}


@pytest.mark.parametrize(
    ("twist", "status", "reason"),
    [
        ("UPDATE signals_signal SET published_at = published_at - interval '601 s'",
         "DENIED", "SIGNAL_TOO_OLD"),
        ("UPDATE signals_signal SET valid_until = now() - interval '1 s'",
         "EXPIRED", "SIGNAL_EXPIRED"),
        ("UPDATE signals_signal SET cancelled_at = now()", "CANCELLED", "SIGNAL_CANCELLED"),
        (f"UPDATE {CONNECTION} SET preset_id = NULL", "DENIED", "NO_PRESET"),
        (f"UPDATE {CONNECTION} SET is_active = false", "DENIED", "CONNECTION_INACTIVE"),
        (f"UPDATE {CONNECTION} SET is_paused = true", "DENIED", "CONNECTION_PAUSED"),
        (f"UPDATE {CONNECTION} SET data_connection_id = NULL", "DENIED", "NO_DATA_CONNECTION"),
        (f"UPDATE {CONNECTION} SET sealed_credentials = 'rubbish'", "DENIED", "NO_CREDENTIALS"),
        (f"DELETE FROM {SNAPSHOT}", "DENIED", "ACCOUNT_NOT_SYNCED"),
        (f"UPDATE {SNAPSHOT} SET read_at = now() - interval '902"
         f" s'", "DENIED", "ACCOUNT_DATA_STALE"),
        (f"UPDATE {SNAPSHOT} SET currency = 'XYZ'", "DENIED", "NO_CONVERSION_RATE"),
        ("UPDATE execution_order SET time_in_force = 'FOK'", "DENIED", "ORDER_TYPE_UNSUPPORTED"),
        ("DELETE FROM connections_instrument", "DENIED", "SYMBOL_NOT_AT_BROKER"),
        (f"DELETE FROM {QUOTE}", "DENIED", "QUOTE_MISSING"),
        (f"UPDATE {QUOTE} SET received_at = now() - interval '62 s'", "DENIED", "QUOTE_STALE"),
        (f"UPDATE {QUOTE} SET bid = 1.08, ask = 1.0901", "SUBMITTING", ""),
        (f"UPDATE {QUOTE} SET bid = 1.08, ask = 1.09", "DENIED", "STOP_AT_ENTRY"),
        (f"UPDATE {QUOTE} SET ask = 1.12", "DENIED", "TARGET_WRONG_SIDE"),
        ("UPDATE connections_instrument SET stops_level = 0.0101", "DENIED", "STOP_TOO_NEAR"),
        ("UPDATE connections_instrument SET stops_level = 0.01", "SUBMITTING", ""),
        (f"UPDATE {PRESET} SET fixed_quantity = 9", "DENIED", "QUANTITY_BELOW_MINIMUM"),
        (f"UPDATE {PRESET} SET max_quantity = 99", "DENIED", "MAX_QUANTITY"),
        (f"UPDATE {PRESET} SET max_quantity = 100", "SUBMITTING", ""),
        (f"UPDATE {PRESET} SET max_leverage = 0.0109", "DENIED", "MAX_LEVERAGE"),
        (f"UPDATE {PRESET} SET max_leverage = 0.011", "SUBMITTING", ""),
        (f"UPDATE {SNAPSHOT} SET free_margin = 3", "DENIED", "MARGIN"),
        (f"UPDATE {PRESET} SET max_portfolio_risk_percent = 0.0099", "DENIED", "PORTFOLIO_RISK"),
        (f"UPDATE {PRESET} SET max_portfolio_risk_percent = 0.01", "SUBMITTING", ""),
    ],
)  # fmt: skip
def test_each_rule_denies_with_its_code(
    alice: ExecutionConnection, feed: Feed, twist: str, status: str, reason: str
) -> None:
    factories.signal(feed, [("1.12", "1")])
    run(twist)
    factories.claim_all()
    assert seen() == (status, reason)


def test_sizing_by_risk_needs_a_stop(feed: Feed, broker: FakeBroker) -> None:
    factories.account(feed, preset_sizing_mode="RISK_PERCENT", preset_risk_percent=D(1))
    factories.signal(feed, sl=None)
    factories.claim_all()
    assert seen() == ("DENIED", "STOP_REQUIRED")


@pytest.mark.parametrize(("ask", "denied"), [("1.10030", False), ("1.10031", True)])
def test_entry_beyond_its_slippage_limit_is_denied(
    alice: ExecutionConnection, feed: Feed, ask: str, denied: bool
) -> None:
    factories.quote(alice, "1.09990", ask)
    factories.signal(feed, open_price=D("1.10000"), max_slippage_pips=D(3))
    factories.claim_all()
    assert seen() == (("DENIED", "SLIPPAGE_LIMIT") if denied else ("SUBMITTING", ""))
    if denied:
        assert numbers() == {"value": "3.1", "maximum": "3"}


def test_tighter_of_two_slippage_limits_applies(feed: Feed, broker: FakeBroker) -> None:
    factories.account(feed, preset_max_slippage_pips=D(2))
    factories.signal(feed, open_price=D("1.10000"), max_slippage_pips=D(9))
    (outgoing,) = factories.claim_all()
    assert outgoing.request.worst_price == D("1.1002")


@pytest.mark.usefixtures("stopped_clock")
@pytest.mark.parametrize(("by", "age"), [("USD/CHF", 61), ("USD/CHF", 60)])
def test_stale_conversion_rate_is_not_used(
    feed: Feed, broker: FakeBroker, by: str, age: int
) -> None:
    account = factories.account(feed, snapshot_currency="CHF")
    factories.quote(account, "0.9", pair=by)
    run("UPDATE prices_latestquote SET received_at = received_at - make_interval(secs => %s)"
        " WHERE symbol = %s", (age, by))  # fmt: skip
    factories.signal(feed)
    factories.claim_all()
    if age == 60:
        assert seen() == ("SUBMITTING", "")
        return
    assert seen() == ("DENIED", "CONVERSION_RATE_STALE")
    assert numbers() == {"value": "61", "maximum": "60"}
    assert Order.objects.get().detail == "USD CHF by USD/CHF"
    factories.quote(account, "1.9", pair="EUR/CHF")  # a fresh conversion path counts
    factories.quote(account)
    factories.signal(feed)
    factories.claim_all()
    assert seen() == ("SUBMITTING", "")


def test_denial_states_limit_and_current_value(feed: Feed, broker: FakeBroker) -> None:
    factories.account(feed, preset_max_quantity=D(50))
    factories.signal(feed)
    factories.claim_all()
    assert numbers() == {"value": "100", "maximum": "50"}
    (event,) = factories.events("order.denied")
    assert event["code"] == "MAX_QUANTITY"
    assert Order.objects.get().submitted_at is None


# ---- what is in flight counts ----
def test_orders_in_flight_count_as_positions(feed: Feed, broker: FakeBroker) -> None:
    factories.account(feed, preset_max_open_positions=2)
    for _ in range(3):
        factories.signal(feed)
    factories.claim_all()
    found = Order.objects.order_by("id").values_list("status", "reason")
    assert list(found) == [("SUBMITTING", ""), ("SUBMITTING", ""), ("DENIED", "MAX_OPEN_POSITIONS")]


def test_orders_and_positions_count_across_bundles(feed: Feed, broker: FakeBroker) -> None:
    factories.account(feed, preset_max_open_positions=2)
    factories.signal(feed)
    factories.fill_all()
    factories.signal(feed)
    factories.claim_all()
    factories.signal(feed)
    factories.claim_all()
    assert seen() == ("DENIED", "MAX_OPEN_POSITIONS")


def test_entries_and_exits_are_sent_beside_an_unanswered_order(
    alice: ExecutionConnection, feed: Feed
) -> None:
    position = factories.filled(factories.signal(feed))
    factories.signal(feed)
    factories.claim_all()
    run("UPDATE execution_order SET submitted_at = submitted_at - interval '2 s'")
    factories.signal(feed)
    [leaving] = close_position(position.pk)
    entry = Order.objects.get(status="PENDING", position=None)
    assert [o.request.order_id for o in factories.claim_all()] == [leaving, entry.pk]


def test_unanswered_order_counts_as_filled_in_the_limits(
    alice: ExecutionConnection, feed: Feed
) -> None:
    run(f"UPDATE {PRESET} SET max_open_positions = 1")
    factories.signal(feed)
    factories.claim_all()
    Order.objects.update(status="UNKNOWN")
    factories.signal(feed)
    assert factories.claim_all() == []
    assert Order.objects.get(status="DENIED").reason == "MAX_OPEN_POSITIONS"


# ---- exits are not blocked ----
@pytest.mark.parametrize(
    "twist",
    [
        f"UPDATE {PRESET} SET max_open_positions = 1, max_quantity = 1",
        f"UPDATE {CONNECTION} SET is_paused = true",
        f"UPDATE {CONNECTION} SET is_active = false",
        f"UPDATE {CONNECTION} SET preset_id = NULL",
        f"DELETE FROM {SNAPSHOT}",
        f"DELETE FROM {QUOTE}",
        f"UPDATE {QUOTE} SET received_at = now() - interval '1 day'",
        "DELETE FROM connections_instrument",
        "UPDATE signals_signal SET published_at = published_at - interval '1 day'",
        "UPDATE signals_signal SET valid_until = now() - interval '1 s'",
        "UPDATE signals_signal SET cancelled_at = now()",
    ],
)
def test_rules_that_deny_entries_do_not_stop_exits(
    alice: ExecutionConnection, feed: Feed, twist: str
) -> None:
    position = factories.filled(factories.signal(feed))
    close_position(position.pk)
    run(twist)
    (outgoing,) = factories.claim_all()
    assert outgoing.request.reduce_only
    assert (outgoing.request.quantity, outgoing.request.side) == (D(100), Side.SELL)
    assert outgoing.request.broker_position_id == position.broker_position_id
    assert outgoing.request.send_by > 0


@pytest.mark.parametrize(
    ("scope", "mode", "entry", "leaving"),
    [
        ("ALL", "REDUCING", "ENTRIES_HALTED", "SUBMITTING"),
        ("ALL", "HALTED", "TRADING_HALTED", "PENDING"),
        ("FEED", "REDUCING", "ENTRIES_HALTED", "SUBMITTING"),
        ("USER", "HALTED", "TRADING_HALTED", "PENDING"),
        ("CONNECTION", "REDUCING", "ENTRIES_HALTED", "SUBMITTING"),
        ("BROKER_TYPE", "REDUCING", "ENTRIES_HALTED", "SUBMITTING"),
        ("BROKER_TYPE", "HALTED", "TRADING_HALTED", "PENDING"),
        ("SYMBOL", "REDUCING", "ENTRIES_HALTED", "SUBMITTING"),
        ("SYMBOL", "HALTED", "TRADING_HALTED", "PENDING"),
    ],
)
def test_kill_switch_is_checked_at_the_claim(
    alice: ExecutionConnection, feed: Feed, scope: str, mode: str, entry: str, leaving: str
) -> None:
    position = factories.filled(factories.signal(feed))
    factories.signal(feed)
    halted = Order.objects.get(status="PENDING")
    [exit_id] = close_position(position.pk)
    named: dict[str, dict[str, Any]] = {
        "FEED": {"feed": feed},
        "USER": {"user": alice.user},
        "CONNECTION": {"connection": alice},
        "BROKER_TYPE": {"broker_type": alice.type},
        "SYMBOL": {"pair": "EUR/USD"},
    }
    make.kill_switch(mode, scope=scope, **named.get(scope, {}))
    factories.claim_all()
    halted.refresh_from_db()
    assert (halted.status, halted.reason) == ("DENIED", entry)
    assert Order.objects.get(pk=exit_id).status == leaving


def test_kill_switch_of_one_account_stops_no_other(alice: ExecutionConnection, feed: Feed) -> None:
    make.kill_switch("HALTED", scope="USER", user=make.user())
    make.kill_switch("HALTED", scope="FEED", feed=make.feed())
    make.kill_switch("HALTED", scope="BROKER_TYPE", broker_type="ibkr")
    make.kill_switch("HALTED", scope="SYMBOL", pair="GBP/USD")
    factories.signal(feed)
    assert len(factories.claim_all()) == 1


def test_skipped_denied_expired_and_cancelled_are_distinct(feed: Feed, broker: FakeBroker) -> None:
    factories.account(feed, is_paused=True)
    row = factories.account(feed)
    soon = factories.signal(feed, valid_until=market_now() + timedelta(minutes=5))
    dropped = factories.signal(feed)
    run("UPDATE signals_signal SET valid_until = now() WHERE id = %s", (soon.pk,))
    cancel(dropped.pk, by=None)
    factories.claim_all()
    run(f"UPDATE {PRESET} SET max_quantity = 1 WHERE id = %s", (row.preset_id,))
    factories.signal(feed)
    factories.claim_all()
    found = Order.objects.order_by("signal_id", "status").values_list("status", "reason")
    assert list(found) == [
        ("EXPIRED", "SIGNAL_EXPIRED"),
        ("SKIPPED", "CONNECTION_PAUSED"),
        ("CANCELLED", "SIGNAL_CANCELLED"),
        ("SKIPPED", "CONNECTION_PAUSED"),
        ("DENIED", "MAX_QUANTITY"),
        ("SKIPPED", "CONNECTION_PAUSED"),
    ]


def test_entry_waits_for_a_pairs_first_price_and_names_the_sources_error(
    alice: ExecutionConnection, feed: Feed
) -> None:
    source = get_or_create_broker_source(make.connection(type="mt4"))
    ExecutionConnection.objects.filter(pk=alice.pk).update(data_connection=source)
    signal = factories.signal(feed)
    assert factories.claim_all() == []
    entry = Order.objects.get()
    assert (entry.status, entry.reason) == ("PENDING", "PRICE_AWAITED")
    long_ago = market_now() - timedelta(seconds=FIRST_PRICE_SECONDS)
    Signal.objects.filter(pk=signal.pk).update(published_at=long_ago)
    run("UPDATE execution_order SET due_at = clock_timestamp()")
    assert factories.claim_all() == []
    assert Order.objects.get().reason == "QUOTE_MISSING"


def test_entry_does_not_wait_for_a_failing_source(alice: ExecutionConnection, feed: Feed) -> None:
    source = get_or_create_broker_source(make.connection(type="mt4"))
    ExecutionConnection.objects.filter(pk=alice.pk).update(data_connection=source)
    record_source_status(
        SourceReport(source.pk, code=Code.NOT_CONNECTED, message="The terminal is off.")
    )
    factories.signal(feed)
    assert factories.claim_all() == []
    entry = Order.objects.get()
    assert (entry.status, entry.reason) == ("DENIED", "QUOTE_MISSING")
    assert entry.detail == f"EUR/USD {source.name}: The terminal is off."


def test_long_error_of_a_source_is_cut_to_the_column(
    alice: ExecutionConnection, feed: Feed
) -> None:
    source = get_or_create_broker_source(make.connection(type="mt4"))
    ExecutionConnection.objects.filter(pk=alice.pk).update(data_connection=source)
    record_source_status(
        SourceReport(source.pk, code=Code.NOT_CONNECTED, message="A long message. " * 40)
    )
    factories.signal(feed)
    assert factories.claim_all() == []
    entry = Order.objects.get()
    assert (entry.status, entry.reason, len(entry.detail)) == ("DENIED", "QUOTE_MISSING", 300)
    detail = ExecutionLog.objects.get(order_id=entry.pk, code="QUOTE_MISSING").detail
    assert detail.startswith(entry.detail)
    assert len(detail) > 400


def test_source_without_pairs_to_follow_is_not_failing(
    alice: ExecutionConnection, feed: Feed
) -> None:
    """Its account lists many pairs and none was needed yet: this is the first signal. Or
    the needed pair is not listed."""
    source = get_or_create_broker_source(make.connection(type="mt4"))
    ExecutionConnection.objects.filter(pk=alice.pk).update(data_connection=source)
    factories.signal(feed)
    unlisted = SourceReport(
        source.pk, code=Code.UNKNOWN_SYMBOL_AT_BROKER, message="Gold.", pairs=["XAU/USD"]
    )
    for status in (SourceReport(source.pk), unlisted):
        record_source_status(status)
        run("UPDATE execution_order SET due_at = clock_timestamp()")
        assert factories.claim_all() == []
        entry = Order.objects.get()
        assert (entry.status, entry.reason) == ("PENDING", "PRICE_AWAITED")

    pairs = ["GBP/USD"]  # it follows another pair that has no prices
    record_source_status(
        SourceReport(source.pk, code=Code.QUOTE_MISSING, message="No prices.", pairs=pairs)
    )
    run("UPDATE execution_order SET due_at = clock_timestamp()")
    assert factories.claim_all() == []
    entry = Order.objects.get()
    assert (entry.status, entry.reason) == ("DENIED", "QUOTE_MISSING")
    assert entry.detail == f"EUR/USD {source.name}: No prices."


def test_broker_message_about_another_owners_account_is_not_shown(
    alice: ExecutionConnection, feed: Feed
) -> None:
    admin = make.user(is_staff=True)
    source = get_or_create_broker_source(make.connection(type="mt4", admin=admin))
    share_with_all(source, by=admin)
    ExecutionConnection.objects.filter(pk=alice.pk).update(data_connection=source)
    record_source_status(
        SourceReport(source.pk, code=Code.NOT_CONNECTED, message="U1234567: refused for john")
    )
    factories.signal(feed)
    assert factories.claim_all() == []
    entry = Order.objects.get(connection=alice)
    assert (entry.status, entry.reason) == ("DENIED", "QUOTE_MISSING")
    assert entry.detail == f"EUR/USD {source.name}: {Code.NOT_CONNECTED.sentence}"


RESTING = [
    ("BUY", "LIMIT", "1.10000", True),  # the ask
    ("BUY", "LIMIT", "1.09999", False),
    ("BUY", "STOP", "1.10000", True),
    ("BUY", "STOP", "1.10001", False),
    ("SELL", "LIMIT", "1.09990", True),  # the bid
    ("SELL", "LIMIT", "1.09991", False),
    ("SELL", "STOP", "1.09990", True),
    ("SELL", "STOP", "1.09989", False),
]


@pytest.mark.parametrize("refuses", [True, False])
@pytest.mark.parametrize(("side", "kind", "price", "is_reached"), RESTING)
def test_order_at_a_price_the_market_has_reached_is_denied(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch,
    side: str, kind: str, price: str, is_reached: bool, refuses: bool,
) -> None:  # fmt: skip
    if refuses:
        both = frozenset({OrderType.LIMIT, OrderType.STOP})
        usual = broker.capabilities
        monkeypatch.setattr(
            broker, "capabilities", lambda spec: replace(usual(spec), refuses_reached=both)
        )
    factories.quote(alice, "1.09990", "1.10000")
    name = "open_price" if kind == "LIMIT" else "stop_price"
    stop = D("1.08") if side == "BUY" else D("1.12")
    own: dict[str, Any] = {name: D(price)}
    factories.signal(feed, direction=side, order_type=kind, sl=stop, **own)
    factories.claim_all()
    denied = refuses and is_reached
    assert seen() == (("DENIED", "PRICE_WRONG_SIDE") if denied else ("SUBMITTING", ""))
    if denied:
        market = "1.1" if side == "BUY" else "1.0999"
        assert Order.objects.get().detail.endswith(f"and the market is at {market}")
