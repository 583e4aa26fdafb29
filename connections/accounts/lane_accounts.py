"""The accounts of session lanes, for the process that holds the lanes.

A lane is `''` for accounts that any process may call; the functions here leave those out where they
concern sessions.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from common.db.sql import Query, array, rows
from connections.credentials.specs import READ_COLUMNS, SPEC_COLUMNS, AccountRow, ReadRow
from connections.exposure import is_monitored_sql, is_open_sql
from connections.joins import TYPES_AND_LANES_SQL
from connections.market_data.sources import provides_prices_sql

_COLUMNS = f"c.id AS connection_id, {SPEC_COLUMNS}, c.broker_host, c.lane"


@dataclass(frozen=True, slots=True)
class LaneAccount(AccountRow):
    """An account in a lane, as `spec_from_row` needs it."""

    lane: str


@dataclass(frozen=True, slots=True)
class IdleAccount(LaneAccount):
    """An idle account, with the fields of LaneAccount. is_on: it is not switched off."""

    is_on: bool


class ConnectionId(NamedTuple):
    id: UUID


class BrokerTypeRow(NamedTuple):
    type: str


NONE = array(())
ACCOUNTS_OF_LANES = Query(
    LaneAccount,
    f"SELECT {_COLUMNS} FROM connections_executionconnection c WHERE c.lane = ANY(%s::text[])",
)

LEFT_LANES = Query(
    LaneAccount,
    f"""
SELECT {_COLUMNS} FROM connections_executionconnection c
WHERE c.id = ANY(%s::uuid[]) AND c.lane <> ALL(%s::text[])
""",
)

IDS_OF_LANES = Query(
    ConnectionId,
    "SELECT id FROM connections_executionconnection WHERE lane <> '' AND lane = ANY(%s::text[])",
)

BROKER_TYPES_OF_LANES = Query(
    BrokerTypeRow,
    f"SELECT DISTINCT type FROM ({TYPES_AND_LANES_SQL}) c"
    " WHERE lane <> '' AND lane = ANY(%s::text[])",
)


def accounts_of_lanes(lanes: Iterable[str]) -> list[LaneAccount]:
    return rows(ACCOUNTS_OF_LANES, (array(lanes),))


def accounts_outside_lanes(ids: Iterable[UUID], lanes: Iterable[str]) -> list[LaneAccount]:
    """Return those of these accounts that are in none of the lanes."""
    listed = array(ids)
    return rows(LEFT_LANES, (listed, array(lanes))) if listed != NONE else []


def ids_of_lanes(lanes: Iterable[str]) -> list[UUID]:
    listed = array(lanes)
    return [row.id for row in rows(IDS_OF_LANES, (listed,))] if listed != NONE else []


def broker_types_of_lanes(lanes: Collection[str]) -> set[str]:
    """Return the broker types of the live accounts in these lanes."""
    return {row.type for row in rows(BROKER_TYPES_OF_LANES, (array(lanes),))} if lanes else set()


def accounts_to_open_sql() -> Query[ReadRow]:
    """Return the query for accounts whose sessions the new owner of lanes opens at once.

    Those are monitored accounts, unless their login must not be retried yet. Parameter: the lanes.
    """
    return Query(
        ReadRow,
        f"""
SELECT {READ_COLUMNS} FROM connections_executionconnection c
JOIN connections_connectionhealth h ON h.connection_id = c.id
WHERE c.lane = ANY(%s::text[]) AND {is_monitored_sql()} AND h.status <> 'UNTESTED'
  AND (h.read_after IS NULL OR h.read_after <= clock_timestamp())
  AND (h.circuit_open_until IS NULL OR h.circuit_open_until <= clock_timestamp())
""",
    )


def idle_accounts_sql() -> Query[IdleAccount]:
    """Return the query for idle accounts: nothing is open, and switched off or unused for long.

    An account whose prices are used is not idle. Parameters: lanes; idle, seconds.
    """
    return Query(
        IdleAccount,
        f"""
SELECT {_COLUMNS}, c.is_active AND c.archived_at IS NULL AS is_on
FROM connections_executionconnection c
LEFT JOIN connections_connectionhealth h ON h.connection_id = c.id
WHERE c.lane <> '' AND c.lane = ANY(%(lanes)s::text[])
  AND (NOT c.is_active OR c.archived_at IS NOT NULL
    OR greatest(h.last_used_at, h.last_tested_at, c.created_at)
      < clock_timestamp() - make_interval(secs => %(idle)s) AND NOT {provides_prices_sql("c.id")})
  AND NOT {is_open_sql("c.id")}
""",
    )
