"""Results are read from a real streaming replica, which lags, dies and is promoted."""

import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction

from analytics import replica
from analytics.models import AnalyticsDaily
from analytics.replica import JOB_SECONDS, replica_lag, replica_rows
from analytics.results.closed_trades import Scope, trade_results
from analytics.services import compute_changed
from common.clocks import MarketClock, set_market_clock
from common.db.direct_sessions import REPLICA
from common.db.sql import Query, rows, run
from ops.doctor.database_paths import judge_replica
from ops.doctor.verdicts import FAIL, OK, WARN
from tests.faults import postgres_clusters
from tests.faults.replica_pair import (
    CLOSED,
    END,
    PAUSE,
    START,
    Pair,
    WhereRow,
    account,
    close,
    following,
    is_replica,
    total,
)
from tests.faults.servers import manage
from tests.ports import closed_port

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.faults,
]


def test_replica_answers_with_all_that_is_committed(pair: Pair) -> None:
    alice = account("alice")
    assert is_replica(patience=JOB_SECONDS)
    run("SET log_statement = 'all'", using=REPLICA)
    for closed in range(1, 21):
        close(alice, closed)
        assert total(alice) == sum(range(1, closed + 1))
    run("RESET log_statement", using=REPLICA)
    assert pair.standby.log.read_text().count("GROUPING SETS") >= 10  # a busy machine lags


@pytest.mark.quick
def test_results_equal_those_of_the_primary(pair: Pair) -> None:
    bob = account("bob")
    for pnl in (30, -20, 45, -5):
        close(bob, pnl)
    scope = Scope([bob.pk], START, END)
    assert is_replica(patience=JOB_SECONDS)
    by_replica = trade_results(scope)
    with transaction.atomic():
        close(bob, 0).delete()  # so that the primary answers
        assert not is_replica()
        by_primary = trade_results(scope)
    assert by_replica == by_primary
    assert by_replica.sums.total == 50


def test_daily_computation_searches_on_the_replica(pair: Pair) -> None:
    carol = account("carol")
    close(carol, 7)
    set_market_clock(MarketClock(CLOSED + timedelta(days=20), datetime.now(UTC), 1))
    assert date(2026, 3, 4) in compute_changed()  # not one of the last days
    assert date(2026, 3, 4) not in compute_changed(corrected=10)
    assert AnalyticsDaily.objects.get(connection=carol).total_pnl == 7


def test_own_change_is_read_on_the_primary(pair: Pair) -> None:
    dora = account("dora")
    close(dora, 10)
    with transaction.atomic():
        assert is_replica()
        close(dora, 5)  # not committed
        assert not is_replica()
        assert total(dora) == 15
    assert is_replica()


@pytest.mark.quick
def test_lagging_replica_is_waited_for_and_then_left_alone(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(replica.PAUSE_SECONDS, "lags", 600.0)
    waits = []
    wait = replica._has_replayed

    def counted(written: str, patience: float) -> bool:
        waits.append(patience)
        return wait(written, patience)

    erin = account("erin")
    assert is_replica(patience=JOB_SECONDS)
    pair.on_standby("SELECT pg_wal_replay_pause()")
    close(erin, 3)
    monkeypatch.setattr(replica, "_has_replayed", counted)
    began = time.monotonic()
    assert total(erin) == 3  # three statements, of which the first one waited
    assert time.monotonic() - began >= replica.PAGE_SECONDS
    assert not is_replica()
    assert waits == [replica.PAGE_SECONDS]
    assert replica_lag()["lag"] > 0
    replica._pause.end()
    with ThreadPoolExecutor(1) as threads:
        resumed = threads.submit(resume_later, pair)
        assert is_replica(patience=JOB_SECONDS)  # a job waits longer than a page
        resumed.result()
    assert total(erin) == 3


def resume_later(pair: Pair) -> None:
    time.sleep(2 * replica.PAGE_SECONDS)
    pair.on_standby("SELECT pg_wal_replay_resume()")


def test_transaction_does_not_wait_as_long_as_a_job(pair: Pair) -> None:
    frank = account("frank")
    assert is_replica(patience=JOB_SECONDS)
    pair.on_standby("SELECT pg_wal_replay_pause()")
    try:
        close(frank, 3)
        began = time.monotonic()
        with transaction.atomic():
            assert not is_replica(patience=JOB_SECONDS)
        assert time.monotonic() - began < 2 * replica.PAGE_SECONDS
    finally:
        pair.on_standby("SELECT pg_wal_replay_resume()")


@pytest.mark.quick
def test_killed_replica_is_replaced_by_the_primary(pair: Pair) -> None:
    grace = account("grace")
    close(grace, 4)
    assert is_replica(patience=JOB_SECONDS)
    assert pair.standby.process is not None
    pair.standby.process.send_signal(signal.SIGQUIT)
    pair.standby.process.wait(30)
    close(grace, 5)
    with transaction.atomic():  # the request's transaction is not lost
        assert total(grace) == 9
    assert not is_replica()
    pair.standby.start()
    time.sleep(PAUSE)
    assert is_replica(patience=JOB_SECONDS)
    assert total(grace) == 9


def test_cancelled_statement_is_run_by_the_primary(pair: Pair) -> None:
    slow = Query(WhereRow, "SELECT pg_is_in_recovery() AS is_replica FROM pg_sleep(%s)")
    assert replica_rows(slow, (0.1,), patience=JOB_SECONDS)[0].is_replica
    with ThreadPoolExecutor(1) as threads:
        cancelled = threads.submit(cancel_sleeping, pair)
        assert not replica_rows(slow, (2,), patience=JOB_SECONDS)[0].is_replica
        cancelled.result()


def cancel_sleeping(pair: Pair) -> None:
    time.sleep(0.5)
    pair.on_standby(
        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
        " WHERE query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()"
    )


# In the web role, where row-level security holds.
TENANT = """
import json
from analytics.replica import replica_rows
from common.db.sql import Query
from typing import NamedTuple
from users.models import User
from users.tenancy import for_all_tenants, on_behalf_of

class Row(NamedTuple):
    who: list
    is_replica: bool

OWNERS = Query(Row, "SELECT array_agg(DISTINCT user_id ORDER BY user_id) AS who,"
                    " pg_is_in_recovery() AS is_replica FROM connections_executionconnection")
found = [replica_rows(OWNERS, patience=30)[0]]
for pk in IDS:
    with on_behalf_of(User(pk=pk, is_active=True)):
        found.append(replica_rows(OWNERS)[0])
        with for_all_tenants():
            found.append(replica_rows(OWNERS)[0])
print(json.dumps(found))
"""


def test_tenants_see_their_own_rows_only(pair: Pair) -> None:
    ids = [account(name).user_id for name in ("heidi", "ivan")]
    every = rows("SELECT array_agg(DISTINCT user_id ORDER BY user_id) AS w"
                 " FROM connections_executionconnection")[0].w  # fmt: skip
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("FILLCAST_")},
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DATABASE_URL": pair.primary.url,
        "FILLCAST_DATABASES": f"replica={pair.standby.url}",
        "FILLCAST_DB_ROLE": "web",
        "FILLCAST_ENV_FILE": os.devnull,
    }
    expected = [None, [ids[0]], every, [ids[1]], every]
    assert tenants_rows(environ, ids) == [[owners, True] for owners in expected]
    with closed_port() as port:
        environ["FILLCAST_DATABASES"] = f"replica=postgresql://user@127.0.0.1:{port}/none"
        assert tenants_rows(environ, ids) == [[owners, False] for owners in expected]


def tenants_rows(environ: Mapping[str, str], ids: Sequence[int | None]) -> Any:
    """Return what a process of the web role reads, and whether the replica answered."""
    done = manage(environ, ["shell", "--no-imports", "-c", f"IDS = {ids}\n{TENANT}"])
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_promoted_replica_is_no_longer_asked(servers_of: Pair) -> None:
    pair = servers_of
    promoted = pair.clusters.standby(pair.primary, "promoted")
    with postgres_clusters.at(promoted.url):
        postgres_clusters.promote()
    judy = account("judy")
    close(judy, 8)
    with following(promoted.url):
        assert not is_replica()
        assert total(judy) == 8
        assert not replica_lag()["follows"]


@pytest.mark.quick
def test_doctor_judges_the_replica() -> None:
    whole: dict[str, Any] = {"is_ours": True, "follows": True, "lag": 1_000, "timelines": (2, 2)}
    assert judge_replica(**whole).result is OK
    assert judge_replica(**{**whole, "lag": 10**9}).result is WARN
    assert judge_replica(**{**whole, "timelines": (1, 2)}).result is WARN
    assert judge_replica(**{**whole, "is_ours": False}).result is FAIL
    assert judge_replica(**{**whole, "follows": False}).result is FAIL
