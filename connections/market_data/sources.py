"""Prices that a broker tells by one of our accounts: the source that an account is."""

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from uuid import UUID

from django.db import transaction
from django.db.models import BooleanField, CharField, Q, QuerySet
from django.db.models.expressions import RawSQL

from brokers.redaction import storable
from common.errors import ConflictError, InvalidInputError
from common.formatting import join_first
from common.permissions import Right, require
from common.reason_codes import Code
from common.sql import run
from connections import session_lanes
from connections.exposure import is_monitored_sql, is_priced_by_sql
from connections.market_data.compatibility import (
    default_capabilities,
    lock_shared_source,
    needs_external_prices,
)
from connections.models import DataConnection, ExecutionConnection
from users.models import User

NO_PRICES_MESSAGE = "Its broker tells no prices: choose another price source."


def can_provide_prices(broker_type: str, exchange_name: str = "") -> bool:
    """Whether accounts of a kind can be a source of prices."""
    can = default_capabilities(broker_type, exchange_name)
    return can is not None and can.own_prices and (can.price_stream or can.quotes)


@transaction.atomic
def get_or_create_broker_source(
    connection: ExecutionConnection, *, by: User | None = None
) -> DataConnection:
    """Return the source of prices that this account's own broker tells; it is made at first asking.

    It is its owner's, and changes nothing about who uses it: set it as `data_connection`. by: who
    asks (None: the system itself). Raises NotAllowedError; InvalidInputError FIELD_INVALID where
    the broker tells none, or the account is archived.
    """
    require(by, Right.CONNECTIONS, owner_id=connection.user_id)
    if connection.archived_at is not None or not can_provide_prices(
        connection.type, connection.exchange_name
    ):
        raise InvalidInputError(Code.FIELD_INVALID, NO_PRICES_MESSAGE, field="data_connection")
    # One account is one source, whoever comes first.
    made, _ = DataConnection.objects.get_or_create(
        broker_connection=connection,
        defaults={
            "kind": DataConnection.Kind.BROKER,
            "name": default_source_name(connection),
            "user_id": connection.owner_id,
        },
    )
    if not made.is_active:
        lock_shared_source(
            made.pk, to_change=True
        )  # before its row, as who takes the offer back does
        made.is_active = True
        made.save(update_fields=["is_active"])
    return made


@transaction.atomic
def share_with_all(source: DataConnection, *, by: User | None, shared: bool = True) -> None:
    """Let everybody use the prices of an administrator's own account, or its owner alone again.

    Raises NotAllowedError to who is no operator; InvalidInputError FIELD_INVALID for a tenant's;
    ConflictError STATE_CONFLICT where accounts of others, or paper accounts, go by it still.
    """
    require(by, Right.SHARE_PRICES)
    account = source.broker_connection
    if account is None or not account.is_admin_owned():
        raise InvalidInputError(
            Code.FIELD_INVALID, "Only an administrator's own account may tell prices to all."
        )
    lock_shared_source(source.pk, to_change=True)
    if not shared:
        _refuse_if_needed(source, account.owner_id)
    source.user_id = None if shared else account.owner_id
    source.save(update_fields=["user"])


def _refuse_if_needed(source: DataConnection, owner_id: int) -> None:
    """Raise ConflictError where accounts go by a source that would be no source for them if it were
    its owner's alone: the paper broker has no prices of such a one."""
    users = ExecutionConnection.objects.live().filter(data_connection=source)
    mine = users.filter(Q(user=owner_id) | Q(admin=owner_id))
    if n := users.count() - mine.count():
        raise ConflictError(
            Code.STATE_CONFLICT,
            f"{n} of other owners' accounts go by these prices. Give them another source first.",
        )
    if names := [one.name for one in mine.order_by("name") if needs_external_prices(one.type)]:
        raise ConflictError(
            Code.STATE_CONFLICT,
            "Paper trades only on prices for all. Give another source first to:"
            f" {join_first(names)}.",
        )


def default_source_name(connection: ExecutionConnection) -> str:
    """What the source that an account is is called at first."""
    return f"{connection.name[:80]}: its own broker"


def other_accounts_using(connection_id: UUID) -> list[str]:
    """Return the names of the other accounts that go by what this one tells, in order."""
    by = ExecutionConnection.objects.live().filter(data_connection__broker_connection=connection_id)
    return list(by.exclude(pk=connection_id).order_by("name").values_list("name", flat=True))


# ---- who may follow one now ---------------------------------------------------------------------
_UNAVAILABLE_REASONS = {
    "archived": (Code.CONNECTION_INACTIVE, "The account that told these prices is archived."),
    "off": (Code.CONNECTION_INACTIVE, "The account that tells these prices is switched off."),
    "untested": (Code.CONNECTION_UNTESTED, "The account that tells these prices is not tested."),
    "away": (Code.BROKER_HOST_DOWN, "The broker of these prices does not answer."),
    "fails": (Code.CONNECTION_ERROR, "The account that tells these prices fails."),
}
_ENDING_HINDRANCES = ("archived", "off")
_INDEPENDENT_OF_WORKER = (*_ENDING_HINDRANCES, "untested")  # no worker changes these by itself
_HAS_PAPER = """EXISTS (SELECT FROM connections_executionconnection u WHERE u.type = 'paper'
  AND u.data_connection_id = connections_dataconnection.id AND u.archived_at IS NULL)"""


def sources_in_lanes(lanes: Collection[str]) -> QuerySet[DataConnection]:
    """Return the sources that accounts in these lanes tell and somebody uses, with the accounts and
    what `unavailable_reason` and `serves_paper` look at: one statement, however many there are."""
    return _used_sources(Q(broker_connection__lane__in=list(lanes)))


def _used_sources(where: Q) -> QuerySet[DataConnection]:
    is_used = RawSQL(is_used_sql("connections_dataconnection.id"), [], output_field=BooleanField())
    return (
        DataConnection.objects.filter(where, is_active=True)
        .filter(is_used)
        .annotate(
            hindrance=RawSQL(_hindrance_sql(), [], output_field=CharField()),
            has_paper=RawSQL(_HAS_PAPER, [], output_field=BooleanField()),
        )
        .select_related("broker_connection")
        .order_by("pk")
    )


def _hindrance_sql() -> str:
    return f"""(SELECT CASE
      WHEN c.archived_at IS NOT NULL THEN 'archived'
      WHEN NOT {is_monitored_sql()} THEN 'off'
      WHEN coalesce(h.status, 'UNTESTED') = 'UNTESTED' THEN 'untested'
      WHEN EXISTS (SELECT FROM connections_hostcircuit k
        WHERE k.host = c.broker_host AND k.opened_at IS NOT NULL) THEN 'away'
      WHEN h.read_after > clock_timestamp() OR h.circuit_open_until > clock_timestamp() THEN 'fails'
      ELSE '' END
    FROM connections_executionconnection c
    LEFT JOIN connections_connectionhealth h ON h.connection_id = c.id
    WHERE c.id = connections_dataconnection.broker_connection_id)"""


def unavailable_reason(source: DataConnection, *, begins: bool) -> tuple[Code, str] | None:
    """Return why nobody may ask the account of a source of `sources_in_lanes` for prices now;
    None: it may be followed. Pure.

    begins: it is not followed yet. A stream that works is not ended because something else of the
    account fails: what is guarded by its prices would be left alone.
    """
    hindrance = vars(source)["hindrance"]
    return (
        _UNAVAILABLE_REASONS.get(hindrance) if begins or hindrance in _ENDING_HINDRANCES else None
    )


def serves_paper(source: DataConnection) -> bool:
    """Whether the paper broker trades on a source of `sources_in_lanes`: operators offer it to all,
    and some paper account uses it. Pure.

    Its prices are everybody's: a tenant's own source does not move them.
    """
    return source.user_id is None and bool(vars(source)["has_paper"])


def provides_prices_sql(column: str) -> str:
    """Return SQL for whether somebody uses the prices of the account whose id a column has."""
    return f"""EXISTS (SELECT FROM connections_dataconnection d
      WHERE d.broker_connection_id = {column} AND d.is_active AND {is_used_sql("d.id")})"""


def is_used_sql(column: str) -> str:
    """Return SQL for whether anything depends on the source whose id a column has: an account goes
    by it, or something open does since it was opened, whatever its account goes by now."""
    return f"""(EXISTS (SELECT FROM connections_executionconnection u
        WHERE u.data_connection_id = {column} AND u.archived_at IS NULL)
      OR {is_priced_by_sql(column)})"""


# ---- how they fare ------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class SourceReport:
    """How a source fares. told: its broker has proved to be there just now; code, words: what is
    wrong, without secrets; pairs: what is followed; missing: of those, what has no price."""

    source_id: int
    is_alive: bool = False
    code: Code | None = None
    message: str = ""
    pairs: Sequence[str] = ()
    missing: Sequence[str] = ()


# In one order: two who write the same ones do not wait for each other for ever.
RECORD_STATUS_SQL = """
INSERT INTO connections_sourcehealth AS old
  (source_id, last_contact_at, error_code, error, failing_since, pairs, missing, followed_by)
SELECT d.id, CASE WHEN n.is_alive THEN clock_timestamp() END, n.code, n.message,
  CASE WHEN n.code <> '' THEN clock_timestamp() END, n.pairs, n.missing, %(by)s::text
FROM jsonb_to_recordset(%(notes)s::jsonb)
  AS n(source_id bigint, is_alive bool, code text, message text, pairs text[], missing text[])
JOIN connections_dataconnection d ON d.id = n.source_id ORDER BY d.id
ON CONFLICT (source_id) DO UPDATE SET last_contact_at = coalesce(excluded.last_contact_at,
  old.last_contact_at),
  error_code = excluded.error_code, error = excluded.error,
  failing_since = CASE WHEN excluded.error_code <> ''
    THEN coalesce(old.failing_since, excluded.failing_since) END,
  pairs = excluded.pairs, missing = excluded.missing, followed_by = excluded.followed_by
"""


def record_source_status(*reports: SourceReport, by: str = "") -> None:
    """Write down how sources fare, in one statement; one note each. by: the process's name."""
    if reports:
        records = json.dumps([asdict(one) | _storable_fields(one) for one in reports])
        run(RECORD_STATUS_SQL, {"notes": records, "by": by[:80]})


def _storable_fields(one: SourceReport) -> dict[str, str]:
    return {"code": str(one.code or ""), "message": storable(one.message)[:500]}


def flag_without_worker() -> None:
    """Say of sources whose account's lane nobody holds why nothing is told: no worker follows them,
    or none would. Archived accounts' lanes may be in nobody's list: theirs are looked at, too."""
    unheld = session_lanes.lanes_without_worker(session_lanes.HANDOVER_SECONDS)
    found = _used_sources(
        Q(broker_connection__lane__in=list(unheld))
        | Q(broker_connection__archived_at__isnull=False)
    )
    why = ((one.pk, *_reason_without_worker(one)) for one in found)
    record_source_status(*(SourceReport(pk, code=code, message=words) for pk, code, words in why))


def _reason_without_worker(source: DataConnection) -> tuple[Code, str]:
    assert source.broker_connection is not None  # it is in a lane
    if (hindrance := vars(source)["hindrance"]) in _INDEPENDENT_OF_WORKER:
        return _UNAVAILABLE_REASONS[hindrance]
    return Code.NO_SESSION_WORKER, session_lanes.missing_worker_message(
        source.broker_connection.lane
    )


@transaction.atomic
def switch_source(source_id: int, *, by: User | None, on: bool) -> bool:
    """Switch a source on or off; while it is off, whoever uses it gets no entry. Returns False if
    it was so already.

    Raises NotAllowedError to who does not own it; ConflictError STATE_CONFLICT for a broker's
    source that no live account tells.
    """
    source = DataConnection.objects.select_for_update(no_key=True, of=("self",)).get(pk=source_id)
    require(by, Right.PRICES, owner_id=source.user_id)
    if source.is_active == on:
        return False
    if on and source.kind == DataConnection.Kind.BROKER and not _has_live_account(source):
        raise ConflictError(Code.STATE_CONFLICT, "No live account tells these prices any more.")
    source.is_active = on
    source.save(update_fields=["is_active"])
    return True


def _has_live_account(source: DataConnection) -> bool:
    live = ExecutionConnection.objects.live()
    return (
        source.broker_connection_id is not None
        and live.filter(pk=source.broker_connection_id).exists()
    )
