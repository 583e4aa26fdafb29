"""MODIFY, CLOSE and cancel are applied to orders in every state; none is lost."""

import threading
from decimal import Decimal as D
from typing import Any

import pytest
from django.db import connection, transaction

from brokers.base import Rejected
from brokers.types import OrderReport, ReportKind
from common.reason_codes import Code
from connections.models import ExecutionConnection
from execution import services
from execution.models import Order
from execution.monitoring.level_monitor import scan_levels
from execution.monitoring.pending_actions import process_pending_actions
from execution.runtime import trading_runtime
from positions.models import ExecutionPosition
from signals import services as signal_services
from signals.models import Feed, Signal
from tests.changes.concurrent_forms import wait_until_they_wait
from tests.execution import factories

pytestmark = pytest.mark.django_db


def modify(of: Signal, *targets: tuple[str, str], sl: str = "") -> Signal:
    return factories.signal(
        of.feed, targets, action="MODIFY", refers_to=of, direction=of.direction,
        sl=D(sl) if sl else None,
    )  # fmt: skip


def position() -> ExecutionPosition:
    return ExecutionPosition.objects.get()


# ---- MODIFY ------------------------------------------------------------------------------------
def test_levels_added_by_a_modify_are_monitored(alice: ExecutionConnection, feed: Feed) -> None:
    opened = factories.signal(feed, sl=None)
    factories.filled(opened)
    modify(opened, ("1.12", "1"), sl="1.09500")
    assert (position().sl_guardian, position().tp_guardian) == ("ENGINE", "ENGINE")
    factories.quote(alice, "1.09400")
    (exit_id,) = scan_levels()
    assert Order.objects.get(pk=exit_id).leg == "sl"


def test_two_targets_replacing_one_take_half_each(alice: ExecutionConnection, feed: Feed) -> None:
    opened = factories.signal(feed, [("1.12", "1")])
    factories.filled(opened)
    modify(opened, ("1.11", "0.5"), ("1.13", "0.5"))
    factories.quote(alice, "1.11500")
    (exit_id,) = scan_levels()
    assert Order.objects.get(pk=exit_id).quantity == 50


def test_one_target_replacing_two_takes_all(alice: ExecutionConnection, feed: Feed) -> None:
    opened = factories.signal(feed, [("1.12", "0.5"), ("1.13", "0.5")])
    factories.filled(opened)
    modify(opened, ("1.11", "1"))
    factories.quote(alice, "1.11500")
    (exit_id,) = scan_levels()
    assert Order.objects.get(pk=exit_id).quantity == 100


def test_one_target_after_the_first_was_taken_closes_the_remainder(
    alice: ExecutionConnection, feed: Feed
) -> None:
    opened = factories.signal(feed, [("1.11", "0.5"), ("1.13", "0.5")])
    factories.filled(opened)
    factories.quote(alice, "1.11500")
    scan_levels()
    factories.fill_all()
    modify(opened, ("1.12", "1"))
    assert (position().tp_number, position().tp) == (2, D("1.12"))
    factories.quote(alice, "1.12500")
    (exit_id,) = scan_levels()
    assert Order.objects.get(pk=exit_id).quantity == 50


def test_broker_target_is_removed_when_it_becomes_several(
    runtime: trading_runtime.TradingRuntime, feed: Feed
) -> None:
    factories.account(feed, settings={"native_stops": True})
    opened = factories.signal(feed, [("1.12", "1")])
    factories.filled(opened)
    assert position().tp_guardian == "BROKER"
    modify(opened, ("1.11", "0.5"), ("1.13", "0.5"))
    process_pending_actions()
    assert (position().tp_guardian, position().broker_tp) == ("ENGINE", None)
    assert position().broker_sl == D("1.09000")


def test_stop_rejected_by_the_broker_is_monitored_by_the_engine(
    runtime: trading_runtime.TradingRuntime, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = factories.account(feed, settings={"native_stops": True})
    opened = factories.signal(feed, [("1.12", "1")])
    factories.filled(opened)
    modify(opened, sl="1.09980")

    async def refuse(*_: object) -> list[OrderReport]:
        raise Rejected(Code.STOPS_INVALID)

    monkeypatch.setattr(factories.fake_broker(), "modify", refuse)
    process_pending_actions()
    assert (position().sl_guardian, position().broker_sl) == ("ENGINE", D("1.09000"))
    assert position().tp_guardian == "BROKER"
    factories.quote(alice, "1.09970")
    (exit_id,) = scan_levels()
    assert Order.objects.get(pk=exit_id).leg == "sl"


def test_latest_published_modify_wins(alice: ExecutionConnection, feed: Feed) -> None:
    opened = factories.signal(feed)
    early = Signal.objects.create(
        feed=feed, action="MODIFY", refers_to=opened, direction="BUY", currency_pair="EUR/USD",
        sl=D("1.09700"), approval="APPROVED",
    )  # fmt: skip
    modify(opened, sl="1.09300")
    signal_services.publish(early.pk, by=None)
    assert factories.filled(opened).sl == D("1.09700")


def publish_beside(draft: Signal, report: OrderReport) -> None:
    """Publish while another transaction has applied a report and not committed yet."""

    def publish() -> None:
        try:
            signal_services.publish(draft.pk, by=None)
        finally:
            connection.close()

    other = threading.Thread(target=publish)
    with transaction.atomic():
        factories.apply(report)
        other.start()
        wait_until_they_wait([other])  # or it has not waited, and is done
    other.join(60)
    assert Signal.objects.get(pk=draft.pk).is_published


def draft_of(opened: Signal, action: str, **fields: Any) -> Signal:
    return Signal.objects.create(
        feed=opened.feed, action=action, refers_to=opened, direction="BUY",
        currency_pair="EUR/USD", approval="APPROVED", **fields,
    )  # fmt: skip


@pytest.mark.django_db(transaction=True)
def test_concurrent_modify_and_fill_are_both_applied(
    alice: ExecutionConnection, feed: Feed
) -> None:
    opened = factories.signal(feed)
    factories.claim_all()
    entry = Order.objects.get()
    publish_beside(
        draft_of(opened, "MODIFY", sl=D("1.09500")), factories.fill_report(entry, 100, "f1")
    )
    assert position().sl == D("1.09500")


@pytest.mark.django_db(transaction=True)
def test_concurrent_close_and_late_fill_are_both_applied(
    alice: ExecutionConnection, feed: Feed
) -> None:
    opened = factories.signal(feed)
    factories.claim_all()
    entry = Order.objects.get()
    factories.apply(factories.report(entry, ReportKind.CANCELLED))
    publish_beside(draft_of(opened, "CLOSE"), factories.fill_report(entry, 100, "f1"))
    assert Order.objects.exits().get().quantity == position().quantity == 100


# ---- CLOSE -------------------------------------------------------------------------------------
def test_cancel_does_not_undo_a_close(
    alice: ExecutionConnection, feed: Feed, runtime: trading_runtime.TradingRuntime
) -> None:
    opened = factories.signal(feed)
    (call,) = factories.claim_all()
    factories.close_signal(opened)
    signal_services.cancel(opened.pk, by=None)
    services.cancel_order(Order.objects.get().pk)
    factories.answer(call, factories.fake_broker().fill_at_once(call.request))
    factories.pass_time(2)
    (exit_id,) = process_pending_actions()
    assert Order.objects.get(pk=exit_id).quantity == 100


def test_partial_close_takes_a_share_of_what_is_open(
    alice: ExecutionConnection, feed: Feed
) -> None:
    opened = factories.signal(feed)
    factories.filled(opened)
    left = []
    for _ in range(4):
        factories.close_signal(opened, "0.5")
        factories.fill_all()
        left.append(position().quantity)
    assert left == [50, 30, 20, 10]  # shares are floored to the broker's steps of 10


def test_failed_entry_is_not_retried_after_a_close(alice: ExecutionConnection, feed: Feed) -> None:
    opened = factories.signal(feed)
    Order.objects.update(status="FAILED", done_at=opened.published_at)
    factories.close_signal(opened)
    services.retry_order(Order.objects.get().pk)
    assert factories.claim_all() == []
    assert (Order.objects.get().status, Order.objects.get().reason) == (
        "CANCELLED", "CLOSED_BEFORE_SENT",
    )  # fmt: skip


def test_positions_already_closing_are_left_alone(alice: ExecutionConnection, feed: Feed) -> None:
    for _ in range(2):
        factories.account(feed)
    factories.signal(feed)
    factories.fill_all()
    first, *others = ExecutionPosition.objects.order_by("pk").values_list("pk", flat=True)
    assert services.close_position(first)
    written = services.close_positions([first, *others])
    closed = Order.objects.filter(pk__in=written).values_list("position_id", "quantity")
    assert list(closed.order_by("position_id")) == [(pk, D(100)) for pk in others]


def test_rejected_close_is_retried(alice: ExecutionConnection, feed: Feed) -> None:
    opened = factories.signal(feed)
    factories.filled(opened)
    factories.close_signal(opened)
    (call,) = factories.claim_all()
    factories.answer(call, Rejected(Code.MARKET_CLOSED))
    assert scan_levels() == []  # not at once
    factories.pass_time(31)
    (exit_id,) = scan_levels()
    assert scan_levels() == []
    factories.fill_all()
    assert (Order.objects.get(pk=exit_id).leg, position().quantity) == ("close-2", 0)
    factories.pass_time(31)
    assert scan_levels() == []


def test_rejected_partial_close_is_repeated_as_a_whole_one(
    alice: ExecutionConnection, feed: Feed
) -> None:
    opened = factories.signal(feed)
    factories.filled(opened)
    factories.close_signal(opened, "0.5")
    (call,) = factories.claim_all()
    factories.answer(call, Rejected(Code.MARKET_CLOSED))
    factories.pass_time(31)
    [again] = scan_levels()
    assert Order.objects.get(pk=again).quantity == 50
