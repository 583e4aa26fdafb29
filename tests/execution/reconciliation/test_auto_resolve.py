"""What a comparison settles: only what it has looked for. And what is no difference at all."""

from dataclasses import replace
from decimal import Decimal as D

import pytest

from brokers.base import ReadFailed
from brokers.types import CloseCause, ExitSafety, ReportKind
from common.reason_codes import Code
from connections.models import AccountSnapshot, ExecutionConnection
from execution.base.drift_items import quarantine_report
from execution.models import DriftItem, Order
from execution.monitoring.pending_actions import process_pending_actions, sync_levels
from execution.reconciliation.reconcile import reconcile
from execution.runtime import trading_runtime
from execution.services import close_position
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.execution.factories import drift_items
from tests.execution.fake_broker import FakeBroker
from tests.execution.netting_model import NettingModel

pytestmark = pytest.mark.django_db(transaction=True)


def strange(entry: Order) -> str:
    """An id of this installation that no row has."""
    return (entry.client_order_id or "")[:3] + "abcdefghijklmn0"


# ---- what reports told ------------------------------------------------------------------------
def test_what_was_executed_for_an_unknown_order_stays_until_somebody_decides(
    position: ExecutionPosition,
) -> None:
    entry = factories.order(leg="entry")
    fill = factories.fill_report(entry, 100, "f9", client_order_id=strange(entry))
    factories.apply(fill)
    factories.apply(
        replace(fill, kind=ReportKind.ACCEPTED, fills=())
    )  # told later, and it filled before
    reconcile()
    assert drift_items() == [("UNKNOWN_ORDER", "OPEN")]
    assert DriftItem.objects.get().evidence["fills"][0]["broker_fill_id"] == "f9"


def test_an_unknown_order_that_was_told_and_does_not_rest_is_settled_with_that_reason(
    position: ExecutionPosition,
) -> None:
    entry = factories.order(leg="entry")
    factories.apply(factories.report(entry, ReportKind.ACCEPTED, client_order_id=strange(entry)))
    reconcile()
    assert drift_items() == [("UNKNOWN_ORDER", "RESOLVED")]
    assert DriftItem.objects.get().resolution.startswith("A comparison found no such working order")


def test_an_order_of_which_we_have_a_row_again_is_unknown_no_more(
    position: ExecutionPosition,
) -> None:
    entry = factories.order(leg="entry")
    factories.apply(factories.fill_report(entry, 100, "f9", client_order_id=strange(entry)))
    Order.objects.update(client_order_id=strange(entry))
    reconcile()
    assert drift_items() == [("UNKNOWN_ORDER", "RESOLVED")]
    assert DriftItem.objects.get().resolution == "Its order exists here now."


def test_a_poisoned_report_waits_for_a_person(position: ExecutionPosition) -> None:
    told = factories.fill_report(factories.order(leg="entry"), 100, "f9")
    quarantine_report(told, ValueError("no"), "r-1")
    reconcile()
    assert drift_items() == [("REPORT_PROCESSING_FAILED", "OPEN")]


# ---- what was passed over ---------------------------------------------------------------------
def test_a_comparison_that_passes_a_position_over_settles_nothing_about_it(
    position: ExecutionPosition, broker: FakeBroker
) -> None:
    broker.close_at_broker(broker.tickets[0], CloseCause.EXTERNAL, D(40))
    reconcile()
    assert drift_items() == [("QUANTITY_DIFFERS", "OPEN")]
    close_position(position.pk)
    factories.claim_all()  # its exit is in flight
    reconcile()
    assert drift_items() == [("QUANTITY_DIFFERS", "OPEN")]


def test_a_missing_position_whose_exit_is_in_flight_is_still_missing(
    position: ExecutionPosition, broker: FakeBroker
) -> None:
    broker.close_at_broker(broker.tickets[0], CloseCause.EXTERNAL, D(100))
    reconcile()
    close_position(position.pk)
    factories.claim_all()
    reconcile()
    assert drift_items() == [("POSITION_MISSING", "OPEN")]


def test_levels_are_not_settled_by_a_look_at_quantities(
    position: ExecutionPosition, broker: FakeBroker
) -> None:
    broker.tickets[0].request = replace(broker.tickets[0].request, stop_loss=D("1.05"))
    reconcile()
    broker.close_at_broker(broker.tickets[0], CloseCause.EXTERNAL, D(40))
    reconcile()
    assert drift_items() == [("LEVELS_DIFFER", "OPEN"), ("QUANTITY_DIFFERS", "OPEN")]


def test_an_order_that_could_not_be_asked_for_is_still_missing(
    alice: ExecutionConnection,
    feed: Feed,
    runtime: trading_runtime.TradingRuntime,
    broker: FakeBroker,
    monkeypatch: pytest.MonkeyPatch,
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


def test_several_of_ours_in_one_of_the_brokers_settle_nothing_about_levels_and_price(
    feed: Feed, broker: FakeBroker, runtime: trading_runtime.TradingRuntime
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
    factories.filled(
        factories.signal(feed)
    )  # the broker has one position still, and names one price of it
    factories.pass_time(1)
    reconcile()
    assert sorted(drift_items()) == differing


# ---- what the broker holds --------------------------------------------------------------------
def test_a_position_without_a_number_is_not_gone_while_another_entry_rests(
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


# ---- levels that make way ---------------------------------------------------------------------
@pytest.fixture
def held(
    feed: Feed,
    broker: FakeBroker,
    runtime: trading_runtime.TradingRuntime,
    monkeypatch: pytest.MonkeyPatch,
) -> ExecutionPosition:
    """100 whose levels the broker holds, and that no exit may leave beside."""
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


def test_levels_that_were_lifted_for_an_exit_are_no_difference(
    held: ExecutionPosition, broker: FakeBroker
) -> None:
    close_position(held.pk, fraction=D("0.5"))
    assert factories.claim_all() == []
    held.refresh_from_db()
    assert held.protection_suspended
    # Taken away there, and its answer is not written yet.
    taken = replace(broker.tickets[0].request, stop_loss=None, take_profit=None)
    broker.tickets[0].request = taken
    factories.pass_time(1)
    assert reconcile() == 0
    sync_levels()
    factories.pass_time(1)
    assert (reconcile(), drift_items()) == (0, [])


def test_lifted_levels_are_not_put_back_by_a_connection_that_corrects_itself(
    held: ExecutionPosition, broker: FakeBroker
) -> None:
    ExecutionConnection.objects.update(auto_correct=True)
    close_position(held.pk, fraction=D("0.5"))
    factories.claim_all()
    taken = replace(broker.tickets[0].request, stop_loss=None, take_profit=None)
    broker.tickets[0].request = taken
    for _ in range(2):
        reconcile()
        factories.pass_time(6)
        DriftItem.objects.update(found_at=held.opened_at)
    held.refresh_from_db()
    assert (held.protection_suspended, held.broker_sl, drift_items()) == (True, D("1.09"), [])


def test_levels_that_never_come_back_are_a_difference_again(
    held: ExecutionPosition, broker: FakeBroker
) -> None:
    close_position(held.pk, fraction=D("0.5"))
    factories.claim_all()
    sync_levels()
    Order.objects.filter(leg="close-1").update(status="FAILED")
    ExecutionPosition.objects.update(protection_suspended=False, reserved=0, level_sync_due_at=None)
    process_pending_actions()  # both sides have them again
    factories.pass_time(10)
    broker.tickets[0].request = replace(broker.tickets[0].request, stop_loss=None)
    reconcile()
    assert drift_items() == [("LEVELS_DIFFER", "OPEN")]
