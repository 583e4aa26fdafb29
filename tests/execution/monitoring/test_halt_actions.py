"""What a halt touches, and halts that cancel entries and close positions."""

from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest

from common.db.functions import ClockTimestamp
from connections import services as connections
from connections.models import ExecutionConnection, KillSwitch
from connections.services import HaltTarget
from execution.models import ExecutionLog, Order
from execution.monitoring import halt_actions
from execution.monitoring.halt_actions import carry_out_halts, closable_positions, halt_impact
from execution.monitoring.pending_actions import process_pending_actions
from execution.runtime.trading_runtime import TradingRuntime
from positions.models import ExecutionPosition
from signals.models import Feed, Signal
from tests.connections import make
from tests.execution import factories

pytestmark = pytest.mark.usefixtures("inline_commits")


def halt(scope: str = "ALL", **fields: Any) -> KillSwitch:
    given = {"mode": "REDUCING", "reason": "test", "by": None, "scope": scope}
    return connections.set_kill_switch(**{**given, **fields})


def entry_of(signal: Signal) -> Order:
    return Order.objects.get(signal=signal, position=None)


@pytest.fixture
def trades(alice: ExecutionConnection, feed: Feed) -> dict[str, Signal]:
    """An open position, an entry at the broker, one without an answer and one not sent yet."""
    open_ = factories.signal(feed)
    factories.filled(open_)
    working = factories.signal(feed, order_type="LIMIT", open_price=D("1.09"), sl=D("1.08"))
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, factories.fake_broker().rest(outgoing.request))
    unanswered = factories.signal(feed)
    factories.claim_all()
    waiting = factories.signal(feed)
    return {"open": open_, "working": working, "unanswered": unanswered, "waiting": waiting}


def test_impact_counts_orders_positions_and_money_of_the_scope(
    alice: ExecutionConnection, feed: Feed, trades: dict[str, Signal]
) -> None:
    named: dict[str, dict[str, Any]] = {
        "ALL": {},
        "FEED": {"feed_id": feed.pk},
        "USER": {"user_id": alice.user_id},
        "CONNECTION": {"connection_id": alice.pk},
        "BROKER_TYPE": {"broker_type": alice.type},
        "SYMBOL": {"pair": "EUR/USD"},
    }
    entry_price = ExecutionPosition.objects.get().entry_price
    for scope, name in named.items():
        impact = halt_impact(HaltTarget(scope, **name))
        counts = (impact.waiting, impact.working, impact.exits, impact.positions)
        assert counts == (1, 2, 0, 1), scope
        assert impact.open_amounts == {"USD": D(100) * entry_price}
        assert set(impact.working_amounts) == {"USD"}
    others: dict[str, dict[str, Any]] = {
        "FEED": {"feed_id": make.feed().pk},
        "USER": {"user_id": make.user().pk},
        "CONNECTION": {"connection_id": make.connection().pk},
        "BROKER_TYPE": {"broker_type": "ibkr"},
        "SYMBOL": {"pair": "GBP/USD"},
    }
    for scope, name in others.items():
        impact = halt_impact(HaltTarget(scope, **name))
        assert (impact.waiting, impact.working, impact.positions) == (0, 0, 0), scope
        assert impact.open_amounts == impact.working_amounts == {}


def test_halt_alone_cancels_and_closes_nothing(trades: dict[str, Signal]) -> None:
    switch = halt()
    assert carry_out_halts() == []
    assert not Order.objects.exclude(pending_action="").exists()
    switch.refresh_from_db()
    assert switch.carried_out_at is None


def test_entries_are_cancelled_in_every_state(trades: dict[str, Signal]) -> None:
    switch = halt(cancel_entries=True)
    assert carry_out_halts() == []
    for name in ("working", "unanswered", "waiting"):
        assert entry_of(trades[name]).pending_action == "CANCEL", name
    assert entry_of(trades["open"]).pending_action == ""
    switch.refresh_from_db()
    assert switch.carried_out_at is not None
    assert not Order.objects.exclude(position=None).exists()


def test_positions_are_closed_once(trades: dict[str, Signal]) -> None:
    switch = halt(flatten=True)
    (exit_id,) = carry_out_halts()
    exit_ = Order.objects.get(pk=exit_id)
    assert (exit_.leg, exit_.quantity) == ("halt-1", 100)
    assert ExecutionLog.objects.get(order_id=exit_id).code == "FLATTENED"
    assert entry_of(trades["working"]).pending_action == ""
    assert carry_out_halts() == []
    switch.refresh_from_db()
    assert switch.carried_out_at is not None
    (outgoing,) = [sent for sent in factories.claim_all() if not sent.is_entry]  # not halted
    assert outgoing.request.order_id == exit_id


def test_same_halt_acts_again_once_it_was_carried_out(
    alice: ExecutionConnection, trades: dict[str, Signal]
) -> None:
    """What is open then is closed, too: a click that does nothing would leave it open."""
    oneself: dict[str, Any] = {"scope": "USER", "user_id": alice.user_id, "by": alice.user}
    first = halt(**oneself, flatten=True)
    assert halt(**oneself, flatten=True).pk == first.pk  # not begun: it will close all there is
    assert len(carry_out_halts()) == 1
    factories.apply(factories.fill_report(entry_of(trades["working"]), 100, "late"))
    assert carry_out_halts() == []
    assert halt(**oneself, flatten=True).pk != first.pk
    assert len(carry_out_halts()) == 1
    assert not closable_positions(HaltTarget("ALL")).exists()


def test_with_both_what_an_unanswered_entry_fills_is_closed_too(trades: dict[str, Signal]) -> None:
    halt(cancel_entries=True, flatten=True)
    assert len(carry_out_halts()) == 1
    assert entry_of(trades["unanswered"]).pending_action == "CLOSE"
    assert entry_of(trades["working"]).pending_action == "CLOSE"
    assert entry_of(trades["waiting"]).pending_action == "CANCEL"


@pytest.mark.parametrize("action", ["CANCEL", "EXPIRE"])
def test_with_both_what_fills_of_an_entry_that_is_being_cancelled_is_closed_too(
    trades: dict[str, Signal], trading: TradingRuntime, action: str
) -> None:
    """Its cancel was requested before the halt, and the broker fills it first."""
    being_cancelled = Order.objects.filter(signal=trades["working"])
    due = ClockTimestamp() + timedelta(seconds=20)  # the call is under way
    being_cancelled.update(pending_action=action, due_at=due)
    before = entry_of(trades["working"]).due_at
    halt(cancel_entries=True, flatten=True)
    assert len(process_pending_actions()) == 1  # the exit of the open position
    working = entry_of(trades["working"])
    assert (working.pending_action, working.due_at) == ("CLOSE", before)
    assert KillSwitch.objects.get().carried_out_at is not None
    broker = factories.fake_broker()
    assert "cancel" not in [name for name, _ in broker.calls]  # none beside the one under way
    factories.apply(factories.fill_report(working, 100, "late"))
    assert len(process_pending_actions()) == 1
    assert not closable_positions(HaltTarget("ALL")).exists()


def test_halt_that_only_cancels_leaves_a_requested_cancel(trades: dict[str, Signal]) -> None:
    Order.objects.filter(signal=trades["working"]).update(pending_action="EXPIRE")
    halt(cancel_entries=True)
    carry_out_halts()
    assert entry_of(trades["working"]).pending_action == "EXPIRE"


def test_unsent_entry_that_is_being_cancelled_delays_no_halt(trades: dict[str, Signal]) -> None:
    Order.objects.filter(signal=trades["waiting"]).update(pending_action="CANCEL")
    switch = halt(cancel_entries=True, flatten=True)
    carry_out_halts()
    switch.refresh_from_db()
    assert entry_of(trades["waiting"]).pending_action == "CANCEL"
    assert switch.carried_out_at is not None


def test_only_the_scope_is_cancelled_and_closed(trades: dict[str, Signal]) -> None:
    switch = halt("SYMBOL", pair="GBP/USD", cancel_entries=True, flatten=True)
    assert carry_out_halts() == []
    assert not Order.objects.exclude(pending_action="").exists()
    switch.refresh_from_db()
    assert switch.carried_out_at is not None


def test_released_halt_is_not_carried_out(trades: dict[str, Signal]) -> None:
    connections.release_kill_switch(halt(flatten=True).pk, by=None)
    assert carry_out_halts() == []


def test_positions_opened_after_the_halt_was_carried_out_stay(trades: dict[str, Signal]) -> None:
    halt(flatten=True)
    carry_out_halts()
    late = next(o for o in Order.objects.filter(status="SUBMITTING") if o.position_id is None)
    assert late.signal_id == trades["unanswered"].pk
    assert carry_out_halts() == []


def test_old_halt_closes_more_positions_than_one_step_does(
    alice: ExecutionConnection, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full step proves that it goes on: it is not given up as one that waits for something."""
    monkeypatch.setattr(halt_actions, "STEP", 1)
    for _ in range(3):
        factories.filled(factories.signal(feed))
    switch = halt(flatten=True)
    KillSwitch.objects.update(set_at=ClockTimestamp() - timedelta(hours=1))
    assert [len(carry_out_halts()) for _ in range(4)] == [1, 1, 1, 0]
    assert Order.objects.filter(leg="halt-1").count() == 3
    switch.refresh_from_db()
    assert switch.carried_out_at is not None


def test_crash_between_two_steps_is_made_up_for(
    trades: dict[str, Signal], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two entries in each step; the process ends after the first."""
    monkeypatch.setattr("execution.monitoring.halt_actions.STEP", 2)
    switch = halt(cancel_entries=True)
    carry_out_halts()
    assert Order.objects.filter(pending_action="CANCEL").count() == 2
    switch.refresh_from_db()
    assert switch.carried_out_at is None
    carry_out_halts()  # another process
    assert Order.objects.filter(pending_action="CANCEL").count() == 3
    switch.refresh_from_db()
    assert switch.carried_out_at is not None


def test_pending_actions_carry_out_halts(
    trades: dict[str, Signal], trading: TradingRuntime
) -> None:
    halt(cancel_entries=True, flatten=True)
    exits = process_pending_actions()
    assert len(exits) == 1
    waiting = entry_of(trades["waiting"])
    assert (waiting.status, waiting.reason) == ("CANCELLED", "OWNER_CANCELLED")
