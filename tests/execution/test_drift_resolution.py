"""What a comparison settles: only what it has looked for. And what is no difference at all."""

from dataclasses import replace
from decimal import Decimal as D

import pytest

from brokers.base import ReadFailed
from brokers.messages import CloseCause, ExitSafety, ReportKind
from common.codes import Code
from connections.models import AccountSnapshot, ExecutionConnection
from execution.calls import runtime
from execution.drift.notes import set_aside
from execution.drift.reconcile import reconcile
from execution.exits.wishes import grant_wishes, move_levels
from execution.models import DriftItem, Order
from execution.services import close_position
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import cast
from tests.execution.cast import differences
from tests.execution.double import Double
from tests.execution.nets import Nets

pytestmark = pytest.mark.django_db(transaction=True)


def strange(entry: Order) -> str:
    """An id of this installation that no row has."""
    return (entry.client_order_id or "")[:3] + "abcdefghijklmn0"


# ---- what reports told ------------------------------------------------------------------------
def test_what_was_executed_for_an_unknown_order_stays_until_somebody_decides(
    position: ExecutionPosition,
) -> None:
    entry = cast.order(leg="entry")
    fill = cast.fill_report(entry, 100, "f9", client_order_id=strange(entry))
    cast.tell(fill)
    cast.tell(replace(fill, kind=ReportKind.ACCEPTED, fills=()))  # told later, and it filled before
    reconcile()
    assert differences() == [("UNKNOWN_ORDER", "OPEN")]
    assert DriftItem.objects.get().evidence["fills"][0]["broker_fill_id"] == "f9"


def test_an_unknown_order_that_was_told_and_does_not_rest_is_settled_with_that_reason(
    position: ExecutionPosition,
) -> None:
    entry = cast.order(leg="entry")
    cast.tell(cast.report(entry, ReportKind.ACCEPTED, client_order_id=strange(entry)))
    reconcile()
    assert differences() == [("UNKNOWN_ORDER", "RESOLVED")]
    assert DriftItem.objects.get().resolution.startswith("It does not wait at the broker")


def test_an_order_of_which_we_have_a_row_again_is_unknown_no_more(
    position: ExecutionPosition,
) -> None:
    entry = cast.order(leg="entry")
    cast.tell(cast.fill_report(entry, 100, "f9", client_order_id=strange(entry)))
    Order.objects.update(client_order_id=strange(entry))
    reconcile()
    assert differences() == [("UNKNOWN_ORDER", "RESOLVED")]
    assert DriftItem.objects.get().resolution == "We have a row of it again."


def test_a_poisoned_report_waits_for_a_person(position: ExecutionPosition) -> None:
    told = cast.fill_report(cast.order(leg="entry"), 100, "f9")
    set_aside(told, ValueError("no"), "r-1")
    reconcile()
    assert differences() == [("POISONED_REPORT", "OPEN")]


# ---- what was passed over ---------------------------------------------------------------------
def test_a_comparison_that_passes_a_position_over_settles_nothing_about_it(
    position: ExecutionPosition, broker: Double
) -> None:
    broker.exit_by_itself(broker.tickets[0], CloseCause.EXTERNAL, D(40))
    reconcile()
    assert differences() == [("QUANTITY_DIFFERS", "OPEN")]
    close_position(position.pk)
    cast.claim_all()  # its exit is in flight
    reconcile()
    assert differences() == [("QUANTITY_DIFFERS", "OPEN")]


def test_a_missing_position_whose_exit_is_in_flight_is_still_missing(
    position: ExecutionPosition, broker: Double
) -> None:
    broker.exit_by_itself(broker.tickets[0], CloseCause.EXTERNAL, D(100))
    reconcile()
    close_position(position.pk)
    cast.claim_all()
    reconcile()
    assert differences() == [("POSITION_MISSING", "OPEN")]


def test_levels_are_not_settled_by_a_look_at_quantities(
    position: ExecutionPosition, broker: Double
) -> None:
    broker.tickets[0].request = replace(broker.tickets[0].request, stop_loss=D("1.05"))
    reconcile()
    broker.exit_by_itself(broker.tickets[0], CloseCause.EXTERNAL, D(40))
    reconcile()
    assert differences() == [("LEVELS_DIFFER", "OPEN"), ("QUANTITY_DIFFERS", "OPEN")]


def test_an_order_that_could_not_be_asked_for_is_still_missing(
    alice: ExecutionConnection,
    feed: Feed,
    wire: runtime.Runtime,
    broker: Double,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cast.signal(feed, order_type="LIMIT", open_price=D("1.09500"))
    (outgoing,) = cast.claim_all()
    cast.answer(outgoing, broker.rest(outgoing.request))
    cast.pass_time(1)
    broker.tickets.clear()
    reconcile()
    assert differences() == [("ORDER_MISSING", "OPEN")]

    async def unheard(*_: object) -> None:
        raise ReadFailed(Code.BROKER_UNREACHABLE)

    monkeypatch.setattr(broker, "find_order", unheard)
    reconcile()
    assert differences() == [("ORDER_MISSING", "OPEN")]


def test_several_of_ours_in_one_of_the_brokers_settle_nothing_about_levels_and_price(
    feed: Feed, broker: Double, wire: runtime.Runtime
) -> None:
    broker.nets, broker.fills_horizon = Nets(ExitSafety.TICKET, netting=True), None
    cast.account(feed, snapshot_position_mode="NETTING")
    cast.filled(cast.signal(feed))
    ExecutionPosition.objects.update(
        entry_price=D("1.2"), broker_sl=D("1.09"), sl=D("1.09"), sl_guardian="BROKER"
    )
    cast.pass_time(1)
    reconcile()
    differing = [("LEVELS_DIFFER", "OPEN"), ("PRICE_DIFFERS", "OPEN")]
    assert sorted(differences()) == differing
    cast.filled(cast.signal(feed))  # the broker has one position still, and names one price of it
    cast.pass_time(1)
    reconcile()
    assert sorted(differences()) == differing


# ---- what the broker holds --------------------------------------------------------------------
def test_a_position_without_a_number_is_not_gone_while_another_entry_rests(
    position: ExecutionPosition, broker: Double, feed: Feed
) -> None:
    ExecutionPosition.objects.update(broker_position_id="")
    cast.signal(feed, order_type="LIMIT", open_price=D("1.09500"))
    (outgoing,) = cast.claim_all()
    cast.answer(outgoing, broker.rest(outgoing.request))
    for _ in range(3):
        cast.pass_time(6)
        reconcile()
    position.refresh_from_db()
    assert (position.quantity, differences()) == (100, [])


# ---- levels that make way ---------------------------------------------------------------------
@pytest.fixture
def held(
    feed: Feed, broker: Double, wire: runtime.Runtime, monkeypatch: pytest.MonkeyPatch
) -> ExecutionPosition:
    """100 whose levels the broker holds, and that no exit may leave beside."""
    row = cast.account(feed, settings={"native_stops": True})
    AccountSnapshot.objects.update(position_mode="NETTING")
    usual = broker.capabilities

    def cleared_first(spec: object) -> object:
        return replace(usual(spec), exit_safety=ExitSafety.CANCEL_FIRST)  # type: ignore[arg-type]

    monkeypatch.setattr(broker, "capabilities", cleared_first)
    found = cast.filled(cast.signal(feed, [("1.12", "1")]))
    assert (found.connection_id, found.broker_sl) == (row.pk, D("1.09"))
    cast.pass_time(1)
    return found


def test_levels_that_were_lifted_for_an_exit_are_no_difference(
    held: ExecutionPosition, broker: Double
) -> None:
    close_position(held.pk, fraction=D("0.5"))
    assert cast.claim_all() == []
    held.refresh_from_db()
    assert held.lifted
    # Taken away there, and its answer is not written yet.
    taken = replace(broker.tickets[0].request, stop_loss=None, take_profit=None)
    broker.tickets[0].request = taken
    cast.pass_time(1)
    assert reconcile() == 0
    move_levels()
    cast.pass_time(1)
    assert (reconcile(), differences()) == (0, [])


def test_lifted_levels_are_not_put_back_by_a_connection_that_corrects_itself(
    held: ExecutionPosition, broker: Double
) -> None:
    ExecutionConnection.objects.update(auto_correct=True)
    close_position(held.pk, fraction=D("0.5"))
    cast.claim_all()
    taken = replace(broker.tickets[0].request, stop_loss=None, take_profit=None)
    broker.tickets[0].request = taken
    for _ in range(2):
        reconcile()
        cast.pass_time(6)
        DriftItem.objects.update(found_at=held.opened_at)
    held.refresh_from_db()
    assert (held.lifted, held.broker_sl, differences()) == (True, D("1.09"), [])


def test_levels_that_never_come_back_are_a_difference_again(
    held: ExecutionPosition, broker: Double
) -> None:
    close_position(held.pk, fraction=D("0.5"))
    cast.claim_all()
    move_levels()
    Order.objects.filter(leg="close-1").update(status="FAILED")
    ExecutionPosition.objects.update(lifted=False, reserved=0, levels_due_at=None)
    grant_wishes()  # both sides have them again
    cast.pass_time(10)
    broker.tickets[0].request = replace(broker.tickets[0].request, stop_loss=None)
    reconcile()
    assert differences() == [("LEVELS_DIFFER", "OPEN")]
