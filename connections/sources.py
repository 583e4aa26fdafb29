"""Prices that a broker tells by one of our accounts: the source that an account is."""

from collections.abc import Collection, Sequence
from typing import Any

from django.db import transaction
from django.db.models import BooleanField, Q, QuerySet
from django.db.models.expressions import RawSQL

from common.codes import Code
from common.errors import ConflictError, InvalidInputError
from common.sql import array, rows, run
from connections import lanes
from connections.fitting import abilities_of, is_told_prices
from connections.models import DataConnection, ExecutionConnection
from connections.open import is_watched
from connections.rights import check_operator, check_owner
from users.models import User

NO_PRICES = "Its broker tells no prices: choose another price source."


def tells_prices(kind: str, exchange_name: str = "") -> bool:
    """Whether accounts of a kind can be a source of prices."""
    can = abilities_of(kind, exchange_name)
    return can is not None and can.own_prices and (can.price_stream or can.quotes)


@transaction.atomic
def tell_prices(connection: ExecutionConnection, *, by: User | None = None) -> DataConnection:
    """Return the source of prices that this account's own broker tells; it is made at first asking.

    It is its owner's, and changes nothing about who uses it: set it as `data_connection`. by: who
    asks (None: the system itself). Raises NotAllowedError; InvalidInputError FIELD_INVALID where
    the broker tells none, or the account is archived.
    """
    check_owner(connection, by)
    if connection.archived_at is not None or not tells_prices(
        connection.type, connection.exchange_name
    ):
        raise InvalidInputError(Code.FIELD_INVALID, NO_PRICES, field="data_connection")
    # One account is one source, whoever comes first.
    made, _ = DataConnection.objects.get_or_create(
        told_by=connection,
        defaults={
            "kind": DataConnection.Kind.BROKER,
            "name": name_of(connection),
            "user_id": connection.owner_id,
        },
    )
    if not made.is_active:
        made.is_active = True
        made.save(update_fields=["is_active"])
    return made


@transaction.atomic
def offer_to_all(source: DataConnection, *, by: User | None, offered: bool = True) -> None:
    """Let everybody use the prices of an administrator's own account, or its owner alone again.

    Raises NotAllowedError to who is no operator; InvalidInputError FIELD_INVALID for a tenant's;
    ConflictError STATE_CONFLICT where accounts of others, or paper accounts, go by it still.
    """
    check_operator(by)
    teller = source.told_by
    if teller is None or not teller.is_admin_owned():
        raise InvalidInputError(
            Code.FIELD_INVALID, "Only an administrator's own account may tell prices to all."
        )
    if not offered:
        _refuse_if_needed(source, teller.owner_id)
    source.user_id = None if offered else teller.owner_id
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
    if names := [one.name for one in mine.order_by("name") if is_told_prices(one.type)]:
        raise ConflictError(
            Code.STATE_CONFLICT,
            f"Paper trades only on prices for all. Give another source first to: {_some(names)}.",
        )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more}"


def name_of(connection: ExecutionConnection) -> str:
    """What the source that an account is is called at first."""
    return f"{connection.name[:80]}: its own broker"


# ---- who may follow one now ---------------------------------------------------------------------
def followed_here(held: Collection[str]) -> QuerySet[DataConnection]:
    """Return the sources that accounts in these lanes tell and somebody uses, with the accounts."""
    is_used = RawSQL(is_used_sql("connections_dataconnection.id"), [], output_field=BooleanField())
    return (
        DataConnection.objects.filter(is_active=True, told_by__lane__in=list(held))
        .filter(is_used)
        .select_related("told_by")
        .order_by("pk")
    )


def why_not(source: DataConnection, *, begins: bool) -> tuple[Code, str] | None:
    """Return why nobody may ask this source's account for prices now; None: it may be followed.

    begins: it is not followed yet. A stream that works is not ended because something else of the
    account fails: what is guarded by its prices would be left alone.
    """
    [row] = rows(
        f"""
        SELECT c.archived_at IS NOT NULL AS is_archived, {is_watched()} AS is_watched,
          coalesce(h.status, 'UNTESTED') = 'UNTESTED' AS is_untested,
          coalesce(h.read_after > clock_timestamp(), false)
            OR coalesce(h.circuit_open_until > clock_timestamp(), false) AS rests,
          EXISTS (SELECT FROM connections_hostcircuit k
            WHERE k.host = c.broker_host AND k.opened_at IS NOT NULL) AS is_away
        FROM connections_executionconnection c
        LEFT JOIN connections_connectionhealth h ON h.connection_id = c.id WHERE c.id = %s
        """,
        (source.told_by_id,),
    )
    if row.is_archived:
        return Code.CONNECTION_INACTIVE, "The account that told these prices is archived."
    if not row.is_watched:
        return Code.CONNECTION_INACTIVE, "The account that tells these prices is switched off."
    if not begins:
        return None
    if row.is_untested:
        return Code.CONNECTION_UNTESTED, "The account that tells these prices is not tested."
    if row.is_away:
        return Code.HOST_AWAY, "The broker of these prices does not answer."
    if row.rests:
        return Code.CONNECTION_ERROR, "The account that tells these prices fails."
    return None


def tells_sql(column: str) -> str:
    """Return SQL for whether somebody uses the prices of the account whose id a column has."""
    return f"""EXISTS (SELECT FROM connections_dataconnection d
      WHERE d.told_by_id = {column} AND d.is_active AND {is_used_sql("d.id")})"""


def is_used_sql(column: str) -> str:
    """Return SQL for whether anything depends on the source whose id a column has: an account goes
    by it, or something open does since it was opened, whatever its account goes by now."""
    return f"""(EXISTS (SELECT FROM connections_executionconnection u
        WHERE u.data_connection_id = {column} AND u.archived_at IS NULL)
      OR EXISTS (SELECT FROM positions_executionposition p
        WHERE p.price_source_id = {column} AND p.quantity > 0))"""


# ---- how they fare ------------------------------------------------------------------------------
NOTE = """
INSERT INTO connections_sourcehealth AS old
  (source_id, told_at, error_code, error, failing_since, pairs, missing, followed_by)
SELECT id, CASE WHEN %(told)s::bool THEN clock_timestamp() END, %(code)s::text, %(words)s::text,
  CASE WHEN %(code)s::text <> '' THEN clock_timestamp() END, %(pairs)s::text[], %(missing)s::text[],
  %(by)s::text
FROM connections_dataconnection WHERE id = %(source)s
ON CONFLICT (source_id) DO UPDATE SET told_at = coalesce(excluded.told_at, old.told_at),
  error_code = excluded.error_code, error = excluded.error,
  failing_since = CASE WHEN excluded.error_code <> ''
    THEN coalesce(old.failing_since, excluded.failing_since) END,
  pairs = excluded.pairs, missing = excluded.missing, followed_by = excluded.followed_by
"""


def note(
    source_id: int,
    *,
    told: bool,
    code: Code | None = None,
    words: str = "",
    pairs: Sequence[str] = (),
    missing: Sequence[str] = (),
    by: str = "",
) -> None:
    """Write down how a source fares. told: its broker has proved to be there just now; code, words:
    what is wrong, without secrets; pairs: what is followed; missing: of those, what has no price.
    """
    said: dict[str, Any] = {
        "source": source_id, "told": told, "code": str(code or ""), "words": words[:500],
        "pairs": array(pairs), "missing": array(missing), "by": by[:80],
    }  # fmt: skip
    run(NOTE, said)


def note_unheld() -> None:
    """Say of sources whose account's lane nobody holds that no worker follows them."""
    for one in followed_here(lanes.unheld(lanes.MOVING_SECONDS)):
        assert one.told_by is not None  # it is in a lane
        note(one.pk, told=False, code=Code.LANE_UNHELD, words=lanes.waiting_for(one.told_by.lane))
