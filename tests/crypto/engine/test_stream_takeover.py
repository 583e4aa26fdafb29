"""A process that listens to an exchange is killed: another one listens instead."""

import base64
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection as database

from connections.models import ExecutionConnection
from execution.models import WorkerLease
from execution.runtime import order_streams
from signals.models import Feed
from tests.crypto.engine.streamed_account import (
    ONE,
    Exchange,
    alice,
    exchange,
    is_filled,
    resting,
    state,
)
from tests.crypto.engine.test_engine import engine, feed
from tests.execution.trading_process import until

__all__ = ["alice", "engine", "exchange", "feed"]
pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True), pytest.mark.slow]


@pytest.fixture
def process(
    alice: ExecutionConnection, exchange: Exchange, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator["subprocess.Popen[bytes]"]:
    """Another trading process. This one listens to no account until `monkeypatch` is undone."""
    monkeypatch.setattr(order_streams, "MAX_STREAMS", 0)
    of = database.settings_dict
    environment = {
        **os.environ,
        "DATABASE_URL": f"postgresql://{of['USER']}:{of['PASSWORD']}@{of['HOST']}:{of['PORT']}"
        f"/{of['NAME']}",
        "FILLCAST_CREDENTIALS_PUBLIC_KEY": _text(settings.FILLCAST_CREDENTIALS_PUBLIC_KEY),
        "FILLCAST_CREDENTIALS_PRIVATE_KEYS": _text(settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS[0]),
    }
    command = [sys.executable, "-m", "tests.crypto.engine.stream_process", exchange.name]
    process = subprocess.Popen([*command, exchange.server.base], env=environment)
    yield process
    process.kill()
    process.communicate()


def _text(key: bytes) -> str:
    return base64.b64encode(key).decode()


@pytest.mark.parametrize("exchange", ONE, indirect=True)
def test_killed_process_is_replaced(
    alice: ExecutionConnection, feed: Feed, exchange: Exchange,
    process: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    resting(feed)
    until(lambda: state().stream_since)
    holder = state().stream_holder
    assert WorkerLease.objects.get(pk=holder).pid == process.pid
    monkeypatch.undo()
    process.kill()
    until(lambda: state().stream_holder != holder and state().stream_since)
    exchange.reach()
    until(is_filled)
    assert exchange.server.sockets.live_with_orders == 1
