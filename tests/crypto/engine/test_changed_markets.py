"""End to end: a market changes while a position is open. The exchange is right, not our memory."""

from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest

from connections.health.connection_checks import run_test
from connections.models import ExecutionConnection, Instrument
from execution.models import Order
from execution.monitoring.level_monitor import scan_levels
from execution.tasks import enqueue
from positions.models import ExecutionPosition
from positions.selectors import with_prices
from signals.models import Feed, Signal
from tests.crypto.engine.test_engine_levels import account, engine, feed, server
from tests.execution import factories
from tests.execution.trading_process import until
from tests.fakes.exchange.actions import move_price
from tests.fakes.exchange.server import Server

__all__ = ["account", "engine", "feed", "server"]
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.slow,
    pytest.mark.parametrize("server", ["binance"], indirect=True),
]
HELD = D("0.515")
NAME = "BTCUSDT"


def change(server: Server, **fields: Any) -> None:
    """Change the exchange's market; what the adapter and the engine know of it stays."""
    with server.venue.lock:
        server.venue.markets[NAME] = replace(server.venue.markets[NAME], **fields)


def opened(account: ExecutionConnection, feed: Feed, server: Server, **fields: Any) -> Signal:
    """Buy 0.515 coins, whose levels the engine watches; return the signal."""
    preset = account.preset
    assert preset is not None
    preset.fixed_quantity = HELD
    preset.save()
    server.venue.max_conditional = 0
    signal = factories.signal(feed, currency_pair="BTC/USDT", sl=D(45000), **fields)
    until(lambda: ExecutionPosition.objects.filter(sl_guardian="ENGINE", quantity=HELD).exists())
    return signal


def reach(account: ExecutionConnection, server: Server, price: int) -> None:
    move_price(server.venue, NAME, D(price))
    factories.quote(account, f"{price}", f"{price}.1", pair="BTC/USDT")
    enqueue(scan_levels())


def exits(server: Server) -> list[D]:
    with server.venue.lock:
        return [order.filled for order in server.venue.orders if order.side == "SELL"]


def endings() -> list[tuple[str, str, str]]:
    found = Order.objects.exits().order_by("id").values_list("leg", "status", "reason")
    return list(found)


def exit_blocker() -> str:
    position: Any = with_prices(ExecutionPosition.objects.all()).get()
    return str(position.exit_blocker)


def test_stop_is_executed_although_its_market_was_loaded_in_a_halt(
    account: ExecutionConnection, feed: Feed, server: Server
) -> None:
    opened(account, feed, server)
    change(server, state="PENDING_TRADING")
    run_test(account.pk)  # it loads them
    change(server, state="")
    reach(account, server, 44000)
    until(lambda: ExecutionPosition.objects.get().quantity == 0)
    assert (exits(server), endings()) == ([HELD], [("sl", "FILLED", "")])


def test_close_is_computed_again_when_the_step_has_changed(
    account: ExecutionConnection, feed: Feed, server: Server
) -> None:
    signal = opened(account, feed, server)
    change(server, step=D("0.01"))
    factories.close_signal(signal)
    until(lambda: exits(server) == [D("0.51")])
    assert Instrument.objects.get().quantity_step == D("0.01")
    assert [order.quantity for order in Order.objects.exits()] == [D("0.51")]

    def is_notified() -> bool:
        factories.pass_time(60)
        enqueue(scan_levels())
        return exit_blocker() == "EXIT_BELOW_MINIMUM" and len(factories.events("exit.delayed")) > 0

    until(is_notified)  # what is below a step stays open, and nothing more is sent
    assert ExecutionPosition.objects.get().quantity == D("0.005")
    count = len(endings())
    factories.pass_time(1000)
    assert (scan_levels(), len(endings())) == ([], count)


@pytest.mark.parametrize(("price", "leg"), [(0, "close-1"), (56000, "tp-1"), (44000, "sl")])
def test_part_is_computed_again_when_the_step_has_changed(
    account: ExecutionConnection, feed: Feed, server: Server, price: int, leg: str
) -> None:
    targets = [("55000", "0.335"), ("60000", "0.665")]
    signal = opened(account, feed, server, targets=targets)
    change(server, step=D("0.01"))
    if price:
        reach(account, server, price)
    else:
        factories.close_signal(signal, "0.335")
    sold = D("0.51") if leg == "sl" else D("0.17")
    until(lambda: exits(server) == [sold])
    until(lambda: ExecutionPosition.objects.get().quantity == HELD - sold)
    assert (Order.objects.get(leg=leg).status, Order.objects.get(leg=leg).quantity) == (
        "FILLED", sold,
    )  # fmt: skip


def test_refused_part_of_a_close_is_repeated_until_it_is_done(
    account: ExecutionConnection, feed: Feed, server: Server
) -> None:
    signal = opened(account, feed, server)
    server.venue.closed = True
    factories.close_signal(signal, "0.335")
    until(lambda: endings()[:1] == [("close-1", "REJECTED", "MARKET_CLOSED")])
    server.venue.closed = False

    def is_done() -> bool:
        factories.pass_time(60)
        enqueue(scan_levels())
        return bool(ExecutionPosition.objects.get().quantity == HELD - D("0.172"))

    until(is_done)
    factories.pass_time(1000)
    assert scan_levels() == []
    assert exits(server) == [D("0.172")]
