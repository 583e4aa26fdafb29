"""Price sources whose prices come from the broker of one of our accounts."""

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from uuid import UUID

from django.db import transaction
from django.db.models import BooleanField, CharField, Q, QuerySet
from django.db.models.expressions import RawSQL

from brokers.redaction import storable
from common.db.sql import array, periodic_rows, rows, run
from common.errors import ConflictError, InvalidInputError
from common.permissions import Right, require
from common.reason_codes import Code
from common.web.formatting import join_first
from connections import session_lanes
from connections.eligibility import CANDIDATES_SQL
from connections.exposure import is_monitored_sql, is_priced_by_sql
from connections.market_data.compatibility import (
    default_capabilities,
    lock_shared_source,
    needs_external_prices,
)
from connections.market_data.ticks import TICK_SQL
from connections.models import DataConnection, ExecutionConnection
from users.models import User

_REFERENCE_ACCOUNTS = f"""
FROM {CANDIDATES_SQL}
JOIN connections_dataconnection d ON d.id = c.data_connection_id
WHERE c.is_active AND c.archived_at IS NULL AND d.is_active
  AND (d.user_id IS NULL OR d.user_id = %(owner)s::bigint)
"""
_REFERENCE_SOURCES = f"SELECT DISTINCT d.id, d.name {_REFERENCE_ACCOUNTS} ORDER BY d.id"
_SMALLEST_STEPS = f"""
SELECT min(i.pip) AS pip, min({TICK_SQL}) AS tick FROM connections_instrument i
WHERE i.pair = %(pair)s::text AND i.book IN (SELECT c.instrument_book {_REFERENCE_ACCOUNTS})
"""

NO_PRICES_MESSAGE = "Its broker provides no prices: choose another price source."


def can_provide_prices(broker_type: str, exchange_name: str = "") -> bool:
    """Return whether accounts of a broker type can be a price source."""
    capabilities = default_capabilities(broker_type, exchange_name)
    return (
        capabilities is not None
        and capabilities.own_prices
        and (capabilities.price_stream or capabilities.quotes)
    )


@transaction.atomic
def get_or_create_broker_source(
    connection: ExecutionConnection, *, by: User | None = None
) -> DataConnection:
    """Return the price source of this account's own broker; create it if there is none.

    It belongs to the account's owner. No account uses it until it is set as its `data_connection`.
    by: the requesting user (None: the system). Raises NotAllowedError; InvalidInputError
    FIELD_INVALID if the broker provides no prices, or the account is archived.
    """
    require(by, Right.CONNECTIONS, owner_id=connection.user_id)
    if connection.archived_at is not None or not can_provide_prices(
        connection.type, connection.exchange_name
    ):
        raise InvalidInputError(Code.FIELD_INVALID, NO_PRICES_MESSAGE, field="data_connection")
    # An account has at most one source, also when two requests come at once.
    source, _ = DataConnection.objects.get_or_create(
        broker_connection=connection,
        defaults={
            "kind": DataConnection.Kind.BROKER,
            "name": default_source_name(connection),
            "user_id": connection.owner_id,
        },
    )
    if not source.is_active:
        # Before its row, in the same order as `share_with_all`.
        lock_shared_source(source.pk, to_change=True)
        source.is_active = True
        source.save(update_fields=["is_active"])
    return source


@transaction.atomic
def share_with_all(source: DataConnection, *, by: User | None, shared: bool = True) -> None:
    """Share the prices of an operator's account with all users, or withdraw them.

    Raises NotAllowedError if `by` is no operator; InvalidInputError FIELD_INVALID for a tenant's
    source; ConflictError STATE_CONFLICT if accounts of others, or paper accounts, still use it.
    """
    require(by, Right.SHARE_PRICES)
    account = source.broker_connection
    if account is None or not account.is_admin_owned():
        raise InvalidInputError(
            Code.FIELD_INVALID, "Only an administrator's own account may provide prices for all."
        )
    lock_shared_source(source.pk, to_change=True)
    if not shared:
        _ensure_not_needed(source, account.owner_id)
    source.user_id = None if shared else account.owner_id
    source.save(update_fields=["user"])


def _ensure_not_needed(source: DataConnection, owner_id: int) -> None:
    """Raise ConflictError if accounts use a source that they could not use were it not shared.

    These are accounts of other owners, and paper accounts, which trade only on shared prices.
    """
    users = ExecutionConnection.objects.live().filter(data_connection=source)
    mine = users.filter(Q(user=owner_id) | Q(admin=owner_id))
    if n := users.count() - mine.count():
        raise ConflictError(
            Code.STATE_CONFLICT,
            f"{n} of other owners' accounts use these prices. Give them another source first.",
        )
    stands_in = DataConnection.objects.filter(fallback=source)
    if n := stands_in.exclude(user=owner_id).count():
        raise ConflictError(
            Code.STATE_CONFLICT,
            f"{n} of other owners' price sources have these prices as their fallback. They must"
            " choose another one first.",
        )
    if names := [used.name for used in mine.order_by("name") if needs_external_prices(used.type)]:
        raise ConflictError(
            Code.STATE_CONFLICT,
            "Paper accounts trade only on shared prices. Give another source first to:"
            f" {join_first(names)}.",
        )


def default_source_name(connection: ExecutionConnection) -> str:
    """Return the first name of the price source of an account's own broker."""
    return f"{connection.name[:80]}: its own broker"


def other_accounts_using(connection_id: UUID) -> list[str]:
    """Return the names of the other accounts that use the prices of this one, sorted."""
    by = ExecutionConnection.objects.live().filter(data_connection__broker_connection=connection_id)
    return list(by.exclude(pk=connection_id).order_by("name").values_list("name", flat=True))


# ---- which sources may be followed now ----------------------------------------------------------
_UNAVAILABLE_REASONS = {
    "archived": (Code.CONNECTION_INACTIVE, "The account of these prices is archived."),
    "off": (Code.CONNECTION_INACTIVE, "The account that provides these prices is switched off."),
    "untested": (Code.CONNECTION_UNTESTED, "The account that provides these prices is not tested."),
    "away": (Code.BROKER_HOST_DOWN, "The broker of these prices does not answer."),
    "fails": (Code.CONNECTION_ERROR, "The account that provides these prices fails."),
}
_ENDING_HINDRANCES = ("archived", "off")
_INDEPENDENT_OF_WORKER = (*_ENDING_HINDRANCES, "untested")  # a running worker would not end these
_HAS_PAPER = """EXISTS (SELECT FROM connections_executionconnection u WHERE u.type = 'paper'
  AND u.data_connection_id = connections_dataconnection.id AND u.archived_at IS NULL)"""


ANY_IN_LANES = """
SELECT d.id FROM connections_dataconnection d
JOIN connections_executionconnection c ON c.id = d.broker_connection_id
WHERE d.is_active AND c.lane = ANY(%s::text[]) LIMIT 1
"""


def sources_in_lanes(lanes: Collection[str]) -> QuerySet[DataConnection]:
    """Return the active, used sources of accounts in these lanes, in one statement.

    Each has its account and what `unavailable_reason` and `serves_paper` need.
    """
    if not periodic_rows(ANY_IN_LANES, (array(lanes),)):  # asked every second; many have none
        return DataConnection.objects.none()
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


def side_sources() -> list[DataConnection]:
    """Return the active sources that the prices process serves beside brokers' streams.

    These are the sources that quotes are pushed to, and those with a fallback; each has what
    `serves_paper` needs.
    """
    served = Q(kind=DataConnection.Kind.PUSH) | Q(fallback__isnull=False)
    sources = DataConnection.objects.filter(served, is_active=True).annotate(
        has_paper=RawSQL(_HAS_PAPER, [], output_field=BooleanField())
    )
    return list(sources.select_related("health").order_by("pk"))


def unavailable_reason(source: DataConnection, *, begins: bool) -> tuple[Code, str] | None:
    """Return why a source from `sources_in_lanes` may not be followed now; None if it may. Pure.

    begins: it is not followed yet. A working stream is not ended because something else of the
    account fails: positions that its prices guard would be unmonitored.
    """
    hindrance = vars(source)["hindrance"]
    return (
        _UNAVAILABLE_REASONS.get(hindrance) if begins or hindrance in _ENDING_HINDRANCES else None
    )


def serves_paper(source: DataConnection) -> bool:
    """Return whether the paper broker trades on a source from `sources_in_lanes`. Pure.

    It does if operators share the source and a paper account uses it: all paper accounts have the
    same prices, which no tenant's own source may move.
    """
    return source.user_id is None and bool(vars(source)["has_paper"])


def provides_prices_sql(column: str) -> str:
    """Return SQL for whether any account uses the prices of this account. column: its id."""
    return f"""EXISTS (SELECT FROM connections_dataconnection d
      WHERE d.broker_connection_id = {column} AND d.is_active AND {is_used_sql("d.id")})"""


def is_used_sql(column: str) -> str:
    """Return SQL for whether anything uses a source. column: its id.

    An account uses it, or a position that was opened on it, even if its account uses another now;
    or it is the fallback of an active source.
    """
    return f"""(EXISTS (SELECT FROM connections_executionconnection u
        WHERE u.data_connection_id = {column} AND u.archived_at IS NULL)
      OR EXISTS (SELECT FROM connections_dataconnection p
        WHERE p.fallback_id = {column} AND p.is_active)
      OR {is_priced_by_sql(column)})"""


# ---- the stored status --------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class SourceReport:
    """The status of a source, to be stored.

    is_alive: the broker confirmed a price just now. code, message: what is wrong, without secrets.
    pairs: those that are followed; none, with a code: those of before. missing: those of them
    without a price. held_back: how many quotes were, since the last report. last_held: the last of
    them; empty: none yet. suspects: the pairs with a quote that is still held back after the time
    in which silence confirms it.
    """

    source_id: int
    is_alive: bool = False
    code: Code | None = None
    message: str = ""
    pairs: Sequence[str] = ()
    missing: Sequence[str] = ()
    held_back: int = 0
    last_held: str = ""
    suspects: Sequence[str] = ()


# What is not followed because of an error is needed all the same: fallbacks have these pairs ready.
_KEEPS_PAIRS = "excluded.pairs = '{}' AND excluded.error_code <> ''"
# Ordered by id, so that two writers cannot deadlock.
RECORD_STATUS_SQL = """
INSERT INTO connections_sourcehealth AS old
  (source_id, last_contact_at, error_code, error, failing_since, pairs, missing, followed_by,
  held_back, last_held, suspects, suspect_since)
SELECT d.id, CASE WHEN n.is_alive THEN clock_timestamp() END, n.code, n.message,
  CASE WHEN n.code <> '' THEN clock_timestamp() END, n.pairs, n.missing, %(by)s::text, n.held_back,
  left(n.last_held, 120), n.suspects, CASE WHEN n.suspects <> '{}' THEN clock_timestamp() END
FROM jsonb_to_recordset(%(reports)s::jsonb)
  AS n(source_id bigint, is_alive bool, code text, message text, pairs text[], missing text[],
    held_back int, last_held text, suspects text[])
JOIN connections_dataconnection d ON d.id = n.source_id ORDER BY d.id
ON CONFLICT (source_id) DO UPDATE SET last_contact_at = coalesce(excluded.last_contact_at,
  old.last_contact_at),
  error_code = excluded.error_code, error = excluded.error,
  failing_since = CASE WHEN excluded.error_code <> ''
    THEN coalesce(old.failing_since, excluded.failing_since) END,
  pairs = CASE WHEN {keeps} THEN old.pairs ELSE excluded.pairs END,
  missing = CASE WHEN {keeps} THEN old.pairs ELSE excluded.missing END,
  followed_by = excluded.followed_by,
  held_back = old.held_back + excluded.held_back,
  last_held = coalesce(nullif(excluded.last_held, ''), old.last_held),
  suspects = excluded.suspects,
  suspect_since = CASE WHEN excluded.suspects <> '{}'
    THEN coalesce(old.suspect_since, excluded.suspect_since) END
""".replace("{keeps}", _KEEPS_PAIRS)


def record_source_status(*reports: SourceReport, by: str = "") -> None:
    """Store the status of sources in one statement. by: the name of this process."""
    if reports:
        records = json.dumps([asdict(report) | _storable_fields(report) for report in reports])
        run(RECORD_STATUS_SQL, {"reports": records, "by": by[:80]})


def forget_suspects(source_id: int) -> None:
    """Store that no quote of a source is suspect any more: no process follows it."""
    statement = """UPDATE connections_sourcehealth SET suspects = '{}', suspect_since = NULL
      WHERE source_id = %s AND suspects <> '{}'"""
    run(statement, (source_id,))


def _storable_fields(report: SourceReport) -> dict[str, str]:
    return {"code": str(report.code or ""), "message": storable(report.message)[:500]}


def flag_without_worker() -> None:
    """Store why sources have no prices whose account's lane is held by no worker.

    Includes sources of archived accounts: their lanes may not be listed as without a worker.
    """
    lanes = session_lanes.lanes_without_worker(session_lanes.HANDOVER_SECONDS)
    without_worker = _used_sources(
        Q(broker_connection__lane__in=list(lanes)) | Q(broker_connection__archived_at__isnull=False)
    )
    reasons = ((source.pk, *_reason_without_worker(source)) for source in without_worker)
    record_source_status(
        *(SourceReport(pk, code=code, message=message) for pk, code, message in reasons)
    )


def _reason_without_worker(source: DataConnection) -> tuple[Code, str]:
    assert source.broker_connection is not None  # it is in a lane
    if (hindrance := vars(source)["hindrance"]) in _INDEPENDENT_OF_WORKER:
        return _UNAVAILABLE_REASONS[hindrance]
    return Code.NO_SESSION_WORKER, session_lanes.missing_worker_message_of_lane(
        source.broker_connection.lane
    )


@transaction.atomic
def switch_source(source_id: int, *, by: User | None, on: bool) -> bool:
    """Switch a source on or off. Return False if it was so already.

    While it is off, accounts that use it take no entries. Raises NotAllowedError if `by` does not
    own it; ConflictError STATE_CONFLICT for a broker's source without a live account.
    """
    source = DataConnection.objects.select_for_update(no_key=True, of=("self",)).get(pk=source_id)
    require(by, Right.PRICES, owner_id=source.user_id)
    if source.is_active == on:
        return False
    if on and source.kind == DataConnection.Kind.BROKER and not _has_live_account(source):
        raise ConflictError(Code.STATE_CONFLICT, "No live account provides these prices any more.")
    source.is_active = on
    source.save(update_fields=["is_active"])
    return True


def _has_live_account(source: DataConnection) -> bool:
    live = ExecutionConnection.objects.live()
    return (
        source.broker_connection_id is not None
        and live.filter(pk=source.broker_connection_id).exists()
    )


def reference_sources(feed_id: int, *, owner_id: int, reaches_admins: bool) -> dict[int, str]:
    """Return the price sources that a feed's prices may be compared with: their names, by id.

    Those of the active accounts that take the feed, if they are shared or the feed's owner's: what
    another tenant's own source quotes must not stop a publication.
    """
    parameters = {"feed_id": feed_id, "owner": owner_id, "reaches_admins": reaches_admins}
    return {row.id: row.name for row in periodic_rows(_REFERENCE_SOURCES, parameters)}


def smallest_steps(
    pair: str, *, feed_id: int, owner_id: int, reaches_admins: bool
) -> tuple[Decimal | None, Decimal | None]:
    """Return the smallest pip and tick of a pair at the brokers of those accounts.

    None: none lists it.
    """
    parameters = {
        "feed_id": feed_id, "owner": owner_id, "reaches_admins": reaches_admins, "pair": pair,
    }  # fmt: skip
    (row,) = rows(_SMALLEST_STEPS, parameters)
    return row.pip, row.tick
