"""TCP connections to an exchange are kept alive and shared by its accounts."""

import asyncio
import gc
from dataclasses import replace
from typing import Any

import pytest

from brokers.crypto.adapter import CryptoAdapter
from brokers.crypto.client import ClientPool
from brokers.types import ConnectionSpec, OrderRequest
from tests.crypto.factories import D, ExchangeAccount, allow, close, open_account, unlimited_rates
from tests.fakes.exchange.server import Server
from tests.fakes.exchange.venue import Venue

ORDERS = 12


def two_accounts(name: str) -> tuple[ExchangeAccount, list[ConnectionSpec]]:
    """One exchange with two accounts, and one adapter for both."""
    account = open_account(name)
    other = Venue(
        account.venue.markets, account.venue.prices, {"USDT": D(100_000)}, key="key-2", uid="2002"
    )
    account.venue.balances["USDT"] = other.balances["USDT"] = D(10_000_000)
    account.server.stop()
    account.server = Server(type(account.server._dialect), account.venue, other)
    account.adapter = CryptoAdapter(ClientPool({name: account.server.base}, unlimited_rates))
    keys = {"api_key": other.key, "secret": other.secret, "password": other.password}
    return account, [account.spec, replace(account.spec, connection_id="c-2", credentials=keys)]


@pytest.mark.parametrize("name", ["binance", "bybit", "okx", "kraken"])
def test_sequential_orders_of_two_accounts_share_one_connection(name: str) -> None:
    account, specs = two_accounts(name)
    try:
        for number in range(ORDERS):
            spec = specs[number % 2]
            request = replace(account.order(), connection_id=spec.connection_id)
            account.run(account.adapter.submit(spec, request, allow))
        order_counts = [len(venue.orders) for venue in account.server.accounts.values()]
        assert order_counts == [ORDERS // 2, ORDERS // 2]
        # For the markets, clocks, keys and orders of both.
        assert account.server.connection_count == 1
    finally:
        close(account)
        account.server.stop()


def test_concurrent_orders_use_and_reuse_separate_connections() -> None:
    account, specs = two_accounts("binance")

    async def submit_concurrently() -> None:
        async def place(spec: ConnectionSpec, request: OrderRequest) -> None:
            await account.adapter.submit(spec, request, allow)

        orders = [(spec, replace(account.order(), connection_id=spec.connection_id))
                for spec in specs for _ in range(3)]  # fmt: skip
        await asyncio.gather(*(place(*order) for order in orders))

    try:
        for spec in specs:
            account.run(account.adapter.instruments(spec))
        for _ in range(4):
            account.run(submit_concurrently())
        assert sum(len(one.orders) for one in account.server.accounts.values()) == 24
        assert account.server.connection_count <= 6
    finally:
        close(account)
        account.server.stop()


def test_concurrent_first_calls_open_one_session() -> None:
    account, specs = two_accounts("binance")
    loop_errors: list[dict[str, Any]] = []

    async def load_both() -> None:
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: loop_errors.append(context)
        )
        await asyncio.gather(*(account.adapter.instruments(spec) for spec in specs))

    try:
        account.run(load_both())
        gc.collect()  # an unclosed session warns when it is collected
        assert loop_errors == []
    finally:
        close(account)
        account.server.stop()
