"""TCP connections to an exchange: kept alive and shared, also by accounts."""

import asyncio
import gc
from dataclasses import replace
from typing import Any

import pytest

from brokers.crypto.adapter import CryptoAdapter
from brokers.crypto.client import ClientPool
from brokers.types import ConnectionSpec, OrderRequest
from tests.crypto.factories import D, VenueSetup, allow, close, open_venue, unlimited_rates
from tests.fakes.exchange.server import Server
from tests.fakes.exchange.venue import Venue

ORDERS = 12


def two_accounts(name: str) -> tuple[VenueSetup, list[ConnectionSpec]]:
    """One exchange with two accounts, and one adapter that speaks for both."""
    home = open_venue(name)
    other = Venue(
        home.venue.markets, home.venue.prices, {"USDT": D(100_000)}, key="key-2", uid="2002"
    )
    home.venue.balances["USDT"] = other.balances["USDT"] = D(10_000_000)
    home.server.stop()
    home.server = Server(type(home.server._dialect), home.venue, other)
    home.adapter = CryptoAdapter(ClientPool({name: home.server.base}, unlimited_rates))
    keys = {"api_key": other.key, "secret": other.secret, "password": other.password}
    return home, [home.spec, replace(home.spec, connection_id="c-2", credentials=keys)]


@pytest.mark.parametrize("name", ["binance", "bybit", "okx", "kraken"])
def test_orders_of_two_accounts_one_after_another_share_one_line(name: str) -> None:
    home, specs = two_accounts(name)
    try:
        for number in range(ORDERS):
            spec = specs[number % 2]
            request = replace(home.order(), connection_id=spec.connection_id)
            home.run(home.adapter.submit(spec, request, allow))
        taken = [len(one.orders) for one in home.server.accounts.values()]
        assert taken == [ORDERS // 2, ORDERS // 2]
        assert home.server.lines == 1  # markets, clocks, keys and orders of both
    finally:
        close(home)
        home.server.stop()


def test_what_is_at_once_has_a_line_each_and_these_are_used_again() -> None:
    home, specs = two_accounts("binance")

    async def at_once() -> None:
        async def place(spec: ConnectionSpec, request: OrderRequest) -> None:
            await home.adapter.submit(spec, request, allow)

        made = [(spec, replace(home.order(), connection_id=spec.connection_id))
                for spec in specs for _ in range(3)]  # fmt: skip
        await asyncio.gather(*(place(*one) for one in made))

    try:
        for spec in specs:
            home.run(home.adapter.instruments(spec))
        for _ in range(4):
            home.run(at_once())
        assert sum(len(one.orders) for one in home.server.accounts.values()) == 24
        assert home.server.lines <= 6
    finally:
        close(home)
        home.server.stop()


def test_who_come_first_together_open_one_session_and_leave_none_behind() -> None:
    home, specs = two_accounts("binance")
    told: list[dict[str, Any]] = []

    async def together() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, what: told.append(what))
        await asyncio.gather(*(home.adapter.instruments(spec) for spec in specs))

    try:
        home.run(together())
        gc.collect()  # a session that nobody closed says so when it is thrown away
        assert told == []
    finally:
        close(home)
        home.server.stop()
