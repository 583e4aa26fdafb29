"""The prices process on its own follows what an exchange tells: no worker runs beside it."""

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
from connections.credentials.sealing import seal_credentials
from connections.health.connection_checks import run_test
from connections.market_data.sources import get_or_create_broker_source
from connections.models import ExecutionConnection, HealthStatus, SourceHealth
from execution.models import WorkerLease
from prices.selectors import latest
from tests.connections import make
from tests.crypto.test_engine import exchange, until
from tests.fakes.exchange.server import Server

__all__ = ["exchange"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


@pytest.fixture
def keys(settings: Any) -> dict[str, str]:
    """What opens credentials, as settings of another process."""
    private = new_private_key()
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = public_key_of(private)
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (private,)
    said = {"PUBLIC_KEY": public_key_of(private), "PRIVATE_KEYS": private}
    return {
        f"FILLCAST_CREDENTIALS_{name}": base64.b64encode(key).decode() for name, key in said.items()
    }


@pytest.fixture
def alice(keys: dict[str, str], exchange: tuple[str, Server]) -> ExecutionConnection:
    """Her account tells its own prices; its test has passed, and nothing has traded."""
    name, server = exchange
    venue = server.venue
    said = {"market": "spot", "symbols": ["EUR/USD"], "currency": "USD"}
    row = make.connection(
        type="crypto", account="main", exchange_name=name, settings=said,
        sealed_credentials=None, health_status=HealthStatus.UNTESTED,
    )  # fmt: skip
    secrets = {"api_key": venue.key, "secret": venue.secret, "password": venue.password}
    row.sealed_credentials = seal_credentials(secrets, connection_id=row.pk, owner_id=row.owner_id)
    row.data_connection = get_or_create_broker_source(row)
    row.save()
    with asyncio.Runner() as runner:
        checks = run_test(row.pk, run=runner.run)
        runner.run(adapter_for("crypto").disconnect())
    assert [one for one in checks if one.result == "fail"] == []
    return row


@pytest.fixture
def process(
    alice: ExecutionConnection, keys: dict[str, str], exchange: tuple[str, Server]
) -> Iterator["subprocess.Popen[str]"]:
    """`manage.py prices`, which reaches our exchange."""
    told, (name, server) = database.settings_dict, exchange
    url = (
        f"postgresql://{told['USER']}:{told['PASSWORD']}@{told['HOST']}:{told['PORT']}"
        f"/{told['NAME']}"
    )
    started = subprocess.Popen(
        [sys.executable, "-m", "tests.crypto.prices_process", name, server.base],
        env={**os.environ, **keys, "DATABASE_URL": url}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    yield started
    started.kill()
    started.communicate()


def test_it_follows_an_account_without_a_lane(
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
    found = SourceHealth.objects.get(pk=source)
    assert (found.error_code, found.pairs, found.followed_by) == ("", ["EUR/USD"], "prices")
    roles = WorkerLease.objects.values_list("role", flat=True)
    assert list(roles) == ["prices"]  # nobody else could have told

    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 0, said
    assert "stopped after" in said
