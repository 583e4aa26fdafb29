"""One process with many accounts: what they share, its bounds, and that none delays another."""

import asyncio
import logging
import subprocess
import sys
import tomllib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from brokers.base import Rejected
from brokers.crypto import client as client_module
from brokers.crypto.adapter import CryptoAdapter
from brokers.crypto.client import ClientPool
from brokers.crypto.order_cache import OrderCache
from brokers.record_cache import RecordCache
from brokers.types import CheckResult, ReportKind, Side
from common.clocks import machine_time
from tests.crypto.factories import D, ExchangeAccount, allow, any_account, close, open_account
from tests.fakes.exchange.venue import Fault

__all__ = ["any_account"]
HOUR_AGO = timedelta(hours=1)


def test_hanging_exchange_delays_no_other() -> None:
    slow, quick = open_account("bybit"), open_account("binance")
    adapter = CryptoAdapter(ClientPool({"bybit": slow.server.base, "binance": quick.server.base}))
    slow.venue.faults.append(Fault("late", seconds=60, on="read"))
    done: list[str] = []

    async def read_account(account: ExchangeAccount) -> None:
        await adapter.account(account.spec)
        done.append(account.spec.exchange_name)

    async def read_both() -> None:
        await adapter._clients._loop_state()
        waiting = asyncio.create_task(read_account(slow))
        await asyncio.sleep(0)
        await read_account(quick)
        assert done == ["binance"]
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await adapter.disconnect()

    asyncio.run(read_both())
    close(slow)
    close(quick)


def test_accounts_of_one_exchange_share_its_markets() -> None:
    account = open_account("binance")
    other = replace(account.spec, connection_id="22222222-2222-4222-8222-222222222222")
    account.load_markets()
    account.run(account.adapter.instruments(other))
    assert sum("exchangeInfo" in line for line in account.venue.request_lines) == 1
    assert account.adapter.instrument_book(other) == account.adapter.instrument_book(account.spec)
    close(account)


def test_markets_load_right_after_machine_start(monkeypatch: pytest.MonkeyPatch) -> None:
    account, started = open_account("binance"), machine_time()
    monkeypatch.setattr(client_module, "machine_time", lambda: machine_time() - started + 60.0)
    account.load_markets()
    assert account.run(account.adapter.positions(account.spec)) == []
    close(account)


def test_accounts_of_one_exchange_share_renewed_markets() -> None:
    account = open_account("binance")
    specs = [
        replace(account.spec, connection_id=f"{n}{account.spec.connection_id[1:]}") for n in "234"
    ]

    async def renew() -> list[client_module.Client]:
        pool = account.adapter._clients
        clients = [await pool.get(spec) for spec in specs]
        for client in clients:
            client.markets_at -= client_module.MARKETS_SECONDS + 1
        await asyncio.gather(*(pool.get(spec) for spec in specs))
        await asyncio.gather(*(await pool._loop_state()).renewing)
        return clients

    clients = account.run(renew())
    assert sum("exchangeInfo" in line for line in account.venue.request_lines) == 2
    assert len({id(client.exchange.markets) for client in clients}) == 1
    assert all(client.is_fresh and not client.is_renewing for client in clients)
    close(account)


def test_markets_are_renewed_in_the_background(monkeypatch: pytest.MonkeyPatch) -> None:
    account = open_account("binance")
    account.load_markets()
    client = account.run(account.adapter._clients.get(account.spec))

    async def renew_after_an_hour(fault: bool) -> None:
        client.markets_at -= client_module.MARKETS_SECONDS + 1
        if fault:
            account.venue.faults.append(Fault("status", 503, "<html>", on="read"))
        assert await account.adapter._clients.get(account.spec) is client
        await asyncio.gather(*(await account.adapter._clients._loop_state()).renewing)

    account.run(renew_after_an_hour(True))
    assert machine_time() - client.markets_at > client_module.MARKETS_SECONDS - 120
    began = machine_time()
    account.run(renew_after_an_hour(False))
    assert sum("exchangeInfo" in line for line in account.venue.request_lines) == 3
    assert client.markets_at >= began
    close(account)


def test_connection_test_reports_missing_sandbox() -> None:
    account = open_account("kraken", sandbox=True)
    (check,) = account.run(account.adapter.test(account.spec))
    assert (check.result, "sandbox" in check.detail) == (CheckResult.FAIL, True)
    close(account)


def test_connection_test_reports_missing_perpetuals() -> None:
    account = open_account("kraken", market="swap")
    (check,) = account.run(account.adapter.test(account.spec))
    assert (check.result, "spot only" in check.detail) == (CheckResult.FAIL, True)
    close(account)


def test_read_refused_for_clock_skew_is_repeated(any_account: ExchangeAccount) -> None:
    any_account.load_markets()
    any_account.venue.skew_ms = 120_000
    assert any_account.run(any_account.adapter.account(any_account.spec)).balance == D(100000)


def test_kraken_requests_keep_their_order() -> None:
    account = open_account("kraken")
    account.load_markets()
    requests = [account.order(quantity=D("0.01")) for _ in range(3)]

    async def together() -> None:
        await asyncio.gather(
            *(account.adapter.submit(account.spec, order, allow) for order in requests)
        )

    account.run(together())
    assert sum(account.venue.accepted(order.client_order_id) for order in requests) == 3
    close(account)


def test_working_order_is_cached_longer_than_ended_ones() -> None:
    account = open_account("binance")
    account.load_markets()
    cache = account.adapter._order_cache = OrderCache(RecordCache(5))
    working = account.order(limit_price=D(40000))
    account.submit(working)
    ended = [account.order(quantity=D("0.01")) for _ in range(8)]
    for order in ended:
        account.submit(order)
    assert len(cache) == 5
    assert cache.get(account.spec.connection_id, ended[0].client_order_id) is None
    sent = len(account.venue.orders)
    (report,) = account.submit(working)  # the same again: it was accepted before
    assert report.kind is ReportKind.ACCEPTED
    assert len(account.venue.orders) == sent
    close(account)


def test_fill_owner_does_not_depend_on_the_cache() -> None:
    account = open_account("binance", swap=True)
    account.load_markets()
    account.adapter._order_cache = OrderCache(RecordCache(2))
    ours = [account.order(quantity=D("0.01")) for _ in range(5)]
    for order in ours:
        account.submit(order)
    since = datetime.now(UTC) - HOUR_AGO
    for _ in range(2):
        reports = account.run(account.adapter.fills_since(account.spec, since))
        assert sorted(report.client_order_id for report in reports) == sorted(
            order.client_order_id for order in ours
        )
        assert len(account.adapter._order_cache) <= 2
    close(account)


def test_unsuccessful_order_is_evicted_first() -> None:
    account = open_account("binance")
    account.load_markets()
    cache = account.adapter._order_cache = OrderCache(RecordCache(2))
    working = account.order(limit_price=D(40000))
    account.submit(working)
    for _ in range(3):
        with pytest.raises(Rejected):
            account.submit(account.order(quantity=D(1000)))
    assert len(cache) == 2
    assert cache.was_accepted(account.spec.connection_id, working.client_order_id)
    account.cancel(working)
    absent = account.order(limit_price=D(40000))
    assert account.find(absent.client_order_id) is None
    account.submit(absent)
    assert cache.was_accepted(account.spec.connection_id, absent.client_order_id)
    close(account)


def test_same_number_on_two_symbols_is_two_orders() -> None:
    cache = OrderCache(RecordCache(9))
    cache.record_listed("c", "ours", "BTC/USDT", {"id": "7", "status": "closed"})
    assert cache.by_broker_id("c", "ETH/USDT", "7") is None
    cache.set_client_order_id("c", "ETH/USDT", "7", "", ended=True)
    btc, eth = (cache.by_broker_id("c", symbol, "7") for symbol in ("BTC/USDT", "ETH/USDT"))
    assert btc is not None
    assert eth is not None
    assert (btc.client_order_id, eth.client_order_id, len(cache)) == ("ours", "", 2)


@pytest.mark.processes
def test_ccxt_is_imported_only_when_needed() -> None:
    program = (
        "import sys, brokers.crypto.adapter as a, brokers.crypto.codes\n"
        "from brokers.types import ConnectionSpec\n"
        "crypto = a.create()\n"
        "crypto.capabilities(ConnectionSpec('c', 'a', exchange_name='okx'))\n"
        "print(sorted({'ccxt', 'aiohttp'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


WITHOUT_CCXT = """
import asyncio, sys
sys.modules["ccxt"] = None  # as on a machine without it
from tests.crypto.requests import AN_ORDER, A_SPEC
from brokers.base import BrokerError
from brokers.crypto.adapter import create

crypto = create()

async def call_adapter():
    (check,) = await crypto.test(A_SPEC)
    print(check.name, check.result, check.detail, check.hint)
    for call in (crypto.account(A_SPEC), crypto.submit(A_SPEC, AN_ORDER, lambda _: None)):
        try:
            await call
        except BrokerError as error:
            print(type(error).__name__, error)

asyncio.run(call_adapter())
"""


@pytest.mark.processes
def test_calls_without_ccxt_name_what_to_install() -> None:
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_CCXT], capture_output=True, text=True, check=True
    )
    check, read, order = result.stdout.splitlines()
    assert check.startswith("library fail")
    assert read.startswith("ReadFailed LIBRARY_MISSING")
    assert order.startswith("NotSent LIBRARY_MISSING")
    assert all("requirements-crypto.txt" in line for line in (check, read, order))


def test_crypto_extra_matches_pinned_requirement() -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text())
    (extra,) = project["project"]["optional-dependencies"]["crypto"]
    pinned = [line.split()[0] for line in Path("requirements-crypto.in").read_text().splitlines()
              if line.startswith("ccxt")]  # fmt: skip
    assert pinned == [extra]


def test_adapter_has_no_event_stream_and_no_common_clock(any_account: ExchangeAccount) -> None:
    assert any_account.run(any_account.adapter.events(10)) == []
    any_account.run(any_account.adapter.acknowledge(["x"]))
    assert any_account.run(any_account.adapter.clock()) is None
    assert any_account.adapter.capabilities(any_account.spec).event_stream is False
    assert any_account.order(side=Side.SELL).side is Side.SELL


def test_debug_log_has_no_key_or_signature(caplog: pytest.LogCaptureFixture) -> None:
    account = open_account("okx")
    with caplog.at_level(logging.DEBUG):
        account.submit(account.order())
        account.run(account.adapter.positions(account.spec))
    assert account.spec.credentials
    for secret in account.spec.credentials.values():
        assert secret not in caplog.text
    assert "OK-ACCESS-SIGN" not in caplog.text
    close(account)
