"""CLOSEs of positions, whose exits fail, come late, or overtake those of targets."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import pytest
from django.db.models import F

from analytics.orders.followers import results_of
from brokers.base import OutcomeUnknown, Rejected
from common.reason_codes import Code
from connections.models import ExecutionConnection, Instrument
from console.queries import candidates
from execution.models import Order, OutcomeCheck
from execution.monitoring.level_monitor import scan_levels
from execution.monitoring.pending_actions import process_pending_actions
from execution.runtime.trading_runtime import TradingRuntime
from execution.services import close_dust
from execution.signal_outcomes import report_outcomes
from execution.signal_stages import stages_of
from portal.selectors.signals import signal_history
from positions.models import ExecutionPosition
from signals.models import Feed, Signal
from tests.execution import factories
from tests.execution.exits.test_orders import (
    _end_half_a_minute_ago,
    _fill_in_part,
)
from tests.execution.trade_steps import fill, reject

pytestmark = pytest.mark.django_db


def test_close_is_repeated_though_a_target_is_refused_again_and_again(
    alice: ExecutionConnection, feed: Feed
) -> None:
    """The broker refuses the target's rest of 10 each time; it refused the CLOSE of 30 once."""
    signal = factories.signal(feed, [("1.11", "0.8")])
    factories.filled(signal)
    factories.quote(alice, "1.11500", "1.11510")
    scan_levels()
    [out] = factories.claim_all()
    _fill_in_part(out, D(70))
    factories.close_signal(signal)
    [out] = factories.claim_all()
    factories.answer(out, Rejected(Code.MARKET_CLOSED))
    for _ in range(3):
        factories.quote(alice, "1.11500", "1.11510")
        Order.objects.exits().update(done_at=F("done_at") - timedelta(seconds=60))
        scan_levels()
        for out in factories.claim_all():
            if out.request.quantity == 10:
                reject(out)
            else:
                fill(out)
    assert ExecutionPosition.objects.get().quantity == 0


def test_close_is_repeated_while_a_target_is_unknown(
    alice: ExecutionConnection, feed: Feed
) -> None:
    signal = factories.signal(feed, [("1.11", "0.5"), ("1.12", "0.5")])
    factories.filled(signal)
    factories.quote(alice, "1.11500", "1.11510")
    scan_levels()
    [out] = factories.claim_all()
    factories.answer(out, OutcomeUnknown(Code.REPLY_LOST, "x"))
    factories.close_signal(signal)
    closing = factories.claim_all()
    for out in closing:
        factories.answer(out, Rejected(Code.MARKET_CLOSED))
    for _ in range(5):
        _end_half_a_minute_ago()
    written = scan_levels()
    assert len(written) == 1


def test_same_without_the_price_at_the_target(alice: ExecutionConnection, feed: Feed) -> None:
    """The control of the test above."""
    signal = factories.signal(feed, [("1.11", "0.5"), ("1.12", "0.5")])
    factories.filled(signal)
    factories.quote(alice, "1.11500", "1.11510")
    scan_levels()
    [out] = factories.claim_all()
    factories.answer(out, OutcomeUnknown(Code.REPLY_LOST, "x"))
    factories.close_signal(signal)
    for out in factories.claim_all():
        factories.answer(out, Rejected(Code.MARKET_CLOSED))
    for _ in range(5):
        _end_half_a_minute_ago()
    factories.quote(alice, "1.10500", "1.10510")
    assert len(scan_levels()) == 1


def test_close_that_succeeds_when_it_is_repeated_counts_as_filled(
    alice: ExecutionConnection, feed: Feed
) -> None:
    signal = factories.signal(feed)
    factories.filled(signal)
    close = factories.close_signal(signal)
    [out] = factories.claim_all()
    factories.answer(out, Rejected(Code.MARKET_CLOSED))
    _end_half_a_minute_ago()
    assert len(scan_levels()) == 1
    [out] = factories.claim_all()
    fill(out)
    assert ExecutionPosition.objects.get().quantity == 0
    assert results_of([close])[close.pk].breakdown == "1 filled"
    assert alice.user is not None
    assert signal_history(alice.user, close).summary.breakdown == "1 filled"


def _part_close(feed: Feed) -> Signal:
    """40 are open; CLOSE of a half is refused; half of the later 60 is closed."""
    opened = factories.signal(feed)
    OutcomeCheck.objects.all().delete()
    factories.claim_all()
    entry = Order.objects.get(leg="entry")
    factories.apply(factories.fill_report(entry, 40, "f1"))
    half = factories.close_signal(opened, "0.5")
    [out] = factories.claim_all()
    factories.answer(out, Rejected(Code.MARKET_CLOSED))
    entry.refresh_from_db()
    factories.apply(factories.fill_report(entry, 60, "f2"))
    factories.pass_time(2)
    process_pending_actions()
    _fill_exits()
    return half


def _fill_exits() -> None:
    factories.claim_all()
    for exit_ in Order.objects.exits().filter(status="SUBMITTING").order_by("id"):
        factories.apply(factories.fill_report(exit_, exit_.quantity or 0, f"x{exit_.pk}"))


def test_part_close_refused_is_repeated_beside_the_part_of_a_late_fill(
    alice: ExecutionConnection, feed: Feed, runtime: TradingRuntime
) -> None:
    half = _part_close(feed)
    assert ExecutionPosition.objects.get().quantity == 70  # 50 was wanted: 20 were refused
    assert results_of([half])[half.pk].breakdown == "1 rejected"
    for _ in range(3):
        _end_half_a_minute_ago()
    (repeated,) = Order.objects.filter(pk__in=scan_levels())
    assert (repeated.leg, repeated.quantity) == ("close-1.2", 20)


def test_part_close_refused_is_in_the_message(
    alice: ExecutionConnection, feed: Feed, runtime: TradingRuntime
) -> None:
    _part_close(feed)
    OutcomeCheck.objects.update(due_at=datetime(2020, 1, 1, tzinfo=UTC))
    assert report_outcomes() == 1


def test_close_refused_then_done_by_the_cancel_of_its_entry(
    alice: ExecutionConnection, feed: Feed, runtime: TradingRuntime
) -> None:
    """A late fill's pending CLOSE closes all that is free."""
    opened = factories.signal(feed)
    factories.claim_all()
    entry = Order.objects.get(leg="entry")
    factories.apply(factories.fill_report(entry, 40, "f1"))
    close = factories.close_signal(opened)
    for out in factories.claim_all():
        factories.answer(out, Rejected(Code.MARKET_CLOSED))
    entry.refresh_from_db()
    factories.apply(factories.fill_report(entry, 60, "f2"))
    factories.pass_time(2)
    process_pending_actions()
    _fill_exits()
    assert ExecutionPosition.objects.get().quantity == 0
    assert results_of([close])[close.pk].breakdown == "1 filled"


def test_stages_of_a_close_are_of_its_publication(alice: ExecutionConnection, feed: Feed) -> None:
    signal = factories.signal(feed)
    factories.filled(signal)
    close = factories.close_signal(signal)
    [out] = factories.claim_all()
    factories.answer(out, Rejected(Code.MARKET_CLOSED))
    hour = timedelta(hours=1)  # passes
    Order.objects.exits().update(
        created_at=F("created_at") - hour,
        done_at=F("done_at") - hour,
        due_at=F("due_at") - hour,
        enqueued_at=F("enqueued_at") - hour,
    )
    assert len(scan_levels()) == 1
    page = stages_of(candidates.orders_of(close), count=2).stages
    assert page[0].last is not None
    assert page[0].last < 1000  # "in the transaction that publishes the signal"


def test_count_of_a_close_whose_entry_had_not_filled(
    alice: ExecutionConnection, feed: Feed, runtime: TradingRuntime
) -> None:
    opened = factories.signal(feed)
    factories.claim_all()
    entry = Order.objects.get(leg="entry")
    close = factories.close_signal(opened)
    entry.refresh_from_db()
    factories.apply(factories.fill_report(entry, 100, "f1"))
    factories.pass_time(2)
    process_pending_actions()
    factories.claim_all()
    for exit_ in Order.objects.exits():
        factories.apply(factories.fill_report(exit_, 100, f"x{exit_.pk}"))
    close.refresh_from_db()
    counted = candidates.counts(close)
    assert (counted.found, counted.candidates, counted.adds_up) == (1, 1, True)


def test_stages_of_a_close_without_what_filled_an_hour_later(
    alice: ExecutionConnection, feed: Feed, runtime: TradingRuntime
) -> None:
    factories.account(feed)
    opened = factories.signal(feed)
    first, second = factories.claim_all()
    fill(first)
    close = factories.close_signal(opened)
    factories.fill_all()
    factories.pass_time(3600)
    entry = Order.objects.get(client_order_id=second.request.client_order_id)
    factories.apply(factories.fill_report(entry, 100, "late"))
    factories.pass_time(2)
    process_pending_actions()
    page = stages_of(candidates.orders_of(close), count=2).stages
    assert page[0].last is not None
    assert page[0].last < 1000


@pytest.mark.parametrize("scans_first", [True, False])
def test_close_that_leaves_dust_counts_as_filled(
    alice: ExecutionConnection, feed: Feed, runtime: TradingRuntime, scans_first: bool
) -> None:
    """A spot exchange took its fee in the coin: 95 in steps of 10. The rest is dust."""
    Instrument.objects.update(close_min=D(10))
    signal = factories.signal(feed)
    factories.filled(signal)
    ExecutionPosition.objects.update(quantity=95, opened_quantity=95)
    close = factories.close_signal(signal)
    [out] = factories.claim_all()
    fill(out)
    if scans_first:
        scan_levels()
        assert factories.claim_all() == []
    close_dust()
    assert results_of([close])[close.pk].breakdown == "1 filled"
