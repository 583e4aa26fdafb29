"""A stop counts when the broker confirms it: a stop that was only sent protects nothing."""

from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest

from brokers.base import OutcomeUnknown
from brokers.types import ExitSafety, HeldLevels, ReportKind
from common.db.sql import database_now
from common.errors import ConflictError
from common.reason_codes import Code
from connections.models import ExecutionConnection
from execution.audit.counters import audit
from execution.dispatch.report_writer import apply_call_reports
from execution.exits.reservations import recompute_reserved
from execution.models import DriftItem, ExecutionLog, Order
from execution.monitoring import broker_positions, level_sync
from execution.monitoring.level_monitor import scan_levels
from execution.monitoring.pending_actions import process_pending_actions
from execution.monitoring.unprotected_time import update_unprotected
from execution.reconciliation import decisions
from execution.reconciliation.reconcile import reconcile
from execution.recovery import sweeps
from execution.reports.apply import apply_reports
from execution.runtime.trading_runtime import TradingRuntime
from positions.models import ExecutionPosition
from positions.selectors import protection
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.netting_model import NettingModel

pytestmark = pytest.mark.django_db


@pytest.fixture
def account(feed: Feed, broker: FakeBroker, runtime: TradingRuntime) -> ExecutionConnection:
    """The broker holds stops itself."""
    found = factories.account(feed, settings={"native_stops": True})
    factories.mark_monitored(found)
    return found


def position() -> ExecutionPosition:
    return ExecutionPosition.objects.get()


def unprotected_events() -> list[tuple[str, bool]]:
    return [(e["code"], e["ended"]) for e in factories.events("position.unprotected")]


def placed(broker: FakeBroker) -> int:
    return [name for name, _ in broker.calls].count("modify")


def rounds(times: int = 3, seconds: float = 2) -> None:
    """Do what a trading process does each second."""
    for _ in range(times):
        process_pending_actions()
        update_unprotected()
        factories.pass_time(seconds)


def is_guarded_by_us(account: ExecutionConnection) -> bool:
    factories.quote(account, "1.08000")
    return len(scan_levels()) == 1


def test_dropped_stop_is_guarded_placed_again_once_and_reported(
    account: ExecutionConnection, feed: Feed, broker: FakeBroker
) -> None:
    broker.drops_levels = True
    factories.filled(factories.signal(feed))
    held = position()
    assert (held.sl, held.broker_sl, held.stop_guardian) == (D("1.09"), None, "ENGINE")
    assert protection(held) == ("unprotected", "Unprotected")
    assert update_unprotected() == 1
    rounds(5)
    assert placed(broker) == 1
    assert unprotected_events() == [("STOP_DROPPED", False)]
    assert position().levels_given_up
    assert position().seconds_without_stop >= 9
    assert audit().counters["NAKED"] == 1
    assert is_guarded_by_us(account)


def test_stop_that_is_kept_the_second_time_is_confirmed(
    account: ExecutionConnection, feed: Feed, broker: FakeBroker
) -> None:
    broker.drops_levels = True
    factories.filled(factories.signal(feed))
    broker.drops_levels = False
    rounds()
    held = position()
    assert (held.broker_sl, held.stop_guardian, placed(broker)) == (D("1.09"), "BROKER", 1)
    assert (update_unprotected(), unprotected_events(), audit().counters["NAKED"]) == (0, [], 0)
    assert not is_guarded_by_us(account)


def test_unconfirmed_stop_leaves_the_position_unprotected(
    account: ExecutionConnection, feed: Feed, broker: FakeBroker
) -> None:
    broker.reports_levels = False
    factories.filled(factories.signal(feed))
    assert (position().broker_sl, update_unprotected()) == (None, 1)
    assert position().unprotected_reason == "STOP_UNCONFIRMED"
    assert placed(broker) == 0  # its report may arrive at any moment
    rounds()
    assert (position().broker_sl, placed(broker), update_unprotected()) == (D("1.09"), 1, 0)


@pytest.mark.parametrize("drops", [True, False])
def test_late_answer_states_the_held_level_not_the_sent_one(
    account: ExecutionConnection,
    feed: Feed,
    broker: FakeBroker,
    runtime: TradingRuntime,
    drops: bool,
) -> None:
    broker.drops_levels = drops
    factories.signal(feed)
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, OutcomeUnknown(Code.REPLY_LOST))
    broker.fill_at_once(outgoing.request)
    factories.pass_time(30)
    sweeps.query_unknown_orders(runtime.dispatcher)
    assert position().broker_sl == (None if drops else D("1.09"))
    assert update_unprotected() == drops
    assert is_guarded_by_us(account) == drops


@pytest.mark.parametrize("drops", [True, False])
def test_reconciliation_that_finds_no_stop_places_it_again(
    account: ExecutionConnection, feed: Feed, broker: FakeBroker, drops: bool
) -> None:
    factories.filled(factories.signal(feed))
    assert update_unprotected() == 0
    broker.drops_levels = drops
    ticket = broker.tickets[0]
    ticket.request = replace(ticket.request, stop_loss=None)  # the broker drops it later
    factories.pass_time(1)
    reconcile()
    held = position()
    assert (held.broker_sl, held.stop_guardian, update_unprotected()) == (None, "ENGINE", 1)
    assert factories.drift_items() == [("LEVELS_DIFFER", "OPEN")]
    rounds()
    factories.pass_time(1)
    reconcile()
    assert placed(broker) == 1
    assert position().broker_sl == (None if drops else D("1.09"))
    # A stop it does not keep is left to a person: the drift stays open while the stop is missing.
    assert factories.drift_items() == [("LEVELS_DIFFER", "OPEN" if drops else "RESOLVED")]
    assert is_guarded_by_us(account) == drops


def test_stop_dropped_after_each_confirmation_is_not_placed_for_ever(
    account: ExecutionConnection, feed: Feed, broker: FakeBroker
) -> None:
    """A plugin of the broker, or the owner's expert advisor, takes each stop away again."""
    signal = factories.signal(feed)
    factories.filled(signal)
    for _ in range(4):
        ticket = broker.tickets[0]
        ticket.request = replace(ticket.request, stop_loss=None)
        factories.pass_time(1)
        reconcile()
        rounds(2, 1)
    assert placed(broker) == 1
    assert position().levels_given_up
    assert is_guarded_by_us(account)
    rounds()
    assert unprotected_events() == [("STOP_DROPPED", False)]
    factories.signal(feed, action="MODIFY", refers_to=signal, sl=D("1.085"))
    rounds()
    assert (position().broker_sl, placed(broker)) == (D("1.085"), 2)


def test_drop_reported_twice_counts_once(
    account: ExecutionConnection, feed: Feed, broker: FakeBroker
) -> None:
    """First the stop, then the target; and again before either could be placed again."""
    factories.filled(factories.signal(feed, targets=[("1.2", "1")]))
    entry = Order.objects.get(leg="entry")
    for stop_loss, take_profit in ((None, D("1.2")),) * 2 + ((None, None),) * 2:
        levels = HeldLevels(stop_loss, take_profit)
        apply_reports([factories.report(entry, ReportKind.LEVELS, levels=levels)])
        assert not position().levels_given_up
    assert ExecutionLog.objects.filter(code="STOP_DROPPED").count() == 2
    rounds()
    held = position()
    assert (held.broker_sl, held.broker_tp, placed(broker)) == (D("1.09"), D("1.2"), 1)


def test_drop_is_not_reported_again_once_levels_are_given_up(
    account: ExecutionConnection, feed: Feed, broker: FakeBroker
) -> None:
    factories.filled(factories.signal(feed, targets=[("1.2", "1")]))
    entry = Order.objects.get(leg="entry")
    for is_given_up, lines in ((True, 0), (False, 1)):
        ExecutionPosition.objects.update(
            levels_given_up=is_given_up, broker_sl=None, broker_tp=D("1.2"),
            levels_dropped_at=None,
        )  # fmt: skip
        levels = HeldLevels(None, None)
        apply_reports([factories.report(entry, ReportKind.LEVELS, levels=levels)])
        assert position().levels_given_up is is_given_up
        assert ExecutionLog.objects.filter(code="STOP_DROPPED").count() == lines


def test_moved_stop_that_is_dropped_is_placed_again_once(
    account: ExecutionConnection, feed: Feed, broker: FakeBroker
) -> None:
    signal = factories.signal(feed)
    factories.filled(signal)
    broker.drops_levels = True
    factories.signal(feed, action="MODIFY", refers_to=signal, sl=D("1.095"))
    assert position().stop_guardian == "ENGINE"  # the broker holds another one
    rounds(5)
    assert (position().broker_sl, placed(broker), unprotected_events()) == (
        None, 2, [("STOP_DROPPED", False)],
    )  # fmt: skip
    assert is_guarded_by_us(account)
    # Moving it once more places it once more.
    broker.drops_levels = False
    factories.signal(feed, action="MODIFY", refers_to=signal, sl=D("1.096"))
    rounds()
    assert (position().broker_sl, unprotected_events()[-1]) == (D("1.096"), ("STOP_DROPPED", True))


def test_owners_own_level_is_never_taken_as_ours(
    account: ExecutionConnection, feed: Feed, broker: FakeBroker
) -> None:
    """The owner sets a target on a position without one: no call removes it."""
    factories.filled(factories.signal(feed))
    entry = Order.objects.get(leg="entry")
    ticket = broker.tickets[0]
    ticket.request = replace(ticket.request, take_profit=D("1.2"))
    apply_reports([replace(broker.report(ticket, ReportKind.LEVELS),
                           levels=HeldLevels(D("1.09"), D("1.2")))])  # fmt: skip
    rounds()
    assert (position().broker_tp, placed(broker), entry.status) == (None, 0, "FILLED")
    reconcile()
    assert factories.drift_items() == [("LEVELS_DIFFER", "OPEN")]


def test_adoption_keeps_a_level_that_the_broker_confirmed_since(
    account: ExecutionConnection, feed: Feed, broker: FakeBroker
) -> None:
    factories.filled(factories.signal(feed))
    ticket = broker.tickets[0]
    ticket.request = replace(ticket.request, stop_loss=None)
    factories.pass_time(1)
    reconcile()
    rounds()
    assert position().broker_sl == D("1.09")  # it was placed again
    with pytest.raises(ConflictError):
        decisions.adopt(DriftItem.objects.get().pk, by=None)
    assert (position().sl, position().broker_sl) == (D("1.09"), D("1.09"))


def test_exit_removes_a_possibly_present_stop_first(
    feed: Feed, broker: FakeBroker, runtime: TradingRuntime
) -> None:
    """The broker does not check, and its stop is unconfirmed: it may be there."""
    broker.nets = nets = NettingModel(ExitSafety.CANCEL_FIRST, netting=True)
    account = factories.account(
        feed, settings={"native_stops": True}, snapshot_position_mode="NETTING"
    )
    factories.mark_monitored(account)
    factories.filled(factories.signal(feed))
    assert (position().broker_sl, position().levels_reported_at) == (None, None)
    assert list(nets.protected.values()) == [100]
    assert is_guarded_by_us(account)
    for _ in range(4):
        factories.fill_all()
        broker_positions.refresh()
        rounds(1)
    assert "modify" in [name for name, _ in broker.calls]
    assert nets.reversed == []
    assert nets.stolen == []
    assert list(nets.protected.values()) == [0]


def test_stop_is_placed_again_if_its_removal_is_answered_after_the_end_of_the_exit(
    feed: Feed, broker: FakeBroker, runtime: TradingRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its unconfirmed stop was removed for the exit: that the broker holds none is no refusal."""
    broker.nets = nets = NettingModel(ExitSafety.CANCEL_FIRST, netting=True)
    account = factories.account(
        feed, settings={"native_stops": True}, snapshot_position_mode="NETTING"
    )
    factories.mark_monitored(account)
    factories.filled(factories.signal(feed))
    assert is_guarded_by_us(account)
    removals = list[bool]()

    def after_the_exit(done: Any, **more: Any) -> Any:
        removed = [result.about for result in done if result.about.protection_suspended]
        if removed and not removals:
            ending = Order.objects.exits().filter(done_at=None)
            ids = list(ending.values_list("pk", flat=True))
            ending.update(status="CANCELLED", done_at=database_now())
            recompute_reserved(ids)
        removals.extend(one.lacked_level for one in removed)
        return apply_call_reports(done, **more)

    monkeypatch.setattr(level_sync, "apply_call_reports", after_the_exit)
    for _ in range(4):
        factories.claim_all()
        broker_positions.refresh()
        rounds(1)
    assert removals == [True]
    assert not position().levels_given_up
    assert list(nets.protected.values()) == [100]


def test_log_states_the_level_that_the_broker_dropped(
    account: ExecutionConnection, feed: Feed, broker: FakeBroker
) -> None:
    broker.drops_levels = True
    factories.filled(factories.signal(feed))
    rounds()
    lines = ExecutionLog.objects.filter(code="STOP_DROPPED").order_by("id")
    assert [line.detail.partition(": ")[2] for line in lines] == [
        "placed again, but the broker still holds none; we monitor the level"
    ]
