"""End to end on spot: an exit removes the levels of its own position, which reserve the coins
(CANCEL_FIRST)."""

from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from django.db.models import F

from connections.kill_switch import release_kill_switch
from connections.models import ExecutionConnection
from execution.models import Order
from execution.runtime import trading_runtime
from positions.models import ExecutionPosition
from signals.models import Feed, Signal
from tests.connections import make
from tests.crypto.engine.test_engine_spot_levels import (
    HELD,
    PAIR,
    SECONDS,
    STOP,
    TARGET,
    _account,
    account,
    engine,
    feed,
    keys,
    protected,
    published,
    server,
    sold,
    terms,
)
from tests.execution import factories
from tests.execution.trading_process import running, until
from tests.fakes.exchange.model import Fault
from tests.fakes.exchange.server import Server

__all__ = ["account", "engine", "feed", "keys", "server"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


REFUSALS = {
    "binance": Fault("status", 400, '{"code":-2010,"msg":"Market is closed."}'),
    "okx": Fault("status", 200, '{"code":"1","data":[{"sCode":"51021","sMsg":"Not trading"}]}'),
}


def closed(signal: Signal) -> bool:
    return ExecutionPosition.objects.filter(signal=signal, quantity=0).exists()


def test_exit_removes_the_levels_sells_and_places_them_again_for_what_is_left(
    account: ExecutionConnection, feed: Feed, server: Server
) -> None:
    signal = published(feed)
    protected(signal)
    factories.close_signal(signal, "0.5")
    until(lambda: terms(server) == [(D(STOP), D("0.5")), (D(TARGET), D("0.5"))])
    until(lambda: ExecutionPosition.objects.get().broker_sl == D(STOP))
    assert [one.amount for one in sold(server)] == [D("0.499")]
    factories.close_signal(signal)
    until(lambda: closed(signal))
    assert [one.amount for one in sold(server)] == [D("0.499"), D("0.5")]
    assert terms(server) == []
    statuses = {one.status for one in Order.objects.exits().exclude(leg="dust")}
    assert statuses == {"FILLED"}  # none was refused because of the reserved coins
    # None of the gaps was so long. The test's prices may come late: the machine's fault.
    unprotected = {event["code"] for event in factories.events("position.unprotected")}
    assert unprotected <= {"STOP_NOT_MONITORED"}


def test_exit_of_one_position_leaves_the_levels_of_the_other_one(
    account: ExecutionConnection, feed: Feed, server: Server
) -> None:
    first, second = published(feed), published(feed)
    protected(first)
    protected(second)
    assert terms(server) == sorted(PAIR * 2)
    factories.close_signal(first)
    until(lambda: closed(first))
    assert terms(server) == PAIR
    entry = Order.objects.get(signal=second, leg="entry").client_order_id
    with server.venue.lock:
        resting = [one for one in server.venue.orders if one.is_level and one.is_untriggered]
    assert {one.cid[:18] for one in resting if one.cid} == {entry}  # OKX: one name for both
    assert ExecutionPosition.objects.get(signal=second).quantity == HELD


def test_stop_that_executes_while_an_exit_is_prepared_is_the_only_sale(
    account: ExecutionConnection, feed: Feed, server: Server
) -> None:
    signal = published(feed)
    protected(signal)
    server.venue.fills_before_cancel = True  # of the pair that the exit removes
    factories.close_signal(signal)
    until(lambda: closed(signal))
    assert [one.amount for one in sold(server)] == [D("0.999")]
    assert Order.objects.filter(leg="sl", status="FILLED").count() == 1


@pytest.mark.parametrize("kind", ["drop_after", "drop"])
def test_lost_answer_of_the_removal_neither_sells_twice_nor_leaves_a_level(
    account: ExecutionConnection, feed: Feed, server: Server, kind: str
) -> None:
    signal = published(feed)
    protected(signal)
    server.venue.faults.append(Fault(kind, on="cancel"))
    factories.close_signal(signal)
    until(lambda: closed(signal))
    assert [one.amount for one in sold(server)] == [D("0.999")]
    assert terms(server) == []


def test_levels_are_placed_again_while_the_exit_is_halted(
    account: ExecutionConnection,
    feed: Feed,
    server: Server,
    engine: trading_runtime.TradingRuntime,
) -> None:
    signal = published(feed)
    protected(signal)
    server.venue.faults.append(Fault("held", on="cancel"))  # halted meanwhile
    factories.close_signal(signal)
    until(lambda: ExecutionPosition.objects.get().protection_suspended)
    switch = make.kill_switch("HALTED", scope="ALL")
    engine.renew()  # it reads the switch
    server.may_answer.set()
    until(lambda: len([one for one in server.venue.orders if one.is_level]) == 4)
    until(lambda: ExecutionPosition.objects.get().broker_sl == D(STOP))
    assert terms(server) == PAIR
    assert sold(server) == []
    release_kill_switch(switch.pk, by=None)
    until(lambda: closed(signal))
    assert [one.amount for one in sold(server)] == [D("0.999")]


def test_levels_are_placed_again_when_the_exit_is_refused(
    account: ExecutionConnection, feed: Feed, server: Server, request: Any
) -> None:
    signal = published(feed)
    protected(signal)
    refused = REFUSALS[request.node.callspec.params["server"]]
    server.venue.faults.extend([refused, refused])
    factories.close_signal(signal, "0.5")
    until(lambda: Order.objects.filter(leg__startswith="close", status="REJECTED").exists())
    until(lambda: ExecutionPosition.objects.get().broker_sl == D(STOP))
    assert terms(server) in (PAIR, [(D(STOP), D("0.5")), (D(TARGET), D("0.5"))])


def test_process_that_ends_between_removal_and_exit_is_taken_over(
    transactional_db: None, keys: None, feed: Feed, server: Server, request: Any
) -> None:
    with running("execution+maintenance", SECONDS):
        _account(feed, server, request.node.callspec.params["server"])
        signal = published(feed)
        protected(signal)
        # Nothing follows the cancel: its effect is not known, and the exchange is not reached.
        unread = [Fault("drop", on="read") for _ in range(2000)]
        server.venue.faults.extend([Fault("drop_after", on="cancel"), *unread])
        factories.close_signal(signal)
        until(lambda: terms(server) == [])
        until(lambda: ExecutionPosition.objects.get().unprotected_since is not None)
        since = F("unprotected_since") - timedelta(seconds=5)  # so long ago
        ExecutionPosition.objects.update(unprotected_since=since)
        until(lambda: factories.events("position.unprotected") != [])
    assert sold(server) == []
    server.venue.faults.clear()
    with running("execution+maintenance", SECONDS):
        until(lambda: closed(signal))
    assert [one.amount for one in sold(server)] == [D("0.999")]
    assert terms(server) == []
