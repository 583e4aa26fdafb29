"""Processes, servers and buses that are killed, or that hang."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from ops.embedded.postgres import NAME
from tests.stack.injected_failures import raises
from tests.stack.watched_stack import LEASE_SECONDS, WatchedStack


# ---- processes ----------------------------------------------------------------------------
@raises("WebDoesNotAnswer")
def web_process_is_killed(stack: WatchedStack) -> Iterator[None]:
    with stack.killed("web"):
        yield


@raises("WebDoesNotAnswer")
def web_process_hangs(stack: WatchedStack) -> Iterator[None]:
    with stack.suspended("web"):
        yield


@raises("NoWorker", seen_after=LEASE_SECONDS)
def worker_for_entries_is_killed(stack: WatchedStack) -> Iterator[None]:
    with stack.killed("execution-1"):
        yield


@raises("NoWorker", seen_after=LEASE_SECONDS)
def worker_for_entries_hangs(stack: WatchedStack) -> Iterator[None]:
    with stack.suspended("execution-1"):
        yield


@raises("NoExitWorker", seen_after=LEASE_SECONDS)
def worker_for_exits_is_killed(stack: WatchedStack) -> Iterator[None]:
    with stack.killed("exits"):
        yield


@raises("NoExitWorker", seen_after=LEASE_SECONDS)
def worker_for_exits_hangs(stack: WatchedStack) -> Iterator[None]:
    with stack.suspended("exits"):
        yield


@raises("NoMaintenanceWorker", seen_after=LEASE_SECONDS)
def maintenance_worker_is_killed(stack: WatchedStack) -> Iterator[None]:
    with stack.killed("maintenance"):
        yield


@raises("NoMaintenanceWorker", seen_after=LEASE_SECONDS)
def maintenance_worker_hangs(stack: WatchedStack) -> Iterator[None]:
    with stack.suspended("maintenance"):
        yield


@raises("LanesNotHeld", seen_after=LEASE_SECONDS)
def session_worker_is_killed(stack: WatchedStack) -> Iterator[None]:
    with stack.killed("sessions"):
        yield


@raises("LanesNotHeld", seen_after=LEASE_SECONDS)
def session_worker_hangs(stack: WatchedStack) -> Iterator[None]:
    with stack.suspended("sessions"):
        yield


@raises(
    "SchedulerLate",
    seen_after=120,
    late="it requests a scan once a minute, and workers scan without it",
)
def scheduler_is_killed(stack: WatchedStack) -> Iterator[Callable[[], object]]:
    with stack.killed("beat"):
        yield lambda: stack.rows(
            "UPDATE execution_levelscanheartbeat SET"
            " scheduled_at = clock_timestamp() - interval '121 s'"
        )


@raises("JobHangs", seen_after=60, late="a job may wait for half a minute, and then for another")
def job_hangs(stack: WatchedStack) -> Iterator[Callable[[], object]]:
    yield lambda: stack.rows(
        "INSERT INTO common_callfigure AS f (kind, name, operation, outcome, seconds, counts)"
        " VALUES ('job', 'journals', '', 'long', 33, array_fill(0, ARRAY[11]) || 1)"
        " ON CONFLICT (kind, name, operation, outcome) DO UPDATE SET counts[12] = f.counts[12] + 1"
    )


@raises(
    "NoPricesProcess",
    "PricesStopped",
    seen_after=45,
    late="a source may be silent for 45 s",
    because="one states what to start, the other one that something open needs it",
)
def prices_process_is_killed(stack: WatchedStack) -> Iterator[Callable[[], object]]:
    with stack.open_position(guarded_by_engine=True), stack.killed("prices"):
        yield lambda: _silence_sources(stack, error_code="")


@raises("NoPricesProcess", seen_after=LEASE_SECONDS)
def prices_process_is_killed_while_the_market_is_closed(
    stack: WatchedStack,
) -> Iterator[Callable[[], object]]:
    with stack.open_position(guarded_by_engine=True), stack.killed("prices"):
        yield lambda: _silence_sources(stack, error_code="MARKET_CLOSED")


@raises("BusBehind", seen_after=300, late="a bus may be five minutes behind")
def buses_process_is_killed(stack: WatchedStack) -> Iterator[Callable[[], object]]:
    with stack.killed("buses"):
        yield lambda: _age_bus(stack)


@raises("BusNotReceived", seen_after=20)
def bus_receiver_is_killed(stack: WatchedStack) -> Iterator[Callable[[], object]]:
    with stack.killed("bus_receiver"):
        yield lambda: _age_lane(stack)


# ---- servers ------------------------------------------------------------------------------
@raises("DatabaseDoesNotAnswer")
def postgresql_is_stopped(stack: WatchedStack) -> Iterator[None]:
    stack.servers.end_postgres(signal.SIGINT)
    yield
    stack.servers.postgres.start()
    stack.wait_until_well()


@raises("DatabaseDoesNotAnswer")
def postgresql_hangs(stack: WatchedStack) -> Iterator[None]:
    assert stack.servers.postgres.process is not None
    with _suspended_with_children(stack.servers.postgres.process.pid):
        yield
    stack.wait_until_well()


@raises("DatabaseDoesNotAnswer")
def postgresql_takes_no_sessions(stack: WatchedStack) -> Iterator[None]:
    url = stack.servers.ours.url
    with psycopg.connect(url.removesuffix(NAME) + "postgres", autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {NAME} ALLOW_CONNECTIONS false".encode())
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [NAME]
        )
        stack.servers.ours.close()  # ended, too
        yield
        admin.execute(f"ALTER DATABASE {NAME} ALLOW_CONNECTIONS true".encode())
    stack.wait_until_well()


@raises("FiguresMissing")
def table_is_locked(stack: WatchedStack) -> Iterator[None]:
    with psycopg.connect(stack.servers.ours.url) as session:
        session.execute("LOCK TABLE execution_auditrun IN ACCESS EXCLUSIVE MODE")
        yield
        session.rollback()


@raises("RedisDoesNotAnswer")
def redis_wants_another_password(stack: WatchedStack) -> Iterator[None]:
    with stack.servers.redis_client() as client:
        client.config_set("requirepass", "another")
        client.client_kill_filter(_type="normal", skipme=True)
        yield
        client.auth("another")
        client.config_set("requirepass", "")


@raises("RedisDoesNotAnswer")
def redis_is_killed(stack: WatchedStack) -> Iterator[None]:
    stack.servers.kill_redis()
    yield
    stack.servers.redis.start()


@raises("RedisDoesNotAnswer")
def redis_hangs(stack: WatchedStack) -> Iterator[None]:
    stack.servers.signal_redis(signal.SIGSTOP)
    yield
    stack.servers.signal_redis(signal.SIGCONT)


@raises("BusBehind", seen_after=300, late="a bus may be five minutes behind")
def outgoing_bus_is_killed(stack: WatchedStack) -> Iterator[Callable[[], object]]:
    stack.bus_out.kill()
    stack.trade()
    yield lambda: _age_bus(stack)
    stack.bus_out.start()


@raises("BusNotReceived", seen_after=20)
def incoming_bus_hangs(stack: WatchedStack) -> Iterator[Callable[[], object]]:
    stack.bus_in.pause()
    yield lambda: _age_lane(stack)
    stack.bus_in.resume()


@contextmanager
def _suspended_with_children(pid: int) -> Iterator[None]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    processes = [pid, *map(int, children)]
    for one in processes:
        os.kill(one, signal.SIGSTOP)
    try:
        yield
    finally:
        for one in processes:
            os.kill(one, signal.SIGCONT)


def _silence_sources(stack: WatchedStack, *, error_code: str) -> None:
    """State that no source has confirmed a price for 46 s, as the dead process last saw it."""
    stack.rows(
        "INSERT INTO connections_sourcehealth"
        " (source_id, last_contact_at, error_code, error, pairs, missing, followed_by)"
        " SELECT id, clock_timestamp() - interval '46 s', %s, '', '{}', '{}', ''"
        " FROM connections_dataconnection"
        " ON CONFLICT (source_id) DO UPDATE SET last_contact_at = excluded.last_contact_at,"
        " error_code = excluded.error_code",
        error_code,
    )


def _age_bus(stack: WatchedStack) -> None:
    stack.rows("UPDATE buses_bussink SET read_to = clock_timestamp() - interval '301 s'")


def _age_lane(stack: WatchedStack) -> None:
    stack.rows(
        "UPDATE buses_buslane SET polled_at = clock_timestamp() - interval '31 s',"
        " created_at = clock_timestamp() - interval '1 h'"
    )
