"""The client is killed after the exchange accepted its order: it is found, and was sent once."""

import asyncio
import json
import os
import signal
import subprocess
import sys
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
from tests.sampling import often
from tests.until import until

pytestmark = pytest.mark.processes

TIMEOUT_SECONDS = 120.0


@pytest.fixture(params=often(DIALECTS, every=4))
def venue(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, VenueProcess]]:
    running = VenueProcess(request.param, tmp_path / "journal")
    yield request.param, running
    running.stop()


def call_control(running: VenueProcess, path: str, content: Any = None) -> Any:
    """Call a control route of the fake exchange."""
    body = None if content is None else json.dumps(content).encode()
    with urllib.request.urlopen(f"{running.base}/control/{path}", body, timeout=10) as response:
        text = response.read()
    return json.loads(text) if text else None


def find(exchange: str, base: str, client_order_id: str) -> list[OrderReport] | None:
    """Look up an order with the adapter of a new process."""

    async def find_order() -> list[OrderReport] | None:
        adapter = CryptoAdapter(ClientPool({exchange: base}, unlimited_rates))
        try:
            return await adapter.find_order(spec_of(exchange), client_order_id, AN_ORDER.symbol)
        finally:
            await adapter.disconnect()

    return asyncio.run(find_order())


def test_order_of_killed_client_is_found_and_accepted_once(venue: tuple[str, VenueProcess]) -> None:
    exchange, running = venue
    client_order_id = AN_ORDER.client_order_id
    call_control(running, "faults", asdict(Fault("late", seconds=60.0)))
    client = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.crypto.client_process",
            exchange,
            running.base,
            client_order_id,
        ],
        stdout=subprocess.PIPE,
    )
    until(lambda: running.accepted() == [client_order_id])
    os.kill(client.pid, signal.SIGKILL)
    client.communicate()
    reports = find(exchange, running.base, client_order_id)
    assert reports is not None
    assert [report.kind for report in reports] == [ReportKind.FILLED]
    assert sum(fill.quantity for fill in reports[0].fills) == AN_ORDER.quantity
    assert (running.accepted(), call_control(running, "arrived")) == ([client_order_id], 1)


def test_lost_order_is_absent_to_new_process_before_its_sender(
    venue: tuple[str, VenueProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new process does not know when the order was sent; the engine waits (`arrives_within`)."""
    exchange, running = venue
    call_control(running, "faults", asdict(Fault("drop")))
    spec = spec_of(exchange)
    monkeypatch.setattr(order_cache, "ARRIVES_SECONDS", 3600.0)  # on any machine, however slow

    async def submit_and_lose() -> None:
        adapter = CryptoAdapter(ClientPool({exchange: running.base}, unlimited_rates))
        with pytest.raises(OutcomeUnknown):
            await adapter.submit(spec, AN_ORDER, lambda _: None)
        with pytest.raises(ReadFailed):  # it might still arrive
            await adapter.find_order(spec, AN_ORDER.client_order_id, AN_ORDER.symbol)
        await adapter.disconnect()

    asyncio.run(submit_and_lose())
    assert find(exchange, running.base, AN_ORDER.client_order_id) is None
    assert (running.accepted(), call_control(running, "arrived")) == ([], 1)
