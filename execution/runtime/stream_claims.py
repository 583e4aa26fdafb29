"""Which process listens to which account's order stream: the rows that state it.

The holder is a process, by the id of its lease (`WorkerLease`): once that has ended, the account is
free. So nothing is renewed for an account.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from common.db.sql import Query, array, columns, periodic_rows, run
from connections.selectors import (
    HOST_IS_UP_SQL,
    SPEC_COLUMNS,
    AccountRow,
    connection_join_sql,
    has_accounts_sql,
)
from connections.session_lanes import IN_HELD_LANES_SQL, held_lanes_parameters
from positions.joins import accounts_with_positions_sql, has_open_position_sql

_WORKING = "o.status IN ('SUBMITTING', 'SUBMITTED', 'PARTIALLY_FILLED', 'CANCEL_REQUESTED')"
IS_OPEN_SQL = f"""(EXISTS (SELECT FROM execution_order o WHERE o.connection_id = c.id
  AND {_WORKING}) OR {has_open_position_sql("c.id")})"""
_ACCOUNTS_WITH_ANYTHING_OPEN_SQL = f"""SELECT o.connection_id FROM execution_order o
  WHERE {_WORKING} UNION ALL {accounts_with_positions_sql()}"""


def has_living_holder_sql(state: str) -> str:
    """Return SQL: whether a living process listens to an account. state: its sync state."""
    return (
        f"EXISTS (SELECT FROM execution_workerlease w WHERE w.id = {state}.stream_holder"
        " AND w.lease_until > clock_timestamp())"
    )


def is_delivering_sql(state: str) -> str:
    """Return SQL: whether a living process listens to an account and its stream delivers.

    A process that dies leaves its rows as they are. state: as above.
    """
    return f"({state}.stream_since IS NOT NULL AND {has_living_holder_sql(state)})"


@dataclass(frozen=True, slots=True)
class HeldRow(AccountRow):
    """An account that this process listens to. is_open: it has anything that could change."""

    is_open: bool
    lane: str


CLAIM = Query(
    HeldRow,
    f"""
WITH free AS (
  SELECT r.connection_id FROM execution_accountsyncstate r
  {connection_join_sql("r.connection_id")}
  WHERE {has_accounts_sql("%(broker_types)s::text[]")}  -- else all accounts would be read
    AND c.type = ANY(%(broker_types)s::text[]) AND c.archived_at IS NULL AND {IN_HELD_LANES_SQL}
    AND {HOST_IS_UP_SQL} AND c.id IN ({_ACCOUNTS_WITH_ANYTHING_OPEN_SQL})
    AND (r.stream_holder = '' OR NOT {has_living_holder_sql("r")})
  ORDER BY r.connection_id LIMIT %(limit)s FOR NO KEY UPDATE OF r SKIP LOCKED
), claimed AS (
  UPDATE execution_accountsyncstate r SET stream_holder = %(holder)s, stream_since = NULL,
    stream_error = ''
  FROM free WHERE r.connection_id = free.connection_id RETURNING r.connection_id
)
SELECT t.connection_id, {SPEC_COLUMNS}, c.broker_host, c.lane, true AS is_open
FROM claimed t {connection_join_sql("t.connection_id")}
""",
)
HELD = Query(
    HeldRow,
    f"""
SELECT r.connection_id, {SPEC_COLUMNS}, c.broker_host, c.lane,
  c.archived_at IS NULL AND {IN_HELD_LANES_SQL} AND {IS_OPEN_SQL} AS is_open
FROM execution_accountsyncstate r {connection_join_sql("r.connection_id")}
WHERE {has_accounts_sql("%(broker_types)s::text[]")} AND r.stream_holder = %(holder)s
  AND r.stream_holder <> ''  -- as the partial index states
""",
)
# Rows are locked in the order of their ids, as polls lock them.
STORE = """
WITH stated AS (
  SELECT * FROM unnest(%s::uuid[], %s::timestamptz[], %s::text[], %s::text[])
    AS t(connection_id, since, error, holder)
), locked AS (
  SELECT r.connection_id FROM execution_accountsyncstate r JOIN stated t USING (connection_id)
  WHERE r.stream_holder = t.holder ORDER BY r.connection_id FOR NO KEY UPDATE OF r
)
UPDATE execution_accountsyncstate r SET stream_since = t.since, stream_error = t.error
FROM stated t JOIN locked USING (connection_id) WHERE r.connection_id = t.connection_id
"""
RELEASE = """
UPDATE execution_accountsyncstate SET stream_holder = '', stream_since = NULL, stream_error = ''
WHERE connection_id IN (SELECT connection_id FROM execution_accountsyncstate
  WHERE connection_id = ANY(%s::uuid[]) AND stream_holder = %s
  ORDER BY connection_id FOR NO KEY UPDATE)
"""


class StreamState(NamedTuple):
    """How an account's stream is, as it is stored."""

    since: datetime | None
    error: str


def claim(holder: str, broker_types: Sequence[str], limit: int) -> list[HeldRow]:
    """Let this process listen to free accounts that have anything open; return them."""
    return periodic_rows(
        CLAIM,
        {
            "broker_types": array(broker_types),
            "holder": holder,
            "limit": limit,
            **held_lanes_parameters(),
        },
    )


def held(holder: str, broker_types: Sequence[str]) -> dict[UUID, HeldRow]:
    """Return all accounts that this process holds, with their settings of now; broker_types: of
    those that it may hold."""
    parameters = {
        "broker_types": array(broker_types),
        "holder": holder,
        **held_lanes_parameters(),
    }
    return {row.connection_id: row for row in periodic_rows(HELD, parameters)}


def store(holder: str, states: Mapping[UUID, StreamState]) -> None:
    """Store how the streams of these accounts are."""
    if states:
        run(STORE, columns([(id_, *state, holder) for id_, state in states.items()], 4))


def release(holder: str, connection_ids: Collection[UUID]) -> None:
    """Free these accounts for other processes."""
    if connection_ids:
        run(RELEASE, (array(connection_ids), holder))
