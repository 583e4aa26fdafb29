"""Reading accounts: what an adapter needs of one, which symbol it trades, and how it fares."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.db.models import Exists, IntegerField, OuterRef, QuerySet
from django.db.models.expressions import RawSQL
from django.db.models.functions import Now

from brokers.messages import ConnectionSpec
from common.errors import MisconfiguredError
from common.shown import hint, sentence
from common.sql import array, rows
from connections import credentials, lanes
from connections.eligibility import PASSES, REASON_SQL, parameters, reason_for
from connections.identity import mark_of
from connections.lanes import IN_LANES, in_held, is_up, resting
from connections.models import (
    ConnectionHealth,
    ExecutionConnection,
    LaneLease,
)
from connections.open import how_much_is_open, is_watched, what_is_open

log = structlog.get_logger(__name__)

_REASONS = f"""
SELECT c.id, {REASON_SQL} AS reason
FROM connections_executionconnection c
LEFT JOIN connections_connectionhealth h ON h.connection_id = c.id
LEFT JOIN connections_subscription s ON FALSE
WHERE %(ids)s::uuid[] IS NULL AND c.archived_at IS NULL OR c.id = ANY(%(ids)s::uuid[])
"""


SPEC_COLUMNS = (
    "c.type, c.account, c.exchange_name, c.settings, c.sealed_credentials, c.identity,"
    " c.identity_of, coalesce(c.user_id, c.admin_id) AS owner_id"
)
"""SQL: what `spec_from_row` reads of connection `c`, besides `connection_id`."""

# Rows of one statement are what they were when it began, whatever the time at which each is read.
READ_COLUMNS = (
    f"c.id AS connection_id, {SPEC_COLUMNS}, c.broker_host, c.claim, c.key_claim, "
    "statement_timestamp() AS began"
)
"""SQL: what `polling.read_accounts` reads of connection `c`."""


def spec_for(connection: ExecutionConnection) -> ConnectionSpec:
    """Return what an adapter needs of this connection, credentials opened.

    Raises CredentialsError if they do not open, MisconfiguredError where they cannot.
    """
    return _spec(connection, connection.pk, connection.open_credentials())


def spec_from_row(row: Any) -> ConnectionSpec:
    """The same for a row of a statement that selects `connection_id` and SPEC_COLUMNS.

    Credentials that do not open are left out and told to the log: one connection's trouble must
    not fail its neighbours in a bundle. Its adapter then answers NotSent or NO_CREDENTIALS.
    """
    try:
        opened = credentials.open_credentials(
            row.sealed_credentials, connection_id=row.connection_id, owner_id=row.owner_id
        )
    except (credentials.CredentialsError, MisconfiguredError) as error:
        log.warning("credentials_closed", connection=str(row.connection_id), error=str(error))
        opened = {}
    return _spec(row, row.connection_id, opened)


def spec_without_credentials(row: Any) -> ConnectionSpec:
    """The same, enough to ask what an account can do: credentials stay closed."""
    return _spec(row, row.connection_id, {})


def _spec(source: Any, connection_id: UUID, opened: dict[str, str]) -> ConnectionSpec:
    return ConnectionSpec(
        connection_id=str(connection_id),
        account=source.account,
        exchange_name=source.exchange_name,
        settings=source.settings,
        credentials=opened,
        identity=source.identity,
        is_identity_sure=bool(source.identity)
        and source.identity_of == mark_of(source.sealed_credentials),
    )


def named(text: str) -> UUID:
    """Return the live connection of an id, a name or an account. Raises LookupError."""
    live = ExecutionConnection.objects.live()
    try:
        found = list(live.filter(pk=UUID(text)).values_list("pk", flat=True))
    except ValueError:
        by_name = live.filter(name=text) | live.filter(account=text)
        found = list(by_name.values_list("pk", flat=True)[:2])
    if len(found) != 1:
        if found:
            raise LookupError(f"There is more than one connection {text!r}: name it by its id.")
        raise LookupError(f"There is no connection {text!r}.")
    return found[0]


def as_shown(found: QuerySet[ExecutionConnection]) -> QuerySet[ExecutionConnection]:
    """Add to connections what `waits_for` and `open_in` would ask for each: whether some worker
    holds their lane (`has_worker`), and how much is open there (`open_count`)."""
    moving = timedelta(seconds=lanes.MOVING_SECONDS)
    leases = LaneLease.objects.filter(lane=OuterRef("lane"), until__gte=Now() - moving)
    mine = f"{ExecutionConnection._meta.db_table}.id"
    count = RawSQL(how_much_is_open(mine), [], output_field=IntegerField())
    return found.annotate(has_worker=Exists(leases), open_count=count)


def open_in(connection: ExecutionConnection) -> int:
    """Return how many positions, and orders that are at the broker or may be, an account has."""
    count = getattr(connection, "open_count", None)
    return len(what_is_open(connection.pk)) if count is None else int(count)


def waits_for(connection: ExecutionConnection) -> str:
    """Return what must be started before an account can be spoken to; '': nothing."""
    if connection.lane == lanes.GENERAL:
        return ""
    has_worker = getattr(connection, "has_worker", None)
    if has_worker is None:
        has_worker = bool(lanes.owner_of(connection.lane))
    return "" if has_worker else lanes.waiting_for(connection.lane)


def reasons(ids: list[Any] | None = None) -> dict[Any, str]:
    """Return why each connection would be skipped now ("": it trades); None: of all live ones."""
    asked = {**parameters(feed_id=None, direction=None), "ids": ids}
    return {row.id: row.reason or "" for row in rows(_REASONS, asked)}


def health(connection: ExecutionConnection) -> tuple[str, str]:
    """Return how a connection fares, as shape and word, without asking the database again."""
    state = getattr(connection, "health", None)
    if connection.archived_at:
        return "cancelled", "Archived"
    if connection.is_active and not connection.is_paused:
        return _fares(connection, state)
    if not (count := open_in(connection)):
        return ("paused", "Paused") if connection.is_active else ("cancelled", "Switched off")
    # What is open there is watched: what is wrong is said all the same.
    shape, word = _fares(connection, state)
    said = f"{'Paused' if connection.is_active else 'Off'}, {count} open"
    return ("paused", said) if shape == "ok" else (shape, f"{said}: {word.lower()}")


def _fares(connection: ExecutionConnection, state: ConnectionHealth | None) -> tuple[str, str]:
    if waits_for(connection):
        return "attention", "No worker"
    if state is None or state.status == "UNTESTED":
        return "pending", "Test requested" if test_waits(state) else "Never tested"
    if state.has_error():
        return "rejected", "Error"
    if state.circuit_open_until and state.circuit_open_until > datetime.now(UTC):
        return "rejected", "Circuit open"
    if state.silence_told_at is not None:
        return "attention", "Silent"
    if state.reconciled_at is None:
        return "attention", "Not yet compared"
    return "ok", "Healthy"


def after_resuming(connection: ExecutionConnection) -> str:
    """Return what an account does that was just resumed or switched on: it takes the next signal,
    or what still keeps it from that."""
    if connection.can_execute_trades():
        return "It takes the next signal. What was skipped is not made up for."
    reason = reason_for(connection_id=connection.pk) or ""
    found = "Its entries wait." if reason in PASSES else "It takes no signal yet."
    return f"{found} {sentence(reason)} {hint(reason)}".strip()


def test_waits(state: ConnectionHealth | None) -> bool:
    """Whether a test was asked for and has not been done since."""
    if state is None or state.test_requested_at is None:
        return False
    return state.last_tested_at is None or state.last_tested_at < state.test_requested_at


def checks_of(state: ConnectionHealth | None) -> list[dict[str, Any]]:
    """Return the named checks of the last test, with their shapes."""
    shapes = {"ok": "ok", "warn": "attention", "fail": "rejected"}
    found = state.last_test if state else []
    return [{**c, "css": shapes.get(str(c.get("result")), "pending")} for c in found]


def due_tests(limit: int) -> list[UUID]:
    """Return connections whose test was asked for and not done since, the longest waiting first:
    those of this process's lanes, and to general workers those whose lane nobody holds: these last,
    for they stay due until somebody does."""
    found = rows(
        f"""
        SELECT h.connection_id FROM connections_connectionhealth h
        JOIN connections_executionconnection c ON c.id = h.connection_id
        WHERE h.test_requested_at IS NOT NULL AND c.archived_at IS NULL
          AND (h.last_tested_at IS NULL OR h.last_tested_at < h.test_requested_at)
          AND ({IN_LANES} OR '' = ANY(%(lanes)s::text[]) AND c.lane = ANY(%(unheld)s::text[]))
        ORDER BY NOT {IN_LANES}, h.test_requested_at LIMIT %(limit)s
        """,
        {"limit": limit, "unheld": array(lanes.unheld(lanes.MOVING_SECONDS)), **in_held()},
    )
    return [row.connection_id for row in found]


def accounts_due(limit: int, *, older_than_seconds: float) -> Sequence[Any]:
    """Return rows for `read_accounts` of accounts to read again, the oldest reading of each host
    first: many of one host crowd out nobody else.

    Who does not answer is left to `connections.probing`, who rests is left alone, and so is a host
    whose circuit is open. Who is in error is asked when its time has come (`health.Again`). Who is
    switched off is read for as long as something is open there.
    """
    due = {"older": older_than_seconds, "limit": limit, **in_held(), **resting()}
    return rows(accounts_due_sql(), due)


def accounts_due_sql() -> str:
    """The statement of `accounts_due`."""
    return f"""
        SELECT {READ_COLUMNS}
        FROM connections_executionconnection c
        JOIN connections_connectionhealth h ON h.connection_id = c.id
        LEFT JOIN connections_accountsnapshot a ON a.connection_id = c.id
        WHERE {is_watched()} AND h.status <> 'UNTESTED' AND {IN_LANES} AND {is_up()}
          AND h.unreachable_at IS NULL
          AND (h.circuit_open_until IS NULL OR h.circuit_open_until <= clock_timestamp())
          AND c.broker_host NOT IN (
            SELECT host FROM connections_hostcircuit WHERE opened_at IS NOT NULL)
          AND CASE WHEN h.status = 'ERROR'
            THEN h.read_after IS NULL OR h.read_after <= clock_timestamp()
            ELSE a.read_at IS NULL
            OR a.read_at < clock_timestamp() - make_interval(secs => %(older)s) END
        ORDER BY row_number() OVER (
          PARTITION BY c.broker_host ORDER BY a.read_at NULLS FIRST), a.read_at NULLS FIRST
        LIMIT %(limit)s
    """
