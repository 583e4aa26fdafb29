"""The claim: intents with exact numbers, locks, exits limited to what is open, quarantine."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from django.db import OperationalError

from brokers.types import ExitSafety, OrderRequest, OrderType, Side, TimeInForce
from common.clocks import machine_time, market_now
from common.db.sql import rows, run
from common.operational.current import settings_now
from common.reason_codes import Code
from connections import session_lanes
from connections.models import ExecutionConnection, Instrument
from connections.session_lanes import GENERAL
from execution import services
from execution.ids import base_of
from execution.models import Order
from execution.services import close_position
from execution.submission import bundle_evaluation, claim_sql
from execution.submission import claim as claiming
from execution.submission.claim import claim
from execution.submission.order_loading import load_orders
from execution.submission.outcomes import Deferred
from execution.submission.outgoing import Outgoing
from execution.submission.rows import OrderRow
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.connections import make
from tests.execution import factories
from tests.execution.fake_broker import KIND, FakeBroker
from tests.operational import set_setting

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("broker")]


def seen() -> tuple[str, str]:
    order = Order.objects.latest("id")
    return order.status, order.reason


# ---- intents ----
def test_intent_is_the_exact_request(alice: ExecutionConnection, feed: Feed) -> None:
    factories.signal(feed, [("1.12", "1")], max_slippage_pips=D(3), open_price=D("1.1"))
    before = machine_time()
    (outgoing,) = factories.claim_all()
    after = machine_time()
    request, order = outgoing.request, Order.objects.get()
    assert (order.status, order.worker_id, order.fence) == ("SUBMITTING", factories.OWNER, 1)
    assert order.reason == ""
    assert request.client_order_id == order.client_order_id
    assert (request.symbol, request.quantity, order.quantity) == ("EURUSD", D(100), D(100))
    assert order.expected_price == D("1.10000")  # a buy fills at the ask
    assert (request.worst_price, order.worst_price) == (D("1.1003"), D("1.1003"))
    assert (request.stop_loss, request.take_profit) == (None, None)  # the engine guards them
    assert order.risk == 1
    assert order.margin is not None
    assert round(order.margin, 6) == D("3.666667")
    within, call = (
        settings_now().execution.send_deadline_seconds,
        settings_now().execution.call_timeout_seconds,
    )
    assert before + within <= request.send_by <= after + within
    assert order.answer_by is not None
    assert order.submitted_at is not None
    answered = (order.answer_by - order.submitted_at).total_seconds()
    assert answered == pytest.approx(within + call + 1, abs=0.5)


def test_limit_entry_is_sent_with_all_its_fields(feed: Feed) -> None:
    account = factories.account(feed, settings={"native_stops": True})
    factories.signal(
        feed, [("1.12", "1")], order_type="LIMIT", open_price=D("1.095"), time_in_force="DAY"
    )
    (outgoing,) = factories.claim_all()
    order = Order.objects.get()
    assert outgoing.request == OrderRequest(
        client_order_id=order.client_order_id or "",
        connection_id=str(account.pk),
        account=account.account,
        symbol="EURUSD",
        side=Side.BUY,
        order_type=OrderType.LIMIT,
        time_in_force=TimeInForce.DAY,
        quantity=D(100),
        limit_price=D("1.095"),
        stop_loss=D("1.09"),
        take_profit=D("1.12"),
        order_id=order.pk,
        fence=1,
        send_by=outgoing.request.send_by,
    )
    assert outgoing == Outgoing(
        KIND,
        outgoing.spec,
        outgoing.request,
        True,
        feed.pk,
        account.owner_id,
        ("EUR/USD",),
        GENERAL,
        signal_id=order.signal_id,
    )
    assert outgoing.spec.connection_id == str(account.pk)


def test_stop_entry_is_sent_with_its_trigger(alice: ExecutionConnection, feed: Feed) -> None:
    factories.signal(feed, order_type="STOP", stop_price=D("1.105"))
    (outgoing,) = factories.claim_all()
    request = outgoing.request
    assert (request.order_type, request.stop_price) == (OrderType.STOP, D("1.105"))
    assert (request.limit_price, request.worst_price) == (None, None)


def test_exit_is_sent_with_all_its_fields(
    alice: ExecutionConnection, feed: Feed, settings: Any
) -> None:
    set_setting("execution.send_deadline_seconds", 900)
    signal = factories.signal(feed, valid_until=market_now() + timedelta(seconds=300))
    position = factories.filled(signal)
    close_position(position.pk, fraction=D("0.5"))
    (outgoing,) = factories.claim_all()
    entry, exit_ = Order.objects.order_by("id")
    assert outgoing.request == OrderRequest(
        client_order_id=exit_.client_order_id or "",
        connection_id=str(alice.pk),
        account=alice.account,
        symbol="EURUSD",
        side=Side.SELL,
        order_type=OrderType.MARKET,
        time_in_force=TimeInForce.GTC,
        quantity=D(50),
        reduce_only=True,
        broker_position_id=position.broker_position_id,
        closes=entry.client_order_id or "",
        order_id=exit_.pk,
        fence=1,
        send_by=outgoing.request.send_by,
    )
    assert position.broker_position_id
    assert outgoing.is_entry is False
    assert outgoing.feed_id == feed.pk
    left = outgoing.request.send_by - machine_time()  # an exit does not end with its signal
    assert left > 600


def test_entry_and_exits_share_an_oca_group(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = broker.capabilities
    monkeypatch.setattr(
        broker, "capabilities", lambda spec: replace(usual(spec), exit_safety=ExitSafety.OCA)
    )
    factories.signal(feed)
    (outgoing,) = factories.claim_all()
    group = base_of(outgoing.request.client_order_id)
    assert outgoing.request.oca_group == group
    factories.answer(outgoing, broker.fill_at_once(outgoing.request))
    close_position(ExecutionPosition.objects.get().pk)
    run(
        "UPDATE positions_executionposition SET broker_quantity = quantity,"
        " last_activity_at = clock_timestamp() - interval '1 second',"
        " broker_checked_at = clock_timestamp()"
    )
    (leaving,) = factories.claim_all()
    assert leaving.request.oca_group == group


def test_denied_entry_keeps_its_prices_and_states_its_numbers(feed: Feed) -> None:
    factories.account(feed, preset_max_quantity=D(50))
    factories.signal(feed, order_type="LIMIT", open_price=D("1.095"))
    assert factories.claim_all() == []
    order = Order.objects.get()
    assert (order.status, order.reason) == ("DENIED", "MAX_QUANTITY")
    assert (order.limit_price, order.stop_price, order.quantity) == (D("1.095"), None, None)
    assert (order.client_order_id, order.expected_price, order.margin) == (None, None, None)
    (line,) = rows("SELECT numbers, detail FROM execution_executionlog WHERE code = 'MAX_QUANTITY'")
    assert (line.numbers, line.detail) == (
        {"name": "Quantity", "value": "100", "maximum": "50", "unit": "EUR"},
        "",
    )


@pytest.mark.parametrize("by", ["USD/CHF", "CHF/USD", "EUR/CHF"])
def test_claim_reads_only_the_prices_that_it_needs(feed: Feed, by: str) -> None:
    """An account's own source may have a hundred pairs, and a bundle hundreds of sources."""
    one = factories.account(feed, snapshot_currency="CHF")
    for pair in (by, "XAU/USD", "GBP/USD", "EUR/JPY"):
        factories.quote(one, pair=pair)
    factories.signal(feed, [("1.12", "1")])
    pending = load_orders(factories.pending())
    signals = {row.id: row for row in rows(claim_sql.SIGNALS, ([pending[0].signal_id],))}
    market = bundle_evaluation.load_evaluation_context(pending, signals)
    assert market.quotes[pending[0].data_connection_id or 0].keys() == {"EUR/USD", by}
    (outgoing,) = factories.claim_all()
    assert outgoing.request.symbol == "EURUSD"


def test_broker_that_holds_stops_gets_them_with_the_entry(feed: Feed) -> None:
    factories.account(feed, settings={"native_stops": True})
    factories.signal(feed, [("1.12", "1")])
    (outgoing,) = factories.claim_all()
    assert (outgoing.request.stop_loss, outgoing.request.take_profit) == (D("1.09"), D("1.12"))


def test_engine_guards_several_targets_while_the_broker_holds_the_stop(feed: Feed) -> None:
    factories.account(feed, settings={"native_stops": True})
    factories.signal(feed, [("1.12", "0.5"), ("1.13", "0.5")])
    (outgoing,) = factories.claim_all()
    assert (outgoing.request.stop_loss, outgoing.request.take_profit) == (D("1.09"), None)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "1.10000"),
        ({"direction": "SELL", "sl": D("1.11")}, "1.09990"),
        ({"order_type": "LIMIT", "open_price": D("1.095")}, "1.095"),
        ({"order_type": "STOP", "stop_price": D("1.105")}, "1.105"),
    ],
)
def test_expected_price_is_the_touch_the_limit_or_the_trigger(
    alice: ExecutionConnection, feed: Feed, fields: dict[str, Any], expected: str
) -> None:
    factories.signal(feed, **fields)
    (outgoing,) = factories.claim_all()
    assert Order.objects.get().expected_price == D(expected)
    assert outgoing.request.limit_price == fields.get("open_price")
    assert outgoing.request.stop_price == fields.get("stop_price")


@pytest.mark.parametrize(
    ("fields", "limit", "stop_loss"),
    [
        ({"open_price": D("1.095009"), "sl": D("1.089001")}, "1.09500", "1.08901"),
        ({"direction": "SELL", "open_price": D("1.105001"), "sl": D("1.119009")},
         "1.10501", "1.11900"),
    ],
)  # fmt: skip
def test_prices_with_too_many_digits_are_rounded_on_the_safe_side(
    feed: Feed, fields: dict[str, Any], limit: str, stop_loss: str
) -> None:
    factories.account(feed, settings={"native_stops": True})
    factories.signal(feed, order_type="LIMIT", **fields)
    (outgoing,) = factories.claim_all()
    assert outgoing.request.limit_price == D(limit)
    assert outgoing.request.stop_loss == D(stop_loss)


def test_only_the_process_that_holds_the_lane_claims(
    alice: ExecutionConnection, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    ExecutionConnection.objects.update(lane="sessions.3")
    factories.signal(feed)
    assert factories.claim_all() == []
    assert seen() == ("PENDING", "")
    monkeypatch.setattr(session_lanes, "_held_lanes", lambda: ("sessions.3",))
    (outgoing,) = factories.claim_all()
    assert outgoing.lane == "sessions.3"


def test_orders_of_a_lane_without_a_worker_state_why_they_wait(
    alice: ExecutionConnection, feed: Feed
) -> None:
    factories.signal(feed)
    assert (
        claim(factories.pending(), worker_id="a", lanes_without_worker=["sessions.3"]).outgoing
        == []
    )
    assert seen() == ("PENDING", "")  # of a lane that this process holds
    ExecutionConnection.objects.update(lane="sessions.3")
    assert (
        claim(factories.pending(), worker_id="a", lanes_without_worker=["sessions.3"]).outgoing
        == []
    )
    assert seen() == ("PENDING", "NO_SESSION_WORKER")


def test_nothing_is_claimed_twice(alice: ExecutionConnection, feed: Feed) -> None:
    factories.signal(feed)
    ids = factories.pending()
    assert len(claim([*ids, *ids], worker_id="a").outgoing) == 1
    assert claim(ids, worker_id="b").outgoing == []


def test_order_that_is_not_due_is_not_claimed(alice: ExecutionConnection, feed: Feed) -> None:
    factories.signal(feed)
    run("UPDATE execution_order SET due_at = clock_timestamp() + interval '1 minute'")
    assert factories.claim_all() == []
    assert seen()[0] == "PENDING"


def test_order_with_a_pending_action_is_not_sent(alice: ExecutionConnection, feed: Feed) -> None:
    factories.signal(feed)
    run("UPDATE execution_order SET pending_action = 'CLOSE'")
    assert factories.claim_all() == []


def test_subscriptions_symbol_and_multiplier_are_used(feed: Feed) -> None:
    row = factories.account()
    make.subscription(row, feed, symbol_map={"EUR/USD": "EURUSD.m"}, multiplier=D(3))
    factories.instrument(symbol="EURUSD.m", is_preferred=False)
    factories.signal(feed)
    (outgoing,) = factories.claim_all()
    assert (outgoing.request.symbol, outgoing.request.quantity) == ("EURUSD.m", D(300))


def test_order_is_not_sent_after_valid_until(
    alice: ExecutionConnection, feed: Feed, settings: Any
) -> None:
    set_setting("execution.send_deadline_seconds", 900)
    ends_at = machine_time() + 300
    factories.signal(feed, valid_until=market_now() + timedelta(seconds=300))
    (outgoing,) = factories.claim_all()
    # Two clocks measure the 300 s: they differ by less than a second.
    assert -1 < outgoing.request.send_by - ends_at < 200


def test_order_that_changes_during_its_claim_is_not_sent(
    alice: ExecutionConnection, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    factories.signal(feed)
    load = claiming._load_context

    def cancelled_meanwhile(pending: list[Any], *known: Any) -> Any:
        services.cancel_order(pending[0].id)
        return load(pending, *known)

    monkeypatch.setattr(claiming, "_load_context", cancelled_meanwhile)
    assert factories.claim_all() == []
    assert seen() == ("CANCELLED", "OWNER_CANCELLED")


# ---- exits and open quantity ----
def test_exit_of_a_closed_position_is_cancelled(alice: ExecutionConnection, feed: Feed) -> None:
    position = factories.filled(factories.signal(feed))
    close_position(position.pk)
    run("UPDATE positions_executionposition SET quantity = 0, reserved = 0")
    assert factories.claim_all() == []
    assert seen() == ("CANCELLED", "NOTHING_TO_CLOSE")
    assert factories.events("exit.delayed") == []


def test_two_exits_never_exceed_the_open_quantity(alice: ExecutionConnection, feed: Feed) -> None:
    position = factories.filled(factories.signal(feed))
    close_position(position.pk, fraction=D("0.5"))
    close_position(position.pk)
    run("UPDATE positions_executionposition SET quantity = 60, reserved = 60")
    assert [o.request.quantity for o in factories.claim_all()] == [50, 10]


def test_exit_waits_while_others_close_the_whole_position(
    alice: ExecutionConnection, feed: Feed
) -> None:
    position = factories.filled(factories.signal(feed))
    close_position(position.pk, fraction=D("0.5"))
    close_position(position.pk)
    run("UPDATE positions_executionposition SET quantity = 50, reserved = 50")
    assert [o.request.quantity for o in factories.claim_all()] == [50]
    assert seen()[0] == "PENDING"


def test_ended_exit_releases_its_reservation_and_raises_the_alarm(
    alice: ExecutionConnection, feed: Feed
) -> None:
    position = factories.filled(factories.signal(feed))
    close_position(position.pk)
    Instrument.objects.update(close_min=D(1000))
    assert factories.claim_all() == []
    assert seen() == ("CANCELLED", "EXIT_BELOW_MINIMUM")
    position.refresh_from_db()
    assert (position.quantity, position.reserved) == (100, 0)
    (payload,) = factories.events("exit.delayed")
    assert payload["code"] == "EXIT_BELOW_MINIMUM"


# ---- deferral and credentials ----
def test_only_entries_may_be_deferred_by_the_policy(alice: ExecutionConnection, feed: Feed) -> None:
    position = factories.filled(factories.signal(feed))
    factories.signal(feed)
    close_position(position.pk)
    legs: list[str] = []

    def policy(entries: Sequence[OrderRow]) -> dict[str, Deferred]:
        legs.extend(row.leg for row in entries)
        return {row.connection_id: Deferred(Code.BROKER_HOST_DOWN) for row in entries}

    (outgoing,) = claim(factories.pending(), worker_id="a", deferral_policy=policy).outgoing
    assert (outgoing.is_entry, legs) == (False, ["entry"])
    assert Order.objects.get(status="PENDING").reason == "BROKER_HOST_DOWN"


def test_entry_is_denied_if_its_credentials_cannot_be_decrypted(feed: Feed) -> None:
    factories.account(feed, sealed_credentials=b"of another installation")
    factories.signal(feed)
    assert factories.claim_all() == []
    assert seen() == ("DENIED", "NO_CREDENTIALS")


# ---- locks ----
@pytest.mark.django_db(transaction=True)
def test_locked_connection_leaves_its_orders_due(alice: ExecutionConnection, feed: Feed) -> None:
    factories.signal(feed)
    ids = factories.pending()
    with factories.locked_elsewhere("SELECT 1 FROM connections_connectionlock FOR NO KEY UPDATE"):
        run("SET lock_timeout = '100ms'")
        try:
            with pytest.raises(OperationalError, match="lock timeout"):
                claim(ids, worker_id="late")
            assert claim(ids, worker_id="sweep", skip_locked=True).outgoing == []
        finally:
            run("SET lock_timeout = 0")
    assert len(claim(ids, worker_id="next").outgoing) == 1


# ---- quarantine ----
def poison(monkeypatch: pytest.MonkeyPatch, bad: int) -> None:
    """Make our own code fail for one order."""
    decide = bundle_evaluation.decide

    def fail(row: Any, *rest: Any) -> Any:
        if row.id == bad:
            raise ZeroDivisionError("our own arithmetic")
        return decide(row, *rest)

    monkeypatch.setattr(bundle_evaluation, "decide", fail)


def test_one_quarantined_order_of_fifty_fails_alone(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(50):
        factories.account(feed)
    factories.signal(feed)
    ids = factories.pending()
    poison(monkeypatch, ids[23])
    bundle = services._claim_with_bisection(ids, "me", False).outgoing
    assert sorted(o.request.order_id for o in bundle) == sorted({*ids} - {ids[23]})
    poisoned = Order.objects.get(pk=ids[23])
    assert (poisoned.status, poisoned.reason) == ("FAILED", "ORDER_PROCESSING_FAILED")
    assert "ZeroDivisionError" in poisoned.detail
    (payload,) = factories.events("order.failed")
    assert payload == {"code": "ORDER_PROCESSING_FAILED", "detail": poisoned.detail}


def test_quarantined_exit_releases_its_reservation(
    alice: ExecutionConnection, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    position = factories.filled(factories.signal(feed))
    [exit_id] = close_position(position.pk)
    poison(monkeypatch, exit_id)
    services._claim_with_bisection([exit_id], "me", False)
    position.refresh_from_db()
    assert (Order.objects.get(pk=exit_id).status, position.reserved) == ("FAILED", 0)


def test_claimed_half_is_sent_though_the_other_half_is_locked(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        factories.account(feed)
    factories.signal(feed)
    ids = factories.pending()
    real = claim

    def half_locked(some: list[int], **options: Any) -> Any:
        if len(some) == 2:
            raise ZeroDivisionError
        if some == [ids[1]]:
            raise OperationalError("lock timeout")
        return real(some, **options)

    monkeypatch.setattr("execution.services.claim", half_locked)
    monkeypatch.setattr("execution.services.connection.close", lambda: None)
    bundle = services._claim_with_bisection(ids, "me", False).outgoing
    assert [o.request.order_id for o in bundle] == [ids[0]]


def test_failure_after_the_intent_leaves_no_intent(
    alice: ExecutionConnection, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    factories.signal(feed)
    monkeypatch.setattr(claiming, "outgoing_of", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        factories.claim_all()
    assert seen() == ("PENDING", "")
