"""Prices that a broker tells by one of our accounts: the source that an account is."""

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from uuid import UUID

from django.db import transaction
from django.db.models import BooleanField, CharField, Q, QuerySet
from django.db.models.expressions import RawSQL

from brokers.masking import storable
from common.codes import Code
from common.errors import ConflictError, InvalidInputError
from common.permissions import Right, require
from common.shown import first_of
from common.sql import run
from connections import lanes
from connections.fitting import abilities_of, hold_offer, is_told_prices
from connections.models import DataConnection, ExecutionConnection
from connections.open import is_priced_by, is_watched
from connections.rights import check_owner
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
        hold_offer(made.pk, to_change=True)  # before its row, as who takes the offer back does
        made.is_active = True
        made.save(update_fields=["is_active"])
    return made


@transaction.atomic
def offer_to_all(source: DataConnection, *, by: User | None, offered: bool = True) -> None:
    """Let everybody use the prices of an administrator's own account, or its owner alone again.

    Raises NotAllowedError to who is no operator; InvalidInputError FIELD_INVALID for a tenant's;
    ConflictError STATE_CONFLICT where accounts of others, or paper accounts, go by it still.
    """
    require(by, Right.SHARE_PRICES)
    teller = source.told_by
    if teller is None or not teller.is_admin_owned():
        raise InvalidInputError(
            Code.FIELD_INVALID, "Only an administrator's own account may tell prices to all."
        )
    hold_offer(source.pk, to_change=True)
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
            "Paper trades only on prices for all. Give another source first to:"
            f" {first_of(names)}.",
        )


def name_of(connection: ExecutionConnection) -> str:
    """What the source that an account is is called at first."""
    return f"{connection.name[:80]}: its own broker"


def others_by(connection_id: UUID) -> list[str]:
    """Return the names of the other accounts that go by what this one tells, in order."""
    by = ExecutionConnection.objects.live().filter(data_connection__told_by=connection_id)
    return list(by.exclude(pk=connection_id).order_by("name").values_list("name", flat=True))


# ---- who may follow one now ---------------------------------------------------------------------
_WHY = {
    "archived": (Code.CONNECTION_INACTIVE, "The account that told these prices is archived."),
    "off": (Code.CONNECTION_INACTIVE, "The account that tells these prices is switched off."),
    "untested": (Code.CONNECTION_UNTESTED, "The account that tells these prices is not tested."),
    "away": (Code.HOST_AWAY, "The broker of these prices does not answer."),
    "fails": (Code.CONNECTION_ERROR, "The account that tells these prices fails."),
}
_ENDS = ("archived", "off")
_WHOEVER_RUNS = (*_ENDS, "untested")  # no worker changes these by itself
_HAS_PAPER = """EXISTS (SELECT FROM connections_executionconnection u WHERE u.type = 'paper'
  AND u.data_connection_id = connections_dataconnection.id AND u.archived_at IS NULL)"""


def followed_here(held: Collection[str]) -> QuerySet[DataConnection]:
    """Return the sources that accounts in these lanes tell and somebody uses, with the accounts and
    what `why_not` and `feeds_paper` look at: one statement, however many there are."""
    return _followed(Q(told_by__lane__in=list(held)))


def _followed(where: Q) -> QuerySet[DataConnection]:
    is_used = RawSQL(is_used_sql("connections_dataconnection.id"), [], output_field=BooleanField())
    return (
        DataConnection.objects.filter(where, is_active=True)
        .filter(is_used)
        .annotate(
            hindrance=RawSQL(_hindrance_sql(), [], output_field=CharField()),
            has_paper=RawSQL(_HAS_PAPER, [], output_field=BooleanField()),
        )
        .select_related("told_by")
        .order_by("pk")
    )


def _hindrance_sql() -> str:
    return f"""(SELECT CASE
      WHEN c.archived_at IS NOT NULL THEN 'archived'
      WHEN NOT {is_watched()} THEN 'off'
      WHEN coalesce(h.status, 'UNTESTED') = 'UNTESTED' THEN 'untested'
      WHEN EXISTS (SELECT FROM connections_hostcircuit k
        WHERE k.host = c.broker_host AND k.opened_at IS NOT NULL) THEN 'away'
      WHEN h.read_after > clock_timestamp() OR h.circuit_open_until > clock_timestamp() THEN 'fails'
      ELSE '' END
    FROM connections_executionconnection c
    LEFT JOIN connections_connectionhealth h ON h.connection_id = c.id
    WHERE c.id = connections_dataconnection.told_by_id)"""


def why_not(source: DataConnection, *, begins: bool) -> tuple[Code, str] | None:
    """Return why nobody may ask the account of a source of `followed_here` for prices now; None: it
    may be followed. Pure.

    begins: it is not followed yet. A stream that works is not ended because something else of the
    account fails: what is guarded by its prices would be left alone.
    """
    hindrance = vars(source)["hindrance"]
    return _WHY.get(hindrance) if begins or hindrance in _ENDS else None


def feeds_paper(source: DataConnection) -> bool:
    """Whether the paper broker trades on a source of `followed_here`: operators offer it to all,
    and some paper account uses it. Pure.

    Its prices are everybody's: a tenant's own source does not move them.
    """
    return source.user_id is None and bool(vars(source)["has_paper"])


def tells_sql(column: str) -> str:
    """Return SQL for whether somebody uses the prices of the account whose id a column has."""
    return f"""EXISTS (SELECT FROM connections_dataconnection d
      WHERE d.told_by_id = {column} AND d.is_active AND {is_used_sql("d.id")})"""


def is_used_sql(column: str) -> str:
    """Return SQL for whether anything depends on the source whose id a column has: an account goes
    by it, or something open does since it was opened, whatever its account goes by now."""
    return f"""(EXISTS (SELECT FROM connections_executionconnection u
        WHERE u.data_connection_id = {column} AND u.archived_at IS NULL)
      OR {is_priced_by(column)})"""


# ---- how they fare ------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Note:
    """How a source fares. told: its broker has proved to be there just now; code, words: what is
    wrong, without secrets; pairs: what is followed; missing: of those, what has no price."""

    source_id: int
    told: bool = False
    code: Code | None = None
    words: str = ""
    pairs: Sequence[str] = ()
    missing: Sequence[str] = ()


# In one order: two who write the same ones do not wait for each other for ever.
NOTE = """
INSERT INTO connections_sourcehealth AS old
  (source_id, told_at, error_code, error, failing_since, pairs, missing, followed_by)
SELECT d.id, CASE WHEN n.told THEN clock_timestamp() END, n.code, n.words,
  CASE WHEN n.code <> '' THEN clock_timestamp() END, n.pairs, n.missing, %(by)s::text
FROM jsonb_to_recordset(%(notes)s::jsonb)
  AS n(source_id bigint, told bool, code text, words text, pairs text[], missing text[])
JOIN connections_dataconnection d ON d.id = n.source_id ORDER BY d.id
ON CONFLICT (source_id) DO UPDATE SET told_at = coalesce(excluded.told_at, old.told_at),
  error_code = excluded.error_code, error = excluded.error,
  failing_since = CASE WHEN excluded.error_code <> ''
    THEN coalesce(old.failing_since, excluded.failing_since) END,
  pairs = excluded.pairs, missing = excluded.missing, followed_by = excluded.followed_by
"""


def note(*notes: Note, by: str = "") -> None:
    """Write down how sources fare, in one statement; one note each. by: the process's name."""
    if notes:
        said = json.dumps([asdict(one) | _fitting(one) for one in notes])
        run(NOTE, {"notes": said, "by": by[:80]})


def _fitting(one: Note) -> dict[str, str]:
    return {"code": str(one.code or ""), "words": storable(one.words)[:500]}


def note_unheld() -> None:
    """Say of sources whose account's lane nobody holds why nothing is told: no worker follows them,
    or none would. Archived accounts' lanes may be in nobody's list: theirs are looked at, too."""
    unheld = lanes.unheld(lanes.MOVING_SECONDS)
    found = _followed(Q(told_by__lane__in=list(unheld)) | Q(told_by__archived_at__isnull=False))
    why = ((one.pk, *_why_unheld(one)) for one in found)
    note(*(Note(pk, code=code, words=words) for pk, code, words in why))


def _why_unheld(source: DataConnection) -> tuple[Code, str]:
    assert source.told_by is not None  # it is in a lane
    if (hindrance := vars(source)["hindrance"]) in _WHOEVER_RUNS:
        return _WHY[hindrance]
    return Code.LANE_UNHELD, lanes.waiting_for(source.told_by.lane)
