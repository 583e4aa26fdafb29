"""Exits: names of legs, quantities, reservations; slippage and its alarm."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal as D
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import transaction
from django.db.models import F
from hypothesis import given
from hypothesis import strategies as st

from brokers.types import CloseCause, ReportKind
from common.errors import ConflictError, InvalidInputError
from common.reason_codes import Code
from connections.models import ExecutionConnection, Instrument
from execution.exits.order_sizes import MOST_ORDERS, order_sizes
from execution.exits.orders import ExitRequest, exit_quantity, next_leg, open_exits
from execution.models import ExecutionLog, Order
from execution.monitoring.level_monitor import exit_requests_for, find_hits, scan_levels
from execution.services import cancel_order, close_position, retry_order
from execution.submission.outgoing import Outgoing
from positions.models import ExecutionPosition
from signals.models import Feed, Signal
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.trade_steps import fill, modify_targets, reject

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("leg", "taken", "name"),
    [
        ("sl", [], "sl"),
        ("sl", ["entry", "tp-1"], "sl"),
        ("sl", ["sl"], "sl-2"),
        ("sl", ["sl", "sl-2"], "sl-3"),
        ("tp-1", [], "tp-1"),
        ("tp-1", ["tp-1"], "tp-1.2"),
        ("tp-2", ["tp-1"], "tp-2"),
        ("close", [], "close-1"),
        ("close", ["close-1", "close-3"], "close-2"),
    ],
)
def test_exit_leg_takes_the_next_free_name(leg: str, taken: list[str], name: str) -> None:
    assert next_leg(leg, taken) == name


def held(**fields: str) -> Any:
    usual = {"quantity": "100", "reserved": "0", "opened_quantity": "100", "step": "10",
             "minimum": "10"}  # fmt: skip
    return SimpleNamespace(**{name: D(value) for name, value in {**usual, **fields}.items()})


@pytest.mark.parametrize(
    ("position", "fraction", "of_free", "quantity"),
    [
        (held(), None, False, "100"),
        (held(reserved="30"), None, False, "70"),
        (held(reserved="100"), None, False, "0"),
        (held(), "0.5", False, "50"),
        (held(), "0.55", False, "50"),  # floored to the step
        (held(), "0.01", False, "10"),  # at least the smallest
        (held(quantity="60"), "0.5", False, "50"),  # of what was opened
        (held(quantity="60"), "0.5", True, "30"),  # of what is open
        (held(quantity="60", reserved="20"), "0.5", True, "20"),
        (held(quantity="40"), "0.5", False, "40"),
        (held(), "0.95", False, "90"),
        (held(minimum="20"), "0.9", False, "100"),  # 10 could not be closed alone
        (held(minimum="20", reserved="40"), "0.5", False, "60"),  # nor could 10 of what is free
        (held(step="0", minimum="0"), "0.333", False, "33.3"),
        (held(), "1", False, "100"),
    ],
)
def test_exit_quantity_follows_fraction_and_steps(
    position: Any, fraction: str | None, of_free: bool, quantity: str
) -> None:
    pending_action = ExitRequest(1, "close", D(fraction) if fraction else None, of_free=of_free)
    assert exit_quantity(position, pending_action) == D(quantity)


@pytest.fixture
def position(alice: ExecutionConnection, feed: Feed) -> ExecutionPosition:
    return factories.filled(factories.signal(feed))


def test_exits_share_the_open_quantity(position: ExecutionPosition) -> None:
    made = [close_position(position.pk, fraction=D("0.6")) for _ in range(3)]
    found = Order.objects.exits().order_by("id").values_list("leg", "quantity", "priority")
    assert list(found) == [("close-1", D(60), 1), ("close-2", D(40), 1)]
    assert made[2] == []
    position.refresh_from_db()
    assert position.reserved == 100


@pytest.mark.parametrize("fraction", ["0", "-1", "1.01"])
def test_fraction_is_above_0_and_at_most_1(position: ExecutionPosition, fraction: str) -> None:
    with pytest.raises(InvalidInputError):
        close_position(position.pk, fraction=D(fraction))


@pytest.mark.parametrize("kind", [ReportKind.REJECTED, ReportKind.CANCELLED, ReportKind.EXPIRED])
def test_unfilled_quantity_of_an_ended_exit_is_released(
    position: ExecutionPosition, kind: ReportKind
) -> None:
    close_position(position.pk)
    factories.claim_all()
    leaving = Order.objects.exits().get()
    if kind != ReportKind.REJECTED:
        factories.apply(factories.fill_report(leaving, 30, "x1"))
    factories.apply(factories.report(leaving, kind))
    position.refresh_from_db()
    assert position.reserved == 0
    assert close_position(position.pk)
    assert Order.objects.latest("id").quantity == position.quantity


def test_quantity_of_an_exit_cancelled_before_sending_is_released(
    position: ExecutionPosition,
) -> None:
    [exit_id] = close_position(position.pk)
    assert cancel_order(exit_id) == "CANCELLED"
    position.refresh_from_db()
    assert position.reserved == 0
    with pytest.raises(ConflictError):
        cancel_order(exit_id)


def failed(order_id: int) -> None:
    Order.objects.filter(pk=order_id).update(status="FAILED")
    ExecutionPosition.objects.update(reserved=0)


def test_failed_exit_is_retried_within_the_free_quantity(position: ExecutionPosition) -> None:
    [exit_id] = close_position(position.pk)
    failed(exit_id)
    retry_order(exit_id)
    position.refresh_from_db()
    assert position.reserved == 100
    failed(exit_id)
    close_position(position.pk, fraction=D("0.5"))
    with pytest.raises(ConflictError):
        retry_order(exit_id)


def test_retry_increments_the_attempt_and_only_from_failed(
    alice: ExecutionConnection, feed: Feed
) -> None:
    factories.signal(feed)
    (outgoing,) = factories.claim_all()
    order = Order.objects.get()
    for status in ("SUBMITTING", "UNKNOWN"):
        Order.objects.update(status=status)
        with pytest.raises(ConflictError):
            retry_order(order.pk)
    Order.objects.update(status="FAILED")
    retry_order(order.pk)
    (again,) = factories.claim_all()
    assert again.request.client_order_id == outgoing.request.client_order_id[:-1] + "1"


@pytest.mark.parametrize("status", ["DENIED", "FILLED"])
def test_order_that_ended_otherwise_is_not_retried(
    alice: ExecutionConnection, feed: Feed, status: str
) -> None:
    factories.signal(feed)
    if status == "FILLED":
        factories.claim_all()
    Order.objects.update(status=status)
    with pytest.raises(ConflictError):
        retry_order(Order.objects.get().pk)


# ---- slippage ----
def entry(feed: Feed, **fields: Any) -> Order:
    factories.signal(feed, **fields)
    factories.claim_all()
    return Order.objects.latest("id")


@pytest.mark.parametrize(
    ("fields", "price", "pips", "alarms"),
    [
        ({}, "1.10049", "4.9", 0),
        ({}, "1.10050", "5", 0),  # at the threshold: not beyond it
        ({}, "1.10051", "5.1", 1),
        ({}, "1.09949", "-5.1", 1),  # an equal improvement is as suspicious
        ({"direction": "SELL", "sl": D("1.11")}, "1.09930", "6", 1),  # a sell below the bid
        ({"direction": "SELL", "sl": D("1.11")}, "1.10000", "-1", 0),
        ({"order_type": "LIMIT", "open_price": D("1.095")}, "1.0949", "-1", 0),
    ],
)
def test_slippage_above_five_pips_either_way_is_an_alarm(
    alice: ExecutionConnection,
    feed: Feed,
    fields: dict[str, Any],
    price: str,
    pips: str,
    alarms: int,
) -> None:
    order = entry(feed, **fields)
    factories.apply(factories.fill_report(order, 100, "f1", price=price))
    order.refresh_from_db()
    assert order.slippage_pips == D(pips)
    assert len(factories.events("slippage.alert")) == alarms
    assert ExecutionLog.objects.filter(code="SLIPPAGE_ALERT").count() == alarms


def test_slippage_alarm_states_expectation_fill_and_quote(
    alice: ExecutionConnection, feed: Feed
) -> None:
    order = entry(feed)
    factories.quote(alice, "1.10070", "1.10080")
    factories.apply(factories.fill_report(order, 100, "f1", price="1.10080"))
    (payload,) = factories.events("slippage.alert")
    assert D(payload.pop("expected_price")) == D("1.1")
    assert D(payload.pop("fill_price")) == D("1.1008")
    assert D(payload.pop("slippage_pips")) == D(payload.pop("slippage")) == 8
    assert payload.pop("slippage_unit") == "PIPS"
    assert (D(payload.pop("bid")), D(payload.pop("ask"))) == (D("1.1007"), D("1.1008"))
    assert payload.pop("passed_limit") is payload.pop("beyond_limit_at") is None
    assert list(payload) == ["quote_time"]


def test_slippage_of_partial_fills_is_that_of_their_average(
    alice: ExecutionConnection, feed: Feed
) -> None:
    order = entry(feed)
    factories.apply(factories.fill_report(order, 75, "f1", price="1.10010"))
    factories.apply(factories.fill_report(order, 25, "f2", price="1.10050"))
    order.refresh_from_db()
    assert (order.avg_fill_price, order.slippage_pips) == (D("1.1002"), D(2))


def test_slippage_of_a_yen_pair_is_in_its_pips(feed: Feed, broker: FakeBroker) -> None:
    factories.instrument("USD/JPY", digits=3, pip=D("0.01"))
    row = factories.account(feed, snapshot_currency="JPY")
    factories.quote(row, "149.990", "150.000", pair="USD/JPY")
    order = entry(feed, currency_pair="USD/JPY", sl=D(149))
    factories.apply(factories.fill_report(order, 100, "f1", price="150.020"))
    order.refresh_from_db()
    assert order.slippage_pips == 2


def test_threshold_of_a_preset_applies(feed: Feed, broker: FakeBroker) -> None:
    factories.account(feed, preset_slippage_alert_threshold_pips=D(1))
    factories.apply(factories.fill_report(entry(feed), 100, "f1", price="1.10011"))
    assert len(factories.events("slippage.alert")) == 1


def test_slippage_of_a_broker_stop_is_measured_against_its_level(
    position: ExecutionPosition,
) -> None:
    payload = factories.fill_report(factories.order(leg="entry"), 100, "x1", price="1.08940")
    factories.apply(replace(payload, broker_order_id="X", close_cause=CloseCause.STOP_LOSS))
    stop = factories.order(leg="sl")
    assert (stop.expected_price, stop.slippage_pips) == (D("1.09"), D(6))
    assert len(factories.events("slippage.alert")) == 1


def test_external_close_has_no_slippage(
    position: ExecutionPosition,
) -> None:
    payload = factories.fill_report(factories.order(leg="entry"), 100, "x1", price="1.00000")
    factories.apply(replace(payload, broker_order_id="X", close_cause=CloseCause.EXTERNAL))
    assert factories.order(leg="external-1").slippage_pips is None
    position.refresh_from_db()
    assert (position.close_reason, position.realized_pnl) == ("external_close", D(-10))
    assert Code.CREATED.value in dict(factories.log_codes(factories.order(leg="entry").pk))


def _above_the_maximum(feed: Feed, **levels: Any) -> Signal:
    """Return a signal with a position of 100; since then its broker takes 45 in one order."""
    signal = factories.signal(feed, **levels)
    factories.filled(signal)  # 100 in steps of 10
    Instrument.objects.update(quantity_max=D(45))
    factories.fake_broker().maximum = D(45)
    return signal


def _fill_due_exits() -> list[D]:
    """Fill all exits that are due, with no further look at levels and signals; return their sizes.

    The broker refuses what is larger than its maximum.
    """
    sent = list[D]()
    for outgoing in factories.claim_all():
        sent.append(outgoing.request.quantity)
        fill(outgoing)
    return sent


def _fill_in_part(outgoing: Outgoing, quantity: D) -> Order:
    """Fill a part of an exit; the broker cancels the rest."""
    broker = factories.fake_broker()
    ticket = broker.receive(outgoing.request)
    factories.answer(outgoing, [broker.execute(ticket, quantity), broker.end(ticket, "CANCELLED")])
    return Order.objects.get(client_order_id=outgoing.request.client_order_id)


def _end_half_a_minute_ago() -> None:
    """Let the time pass after which a level is tried again."""
    Order.objects.exits().update(done_at=F("done_at") - timedelta(seconds=31))


@pytest.mark.parametrize("requested_by", ["CLOSE", "person", "stop", "target"])
def test_position_above_the_brokers_maximum_is_closed_by_several_exits(
    alice: ExecutionConnection, feed: Feed, requested_by: str
) -> None:
    """The broker has lowered its maximum since the position was opened."""
    signal = _above_the_maximum(feed, sl=D("1.09"), targets=[("1.12", "1")])
    position = ExecutionPosition.objects.get()
    if requested_by == "CLOSE":
        factories.close_signal(signal)
    elif requested_by == "person":
        close_position(position.pk)
    else:
        price = {"stop": "1.08000", "target": "1.12500"}[requested_by]
        factories.quote(alice, price, f"{price[:-1]}5")
        scan_levels()
    position.refresh_from_db()
    assert position.reserved == 100
    assert _fill_due_exits() == [40, 30, 30]
    position.refresh_from_db()
    assert (position.quantity, position.reserved) == (0, 0)
    lines = ExecutionLog.objects.filter(
        detail__contains="100 by 3 orders: the broker takes no more in one"
    )
    assert lines.count() == 3


def test_part_above_the_brokers_maximum_is_closed_by_several_exits(
    alice: ExecutionConnection, feed: Feed
) -> None:
    _above_the_maximum(feed)
    close_position(ExecutionPosition.objects.get().pk, fraction=D("0.9"))
    assert _fill_due_exits() == [30, 30, 30]
    assert ExecutionPosition.objects.get().quantity == 10


def test_refused_exit_of_a_part_is_repeated_once_the_others_have_ended(
    alice: ExecutionConnection, feed: Feed
) -> None:
    """What the others may still close is not closed by another one."""
    factories.close_signal(_above_the_maximum(feed), "0.9")
    *working, refused = factories.claim_all()
    reject(refused)
    for _ in range(3):
        _end_half_a_minute_ago()
    assert scan_levels() == []
    for outgoing in working:
        fill(outgoing)
    for _ in range(3):
        _end_half_a_minute_ago()
    (repeated,) = Order.objects.filter(pk__in=scan_levels())
    assert (repeated.leg, repeated.quantity) == ("close-1.2", 30)


def test_exits_of_one_target_lead_to_the_next_one_once(
    alice: ExecutionConnection, feed: Feed
) -> None:
    """The last of them ends the target; all are of the same one."""
    targets = [("1.11", "0.7"), ("1.12", "0.3")]
    _above_the_maximum(feed, targets=targets)
    factories.quote(alice, "1.11500", "1.11510")
    scan_levels()
    assert _fill_due_exits() == [40, 30]
    position = ExecutionPosition.objects.get()
    assert (position.quantity, position.tp_number, position.tp) == (30, 2, D("1.12"))
    scan_levels()
    assert _fill_due_exits() == []
    factories.quote(alice, "1.12500", "1.12510")
    scan_levels()
    assert _fill_due_exits() == [30]
    legs = Order.objects.filter(position=position).order_by("pk").values_list("leg", flat=True)
    assert list(legs) == ["tp-1", "tp-1+2", "tp-2"]


@pytest.mark.parametrize("rejected", [0, 1])
@pytest.mark.parametrize("has_second", [False, True])
def test_target_is_not_over_while_one_of_its_exits_has_failed(
    alice: ExecutionConnection, feed: Feed, rejected: int, has_second: bool
) -> None:
    """What the broker rejected is closed by the target's next exit, and no more than that."""
    targets = [("1.11", "0.8"), ("1.12", "0.2")] if has_second else [("1.11", "1")]
    _above_the_maximum(feed, targets=targets)
    factories.quote(alice, "1.11500", "1.11510")
    scan_levels()
    exits = factories.claim_all()
    left = reject(exits.pop(rejected)).quantity
    for outgoing in exits:
        fill(outgoing)
    position = ExecutionPosition.objects.get()
    quantity = left + 20 if has_second else left
    assert (position.quantity, position.tp_number, position.tp) == (quantity, 1, D("1.11"))
    _end_half_a_minute_ago()
    scan_levels()
    assert _fill_due_exits() == [left]
    position.refresh_from_db()
    expected = (20, 2, D("1.12")) if has_second else (0, 2, D("1.11"))
    assert (position.quantity, position.tp_number, position.tp) == expected


def test_long_detail_of_a_request_leaves_room_for_the_orders(
    alice: ExecutionConnection, feed: Feed
) -> None:
    _above_the_maximum(feed)
    request = ExitRequest(ExecutionPosition.objects.get().pk, "close", detail="x" * 300)
    with transaction.atomic():
        assert len(open_exits([request])) == 3
    [detail] = set(Order.objects.exits().values_list("detail", flat=True))
    assert len(detail) == 300
    assert detail.endswith("xx; 100 by 3 orders: the broker takes no more in one")


def test_what_the_broker_leaves_of_a_target_is_closed_at_the_next(
    alice: ExecutionConnection, feed: Feed
) -> None:
    """Of 80 it executes 40 by one order and 10 by the other, and cancels the rest."""
    _above_the_maximum(feed, targets=[("1.11", "0.8"), ("1.12", "0.2")])
    factories.quote(alice, "1.11500", "1.11510")
    scan_levels()
    first, second = factories.claim_all()
    fill(first)
    _fill_in_part(second, D(10))
    position = ExecutionPosition.objects.get()
    assert (position.quantity, position.tp_number, position.tp) == (50, 2, D("1.12"))
    factories.quote(alice, "1.12500", "1.12510")
    scan_levels()
    assert sum(_fill_due_exits()) == 50
    position.refresh_from_db()
    assert (position.quantity, position.tp_number, position.tp) == (0, 3, D("1.12"))


@pytest.mark.parametrize("has_maximum", [False, True])
def test_last_target_stays_until_all_has_filled(
    alice: ExecutionConnection, feed: Feed, has_maximum: bool
) -> None:
    _above_the_maximum(feed, targets=[("1.11", "1")])
    if not has_maximum:
        Instrument.objects.update(quantity_max=D(1000))
        factories.fake_broker().maximum = None
    factories.quote(alice, "1.11500", "1.11510")
    scan_levels()
    *others, last = factories.claim_all()
    for outgoing in others:
        fill(outgoing)
    _fill_in_part(last, D(10) if has_maximum else D(80))
    position = ExecutionPosition.objects.get()
    assert (position.quantity, position.tp_number, position.tp) == (20, 1, D("1.11"))
    assert scan_levels() == []  # a broker that executes a little each time is not asked at once
    _end_half_a_minute_ago()
    scan_levels()
    assert _fill_due_exits() == [20]
    position.refresh_from_db()
    assert (position.quantity, position.tp_number, position.tp) == (0, 2, D("1.11"))


def test_rest_of_the_last_target_waits_for_fills_in_a_reply(
    alice: ExecutionConnection, feed: Feed
) -> None:
    """The stream states a fill and the end before the reply, which has another fill."""
    _above_the_maximum(feed, targets=[("1.11", "1")])
    Instrument.objects.update(quantity_max=D(1000))
    broker = factories.fake_broker()
    broker.maximum = None
    factories.quote(alice, "1.11500", "1.11510")
    scan_levels()
    [outgoing] = factories.claim_all()
    ticket = broker.receive(outgoing.request)
    first, late = broker.execute(ticket, D(20)), broker.execute(ticket, D(50))
    end = broker.end(ticket, "CANCELLED")
    factories.apply(replace(first, event_id="a"), replace(end, event_id="b"))
    _end_half_a_minute_ago()
    assert scan_levels() == []
    factories.answer(outgoing, [late, end])
    scan_levels()
    assert _fill_due_exits() == [30]
    assert ExecutionPosition.objects.get().quantity == 0


@pytest.mark.parametrize("fraction", ["1", "0.5"])
def test_late_fill_may_complete_the_last_target(
    alice: ExecutionConnection, feed: Feed, fraction: str
) -> None:
    factories.filled(factories.signal(feed, [("1.11", fraction)]))
    broker = factories.fake_broker()
    factories.quote(alice, "1.11500", "1.11510")
    scan_levels()
    [outgoing] = factories.claim_all()
    size = outgoing.request.quantity
    ticket = broker.receive(outgoing.request)
    first, late = broker.execute(ticket, D(20)), broker.execute(ticket, size - 20)
    factories.answer(outgoing, [first, broker.end(ticket, "CANCELLED")])
    position = ExecutionPosition.objects.get()
    assert (position.quantity, position.tp_number, position.tp) == (80, 1, D("1.11"))
    factories.apply(replace(late, event_id="late"))
    position.refresh_from_db()
    expected = (0, 2, D("1.11")) if fraction == "1" else (50, 2, None)
    assert (position.quantity, position.tp_number, position.tp) == expected


def test_rest_of_the_last_target_that_the_broker_refuses_waits_longer_each_time(
    alice: ExecutionConnection, feed: Feed
) -> None:
    factories.filled(factories.signal(feed, [("1.11", "1")]))
    factories.quote(alice, "1.11500", "1.11510")
    scan_levels()
    [outgoing] = factories.claim_all()
    _fill_in_part(outgoing, D(90))
    for seconds in (31, 31, 61, 121, 241, 481, 901, 901):
        Order.objects.exits().update(done_at=F("done_at") - timedelta(seconds=seconds - 2))
        assert scan_levels() == []
        Order.objects.exits().update(done_at=F("done_at") - timedelta(seconds=2))
        scan_levels()
        [outgoing] = factories.claim_all()
        reject(outgoing)


def test_correction_of_a_part_of_the_brokers_own_target_skips_no_target(
    alice: ExecutionConnection, feed: Feed
) -> None:
    signal = factories.signal(feed, [("1.11", "1")])
    factories.filled(signal)
    executed = replace(
        factories.fill_report(Order.objects.get(), 30, "x1", price="1.11"),
        broker_order_id="9", close_cause=CloseCause.TAKE_PROFIT,
    )  # fmt: skip
    factories.apply(executed)
    modify_targets(signal, [("1.12", "0.5"), ("1.13", "0.5")])
    [fill] = executed.fills
    for changed in (replace(fill, commission=D(1), revision=1),
                    replace(fill, quantity=D(29), revision=2)):  # fmt: skip
        factories.apply(replace(executed, fills=(changed,)))
        position = ExecutionPosition.objects.get()
        assert (position.tp_number, position.tp) == (1, D("1.12"))


@pytest.mark.parametrize("guardian", ["BROKER", "ENGINE"])
def test_brokers_own_target_in_parts_stays_until_nothing_is_left(
    alice: ExecutionConnection, feed: Feed, guardian: str
) -> None:
    factories.filled(factories.signal(feed, [("1.11", "1")]))
    ExecutionPosition.objects.update(tp_guardian=guardian, broker_tp=D("1.11"))
    entry = Order.objects.get()
    for fill_id, quantity, left in (("x1", 30, 70), ("x2", 20, 50), ("x3", 50, 0)):
        executed = factories.fill_report(entry, quantity, fill_id, price="1.11")
        factories.apply(replace(executed, broker_order_id="9", close_cause=CloseCause.TAKE_PROFIT))
        position = ExecutionPosition.objects.get()
        assert (position.quantity, position.tp_number, position.tp) == (left, 1, D("1.11"))


@pytest.mark.parametrize("minimum", [1, 10])
def test_target_of_which_nothing_is_left_gives_way_to_the_next(
    alice: ExecutionConnection, feed: Feed, minimum: int
) -> None:
    """It filled 40 of 80; then the provider gave it a part of 30."""
    signal = _above_the_maximum(feed, targets=[("1.11", "0.8"), ("1.12", "0.2")])
    Instrument.objects.update(quantity_min=D(minimum))
    factories.quote(alice, "1.11500", "1.11510")
    scan_levels()
    first, second = factories.claim_all()
    fill(first)
    reject(second)
    modify_targets(signal, [("1.11", "0.3"), ("1.12", "0.7")])
    _end_half_a_minute_ago()
    scan_levels()
    assert _fill_due_exits() == []
    position = ExecutionPosition.objects.get()
    assert (position.quantity, position.tp_number, position.tp) == (60, 2, D("1.12"))
    factories.quote(alice, "1.12500", "1.12510")
    scan_levels()
    assert sum(_fill_due_exits()) == 60


def test_target_that_a_modify_enlarges_meanwhile_is_not_over(
    alice: ExecutionConnection, feed: Feed
) -> None:
    """The level's hit was found before: by it, nothing is left of the target."""
    signal = _above_the_maximum(feed, targets=[("1.11", "0.8"), ("1.12", "0.2")])
    factories.quote(alice, "1.11500", "1.11510")
    scan_levels()
    first, second = factories.claim_all()
    fill(first)
    reject(second)
    _end_half_a_minute_ago()
    modify_targets(signal, [("1.11", "0.4"), ("1.12", "0.6")])
    found = exit_requests_for(find_hits())
    modify_targets(signal, [("1.116", "0.8"), ("1.12", "0.2")])
    with transaction.atomic():
        assert open_exits(found) == []
    position = ExecutionPosition.objects.get()
    assert (position.tp_number, position.tp) == (1, D("1.116"))


def test_stop_does_not_wait_because_an_exit_of_a_target_failed(
    alice: ExecutionConnection, feed: Feed
) -> None:
    _above_the_maximum(feed, sl=D("1.09"), targets=[("1.11", "0.8"), ("1.12", "0.2")])
    factories.quote(alice, "1.11500", "1.11510")
    scan_levels()
    for outgoing in factories.claim_all():
        reject(outgoing)
    factories.quote(alice, "1.08000", "1.08010")
    scan_levels()
    assert _fill_due_exits() == [40, 30, 30]
    assert ExecutionPosition.objects.get().close_reason == "sl"


def test_orders_of_one_request_count_once_when_it_is_repeated(
    alice: ExecutionConnection, feed: Feed
) -> None:
    """A CLOSE that fails waits as long as one of a single order: half a minute at first."""
    signal = _above_the_maximum(feed)
    factories.close_signal(signal)
    for outgoing in factories.claim_all():
        reject(outgoing)
    assert scan_levels() == []
    _end_half_a_minute_ago()
    assert len(scan_levels()) == 3


@pytest.mark.parametrize(
    ("quantity", "minimum", "maximum", "step", "sizes"),
    [
        (100, 10, 45, 10, [40, 30, 30]),
        (45, 10, 45, 10, [45]),  # no larger than the maximum, though it is no whole step
        (80, 10, 40, 10, [40, 40]),
        (90, 30, 40, 10, [30, 30, 30]),  # 40, 40 and 10: the last one would be below the minimum
        ("8.1", "0.1", 4, "0.01", ["2.7", "2.7", "2.7"]),  # each worth as much as it can be
        ("80.3", 10, 40, 10, ["40", "40", "0.3"]),  # the broker decides about what is no step
        (1000, 1, 5, 1, [*[5] * 49, 755]),  # the list is wrong: the broker decides about the rest
        (7851, 0, 160, 10, [*[160] * 35, *[150] * 15, 1]),  # as many as there may be, and a rest
        (100, 0, 0, 0, [100]),  # nothing listed
        (100, 10, 5, 10, [100]),  # a maximum below the step: an error of the list
        (50, 30, 40, 10, [40, 10]),  # neither way is possible; the broker decides
    ],
)
def test_sizes_of_the_orders_of_one_exit(
    quantity: Any, minimum: Any, maximum: Any, step: Any, sizes: list[Any]
) -> None:
    found = order_sizes(D(quantity), maximum=D(maximum), minimum=D(minimum), step=D(step))
    assert found == [D(size) for size in sizes]


def test_rest_that_the_claim_rounds_down_stays_with_the_last_order() -> None:
    found = order_sizes(D("80.3"), maximum=D(40), minimum=D(10), step=D(10), is_rounded=True)
    assert found == [D(40), D("40.3")]


@given(
    st.integers(1, 100_000), st.integers(0, 500), st.integers(0, 50), st.sampled_from([0, 1, 7, 10])
)
def test_orders_of_one_exit_are_all_of_it(
    quantity: int, maximum: int, minimum: int, step: int
) -> None:
    found = order_sizes(D(quantity), maximum=D(maximum), minimum=D(minimum), step=D(step))
    assert sum(found) == quantity
    assert all(size > 0 for size in found)
    assert all(size <= maximum for size in found[:-1])
    has_rest = 0 < found[-1] < step  # an order of its own, about which the broker decides
    assert len(found) <= MOST_ORDERS + has_rest
