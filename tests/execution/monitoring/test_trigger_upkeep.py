"""Held orders that end, wait or fail while their trigger is armed."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError

from common.clocks import market_now
from common.db.sql import rows, run
from connections.models import ExecutionConnection
from execution.models import Order, OrderTrigger
from execution.monitoring import trigger_monitor
from execution.monitoring.trigger_monitor import TriggerMonitor
from execution.monitoring.trigger_upkeep import keep_up_triggers
from execution.services import cancel_order
from signals.models import Feed, Signal
from signals.services import cancel
from tests.execution import factories
from tests.execution.monitoring.held_orders import (
    BUY_STOP,
    SELL_TRAIL,
    held,
    market_and_limit_only,
    monitor,
    quotes_of,
    source,
    state,
)

__all__ = ["market_and_limit_only", "monitor"]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("inline_commits")]


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
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = held(feed, **BUY_STOP)
    lock = f"SELECT id FROM execution_order WHERE id = {order.pk} FOR NO KEY UPDATE"
    with factories.locked_elsewhere(lock):
        assert monitor.process_quotes(source(alice), quotes_of("1.2")) == []
    with monkeypatch.context() as patched:
        patched.setattr(trigger_monitor, "_judge", _away)
        with pytest.raises(OperationalError):
            monitor.process_quotes(source(alice), quotes_of("1.1"))
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
