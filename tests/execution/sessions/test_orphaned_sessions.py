"""Sessions left in a process that no longer owns their lane are closed."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from brokers.types import ConnectionSpec
from common.db.sql import run
from connections.models import ExecutionConnection
from execution.runtime.trading_runtime import TradingRuntime
from tests.execution.fake_broker import FakeBroker

LANE = "sessions.5"


@pytest.fixture
def laned(alice: ExecutionConnection) -> ExecutionConnection:
    ExecutionConnection.objects.filter(pk=alice.pk).update(lane=LANE)
    return ExecutionConnection.objects.get(pk=alice.pk)


@pytest.fixture
def open_here(broker: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The accounts with a session: a read opens one, answered or not, as at IBKR."""
    opened: set[str] = set()
    account, disconnect = broker.account, broker.disconnect

    async def read(spec: ConnectionSpec) -> Any:
        try:
            return await account(spec)
        finally:
            opened.add(spec.connection_id)

    async def end(spec: ConnectionSpec | None = None) -> None:
        await disconnect(spec)
        opened.discard(spec.connection_id if spec else "")

    monkeypatch.setattr(broker, "account", read)
    monkeypatch.setattr(broker, "disconnect", end)
    return opened


def test_read_that_outlives_its_lane_leaves_no_session(
    laned: ExecutionConnection, session: TradingRuntime, broker: FakeBroker, open_here: set[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    session.sessions.maintain()
    asked, release, real = threading.Event(), threading.Event(), broker.account

    async def slowly(spec: ConnectionSpec) -> Any:
        asked.set()
        await asyncio.to_thread(release.wait, 10)
        return await real(spec)

    monkeypatch.setattr(broker, "account", slowly)
    reading = threading.Thread(target=_in_thread, args=(session.sessions.read,))
    reading.start()
    assert asked.wait(60)
    run("UPDATE connections_lanelease SET owner = 'another', fence = fence + 1")
    session.renew()
    session.sessions.maintain()
    release.set()
    reading.join(60)
    assert open_here == {str(laned.pk)}  # opened again by a late read
    _sweep(session)
    assert open_here == set()


def test_account_moved_by_its_settings_leaves_no_session(
    laned: ExecutionConnection, session: TradingRuntime, open_here: set[str]
) -> None:
    session.sessions.maintain()
    session.sessions.read()
    assert open_here == {str(laned.pk)}
    ExecutionConnection.objects.filter(pk=laned.pk).update(lane="mt5.elsewhere")
    _sweep(session)
    assert open_here == set()


def _sweep(session: TradingRuntime) -> None:
    session.sessions._orphans_checked_at = float("-inf")
    session.sessions.maintain()


def _in_thread(what: Callable[[], object]) -> None:
    try:
        what()
    finally:
        connection.close()
