"""Each level has one guardian; where it is the broker, we step in only when it did not act."""

import asyncio
from decimal import Decimal as D
from typing import Any

import pytest
from django.utils import timezone

from brokers.base import Rejected
from brokers.messages import BrokerPosition, CloseCause, ConnectionSpec, ReportKind
from common.codes import Code
from common.sql import rows
from connections.models import ExecutionConnection
from execution.calls.runtime import Runtime
from execution.exits import holdings
from execution.exits.guardians import step_in
from execution.exits.protection import keep_account
from execution.exits.watch import watch_positions
from execution.models import Order
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import cast
from tests.execution.double import Double

pytestmark = pytest.mark.django_db


@pytest.fixture
def theirs(feed: Feed, broker: Double) -> ExecutionConnection:
    """An account whose broker holds stop and target."""
    return cast.account(feed, settings={"native_stops": True})


@pytest.fixture
def bought(theirs: ExecutionConnection, feed: Feed, wire: Runtime) -> ExecutionPosition:
    """100 EUR/USD from 1.1, stop 1.09 and target 1.12 at the broker."""
    return cast.filled(cast.signal(feed, [("1.12", "1")]))


def exits() -> list[tuple[str, Any]]:
    return list(Order.objects.exits().order_by("id").values_list("leg", "quantity"))


def a_second_of_guarding() -> list[int]:
    written = step_in()
    holdings.look()
    return written


def test_the_engine_leaves_the_brokers_levels_alone_for_three_seconds(
    bought: ExecutionPosition, theirs: ExecutionConnection, broker: Double
) -> None:
    cast.quote(theirs, "1.08000")
    assert a_second_of_guarding() == []
    assert watch_positions() == []
    cast.pass_time(1)  # and what this test takes
    cast.quote(theirs, "1.08000")
    assert a_second_of_guarding() == []
    assert ("positions", str(theirs.pk)) not in broker.calls


@pytest.mark.parametrize(("bid", "leg"), [("1.08000", "sl"), ("1.12500", "tp-1")])
def test_then_it_asks_and_closes_what_the_broker_still_holds(
    bought: ExecutionPosition, theirs: ExecutionConnection, broker: Double, bid: str, leg: str
) -> None:
    cast.quote(theirs, bid)
    a_second_of_guarding()
    cast.pass_time(3.1)
    assert a_second_of_guarding() == []  # the broker is asked
    assert broker.calls.count(("positions", str(theirs.pk))) == 1
    (order_id,) = a_second_of_guarding()  # and has answered
    assert exits() == [(leg, 100)]
    assert a_second_of_guarding() == []
    cast.fill_all()
    bought.refresh_from_db()
    assert (bought.quantity, Order.objects.get(pk=order_id).status) == (0, "FILLED")


def test_it_does_nothing_when_the_broker_has_executed_the_stop(
    bought: ExecutionPosition, theirs: ExecutionConnection, broker: Double
) -> None:
    cast.quote(theirs, "1.08000")
    a_second_of_guarding()
    lot = broker.tickets[0]
    told = broker.exit_by_itself(lot, CloseCause.STOP_LOSS, D(100))  # and we hear of it late
    cast.pass_time(4)
    for _ in range(3):
        assert a_second_of_guarding() == []
    assert exits() == []
    cast.tell(told)
    bought.refresh_from_db()
    assert (bought.quantity, bought.close_reason, exits()) == (0, "sl", [("sl", 100)])


def test_a_price_that_came_back_is_forgotten(
    bought: ExecutionPosition, theirs: ExecutionConnection
) -> None:
    cast.quote(theirs, "1.08000")
    a_second_of_guarding()
    cast.quote(theirs)
    a_second_of_guarding()
    cast.quote(theirs, "1.08000")
    a_second_of_guarding()
    cast.pass_time(2)
    assert a_second_of_guarding() == []
    bought.refresh_from_db()
    assert (bought.beyond, bought.ask_after) == ("sl", None)


def test_a_read_that_began_before_the_price_got_there_proves_nothing(
    bought: ExecutionPosition, theirs: ExecutionConnection
) -> None:
    ExecutionPosition.objects.update(ask_after=bought.touched_at)
    holdings.look()
    bought.refresh_from_db()
    assert bought.held_quantity == 100
    cast.quote(theirs, "1.08000")
    assert step_in() == []
    cast.pass_time(3.1)
    assert step_in() == []
    assert exits() == []


def test_prices_that_are_not_told_any_more_move_nothing(
    bought: ExecutionPosition, theirs: ExecutionConnection
) -> None:
    cast.quote(theirs, "1.08000")
    rows("UPDATE prices_latestquote SET received_at = clock_timestamp() - interval '61 s'")
    a_second_of_guarding()
    bought.refresh_from_db()
    assert bought.beyond == ""


def test_a_broker_that_cannot_be_read_for_half_a_minute_is_an_alarm_and_a_ticket_is_sent(
    bought: ExecutionPosition, theirs: ExecutionConnection, broker: Double
) -> None:
    broker.reads_fail = True
    cast.quote(theirs, "1.08000")
    a_second_of_guarding()
    for _ in range(3):
        cast.pass_time(9)
        assert a_second_of_guarding() == []
    keep_account()
    assert cast.events("position.unprotected") == []
    cast.pass_time(4)
    (order_id,) = a_second_of_guarding()
    keep_account()
    keep_account()
    (told,) = cast.events("position.unprotected")
    assert (told["code"], told["ended"]) == ("STOP_NOT_EXECUTED", False)
    assert float(told["seconds"]) >= 30
    cast.fill_all()
    assert Order.objects.get(pk=order_id).status == "FILLED"
    keep_account()
    bought.refresh_from_db()
    assert (bought.quantity, bought.unprotected_since) == (0, None)
    assert bought.unprotected_seconds >= 30
    assert [told["ended"] for told in cast.events("position.unprotected")] == [False, True]


def test_a_refused_exit_is_asked_about_before_it_is_tried_again(
    bought: ExecutionPosition, theirs: ExecutionConnection, broker: Double
) -> None:
    cast.quote(theirs, "1.08000")
    a_second_of_guarding()
    cast.pass_time(4)
    a_second_of_guarding()
    a_second_of_guarding()
    (outgoing,) = cast.claim_all()
    cast.answer(outgoing, Rejected(Code.MARKET_CLOSED))
    asked = broker.calls.count(("positions", str(theirs.pk)))
    cast.pass_time(31)
    assert a_second_of_guarding() == []
    assert broker.calls.count(("positions", str(theirs.pk))) == asked + 1
    assert len(a_second_of_guarding()) == 1


@pytest.mark.parametrize("first", ["levels", "fill"])
def test_stops_that_the_broker_refused_with_the_entry_are_ours_at_once(
    theirs: ExecutionConnection, feed: Feed, broker: Double, first: str
) -> None:
    cast.signal(feed, [("1.12", "1")])
    cast.claim_all()
    entry = Order.objects.get()
    refused = cast.report(entry, ReportKind.LEVELS, code=Code.STOPS_INVALID)
    told = [refused, cast.fill_report(entry, 100, "f1")]
    for report in told if first == "levels" else told[::-1]:
        cast.tell(report)
    position = ExecutionPosition.objects.get()
    assert (position.sl_guardian, position.tp_guardian, position.broker_sl) == (
        "ENGINE", "ENGINE", None,
    )  # fmt: skip
    cast.quote(theirs, "1.08000")
    assert len(watch_positions()) == 1


def test_a_netted_positions_levels_are_never_the_brokers(feed: Feed, broker: Double) -> None:
    """They would be those of everything that is netted there."""
    cast.account(feed, settings={"native_stops": True}, snapshot_position_mode="NETTING")
    position = cast.filled(cast.signal(feed, [("1.12", "1")]))
    assert (position.sl_guardian, position.tp_guardian) == ("ENGINE", "ENGINE")
    assert broker.tickets[0].request.stop_loss is None


@pytest.mark.django_db(transaction=True)
def test_a_position_that_is_asked_about_while_another_of_its_account_is_does_not_wait_for_it(
    theirs: ExecutionConnection,
    feed: Feed,
    trading: Runtime,
    broker: Double,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = cast.filled(cast.signal(feed)), cast.filled(cast.signal(feed))
    real, begun, both = broker.positions, [], asyncio.Event()

    async def positions(spec: ConnectionSpec) -> list[BrokerPosition]:
        begun.append(spec.connection_id)
        if len(begun) == 2:
            both.set()
        await both.wait()
        return await real(spec)

    monkeypatch.setattr(broker, "positions", positions)
    for one in (first, second):
        ExecutionPosition.objects.filter(pk=one.pk).update(ask_after=timezone.now())
        holdings.look()
    assert trading.wire.errands.wait_idle(20)
    assert trading.flusher.drain(20)
    assert set(ExecutionPosition.objects.values_list("held_quantity", flat=True)) == {100}
