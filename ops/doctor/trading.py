"""The doctor's checks of trading: processes, due orders, prices, brokers."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

from django_celery_beat.models import PeriodicTask

from brokers.base import outcome_of
from brokers.registry import adapter_for
from brokers.types import Check
from common.clocks import market_now
from common.db.sql import database_now, rows
from common.db.stored_times import Found, find_times_ahead
from common.sealing import is_sealed_with_key
from common.web.formatting import age
from connections import session_lanes
from connections.exposure import is_monitored_sql
from connections.models import DecisionProvider, Epoch, ProviderKind
from connections.selectors import calendars_ending
from connections.services import (
    are_credentials_sealed_with_key,
    is_secret_sealed_with_current_key,
    sealing_key,
)
from execution.base.clock_steps import Step, last_step
from execution.base.statements import ALL_PENDING_SQL
from execution.decision_step import packages
from execution.decision_step.types import NoAnswerError
from execution.disaster_recovery.open_issues import list_open_issues
from ops.doctor.prices import market_data
from ops.doctor.servers import judge_clock
from ops.doctor.verdicts import (
    CLOCK_REMEDY,
    SECONDS,
    CheckFunction,
    failure,
    graded,
    graded_age,
    warning,
    well,
)

START = "Start the processes: `make up`, or the services of your deployment."
HOURS_WARN_DAYS = 3
BEAT_WARN_SECONDS = 300  # beat stores the times of its last runs every three minutes; allow more
QUEUES = {"exits": "exits", "execution": "entries", "maintenance": "beat's jobs"}


def workers() -> list[Check]:
    """Check that each queue has a process with a valid lease."""
    found = rows(
        "SELECT id, role, lease_until > clock_timestamp() AS alive FROM execution_workerlease"
        " WHERE lease_until > clock_timestamp() - interval '1 day'"
    )
    alive = [row.role for row in found if row.alive]
    expired = [row.id for row in found if not row.alive]
    return judge_workers(alive, expired)


def judge_workers(alive: Sequence[str], expired: Sequence[str]) -> list[Check]:
    """Judge the leases of workers.

    alive: roles (queues joined by +) of processes with a valid lease. expired: ids of the others.
    """
    served = {queue for role in alive for queue in role.split("+")}
    missing = [f"{queue} ({what})" for queue, what in QUEUES.items() if queue not in served]
    if not alive:
        return [failure("workers", "No process holds a lease: nothing trades.", START)]
    if missing:
        detail = f"{len(alive)} processes, but none for {', '.join(missing)}."
        return [failure("workers", detail, START)]
    found = [well("workers", f"{len(alive)} processes hold their leases.")]
    if expired:
        detail = f"{len(expired)} leases expired within the last day, first {expired[0]}."
        remedy = "Read that process's log. Other workers take over its orders."
        found.append(warning("expired leases", detail, remedy))
    return found


def beat() -> Check:
    """Check that beat runs, by the last run of any schedule."""
    tasks = PeriodicTask.objects.filter(enabled=True, interval__isnull=False)
    times = [time for time in tasks.values_list("last_run_at", flat=True) if time]
    now = database_now()
    last = max(times, default=None)
    return judge_beat(len(tasks), (now - last).total_seconds() if last else None)


def judge_beat(schedules: int, seconds_ago: float | None) -> Check:
    """Judge the number of enabled schedules and the seconds since the last run."""
    if not schedules:
        remedy = "Enable the schedules in the console; `manage.py migrate` adds missing ones."
        return failure("beat", "No schedule is enabled: nothing is monitored.", remedy)
    if seconds_ago is None:
        return failure("beat", "Beat has never run here.", START)
    detail = f"{schedules} schedules; one ran {age(seconds_ago)} ago."
    return graded_age(
        "beat",
        seconds_ago,
        detail,
        warn=BEAT_WARN_SECONDS,
        fail=2 * BEAT_WARN_SECONDS,
        remedy=START,
    )


def stored_times() -> Check:
    """Check that no stored time lies in the future, and whether any did within a day."""
    return judge_stored_times(find_times_ahead(), last_step())


def judge_stored_times(found: Sequence[Found], corrected: Step | None) -> Check:
    """Judge the tables with times in the future. corrected: what was, within a day."""
    name = "stored times"
    if found:
        furthest = max(found, key=lambda one: one.seconds)
        detail = (
            f"{sum(one.count for one in found):,} rows have times in the future, those of"
            f" {furthest.table} up to {age(furthest.seconds)}: what waits for them stands still."
        )
        return failure(name, detail, CLOCK_REMEDY)
    if corrected is not None:
        detail = (
            f"They lay {age(corrected.seconds)} in the future at {corrected.at.day}"
            f" {corrected.at:%b %H:%M} UTC,"
            " and were corrected."
        )
        return warning(name, detail, "Synchronize the clocks (chrony, NTP); check your brokers.")
    return well(name, "None lies in the future.")


def exchange_hours() -> list[Check]:
    """Check that the hours of exchanges reach far enough, if a broker names any exchange."""
    return judge_exchange_hours(calendars_ending(market_now() + timedelta(days=HOURS_WARN_DAYS)))


def judge_exchange_hours(ending: Sequence[str]) -> list[Check]:
    """Judge the calendars whose stored hours are missing or end soon; [] if there are none."""
    if not ending:
        return []
    detail = f"No hours for the next {HOURS_WARN_DAYS} days of: {', '.join(ending)}."
    remedy = (
        "See 'exchange hours not read' in the log of the worker for maintenance. Without hours"
        " entries are sent at any time, and the broker refuses them while it is closed."
    )
    return [warning("exchange hours", detail, remedy)]


def due_orders() -> list[Check]:
    """Check for orders that wait too long, overdue replies and undecided drift."""
    (row,) = rows(
        f"""
SELECT extract(epoch FROM clock_timestamp() - (SELECT min(due_at) FROM execution_order
    WHERE {ALL_PENDING_SQL}))::float8 AS waiting,
  (SELECT count(*) FROM execution_order WHERE status IN ('SUBMITTING', 'UNKNOWN')
    AND answer_by < clock_timestamp() - interval '60 seconds') AS unanswered,
  (SELECT count(*) FROM execution_driftitem WHERE state = 'OPEN') AS drift
"""
    )
    return [
        judge_due(row.waiting),
        graded(
            "unanswered orders",
            row.unanswered,
            f"{row.unanswered} orders whose reply is overdue by more than a minute.",
            warn=0,
            fail=100,
            remedy="Fillcast queries the broker. See the orders in state UNKNOWN in the console.",
        ),
        graded(
            "drift",
            row.drift,
            f"{row.drift} drift items wait for a decision.",
            warn=0,
            fail=float("inf"),
            remedy="Decide them in the drift inbox.",
        ),
    ]


def judge_due(waiting: float | None) -> Check:
    """Judge the oldest due order. waiting: seconds since it became due; None if there is none."""
    if waiting is None or waiting <= 0:  # times in the future: see `stored_times`
        return well("due orders", "No order is waiting.")
    return graded(
        "due orders",
        waiting,
        f"The oldest has been due for {age(waiting)}.",
        warn=10,
        fail=60,
        remedy=f"No worker runs, or there are too few. {START}",
    )


def outbox() -> Check:
    """Check that events leave the outbox in time."""
    (row,) = rows(
        "SELECT count(*) AS count, extract(epoch FROM clock_timestamp() - min(created_at))::float8"
        " AS oldest FROM events_event WHERE routed_at IS NULL"
    )
    detail = f"{row.count:,} events wait for delivery" + (
        f", the oldest for {age(row.oldest)}." if row.count else "."
    )
    remedy = "Check the maintenance worker and beat's schedule `deliver events`."
    return graded_age("outbox", row.oldest or 0, detail, warn=60, fail=3600, remedy=remedy)


def stored_credentials() -> Check:
    """Check that stored credentials, channels and secrets are sealed for the current key."""
    name = "stored credentials"
    stored = rows(
        "SELECT sealed_credentials AS box FROM connections_executionconnection"
        " WHERE sealed_credentials IS NOT NULL AND archived_at IS NULL"
    )
    key = sealing_key()
    old = sum(not are_credentials_sealed_with_key(row.box, key) for row in stored)
    channels = rows("SELECT url_sealed AS box FROM events_channel")
    old_channels = sum(not is_sealed_with_key(row.box, key) for row in channels)
    providers = DecisionProvider.objects.exclude(secret_sealed=None)
    old_providers = sum(not is_secret_sealed_with_current_key(provider) for provider in providers)
    if old or old_channels or old_providers:
        detail = (
            f"Sealed for an older key: {old} of {len(stored)} accounts' credentials, "
            f"{old_channels} of {len(channels)} channels, "
            f"{old_providers} of {providers.count()} decision providers."
        )
        remedy = "Run `manage.py rotate_credentials_key`; keep the older private key until then."
        return warning(name, detail, remedy)
    detail = (
        f"{len(stored)} accounts', {len(channels)} channels' and {providers.count()} decision "
        "providers', all sealed for the current key."
    )
    return well(name, detail)


def decision_providers() -> list[Check]:
    """List the installed decision providers, and check that those in use can be loaded."""
    name, installed = "decision providers", packages.installed()
    used = DecisionProvider.objects.filter(kind=ProviderKind.PACKAGE).exclude(presets=None)
    broken = []
    for entry_point in sorted(set(used.values_list("entry_point", flat=True))):
        try:
            packages.load(entry_point)
        except NoAnswerError as error:
            broken.append(error.detail)
    if broken:
        remedy = "Install or repair the package in every process that trades, and restart it."
        return [warning(name, " ".join(broken), remedy)]
    if not installed:
        return [well(name, "No package provides one.")]
    return [well(name, f"Installed: {', '.join(installed)}.")]


def connections() -> list[Check]:
    """Check how many monitored accounts are in error."""
    found = rows(
        "SELECT c.name, c.type, h.status, h.last_error FROM connections_executionconnection c"
        " LEFT JOIN connections_connectionhealth h ON h.connection_id = c.id"
        f" WHERE {is_monitored_sql()} ORDER BY h.last_error_at DESC NULLS LAST"
    )
    broken = [row for row in found if row.status == "ERROR"]
    if not broken:
        return [well("connections", f"None of {len(found)} active accounts is in error.")]
    first = broken[0]
    detail = (
        f"{len(broken)} of {len(found)} active accounts are in error, last {first.name} "
        f"({first.type}): {first.last_error[:120]}"
    )
    remedy = "Read each account's last error, fix the cause, then run its connection test."
    judge = failure if len(broken) * 2 > len(found) else warning
    return [judge("connections", detail, remedy)]


def broker_hosts() -> Check:
    """Check for broker hosts with an open circuit breaker; entries for them wait."""
    found = rows(
        "SELECT host, failing, contacted, message, extract(epoch FROM clock_timestamp()"
        " - opened_at)::float8 AS seconds FROM connections_hostcircuit"
        " WHERE opened_at IS NOT NULL ORDER BY opened_at"
    )
    if not found:
        return well("broker hosts", "No circuit is open.")
    first = found[0]
    detail = (
        f"{len(found)} down, first {first.host} for {age(first.seconds)}: {first.failing} of "
        f"{first.contacted} accounts did not answer. {first.message[:120]}"
    )
    remedy = (
        "Entries wait and exits are sent. Fillcast probes the host automatically; if it stays "
        "down, contact the broker."
    )
    return warning("broker hosts", detail, remedy)


def session_lane_owners() -> Check:
    """Check that a session worker holds each lane that accounts use."""
    return judge_lanes(session_lanes.lanes_in_use())


def judge_lanes(found: Sequence[session_lanes.Lane]) -> Check:
    """Judge the session lanes in use; each needs an owner."""
    name = "session lanes"
    if not found:
        return well(name, "No account needs a session.")
    without_worker = [lane for lane in found if not lane.owner]
    if not without_worker:
        owners = len({lane.owner for lane in found})
        return well(name, f"{len(found)} lanes are held by {owners} session workers.")
    accounts = sum(lane.connections for lane in without_worker)
    first = without_worker[0]
    since = f" for {age(first.seconds)}" if first.seconds is not None else ""
    detail = (
        f"{len(without_worker)} of {len(found)} lanes have no session worker; the orders of "
        f"{accounts} accounts wait. First {first.name}{since}."
    )
    starts = dict.fromkeys(lane.remedy for lane in without_worker)
    remedy = f"{'; '.join(list(starts)[:5])}."
    return warning(name, detail, f"{remedy[0].upper()}{remedy[1:]}")


def halts() -> Check:
    """Check for kill switches that are set."""
    found = rows(
        "SELECT scope, mode, reason FROM connections_killswitch WHERE released_at IS NULL"
        " ORDER BY scope = 'ALL' DESC, id"
    )
    if not found:
        return well("kill switch", "None is set.")
    detail = f"{len(found)} set, first {found[0].mode} for {found[0].scope}: {found[0].reason}"
    return warning("kill switch", detail, "Release it when its reason no longer applies.")


def epoch() -> Check:
    """Check whether the database was restored and its recovery epoch is still open."""
    found = Epoch.objects.first()
    if found is None:
        return well("epoch", "No process has traded yet.")
    if found.released_at is not None:
        return well("epoch", f"{found}; no recovery is in progress.")
    left = (
        ", ".join(f"{issue.code} {issue.count}" for issue in list_open_issues(found))
        or "nothing is left to settle"
    )
    opened = f"{found.opened_at.day} {found.opened_at:%b %H:%M}"
    detail = f"{found} is open since {opened} UTC, entries wait: {left}."
    remedy = (
        "Run `manage.py new_epoch --status`; docs/incidents/database-restored.md explains"
        " each line."
    )
    return warning("epoch", detail, remedy)


def broker_clocks() -> list[Check]:
    """Compare the clock of each broker type in use with the market clock.

    Brokers with sessions are left out, since only the lane's worker can call them; their connection
    tests compare the clocks.
    """
    broker_types = rows(
        "SELECT DISTINCT type FROM connections_executionconnection"
        " WHERE archived_at IS NULL AND is_active AND lane = '' ORDER BY 1"
    )
    return [check for row in broker_types for check in [_broker_clock(row.type)] if check]


def _broker_clock(broker_type: str) -> Check | None:
    name = f"clock: {broker_type}"

    async def read_clock() -> datetime | None:
        adapter = adapter_for(broker_type)
        try:
            return await asyncio.wait_for(adapter.clock(), SECONDS)
        finally:
            await adapter.disconnect()

    broker_time = asyncio.run(outcome_of(read_clock()))
    if isinstance(broker_time, Exception):
        message = f"{type(broker_time).__name__}: {broker_time}"[:200]
        return warning(name, f"No reply: {message}", "Run the connection test of an account there.")
    if broker_time is None:
        return None  # this broker type has no clock
    return judge_clock(name, (market_now() - broker_time).total_seconds())


CHECKS: list[tuple[str, CheckFunction]] = [
    ("workers", workers),
    ("session lanes", session_lane_owners),
    ("beat", beat),
    ("stored times", stored_times),
    ("due orders", due_orders),
    ("outbox", outbox),
    ("kill switch", halts),
    ("epoch", epoch),
    ("stored credentials", stored_credentials),
    ("decision providers", decision_providers),
    ("connections", connections),
    ("broker hosts", broker_hosts),
    ("market data", market_data),
    ("exchange hours", exchange_hours),
    ("clock: brokers", broker_clocks),
]
