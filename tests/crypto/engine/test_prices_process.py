"""The prices process follows an exchange without a worker beside it."""

import asyncio
import base64
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal as D
from typing import Any

import pytest
from django.db import connection as database

from brokers.registry import adapter_for
from common.sealing import new_private_key, public_key_of
from connections.health.connection_checks import run_test
from connections.market_data.sources import get_or_create_broker_source
from connections.models import ExecutionConnection, HealthStatus, SourceHealth
from connections.sealing import seal_credentials
from execution.models import WorkerLease
from prices.selectors import latest
from tests.connections import make
from tests.crypto.engine.test_engine import exchange
from tests.execution.trading_process import until
from tests.fakes.exchange.server import Server

__all__ = ["exchange"]
pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True), pytest.mark.slow]


@pytest.fixture
def keys(settings: Any) -> dict[str, str]:
    """The keys that open credentials, as environment variables of another process."""
    private = new_private_key()
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = public_key_of(private)
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (private,)
    values = {"PUBLIC_KEY": public_key_of(private), "PRIVATE_KEYS": private}
    return {
        f"FILLCAST_CREDENTIALS_{name}": base64.b64encode(key).decode()
        for name, key in values.items()
    }


@pytest.fixture
def alice(keys: dict[str, str], exchange: tuple[str, Server]) -> ExecutionConnection:
    """An account that is its own price source; its test has passed, and nothing has traded."""
    name, server = exchange
    venue = server.venue
    account_settings = {"market": "spot", "symbols": ["EUR/USD"], "currency": "USD"}
    row = make.connection(
        type="crypto", account="main", exchange_name=name, settings=account_settings,
        sealed_credentials=None, health_status=HealthStatus.UNTESTED,
    )  # fmt: skip
    credentials = {"api_key": venue.key, "secret": venue.secret, "password": venue.password}
    row.sealed_credentials = seal_credentials(
        credentials, connection_id=row.pk, owner_id=row.owner_id
    )
    row.data_connection = get_or_create_broker_source(row)
    row.save()
    with asyncio.Runner() as runner:
        checks = run_test(row.pk, run=runner.run)
        runner.run(adapter_for("crypto").disconnect())
    assert [check for check in checks if check.result == "fail"] == []
    return row


@pytest.fixture
def process(
    alice: ExecutionConnection, keys: dict[str, str], exchange: tuple[str, Server]
) -> Iterator["subprocess.Popen[str]"]:
    """`manage.py prices`, which reaches the fake exchange."""
    database_settings, (exchange_name, server) = database.settings_dict, exchange
    url = (
        f"postgresql://{database_settings['USER']}:{database_settings['PASSWORD']}@{database_settings['HOST']}:{database_settings['PORT']}"
        f"/{database_settings['NAME']}"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.crypto.prices_process", exchange_name, server.base],
        env={**os.environ, **keys, "DATABASE_URL": url}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    yield process
    process.kill()
    process.communicate()


def test_prices_process_follows_account_without_worker(
    alice: ExecutionConnection,
    process: "subprocess.Popen[str]",
    exchange: tuple[str, Server],
) -> None:
    source, venue = alice.data_connection_id, exchange[1].venue
    assert source is not None
    until(lambda: latest(source))
    venue.prices[next(iter(venue.prices))] = D("1.2000")
    until(lambda: latest(source)["EUR/USD"].bid == D("1.2000"))
    until(lambda: SourceHealth.objects.filter(pk=source, last_contact_at__isnull=False).exists())
    health = SourceHealth.objects.get(pk=source)
    assert (health.error_code, health.pairs, health.followed_by) == ("", ["EUR/USD"], "prices")
    roles = WorkerLease.objects.values_list("role", flat=True)
    assert list(roles) == ["prices"]  # the only process that could have stored quotes

    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    assert "stopped after" in stderr
