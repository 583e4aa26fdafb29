"""One process with many accounts: shared, bounded, and none in the other's way."""

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
from tests.crypto.factories import D, VenueSetup, allow, close, each, open_venue
from tests.fakes.exchange.venue import Fault

__all__ = ["each"]
HOUR_AGO = timedelta(hours=1)


def test_one_exchange_that_hangs_delays_no_other() -> None:
    slow, quick = open_venue("bybit"), open_venue("binance")
    adapter = CryptoAdapter(ClientPool({"bybit": slow.server.base, "binance": quick.server.base}))
    slow.venue.faults.append(Fault("late", seconds=60, on="read"))
    done: list[str] = []

    async def ask(house: VenueSetup) -> None:
        await adapter.account(house.spec)
        done.append(house.spec.exchange_name)

    async def both() -> None:
        await adapter._clients._home()
        waiting = asyncio.create_task(ask(slow))
        await asyncio.sleep(0)
        await ask(quick)
        assert done == ["binance"]
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await adapter.disconnect()

    asyncio.run(both())
    close(slow)
    close(quick)


def test_accounts_of_one_exchange_share_its_markets() -> None:
    made = open_venue("binance")
    other = replace(made.spec, connection_id="22222222-2222-4222-8222-222222222222")
    made.warm()
    made.run(made.adapter.instruments(other))
    assert sum("exchangeInfo" in line for line in made.venue.seen) == 1
    assert made.adapter.instrument_book(other) == made.adapter.instrument_book(made.spec)
    close(made)


def test_a_machine_that_has_just_started_loads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    made, started = open_venue("binance"), machine_time()
    monkeypatch.setattr(client_module, "machine_time", lambda: machine_time() - started + 60.0)
    made.warm()
    assert made.run(made.adapter.positions(made.spec)) == []
    close(made)


def test_accounts_of_one_exchange_share_its_markets_when_they_are_renewed_too() -> None:
    made = open_venue("binance")
    specs = [replace(made.spec, connection_id=f"{n}{made.spec.connection_id[1:]}") for n in "234"]

    async def renew() -> list[client_module.Client]:
        kept = made.adapter._clients
        found = [await kept.of(spec) for spec in specs]
        for client in found:
            client.markets_at -= client_module.MARKETS_SECONDS + 1
        await asyncio.gather(*(kept.of(spec) for spec in specs))
        await asyncio.gather(*(await kept._home()).renewing)
        return found

    found = made.run(renew())
    assert sum("exchangeInfo" in line for line in made.venue.seen) == 2
    assert len({id(client.exchange.markets) for client in found}) == 1
    assert all(client.is_fresh and not client.is_renewing for client in found)
    close(made)


def test_markets_are_renewed_without_anybody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    made = open_venue("binance")
    made.warm()
    client = made.run(made.adapter._clients.of(made.spec))

    async def later(fault: bool) -> None:
        client.markets_at -= client_module.MARKETS_SECONDS + 1
        if fault:
            made.venue.faults.append(Fault("status", 503, "<html>", on="read"))
        assert await made.adapter._clients.of(made.spec) is client
        await asyncio.gather(*(await made.adapter._clients._home()).renewing)

    made.run(later(True))
    assert machine_time() - client.markets_at > client_module.MARKETS_SECONDS - 120
    made.run(later(False))
    assert sum("exchangeInfo" in line for line in made.venue.seen) == 3
    assert machine_time() - client.markets_at < 60
    close(made)


def test_where_there_is_no_sandbox_the_test_says_so() -> None:
    made = open_venue("kraken", sandbox=True)
    (check,) = made.run(made.adapter.test(made.spec))
    assert (check.result, "sandbox" in check.detail) == (CheckResult.FAIL, True)
    close(made)


def test_where_there_are_no_perpetuals_the_test_says_so() -> None:
    made = open_venue("kraken", market="swap")
    (check,) = made.run(made.adapter.test(made.spec))
    assert (check.result, "spot only" in check.detail) == (CheckResult.FAIL, True)
    close(made)


def test_a_clock_that_went_wrong_is_measured_anew_for_reads(each: VenueSetup) -> None:
    each.warm()
    each.venue.skew_ms = 120_000
    assert each.run(each.adapter.account(each.spec)).balance == D(100000)


def test_krakens_requests_never_overtake_each_other() -> None:
    made = open_venue("kraken")
    made.warm()
    requests = [made.order(quantity=D("0.01")) for _ in range(3)]

    async def together() -> None:
        await asyncio.gather(*(made.adapter.submit(made.spec, one, allow) for one in requests))

    made.run(together())
    assert sum(made.venue.accepted(one.client_order_id) for one in requests) == 3
    close(made)


def test_an_order_that_rests_is_remembered_longer_than_those_that_ended() -> None:
    made = open_venue("binance")
    made.warm()
    memory = made.adapter._memory = OrderCache(RecordCache(5))
    rests = made.order(limit_price=D(40000))
    made.submit(rests)
    ended = [made.order(quantity=D("0.01")) for _ in range(8)]
    for one in ended:
        made.submit(one)
    assert len(memory) == 5
    assert memory.of(made.spec.connection_id, ended[0].client_order_id) is None
    sent = len(made.venue.orders)
    (told,) = made.submit(rests)  # the same once more: it was accepted before
    assert told.kind is ReportKind.ACCEPTED
    assert len(made.venue.orders) == sent
    close(made)


def test_whose_a_fill_is_does_not_depend_on_what_is_remembered() -> None:
    made = open_venue("binance", swap=True)
    made.warm()
    made.adapter._memory = OrderCache(RecordCache(2))
    ours = [made.order(quantity=D("0.01")) for _ in range(5)]
    for one in ours:
        made.submit(one)
    since = datetime.now(UTC) - HOUR_AGO
    for _ in range(2):
        told = made.run(made.adapter.fills_since(made.spec, since))
        assert sorted(one.client_order_id for one in told) == sorted(
            one.client_order_id for one in ours
        )
        assert len(made.adapter._memory) <= 2
    close(made)


def test_an_order_that_came_to_nothing_is_forgotten_first() -> None:
    made = open_venue("binance")
    made.warm()
    memory = made.adapter._memory = OrderCache(RecordCache(2))
    rests = made.order(limit_price=D(40000))
    made.submit(rests)
    for _ in range(3):
        with pytest.raises(Rejected):
            made.submit(made.order(quantity=D(1000)))
    assert len(memory) == 2
    assert memory.was_accepted(made.spec.connection_id, rests.client_order_id)
    made.cancel(rests)
    absent = made.order(limit_price=D(40000))
    assert made.find(absent.client_order_id) is None
    made.submit(absent)
    assert memory.was_accepted(made.spec.connection_id, absent.client_order_id)
    close(made)


def test_numbers_of_two_symbols_are_two_orders() -> None:
    memory = OrderCache(RecordCache(9))
    memory.seen("c", "ours", "BTC/USDT", {"id": "7", "status": "closed"})
    assert memory.at("c", "ETH/USDT", "7") is None
    memory.belongs("c", "ETH/USDT", "7", "", ended=True)
    btc, eth = (memory.at("c", symbol, "7") for symbol in ("BTC/USDT", "ETH/USDT"))
    assert btc is not None
    assert eth is not None
    assert (btc.name, eth.name, len(memory)) == ("ours", "", 2)


def test_nothing_of_ccxt_is_imported_before_it_is_needed() -> None:
    look = (
        "import sys, brokers.crypto.adapter as a, brokers.crypto.codes\n"
        "from brokers.types import ConnectionSpec\n"
        "crypto = a.create()\n"
        "crypto.capabilities(ConnectionSpec('c', 'a', exchange_name='okx'))\n"
        "print(sorted({'ccxt', 'aiohttp'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


WITHOUT = """
import asyncio, sys
sys.modules["ccxt"] = None  # as on a machine that does not have it
from tests.crypto.requests import AN_ORDER, A_SPEC
from brokers.base import BrokerError
from brokers.crypto.adapter import create

crypto = create()

async def look():
    (check,) = await crypto.test(A_SPEC)
    print(check.name, check.result, check.detail, check.hint)
    for call in (crypto.account(A_SPEC), crypto.submit(A_SPEC, AN_ORDER, lambda _: None)):
        try:
            await call
        except BrokerError as error:
            print(type(error).__name__, error)

asyncio.run(look())
"""


def test_without_ccxt_each_call_says_what_to_install() -> None:
    told = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True
    )
    check, read, order = told.stdout.splitlines()
    assert check.startswith("library fail")
    assert read.startswith("ReadFailed LIBRARY_MISSING")
    assert order.startswith("NotSent LIBRARY_MISSING")
    assert all("requirements-crypto.txt" in line for line in (check, read, order))


def test_the_extra_is_what_is_pinned() -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text())
    (extra,) = project["project"]["optional-dependencies"]["crypto"]
    wanted = [line.split()[0] for line in Path("requirements-crypto.in").read_text().splitlines()
              if line.startswith("ccxt")]  # fmt: skip
    assert wanted == [extra]


def test_there_is_no_stream_and_no_common_clock(each: VenueSetup) -> None:
    assert each.run(each.adapter.events(10)) == []
    each.run(each.adapter.acknowledge(["x"]))
    assert each.run(each.adapter.clock()) is None
    assert each.adapter.capabilities(each.spec).event_stream is False
    assert each.order(side=Side.SELL).side is Side.SELL


def test_no_log_has_a_key_or_a_signature_however_much_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    made = open_venue("okx")
    with caplog.at_level(logging.DEBUG):
        made.submit(made.order())
        made.run(made.adapter.positions(made.spec))
    assert made.spec.credentials
    for secret in made.spec.credentials.values():
        assert secret not in caplog.text
    assert "OK-ACCESS-SIGN" not in caplog.text
    close(made)
