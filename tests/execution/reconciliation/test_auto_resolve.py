"""Reconciliation resolves only the items it checked. Also: cases that are no difference."""

from dataclasses import replace
from decimal import Decimal as D

import pytest

from brokers.base import ReadFailed
from brokers.types import CloseCause, ExitSafety, ReportKind
from common.reason_codes import Code
from connections.models import AccountSnapshot, ExecutionConnection
from execution.base.drift_items import quarantine_report
from execution.models import DriftItem, Order
from execution.monitoring import broker_positions
from execution.monitoring.level_sync import sync_levels
from execution.monitoring.pending_actions import process_pending_actions
from execution.reconciliation.reconcile import reconcile
from execution.runtime import trading_runtime
from execution.services import close_position
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.execution.factories import drift_items
from tests.execution.fake_broker import FakeBroker
from tests.execution.netting_model import NettingModel

pytestmark = [pytest.mark.usefixtures("inline_commits", "runtime")]


def strange(entry: Order) -> str:
    """Return an id of this installation that no row has."""
    return (entry.client_order_id or "")[:3] + "abcdefghijklmn0"


# ---- items found by reports -------------------------------------------------------------------
def test_execution_of_an_unknown_order_stays_open_until_a_decision(
    position: ExecutionPosition,
) -> None:
    entry = factories.order(leg="entry")
    fill = factories.fill_report(entry, 100, "f9", client_order_id=strange(entry))
    factories.apply(fill)
    factories.apply(
        replace(fill, kind=ReportKind.ACCEPTED, fills=())
    )  # reported later, although it filled before
    reconcile()
    assert drift_items() == [("UNKNOWN_ORDER", "OPEN")]
    assert DriftItem.objects.get().evidence["fills"][0]["broker_fill_id"] == "f9"


def test_reported_unknown_order_that_is_not_working_is_resolved(
    position: ExecutionPosition,
) -> None:
    entry = factories.order(leg="entry")
    factories.apply(factories.report(entry, ReportKind.ACCEPTED, client_order_id=strange(entry)))
    reconcile()
    assert drift_items() == [("UNKNOWN_ORDER", "RESOLVED")]
    assert DriftItem.objects.get().resolution.startswith("A comparison found no such working order")


def test_order_with_a_row_again_is_no_longer_unknown(
    position: ExecutionPosition,
) -> None:
    entry = factories.order(leg="entry")
    factories.apply(factories.fill_report(entry, 100, "f9", client_order_id=strange(entry)))
    Order.objects.update(client_order_id=strange(entry))
    reconcile()
    assert drift_items() == [("UNKNOWN_ORDER", "RESOLVED")]
    assert DriftItem.objects.get().resolution == "Its order exists here now."


def test_quarantined_report_waits_for_a_person(position: ExecutionPosition) -> None:
    report = factories.fill_report(factories.order(leg="entry"), 100, "f9")
    quarantine_report(report, ValueError("no"), "r-1")
    reconcile()
    assert drift_items() == [("REPORT_PROCESSING_FAILED", "OPEN")]


# ---- skipped items ---------------------------------------------------------------------
def test_reconciliation_that_skips_a_position_resolves_nothing_about_it(
    position: ExecutionPosition, broker: FakeBroker
) -> None:
    broker.close_at_broker(broker.tickets[0], CloseCause.EXTERNAL, D(40))
    reconcile()
    assert drift_items() == [("QUANTITY_DIFFERS", "OPEN")]
    close_position(position.pk)
    factories.claim_all()  # its exit is in flight
    reconcile()
    assert drift_items() == [("QUANTITY_DIFFERS", "OPEN")]


def test_missing_position_with_an_exit_in_flight_stays_missing(
    position: ExecutionPosition, broker: FakeBroker
) -> None:
    broker.close_at_broker(broker.tickets[0], CloseCause.EXTERNAL, D(100))
    reconcile()
    close_position(position.pk)
    factories.claim_all()
    reconcile()
    assert drift_items() == [("POSITION_MISSING", "OPEN")]


def test_comparing_quantities_does_not_resolve_levels(
    position: ExecutionPosition, broker: FakeBroker
) -> None:
    broker.tickets[0].request = replace(broker.tickets[0].request, stop_loss=D("1.05"))
    reconcile()
    broker.close_at_broker(broker.tickets[0], CloseCause.EXTERNAL, D(40))
    reconcile()
    assert drift_items() == [("LEVELS_DIFFER", "OPEN"), ("QUANTITY_DIFFERS", "OPEN")]


def test_order_that_could_not_be_queried_stays_missing(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    factories.signal(feed, order_type="LIMIT", open_price=D("1.09500"))
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, broker.rest(outgoing.request))
    factories.pass_time(1)
    broker.tickets.clear()
    reconcile()
    assert drift_items() == [("ORDER_MISSING", "OPEN")]

    async def unheard(*_: object) -> None:
        raise ReadFailed(Code.BROKER_UNREACHABLE)

    monkeypatch.setattr(broker, "find_order", unheard)
    reconcile()
    assert drift_items() == [("ORDER_MISSING", "OPEN")]


def test_shared_broker_position_resolves_neither_levels_nor_price(
    feed: Feed, broker: FakeBroker
) -> None:
    broker.nets, broker.fills_horizon = NettingModel(ExitSafety.TICKET, netting=True), None
    factories.account(feed, snapshot_position_mode="NETTING")
    factories.filled(factories.signal(feed))
    ExecutionPosition.objects.update(
        entry_price=D("1.2"), broker_sl=D("1.09"), sl=D("1.09"), sl_guardian="BROKER"
    )
    factories.pass_time(1)
    reconcile()
    differing = [("LEVELS_DIFFER", "OPEN"), ("PRICE_DIFFERS", "OPEN")]
    assert sorted(drift_items()) == differing
    factories.filled(factories.signal(feed))  # the broker still has one position, with one price
    factories.pass_time(1)
    reconcile()
    assert sorted(drift_items()) == differing


# ---- broker positions --------------------------------------------------------------------
def test_position_without_an_id_is_not_gone_while_another_entry_works(
    position: ExecutionPosition, broker: FakeBroker, feed: Feed
) -> None:
    ExecutionPosition.objects.update(broker_position_id="")
    factories.signal(feed, order_type="LIMIT", open_price=D("1.09500"))
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, broker.rest(outgoing.request))
    for _ in range(3):
        factories.pass_time(6)
        reconcile()
    position.refresh_from_db()
    assert (position.quantity, drift_items()) == (100, [])


# ---- levels removed for an exit -----------------------------------------------------------------
@pytest.fixture
def held(
    feed: Feed,
    broker: FakeBroker,
    runtime: trading_runtime.TradingRuntime,
    monkeypatch: pytest.MonkeyPatch,
) -> ExecutionPosition:
    """A position of 100 whose levels the broker holds and must remove before an exit."""
    row = factories.account(feed, settings={"native_stops": True})
    AccountSnapshot.objects.update(position_mode="NETTING")
    usual = broker.capabilities

    def cleared_first(spec: object) -> object:
        return replace(usual(spec), exit_safety=ExitSafety.CANCEL_FIRST)  # type: ignore[arg-type]

    monkeypatch.setattr(broker, "capabilities", cleared_first)
    found = factories.filled(factories.signal(feed, [("1.12", "1")]))
    assert (found.connection_id, found.broker_sl) == (row.pk, D("1.09"))
    factories.pass_time(1)
    return found


def suspend_levels(held: ExecutionPosition) -> None:
    """Close a half, as far as the request to remove the levels: after a read of the position."""
    close_position(held.pk, fraction=D("0.5"))
    assert factories.claim_all() == []
    broker_positions.refresh()
    factories.pass_time(1.1)
    assert factories.claim_all() == []


def test_levels_suspended_for_an_exit_are_no_difference(
    held: ExecutionPosition, broker: FakeBroker
) -> None:
    suspend_levels(held)
    held.refresh_from_db()
    assert held.protection_suspended
    # Removed there; the answer is not written yet.
    taken = replace(broker.tickets[0].request, stop_loss=None, take_profit=None)
    broker.tickets[0].request = taken
    factories.pass_time(1)
    assert reconcile() == 0
    sync_levels()
    factories.pass_time(1)
    assert (reconcile(), drift_items()) == (0, [])


def test_suspended_levels_are_not_restored_by_auto_correction(
    held: ExecutionPosition, broker: FakeBroker
) -> None:
    ExecutionConnection.objects.update(auto_correct=True)
    suspend_levels(held)
    taken = replace(broker.tickets[0].request, stop_loss=None, take_profit=None)
    broker.tickets[0].request = taken
    for _ in range(2):
        reconcile()
        factories.pass_time(6)
        DriftItem.objects.update(found_at=held.opened_at)
    held.refresh_from_db()
    assert (held.protection_suspended, held.broker_sl, drift_items()) == (True, D("1.09"), [])


def test_levels_that_stay_suspended_are_a_difference_again(
    held: ExecutionPosition, broker: FakeBroker
) -> None:
    suspend_levels(held)
    sync_levels()
    Order.objects.filter(leg="close-1").update(status="FAILED")
    ExecutionPosition.objects.update(protection_suspended=False, reserved=0, level_sync_due_at=None)
    process_pending_actions()  # both sides have them again
    factories.pass_time(10)
    broker.tickets[0].request = replace(broker.tickets[0].request, stop_loss=None)
    reconcile()
    assert drift_items() == [("LEVELS_DIFFER", "OPEN")]
