"""A replica that hangs, whose network is cut, or that follows another primary: the primary answers,
before its server would end the waiting transaction.
"""

import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
from django.db import connections, transaction

from analytics import replica
from analytics.replica import CURRENT, JOB_SECONDS, PRIMARY, replica_lag, replica_rows
from common.db.direct_sessions import REPLICA
from common.db.replica_sessions import (
    ANSWER,
    READY,
    STATEMENT,
    _limit,
    answers_within,
    lease_part,
)
from common.db.sql import Query, rows, run
from config.databases import IDLE_IN_TRANSACTION
from connections.models import ExecutionConnection
from tests.faults import postgres_clusters
from tests.faults.network_proxy import Network
from tests.faults.replica_pair import (
    Pair,
    WhereRow,
    account,
    close,
    following,
    hung,
    is_replica,
    total,
)

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.faults,
]


def expect_primary_in_time(connection_: ExecutionConnection, expected: int) -> None:
    """Check that a request's transaction gets its answer before the primary would end it."""
    began = time.monotonic()
    with transaction.atomic():
        assert total(connection_) == expected
        took = time.monotonic() - began
        assert took < lease_part(IDLE_IN_TRANSACTION)
        assert rows("SELECT 1 AS n")[0].n == 1  # the transaction is not lost
    assert took > lease_part(READY) / 2, "it was not asked"
    began = time.monotonic()
    assert not is_replica()
    assert time.monotonic() - began < 0.1  # it is left alone


def test_hung_replica_is_replaced_by_the_primary(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(replica.PAUSE_SECONDS, "fails", 30.0)
    kate = account("kate")
    close(kate, 6)
    for _ in range(2):  # with a session that was open, and one that must be opened
        replica._pause.end()
        assert is_replica(patience=JOB_SECONDS)
        with hung(pair.standby):
            expect_primary_in_time(kate, 6)
            replica._pause.end()
            expect_primary_in_time(kate, 6)


def test_statement_of_a_replica_that_hangs_is_given_up(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hangs in the middle: the limit of the answer, not of getting ready."""
    monkeypatch.setitem(replica.PAUSE_SECONDS, "fails", 30.0)
    slow = Query(WhereRow, "SELECT pg_is_in_recovery() AS is_replica FROM pg_sleep(%s)")
    assert is_replica(patience=JOB_SECONDS)
    ready, answer = lease_part(READY), lease_part(ANSWER)
    with ThreadPoolExecutor(1) as threads, transaction.atomic():
        began = time.monotonic()
        release = threads.submit(hang_for, pair, after=0.2, seconds=ready + answer + 1)
        assert not replica_rows(slow, (0.5,))[0].is_replica
        took = time.monotonic() - began - 0.5  # the primary's own statement
        assert answer / 2 < took < lease_part(IDLE_IN_TRANSACTION)
        release.result()


def hang_for(pair: Pair, *, after: float, seconds: float) -> None:
    time.sleep(after)
    with hung(pair.standby):
        time.sleep(seconds)


def test_replica_behind_a_cut_network_is_replaced_by_the_primary(
    servers_of: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(replica.PAUSE_SECONDS, "fails", 30.0)
    leo = account("leo")
    close(leo, 7)
    parts = urlsplit(servers_of.standby.url)
    assert parts.hostname is not None
    assert parts.port is not None
    with Network((parts.hostname, parts.port)) as network:
        url = servers_of.standby.url.replace(f":{parts.port}/", f":{network.port}/")
        with following(url):
            assert is_replica(patience=JOB_SECONDS)
            network.partition()
            expect_primary_in_time(leo, 7)
            replica._pause.end()
            expect_primary_in_time(leo, 7)
            network.heal()
            replica._pause.end()
            assert is_replica(patience=JOB_SECONDS)


def test_kernel_gives_a_silent_host_up_within_seconds(pair: Pair) -> None:
    """The limits of the network, which a test cannot cut below TCP: as the socket has them."""
    assert is_replica(patience=JOB_SECONDS)
    session = connections[REPLICA].connection
    options = {
        socket.TCP_KEEPIDLE: 2, socket.TCP_KEEPINTVL: 1, socket.TCP_KEEPCNT: 2,
        socket.TCP_USER_TIMEOUT: 3_000,
    }  # fmt: skip
    with socket.socket(fileno=os.dup(session.fileno())) as kernel:
        assert {name: kernel.getsockopt(socket.IPPROTO_TCP, name) for name in options} == options
        assert kernel.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


def test_limits_add_up_to_less_than_an_idle_transaction_has() -> None:
    assert READY + ANSWER < IDLE_IN_TRANSACTION
    assert STATEMENT < ANSWER
    with answers_within(1), answers_within(5):  # the shorter one holds
        assert _limit.until - time.monotonic() <= 1
    assert _limit.until == float("inf")


def test_replica_of_another_timeline_is_not_asked(
    servers_of: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failover it still follows the old primary, whose log may be longer."""
    pair = servers_of
    mia = account("mia")
    close(mia, 1)
    promoted = pair.clusters.standby(pair.primary, "new_primary")
    with postgres_clusters.at(promoted.url):
        postgres_clusters.promote()
        close(mia, 2)
    close(mia, 40)  # on the old primary, and so on its standby
    for _ in range(3):
        rows("SELECT pg_switch_wal() AS w")
        run("CREATE TABLE longer AS SELECT generate_series(1, 1000) AS n")
        run("DROP TABLE longer")
    monkeypatch.setitem(replica.PAUSE_SECONDS, "differs", 30.0)
    with following(pair.standby.url):
        assert is_replica(patience=JOB_SECONDS)  # of the old primary it is
        with postgres_clusters.at(promoted.url):
            assert rows(CURRENT, (rows(PRIMARY)[0].written,), using=REPLICA)[0].is_current
            assert not is_replica()  # in the same session
            assert total(mia) == 3
            assert replica_lag()["timelines"] == (1, 2)
            replica._pause.end()
        assert is_replica(patience=JOB_SECONDS)
