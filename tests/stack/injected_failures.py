"""Failures that are injected into a started stack, each with the alarms that it must raise.

A failure is a generator: it injects, yields, and mends. What it yields, if anything, is called
before each scrape. Of a time that an alarm allows (an order may be unknown for five minutes), the
stored time is moved, so that no test waits for it.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nats
import psycopg

from brokers.base import NotSent
from brokers.rate_limits import Rate, rate_limiter_for
from buses.incoming import intake
from buses.incoming.models import BusMessage
from common import stored_figures
from common.stored_figures import STORE_SECONDS
from connections.kill_switch import release_kill_switch, set_kill_switch
from connections.models import Epoch, HaltMode, KillSwitch
from execution.disaster_recovery.epochs import open_epoch, release_epoch
from execution.monitoring import watchdog
from tests.operational import reset, set_setting
from tests.ports import closed_port
from tests.stack.watched_stack import ACCOUNTS, WatchedStack
from tests.until import until
from users.models import User

SETTINGS_SECONDS = 2  # until a process follows a new version
LEASE_SECONDS = 10  # of FILLCAST_LEASE_SECONDS; tests have shorter ones
Injection = Callable[[WatchedStack], Iterator[Callable[[], object] | None]]


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure, and what it must raise.

    alarms: several only with a reason, which `because` states. seen_after: the longest time until
    /metrics shows it, by the product's own constants. late: why an alarm does not come within a
    minute. lasts: for how long the time line has it, in seconds.
    """

    inject: Injection
    alarms: frozenset[str]
    seen_after: float
    late: str
    because: str
    lasts: int

    @property
    def name(self) -> str:
        """Its name as words."""
        return self.inject.__name__


FAILURES: list[Failure] = []


def raises(
    *alarms: str, seen_after: float = 0, late: str = "", because: str = "", lasts: int = 300
) -> Callable[[Injection], Injection]:
    """Add a failure that raises these alarms."""

    def add(inject: Injection) -> Injection:
        FAILURES.append(Failure(inject, frozenset(alarms), seen_after, late, because, lasts))
        return inject

    return add


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


@raises("SchedulerLate", seen_after=120, late="it requests a scan once a minute, and workers scan without it")
def scheduler_is_killed(stack: WatchedStack) -> Iterator[Callable[[], object]]:
    with stack.killed("beat"):
        yield lambda: stack.rows(
            "UPDATE execution_levelscanheartbeat SET"
            " scheduled_at = clock_timestamp() - interval '121 s'"
        )


@raises("PricesStopped", seen_after=45, late="a source may be silent for 45 s")
def prices_process_is_killed(stack: WatchedStack) -> Iterator[Callable[[], object]]:
    with stack.open_position(guarded_by_engine=True), stack.killed("prices"):
        yield lambda: stack.rows(
            "UPDATE connections_sourcehealth SET"
            " last_contact_at = clock_timestamp() - interval '46 s'"
        )


@raises("BusBehind", seen_after=300, late="a bus may be five minutes behind")
def buses_process_is_killed(stack: WatchedStack) -> Iterator[Callable[[], object]]:
    with stack.killed("buses"):
        yield lambda: _age_bus(stack)


@raises("BusNotReceived", seen_after=30)
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


@raises("BusNotReceived", seen_after=30)
def incoming_bus_hangs(stack: WatchedStack) -> Iterator[Callable[[], object]]:
    stack.bus_in.pause()
    yield lambda: _age_lane(stack)
    stack.bus_in.resume()


# ---- brokers ------------------------------------------------------------------------------
@raises("BrokerHostDown")
def broker_is_killed(stack: WatchedStack) -> Iterator[None]:
    stack.environment.venue.kill()
    with suppress(AssertionError):
        stack.operator.do("publish", feed=ACCOUNTS)
    yield
    stack.environment.venue.start()
    stack.environment.settle()
    stack.wait_until_well()


@raises("BrokerCallsFail", seen_after=STORE_SECONDS)
def broker_does_not_answer_orders(stack: WatchedStack) -> Iterator[None]:
    stack.environment.broker(silent_after=True)
    stack.operator.do("quote")
    stack.operator.do("publish", feed=ACCOUNTS)
    yield
    stack.environment.broker(silent_after=False)
    stack.close_all()


@raises("OrdersSentSlowly", seen_after=STORE_SECONDS)
def broker_answers_slowly(stack: WatchedStack) -> Iterator[None]:
    stack.environment.broker(reply_delay_ms=2_700)
    stack.operator.do("quote")
    stack.operator.do("publish", feed=ACCOUNTS)
    yield
    stack.environment.broker(reply_delay_ms=0)
    stack.close_all()


@raises("RateLimitsUsedUp", seen_after=STORE_SECONDS)
def rate_limit_is_used_up(stack: WatchedStack) -> Iterator[None]:
    asyncio.run(_use_up_rate_limit())
    stored_figures.store()
    yield


@raises("ConnectionsInError")
def logins_are_refused(stack: WatchedStack) -> Iterator[None]:
    stack.refuse_logins(ACCOUNTS // 5)
    yield
    stack.refuse_logins(0)
    stack.wait_until_well()


@raises("OrderUnknown", seen_after=300, late="two look-ups a minute apart settle most of them")
def order_stays_unknown(stack: WatchedStack) -> Iterator[Callable[[], object]]:
    stack.environment.broker(silent_after=True)
    stack.operator.do("quote")
    stack.operator.do("publish", feed=ACCOUNTS)
    until(lambda: stack.rows("SELECT 1 FROM execution_order WHERE status = 'UNKNOWN'"))
    stack.environment.broker(silent_after=False)
    yield lambda: stack.rows(
        "UPDATE execution_order SET lookup_after = clock_timestamp() + interval '1 h',"
        " submitted_at = clock_timestamp() - interval '301 s' WHERE status = 'UNKNOWN'"
    )
    stack.rows(
        "UPDATE execution_order SET lookup_after = clock_timestamp() WHERE status = 'UNKNOWN'"
    )
    stack.close_all()


# ---- positions and orders -----------------------------------------------------------------
@raises("PositionsUnprotected", seen_after=30)
def position_has_no_stop(stack: WatchedStack) -> Iterator[Callable[[], object]]:
    with stack.open_position(), stack.session() as session:

        def lose_stop() -> None:
            session.rollback()
            stack.rows(
                "UPDATE positions_executionposition SET sl_guardian = '',"
                " unprotected_since = clock_timestamp() - interval '31 s' WHERE quantity > 0"
            )
            session.execute("SELECT 1 FROM positions_executionposition FOR UPDATE")

        yield lose_stop
        session.rollback()


@raises("LevelScanLate", seen_after=120, late="they are scanned once a minute, by workers after 75 s")
def levels_are_not_scanned(stack: WatchedStack) -> Iterator[None]:
    stack.rows(
        "UPDATE execution_levelscanheartbeat SET"
        " scanned_at = clock_timestamp() - interval '121 s'"
    )
    with stack.session() as session:
        session.execute("LOCK TABLE execution_levelscanheartbeat IN EXCLUSIVE MODE")
        yield


@raises("OrdersOverdue", seen_after=30)
def order_is_not_sent(stack: WatchedStack) -> Iterator[Callable[[], object]]:
    with stack.session() as session:
        session.execute("SELECT 1 FROM connections_connectionlock FOR UPDATE")
        stack.operator.do("quote")
        stack.operator.do("publish", feed=ACCOUNTS)
        yield lambda: stack.rows(
            "UPDATE execution_order SET due_at = clock_timestamp() - interval '31 s'"
            " WHERE status = 'PENDING'"
        )
    stack.close_all()


@raises("TradingHalted")
def operator_halts_everything(stack: WatchedStack) -> Iterator[None]:
    with _halted(HaltMode.HALTED):
        yield


@raises("TradingHalted")
def operator_halts_all_entries(stack: WatchedStack) -> Iterator[None]:
    with _halted(HaltMode.REDUCING):
        yield


@raises("AlertsWait", seen_after=30)
def alert_is_not_published(stack: WatchedStack) -> Iterator[Callable[[], object]]:
    with stack.session() as session:
        session.execute("SELECT 1 FROM signals_feed FOR NO KEY UPDATE")
        stack.rows(
            "INSERT INTO signals_incomingalert (feed_id, source, source_key, body, state,"
            " received_at, expires_at) SELECT id, 'WEBHOOK', 'late', '{}', 'WAITING',"
            " clock_timestamp(), clock_timestamp() + interval '1 h' FROM signals_feed LIMIT 1"
        )
        yield lambda: stack.rows(
            "UPDATE signals_incomingalert SET received_at = clock_timestamp() - interval '31 s'"
            " WHERE state = 'WAITING'"
        )


@raises("RecoveryEpochOpen")
def database_was_restored(stack: WatchedStack) -> Iterator[None]:
    open_epoch(Epoch.Cause.COMMAND, note="a drill")
    yield
    release_epoch(by=None, note="the drill is over", force=True)
    stack.wait_until_well()


@raises("SettingsInvalid", seen_after=SETTINGS_SECONDS)
def settings_are_invalid(stack: WatchedStack) -> Iterator[None]:
    version = (
        "INSERT INTO common_settingsversion (id, document, username, origin, why, source_digest)"
        " SELECT coalesce(max(id), 0) + 1, %s, '', 'command', 'a drill', ''"
        " FROM common_settingsversion"
    )
    stack.rows(version, '{"execution": {"poll_seconds": "soon"}}')
    yield
    stack.rows(version, stack.settings)


# ---- books --------------------------------------------------------------------------------
@raises("AuditFailed")
def order_row_is_lost(stack: WatchedStack) -> Iterator[None]:
    stack.trade()
    with stack.session() as session:
        session.execute("SET session_replication_role = replica")
        kept = session.execute(
            "SELECT to_jsonb(o) FROM execution_order o WHERE leg = 'entry' ORDER BY id DESC LIMIT 1"
        ).fetchone()
        assert kept is not None
        session.execute("DELETE FROM execution_order WHERE id = %s", [kept[0]["id"]])
        session.commit()
        stack.audit()
        yield
        session.execute(
            "INSERT INTO execution_order SELECT * FROM jsonb_populate_record("
            "NULL::execution_order, %s)",
            [psycopg.types.json.Jsonb(kept[0])],
        )
        session.commit()
    stack.audit()


@raises("AuditFailed")
def position_differs_from_its_fills(stack: WatchedStack) -> Iterator[None]:
    with stack.open_position():
        stack.rows("UPDATE positions_executionposition SET quantity = quantity + 1 WHERE sl > 0")
        stack.audit()
        yield
        stack.rows("UPDATE positions_executionposition SET quantity = quantity - 1 WHERE sl > 0")
    stack.audit()


@raises("AuditLate", seen_after=7200, late="it runs once an hour")
def audit_does_not_run(stack: WatchedStack) -> Iterator[None]:
    stack.rows("UPDATE execution_auditrun SET at = at - interval '7201 s'")
    yield
    stack.audit()


@raises("AuditLate", seen_after=7200, late="it runs once an hour")
def audit_has_never_run(stack: WatchedStack) -> Iterator[None]:
    stack.rows("DELETE FROM execution_auditrun")
    yield
    stack.audit()


@raises("AccountsNotJudged", seen_after=3600, late="an account may be away for two hours", lasts=7_500)
def account_cannot_be_judged(stack: WatchedStack) -> Iterator[None]:
    stack.rows(
        "INSERT INTO execution_auditrun (ok, counters, not_judged)"
        """ VALUES (false, '{"DUP": 0}', '[{"account": "1"}]')"""
    )
    yield
    stack.audit()


@raises("DifferencesWait", late="a person has half an hour to decide", lasts=2_100)
def difference_is_not_decided(stack: WatchedStack) -> Iterator[None]:
    stack.rows(
        "INSERT INTO execution_driftitem (kind, connection_id, key)"
        " SELECT 'UNKNOWN_ORDER', id, 'x' FROM connections_executionconnection LIMIT 1"
    )
    yield
    stack.rows("UPDATE execution_driftitem SET state = 'IGNORED'")


@raises("MessagesDropped")
def message_cannot_be_read(stack: WatchedStack) -> Iterator[None]:
    stack.send("ExecuteSignal", "no list of ids", queue="exits")
    yield


@raises("MessagesDropped")
def message_names_a_task_that_is_gone(stack: WatchedStack) -> Iterator[None]:
    stack.send("execution.of_yesterday", queue="maintenance")
    yield


# ---- the way to others --------------------------------------------------------------------
@raises("TasksFail", seen_after=STORE_SECONDS)
def task_fails(stack: WatchedStack) -> Iterator[None]:
    for _ in range(5):
        stack.send("execution.audit", 1, 2, 3, queue="maintenance")
    yield


@raises("BusRefusesEvents")
def bus_refuses_an_event(stack: WatchedStack) -> Iterator[None]:
    stack.rows(
        "INSERT INTO events_event (kind, payload)"
        """ VALUES ('host.down', jsonb_build_object('host', repeat('x', 2000000)))"""
    )
    yield
    stack.rows("DELETE FROM buses_deadletter")


@raises("BusMessagesNotCarriedOut")
def message_of_a_bus_has_no_route(stack: WatchedStack) -> Iterator[None]:
    asyncio.run(_send(stack.bus_in.url, "signals.approved.nobody"))
    yield
    for message in BusMessage.objects.dead():
        intake.discard(message.pk, by=User.objects.get(username="operator"))


@raises("MessagesNotDelivered", seen_after=120, late="a mail server may be away for two minutes")
def mail_server_does_not_answer(stack: WatchedStack) -> Iterator[Callable[[], object]]:
    channel = stack.operator.do("channel", url="mailto:olga@fillcast.example")
    stack.rows("UPDATE events_channel SET confirmed_at = clock_timestamp()")
    with _halted(HaltMode.REDUCING, scope=KillSwitch.Scope.BROKER_TYPE, broker_type="mt4"):
        pass
    until(lambda: stack.rows("SELECT 1 FROM events_delivery WHERE status = 'PENDING'"))
    yield lambda: stack.rows(
        "UPDATE events_event SET created_at = clock_timestamp() - interval '121 s'"
        " WHERE id IN (SELECT event_id FROM events_delivery WHERE status = 'PENDING')"
    )
    stack.rows("DELETE FROM events_delivery")
    stack.rows("DELETE FROM events_channel WHERE id = %s", channel)


@raises("MessagesNotDelivered", seen_after=120, late="they go out every two seconds; a burst waits")
def events_are_not_routed(stack: WatchedStack) -> Iterator[Callable[[], object]]:
    stack.rows("REVOKE UPDATE ON events_event FROM fillcast_trade")
    with _halted(HaltMode.REDUCING, scope=KillSwitch.Scope.BROKER_TYPE, broker_type="mt4"):
        pass
    yield lambda: stack.rows(
        "UPDATE events_event SET created_at = clock_timestamp() - interval '121 s'"
        " WHERE routed_at IS NULL"
    )
    stack.rows("GRANT UPDATE ON events_event TO fillcast_trade")


@raises(
    "WatchdogNotReached", seen_after=300,
    late="it is pinged once a minute, and may be away for five minutes",
)  # fmt: skip
def watchdog_does_not_answer(stack: WatchedStack) -> Iterator[Callable[[], object]]:
    with closed_port() as port:
        set_setting("watchdog.ping_url", f"http://127.0.0.1:{port}/")
        watchdog.ping(lambda: True)
    yield lambda: stack.rows(
        "UPDATE execution_watchdogping SET error_since = clock_timestamp() - interval '301 s'"
    )
    stack.rows("UPDATE execution_watchdogping SET error_since = NULL")
    reset()


@raises("RequestsFail")
def pages_fail(stack: WatchedStack) -> Iterator[Callable[[], object]]:
    stack.rows("ALTER TABLE django_session RENAME TO gone")
    yield lambda: [stack.get("/portal/", Cookie="sessionid=x") for _ in range(5)]
    stack.rows("ALTER TABLE gone RENAME TO django_session")


@raises("RequestsSlow")
def pages_are_slow(stack: WatchedStack) -> Iterator[Callable[[], object]]:
    stack.rows("ALTER TABLE django_session RENAME TO kept")
    stack.rows("CREATE VIEW django_session AS SELECT k.* FROM kept k, pg_sleep(3.5)")
    stack.rows("GRANT SELECT ON django_session TO fillcast_web")
    yield lambda: stack.get("/portal/", Cookie="sessionid=x")
    stack.rows("DROP VIEW django_session")
    stack.rows("ALTER TABLE kept RENAME TO django_session")


@contextmanager
def _halted(mode: str, *, scope: str = KillSwitch.Scope.ALL, **names: Any) -> Iterator[None]:
    switch = set_kill_switch(scope=scope, mode=mode, reason="a drill", by=None, **names)
    yield
    release_kill_switch(switch.pk, by=None)


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


def _age_bus(stack: WatchedStack) -> None:
    stack.rows("UPDATE buses_bussink SET read_to = clock_timestamp() - interval '301 s'")


def _age_lane(stack: WatchedStack) -> None:
    stack.rows(
        "UPDATE buses_buslane SET polled_at = clock_timestamp() - interval '31 s',"
        " created_at = clock_timestamp() - interval '1 h'"
    )


async def _use_up_rate_limit() -> None:
    limiter = rate_limiter_for("ibkr 10.0.0.5:4002", Rate(1, 60))
    for _ in range(20):
        with suppress(NotSent):
            await limiter.acquire(deadline=time.monotonic() + 0.01)


async def _send(url: str, subject: str) -> None:
    opened = await nats.connect(url)
    await opened.jetstream().publish(subject, b"{}")
    await opened.close()


