"""Exports over a real connection: rows are read while they are sent, however slow the reader is."""

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.conf import settings
from django.db import connection as database

from positions.models import ExecutionPosition
from tests.analytics import factories
from tests.web_process import WebProcess
from users.services import create_api_key

pytestmark = [
    pytest.mark.processes,
    pytest.mark.django_db(transaction=True),
]
TRADES = 24_000  # 10 MB of lines, several times what sockets hold
PATH = "/api/v1/analytics/export/trades/?format=ndjson&from=2026-01-01&to=2026-03-01"
COPIES = """
INSERT INTO positions_executionposition ({columns}, entry_leg, closed_at)
SELECT {columns}, 'c' || n, closed_at + n * interval '1 second'
FROM positions_executionposition, generate_series(1, %s) n
"""


@pytest.fixture(scope="module")
def web(
    tmp_path_factory: pytest.TempPathFactory, django_db_setup: None, django_db_blocker: Any
) -> Iterator[WebProcess]:
    log = tmp_path_factory.mktemp("web") / "web.log"
    with django_db_blocker.unblock(), WebProcess(log) as process:
        yield process


@pytest.fixture
def key() -> str:
    """The API key of a tenant with many closed trades."""
    owner = factories.user()
    (signal,) = factories.signals(owner, 1)
    closed_at = datetime(2026, 2, 2, 12, tzinfo=UTC)
    factories.trade(factories.connection(owner), signal, closed_at=closed_at, pnl=Decimal(1)).save()
    columns = ", ".join(
        field.column
        for field in ExecutionPosition._meta.concrete_fields
        if field.column not in ("id", "entry_leg", "closed_at")
    )
    with database.cursor() as cursor:
        cursor.execute(COPIES.format(columns=columns), (TRADES - 1,))
    return create_api_key(owner, "export")[1]


@contextmanager
def asked(web: WebProcess, key: str, path: str = PATH) -> Iterator[http.client.HTTPResponse]:
    """Ask for a stream by a connection that buffers little; nothing of the body is read yet."""
    sent = socket.socket()
    sent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
    sent.settimeout(120)
    sent.connect(("127.0.0.1", web.port))
    browser = http.client.HTTPConnection("127.0.0.1", web.port)
    browser.sock = sent
    try:
        browser.request("GET", path, headers={"Authorization": f"Bearer {key}"})
        answer = browser.getresponse()
        assert (answer.status, answer.chunked) == (200, True), answer.read()
        yield answer
    finally:
        browser.close()


def test_last_row_is_read_long_after_the_first_was_sent(web: WebProcess, key: str) -> None:
    last = ExecutionPosition.objects.order_by("closed_at").last()
    assert last is not None
    with asked(web, key) as answer:
        first = json.loads(answer.readline())
        ExecutionPosition.objects.filter(pk=last.pk).update(realized_pnl=Decimal(777))
        rest = [json.loads(line) for line in answer]
    assert (first["net"], rest[-1]["net"]) == ("1", "777")
    assert len({line["position"] for line in (first, *rest)}) == TRADES


@pytest.mark.exhaustive
def test_slow_readers_keep_no_session_of_the_database(web: WebProcess, key: str) -> None:
    """There are more of them than sessions, and each is in the middle of its stream."""
    most = settings.DATABASES["default"]["OPTIONS"].get("pool", {"max_size": 16})["max_size"]
    with ExitStack() as readers:
        for _ in range(most + 2):
            assert readers.enter_context(asked(web, key)).readline()
        with asked(web, key, PATH.replace("trades", "days")) as answer:
            assert sum(json.loads(line)["trades"] for line in answer) == TRADES


def test_stream_that_breaks_off_is_not_taken_for_a_whole_one(web: WebProcess, key: str) -> None:
    def sql(statement: str) -> None:
        with database.cursor() as cursor:
            cursor.execute(f"{statement} fillcast_web")

    with asked(web, key) as answer:
        assert answer.readline()
        sql("REVOKE SELECT ON positions_executionposition FROM")
        try:
            with pytest.raises(http.client.IncompleteRead):
                answer.read()
        finally:
            sql("GRANT SELECT ON positions_executionposition TO")
