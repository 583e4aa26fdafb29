"""What the doctor asks about trading: processes, due work, prices, brokers."""

import asyncio
from collections.abc import Sequence
from datetime import datetime

from django_celery_beat.models import PeriodicTask

from brokers.registry import adapter_for
from brokers.types import Check
from common.clocks import market_now
from common.formatting import age
from common.sealing import sealed_for
from common.sql import rows
from connections import session_lanes
from connections.credentials.sealing import is_sealed_for, sealing_key
from connections.exposure import is_monitored_sql
from connections.models import Epoch
from execution.disaster_recovery.open_issues import list_open_issues
from ops.doctor.prices import market_data
from ops.doctor.servers import judge_clock
from ops.doctor.verdicts import SECONDS, CheckFunction, failure, graded, warning, well

START = "Start the processes: `make up`, or the services of your deployment."
BEAT_SYNC_SECONDS = 300  # beat writes its last runs down every three minutes
QUEUES = {"exits": "exits", "execution": "entries", "maintenance": "beat's jobs"}


def workers() -> list[Check]:
    """Each queue needs a process with a live lease."""
    found = rows(
        "SELECT id, role, lease_until > clock_timestamp() AS alive FROM execution_workerlease"
    )
    alive = [row.role for row in found if row.alive]
    silent = [row.id for row in found if not row.alive]
    return judge_workers(alive, silent)


def judge_workers(alive: Sequence[str], silent: Sequence[str]) -> list[Check]:
    """alive: roles (queues joined by +) of processes whose lease stands; silent: ids of others."""
    served = {queue for role in alive for queue in role.split("+")}
    missing = [f"{queue} ({what})" for queue, what in QUEUES.items() if queue not in served]
    if not alive:
        return [failure("workers", "No process holds a lease: nothing trades.", START)]
    if missing:
        detail = f"{len(alive)} processes, but none for {', '.join(missing)}."
        return [failure("workers", detail, START)]
    found = [well("workers", f"{len(alive)} processes hold their leases.")]
    if silent:
        detail = f"{len(silent)} let their leases run out within the last day, first {silent[0]}."
        remedy = "Read that process's log. Its orders are looked up by the others."
        found.append(warning("silent processes", detail, remedy))
    return found


def beat() -> Check:
    """The most frequent schedule tells whether beat runs."""
    tasks = PeriodicTask.objects.filter(enabled=True, interval__isnull=False)
    times = [time for time in tasks.values_list("last_run_at", flat=True) if time]
    (row,) = rows("SELECT clock_timestamp() AS now")
    last = max(times, default=None)
    return judge_beat(len(tasks), (row.now - last).total_seconds() if last else None)


def judge_beat(schedules: int, seconds_ago: float | None) -> Check:
    if not schedules:
        remedy = "Enable the schedules in the admin; `manage.py migrate` writes missing ones."
        return failure("beat", "No schedule is enabled: nothing is watched.", remedy)
    if seconds_ago is None:
        return failure("beat", "Never ran here.", START)
    detail = f"{schedules} schedules; one ran {age(seconds_ago)} ago."
    return graded(
        "beat",
        seconds_ago,
        detail,
        warn=BEAT_SYNC_SECONDS,
        fail=2 * BEAT_SYNC_SECONDS,
        remedy=START,
    )


def due_orders() -> list[Check]:
    (row,) = rows(
        """
SELECT extract(epoch FROM clock_timestamp() - (SELECT min(due_at) FROM execution_order
    WHERE status = 'PENDING'))::float8 AS waiting,
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
            f"{row.unanswered} orders whose answer is overdue by more than a minute.",
            warn=0,
            fail=100,
            remedy="They are looked up at the broker; watch them in the admin, state UNKNOWN.",
        ),
        graded(
            "drift",
            row.drift,
            f"{row.drift} differences from brokers wait for a decision.",
            warn=0,
            fail=float("inf"),
            remedy="Decide them in the drift inbox.",
        ),
    ]


def judge_due(waiting: float | None) -> Check:
    """waiting: seconds that the oldest due order has been due."""
    if waiting is None or waiting <= 0:
        return well("due orders", "None waits.")
    return graded(
        "due orders",
        waiting,
        f"The oldest has been due for {age(waiting)}.",
        warn=10,
        fail=60,
        remedy=f"Workers are away or too few. {START}",
    )


def outbox() -> Check:
    (row,) = rows(
        "SELECT count(*) AS many, extract(epoch FROM clock_timestamp() - min(created_at))::float8"
        " AS oldest FROM events_event WHERE delivered_at IS NULL"
    )
    detail = f"{row.many:,} events wait to be told" + (
        f", the oldest for {age(row.oldest)}." if row.many else "."
    )
    remedy = "CheckFunction at the maintenance worker and at beat's schedule `deliver events`."
    return graded("outbox", row.oldest or 0, detail, warn=60, fail=3600, remedy=remedy)


def stored_credentials() -> Check:
    """Whether a rotation of keys went through."""
    name = "stored credentials"
    stored = rows(
        "SELECT sealed_credentials AS box FROM connections_executionconnection"
        " WHERE sealed_credentials IS NOT NULL AND archived_at IS NULL"
    )
    key = sealing_key()
    old = sum(not is_sealed_for(row.box, key) for row in stored)
    channels = rows("SELECT url_sealed AS box FROM events_channel")
    old_channels = sum(not sealed_for(row.box, key) for row in channels)
    if old or old_channels:
        detail = (
            f"Sealed for an older key: {old} of {len(stored)} accounts' credentials, "
            f"{old_channels} of {len(channels)} channels."
        )
        remedy = "Run `manage.py rotate_credentials_key`; keep the older private key until then."
        return warning(name, detail, remedy)
    detail = f"{len(stored)} accounts' and {len(channels)} channels', all for the present key."
    return well(name, detail)


def connections() -> list[Check]:
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
    remedy = "Read each account's last error, mend it, run its connection test."
    judge = failure if len(broken) * 2 > len(found) else warning
    return [judge("connections", detail, remedy)]


def broker_hosts() -> Check:
    """Hosts whose circuit is open: entries wait for them."""
    found = rows(
        "SELECT host, failing, contacted, message, extract(epoch FROM clock_timestamp()"
        " - opened_at)::float8 AS seconds FROM connections_hostcircuit"
        " WHERE opened_at IS NOT NULL ORDER BY opened_at"
    )
    if not found:
        return well("broker hosts", "No circuit is open.")
    first = found[0]
    detail = (
        f"{len(found)} away, first {first.host} for {age(first.seconds)}: {first.failing} of "
        f"{first.contacted} accounts did not answer. {first.message[:120]}"
    )
    remedy = "Entries wait, exits are sent; it is probed by itself. If it lasts, ask the broker."
    return warning("broker hosts", detail, remedy)


def session_lane_owners() -> Check:
    """Each lane of broker sessions needs a process that holds it."""
    return judge_lanes(session_lanes.lanes_in_use())


def judge_lanes(found: Sequence[session_lanes.Lane]) -> Check:
    name = "session lanes"
    if not found:
        return well(name, "No account needs a session.")
    unheld = [lane for lane in found if not lane.owner]
    if not unheld:
        owners = len({lane.owner for lane in found})
        return well(name, f"{len(found)} lanes are held by {owners} processes.")
    accounts = sum(lane.connections for lane in unheld)
    first = unheld[0]
    since = f" for {age(first.seconds)}" if first.seconds is not None else ""
    detail = (
        f"{len(unheld)} of {len(found)} lanes are held by nobody, with {accounts} accounts: their "
        f"orders wait. First {first.name}{since}."
    )
    starts = dict.fromkeys(lane.remedy for lane in unheld)
    remedy = f"{'; '.join(list(starts)[:5])}."
    return warning(name, detail, f"{remedy[0].upper()}{remedy[1:]}")


def halts() -> Check:
    found = rows(
        "SELECT scope, mode, reason FROM connections_killswitch WHERE released_at IS NULL"
        " ORDER BY scope = 'ALL' DESC, id"
    )
    if not found:
        return well("kill switch", "None is set.")
    detail = f"{len(found)} set, first {found[0].mode} for {found[0].scope}: {found[0].reason}"
    return warning("kill switch", detail, "Release it when its reason is gone.")


def epoch() -> Check:
    """Whether the database was restored, and is it settled."""
    found = Epoch.objects.first()
    if found is None:
        return well("epoch", "No process has traded yet.")
    if found.released_at is not None:
        return well("epoch", f"{found}, nothing is open.")
    left = (
        ", ".join(f"{one.what} {one.count}" for one in list_open_issues(found)) or "all is settled"
    )
    detail = f"{found} is open since {found.opened_at:%-d %b %H:%M} UTC, entries wait: {left}."
    remedy = "Run `manage.py new_epoch --status`; docs/operations.md says what each line wants."
    return warning("epoch", detail, remedy)


def broker_clocks() -> list[Check]:
    """Each broker kind in use tells its time; a simulated one goes by the market clock. A session
    belongs to its lane's process: such brokers' clocks are in their connection tests."""
    kinds = rows(
        "SELECT DISTINCT type FROM connections_executionconnection"
        " WHERE archived_at IS NULL AND is_active AND lane = '' ORDER BY 1"
    )
    return [check for row in kinds for check in [_broker_clock(row.type)] if check]


def _broker_clock(kind: str) -> Check | None:
    name = f"clock: {kind}"

    async def ask() -> datetime | None:
        adapter = adapter_for(kind)
        try:
            return await asyncio.wait_for(adapter.clock(), SECONDS)
        finally:
            await adapter.disconnect()

    try:
        told = asyncio.run(ask())
    except Exception as error:
        said = f"{type(error).__name__}: {error}"[:200]
        return warning(name, f"No answer: {said}", "Run the connection test of an account there.")
    if told is None:
        return None  # this kind tells no time
    return judge_clock(name, (market_now() - told).total_seconds())


CHECKS: list[tuple[str, CheckFunction]] = [
    ("workers", workers),
    ("session lanes", session_lane_owners),
    ("beat", beat),
    ("due orders", due_orders),
    ("outbox", outbox),
    ("kill switch", halts),
    ("epoch", epoch),
    ("stored credentials", stored_credentials),
    ("connections", connections),
    ("broker hosts", broker_hosts),
    ("market data", market_data),
    ("clock: brokers", broker_clocks),
]
