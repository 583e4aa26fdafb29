"""Each level has one guardian; if the broker does not execute it, the engine takes over."""

import asyncio
from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from django.utils import timezone

from brokers.base import Rejected
from brokers.types import BrokerPosition, CloseCause, ConnectionSpec, ReportKind
from common.db.sql import database_now, rows
from common.reason_codes import Code
from connections.models import ExecutionConnection
from execution.models import Order
from execution.monitoring import broker_positions
from execution.monitoring.level_monitor import scan_levels
from execution.monitoring.stop_failover import take_over_missed_levels
from execution.monitoring.unprotected_time import update_unprotected
from execution.runtime.trading_runtime import TradingRuntime
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.trading_process import until

pytestmark = pytest.mark.django_db


@pytest.fixture
def theirs(feed: Feed, broker: FakeBroker) -> ExecutionConnection:
    """An account whose broker holds stop and target."""
    return factories.account(feed, settings={"native_stops": True})


@pytest.fixture
def bought(theirs: ExecutionConnection, feed: Feed, runtime: TradingRuntime) -> ExecutionPosition:
    """A position of 100 EUR/USD from 1.1, stop 1.09 and target 1.12 at the broker."""
    return factories.filled(factories.signal(feed, [("1.12", "1")]))


def exits() -> list[tuple[str, Any]]:
    return list(Order.objects.exits().order_by("id").values_list("leg", "quantity"))


def a_second_of_guarding() -> list[int]:
    written = take_over_missed_levels()
    broker_positions.refresh()
    return written


def test_engine_leaves_broker_levels_alone_for_three_seconds(
    bought: ExecutionPosition, theirs: ExecutionConnection, broker: FakeBroker
) -> None:
    began = database_now()
    factories.quote(theirs, "1.08000")
    assert a_second_of_guarding() == []
    assert scan_levels() == []
    factories.pass_time(1)
    factories.quote(theirs, "1.08000")
    assert a_second_of_guarding() == []
    has_paused = database_now() - began > timedelta(seconds=2)  # then the three are over
    assert has_paused or ("positions", str(theirs.pk)) not in broker.calls


@pytest.mark.parametrize(("bid", "leg"), [("1.08000", "sl"), ("1.12500", "tp-1")])
def test_engine_then_queries_and_closes_what_the_broker_still_holds(
    bought: ExecutionPosition, theirs: ExecutionConnection, broker: FakeBroker, bid: str, leg: str
) -> None:
    factories.quote(theirs, bid)
    a_second_of_guarding()
    factories.pass_time(3.1)
    assert a_second_of_guarding() == []  # the broker is queried
    assert broker.calls.count(("positions", str(theirs.pk))) == 1
    (order_id,) = a_second_of_guarding()  # and has answered
    assert exits() == [(leg, 100)]
    assert a_second_of_guarding() == []
    factories.fill_all()
    bought.refresh_from_db()
    assert (bought.quantity, Order.objects.get(pk=order_id).status) == (0, "FILLED")


def test_engine_does_nothing_when_the_broker_has_executed_the_stop(
    bought: ExecutionPosition, theirs: ExecutionConnection, broker: FakeBroker
) -> None:
    factories.quote(theirs, "1.08000")
    a_second_of_guarding()
    lot = broker.tickets[0]
    report = broker.close_at_broker(lot, CloseCause.STOP_LOSS, D(100))  # reported late
    factories.pass_time(4)
    for _ in range(3):
        assert a_second_of_guarding() == []
    assert exits() == []
    factories.apply(report)
    bought.refresh_from_db()
    assert (bought.quantity, bought.close_reason, exits()) == (0, "sl", [("sl", 100)])


def test_breach_is_forgotten_when_the_price_returns(
    bought: ExecutionPosition, theirs: ExecutionConnection
) -> None:
    factories.quote(theirs, "1.08000")
    a_second_of_guarding()
    factories.pass_time(4)
    factories.quote(theirs)
    a_second_of_guarding()
    factories.quote(theirs, "1.08000")
    assert a_second_of_guarding() == []
    bought.refresh_from_db()
    assert (bought.breached_level, bought.broker_check_due_at) == ("sl", None)


def test_read_begun_before_the_breach_does_not_count(
    bought: ExecutionPosition, theirs: ExecutionConnection
) -> None:
    ExecutionPosition.objects.update(broker_check_due_at=bought.last_activity_at)
    broker_positions.refresh()
    bought.refresh_from_db()
    assert bought.broker_quantity == 100
    factories.quote(theirs, "1.08000")
    assert take_over_missed_levels() == []
    factories.pass_time(3.1)
    assert take_over_missed_levels() == []
    assert exits() == []


def test_stale_prices_trigger_nothing(
    bought: ExecutionPosition, theirs: ExecutionConnection
) -> None:
    factories.quote(theirs, "1.08000")
    rows("UPDATE prices_latestquote SET received_at = clock_timestamp() - interval '61 s'")
    a_second_of_guarding()
    bought.refresh_from_db()
    assert bought.breached_level == ""


def test_broker_unreadable_for_half_a_minute_raises_an_alarm_and_an_exit(
    bought: ExecutionPosition, theirs: ExecutionConnection, broker: FakeBroker
) -> None:
    broker.reads_fail = True
    factories.quote(theirs, "1.08000")
    a_second_of_guarding()
    for _ in range(3):
        factories.pass_time(9)
        assert a_second_of_guarding() == []
    update_unprotected()
    assert factories.events("position.unprotected") == []
    factories.pass_time(4)
    (order_id,) = a_second_of_guarding()
    update_unprotected()
    update_unprotected()
    (payload,) = factories.events("position.unprotected")
    assert (payload["code"], payload["ended"]) == ("STOP_NOT_EXECUTED", False)
    assert float(payload["seconds"]) >= 30
    factories.fill_all()
    assert Order.objects.get(pk=order_id).status == "FILLED"
    update_unprotected()
    bought.refresh_from_db()
    assert (bought.quantity, bought.unprotected_since) == (0, None)
    assert bought.unprotected_seconds >= 30
    assert [payload["ended"] for payload in factories.events("position.unprotected")] == [
        False,
        True,
    ]


def test_rejected_exit_is_looked_up_before_its_retry(
    bought: ExecutionPosition, theirs: ExecutionConnection, broker: FakeBroker
) -> None:
    factories.quote(theirs, "1.08000")
    a_second_of_guarding()
    factories.pass_time(4)
    a_second_of_guarding()
    a_second_of_guarding()
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, Rejected(Code.MARKET_CLOSED))
    asked = broker.calls.count(("positions", str(theirs.pk)))
    factories.pass_time(31)
    assert a_second_of_guarding() == []
    assert broker.calls.count(("positions", str(theirs.pk))) == asked + 1
    assert len(a_second_of_guarding()) == 1


@pytest.mark.parametrize("first", ["levels", "fill"])
def test_stop_rejected_with_the_entry_is_guarded_by_the_engine_at_once(
    theirs: ExecutionConnection, feed: Feed, broker: FakeBroker, first: str
) -> None:
    factories.signal(feed, [("1.12", "1")])
    factories.claim_all()
    entry = Order.objects.get()
    refused = factories.report(entry, ReportKind.LEVELS, code=Code.STOPS_INVALID)
    reports = [refused, factories.fill_report(entry, 100, "f1")]
    for report in reports if first == "levels" else reports[::-1]:
        factories.apply(report)
    position = ExecutionPosition.objects.get()
    assert (position.sl_guardian, position.tp_guardian, position.broker_sl) == (
        "ENGINE", "ENGINE", None,
    )  # fmt: skip
    factories.quote(theirs, "1.08000")
    assert len(scan_levels()) == 1


def test_levels_of_a_netted_position_are_never_guarded_by_the_broker(
    feed: Feed, broker: FakeBroker
) -> None:
    """They would apply to everything that is netted there."""
    factories.account(feed, settings={"native_stops": True}, snapshot_position_mode="NETTING")
    position = factories.filled(factories.signal(feed, [("1.12", "1")]))
    assert (position.sl_guardian, position.tp_guardian) == ("ENGINE", "ENGINE")
    assert broker.tickets[0].request.stop_loss is None


@pytest.mark.usefixtures("inline_commits")
def test_an_account_has_two_reads_in_flight_and_the_next_one_is_for_all_that_wait(
    theirs: ExecutionConnection,
    feed: Feed,
    trading: TradingRuntime,
    broker: FakeBroker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A read for each position would keep all of them waiting for a slot."""
    held = [factories.filled(factories.signal(feed)).pk for _ in range(5)]
    real, begun, answer = broker.positions, [], asyncio.Event()

    async def positions(spec: ConnectionSpec) -> list[BrokerPosition]:
        begun.append(spec.connection_id)
        await answer.wait()
        return await real(spec)

    monkeypatch.setattr(broker, "positions", positions)
    for one in held:
        ExecutionPosition.objects.filter(pk=one).update(broker_check_due_at=timezone.now())
        broker_positions.refresh()
    until(lambda: len(begun) == 2)
    waiting = ExecutionPosition.objects.filter(broker_check_due_at__lte=timezone.now())
    assert waiting.count() == 3
    trading.dispatcher.loop.call_soon_threadsafe(answer.set)
    assert trading.dispatcher.background_calls.wait_idle(60)
    broker_positions.refresh()
    assert trading.dispatcher.background_calls.wait_idle(60)
    assert trading.report_writer.drain(60)
    assert set(ExecutionPosition.objects.values_list("broker_quantity", flat=True)) == {100}
    assert len(begun) == 3


@pytest.mark.usefixtures("inline_commits")
def test_position_queries_of_one_account_do_not_wait_for_each_other(
    theirs: ExecutionConnection,
    feed: Feed,
    trading: TradingRuntime,
    broker: FakeBroker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = (
        factories.filled(factories.signal(feed)),
        factories.filled(factories.signal(feed)),
    )
    real, begun, both = broker.positions, [], asyncio.Event()

    async def positions(spec: ConnectionSpec) -> list[BrokerPosition]:
        begun.append(spec.connection_id)
        if len(begun) == 2:
            both.set()
        await both.wait()
        return await real(spec)

    monkeypatch.setattr(broker, "positions", positions)
    for one in (first, second):
        ExecutionPosition.objects.filter(pk=one.pk).update(broker_check_due_at=timezone.now())
        broker_positions.refresh()
    assert trading.dispatcher.background_calls.wait_idle(60)
    assert trading.report_writer.drain(60)
    assert set(ExecutionPosition.objects.values_list("broker_quantity", flat=True)) == {100}
