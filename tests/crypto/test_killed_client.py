"""The client is killed while the exchange has its order: it is found, and was accepted once."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from brokers.base import OutcomeUnknown, ReadFailed
from brokers.crypto import order_cache
from brokers.crypto.adapter import CryptoAdapter
from brokers.crypto.client import ClientPool
from brokers.types import OrderReport, ReportKind
from tests.crypto.factories import unlimited_rates
from tests.crypto.requests import AN_ORDER, spec_of
from tests.fakes.exchange.process import DIALECTS, VenueProcess
from tests.fakes.exchange.venue import Fault

WITHIN = 30.0


@pytest.fixture(params=DIALECTS)
def venue(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, VenueProcess]]:
    running = VenueProcess(request.param, tmp_path / "journal")
    yield request.param, running
    running.stop()


def ask(running: VenueProcess, path: str, told: Any = None) -> Any:
    """Talk to the double itself."""
    body = None if told is None else json.dumps(told).encode()
    with urllib.request.urlopen(f"{running.base}/double/{path}", body, timeout=10) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def until(happened: Any) -> None:
    end = time.monotonic() + WITHIN
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.02)


def find(exchange: str, base: str, name: str) -> list[OrderReport] | None:
    """What a new process's adapter finds."""

    async def look() -> list[OrderReport] | None:
        adapter = CryptoAdapter(ClientPool({exchange: base}, unlimited_rates))
        try:
            return await adapter.find_order(spec_of(exchange), name, AN_ORDER.symbol)
        finally:
            await adapter.disconnect()

    return asyncio.run(look())


def test_a_killed_clients_order_is_found_and_was_accepted_once(
    venue: tuple[str, VenueProcess],
) -> None:
    exchange, running = venue
    name = AN_ORDER.client_order_id
    ask(running, "faults", asdict(Fault("late", seconds=60.0)))
    client = subprocess.Popen(
        [sys.executable, "-m", "tests.crypto.client_process", exchange, running.base, name],
        stdout=subprocess.PIPE,
    )
    until(lambda: running.accepted() == [name])
    os.kill(client.pid, signal.SIGKILL)
    client.communicate()
    told = find(exchange, running.base, name)
    assert told is not None
    assert [one.kind for one in told] == [ReportKind.FILLED]
    assert sum(fill.quantity for fill in told[0].fills) == AN_ORDER.quantity
    assert (running.accepted(), ask(running, "arrived")) == ([name], 1)


def test_what_never_arrived_is_absent_to_a_new_process_and_not_yet_to_the_one_that_sent_it(
    venue: tuple[str, VenueProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new one knows nothing of the sending: the engine waits for it (`arrives_within`)."""
    exchange, running = venue
    ask(running, "faults", asdict(Fault("drop")))
    spec = spec_of(exchange)
    monkeypatch.setattr(order_cache, "ARRIVES_SECONDS", 3600.0)  # however slow the machine is

    async def lose() -> None:
        adapter = CryptoAdapter(ClientPool({exchange: running.base}, unlimited_rates))
        with pytest.raises(OutcomeUnknown):
            await adapter.submit(spec, AN_ORDER, lambda _: None)
        with pytest.raises(ReadFailed):  # it might still be on its way
            await adapter.find_order(spec, AN_ORDER.client_order_id, AN_ORDER.symbol)
        await adapter.disconnect()

    asyncio.run(lose())
    assert find(exchange, running.base, AN_ORDER.client_order_id) is None
    assert (running.accepted(), ask(running, "arrived")) == ([], 1)
