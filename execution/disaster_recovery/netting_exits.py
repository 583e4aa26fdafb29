"""Held exits on netting accounts: whether the broker's executions prove that they were not sent.

A recovery epoch holds the exits that were waiting when it was opened: the lost rows may show that
they were sent (RESTORED_EXIT).

The net quantity proves nothing there: an exit that was sent and a lost entry leave the same sum.
An exit that was sent was either executed after its position was opened, or is still working. So an
exit was certainly not sent if both hold:
- The broker lists every execution since the position was opened, including those that opened it
  (so its history reaches back far enough), and we know each of them.
- A comparison that began after `answer_by` found no unexplained working order of that symbol, not
  even one without an id of ours, since some brokers do not keep our ids.

Otherwise a person decides about the exit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from common.clocks import machine_time
from common.db.sql import Query, rows
from common.reason_codes import Code
from connections.selectors import HEALTH_JOIN_SQL, SPEC_COLUMNS, AccountRow, connection_join_sql
from connections.session_lanes import IN_HELD_LANES_SQL, held_lanes_parameters
from execution.base.statements import is_entry_of_sql
from execution.runtime import broker_queries
from positions.joins import position_join_sql

RETRY_SECONDS = 30
_queried_at: dict[UUID, float] = {}
"""Machine time of each account's last query: an open epoch is processed each second."""


@dataclass(frozen=True, slots=True)
class HeldExit(AccountRow):
    """A held exit with its account. opened_by: ids of the fills that opened its position."""

    id: int
    opened_at: datetime
    opened_by: list[str]


HELD_EXITS = Query(
    HeldExit,
    f"""
SELECT o.id, p.opened_at, c.id AS connection_id, {SPEC_COLUMNS}, c.broker_host,
  ARRAY(SELECT f.broker_fill_id FROM execution_order e JOIN execution_fill f ON f.order_id = e.id
    WHERE {is_entry_of_sql("e", "p")} AND NOT f.inferred) AS opened_by
FROM execution_order o
{position_join_sql("o.position_id")}
{connection_join_sql("o.connection_id")}
{HEALTH_JOIN_SQL}
JOIN connections_accountsnapshot a ON a.connection_id = c.id
WHERE o.id = ANY(%(ids)s) AND {IN_HELD_LANES_SQL}
  AND o.status = 'FAILED' AND o.reason = '{Code.RESTORED_EXIT.value}'
  AND p.quantity > 0 AND a.position_mode = 'NETTING' AND h.reconciled_at > %(answer_by)s
  AND NOT EXISTS (SELECT FROM execution_driftitem d
    WHERE d.connection_id = c.id AND (d.state = 'OPEN' OR d.state <> 'RESOLVED'
      AND d.kind = '{Code.FOREIGN_ORDER.value}' AND d.evidence->>'symbol' = p.symbol))
ORDER BY o.id
""",
)


def find_unsent(exit_ids: Sequence[int], answer_by: datetime) -> list[int]:
    """Return which of these held exits on netting accounts were certainly not sent.

    answer_by: when every call that began before the epoch has ended. Calls brokers,
    for each account at most once in RETRY_SECONDS.
    """
    exits = rows(
        HELD_EXITS, {"ids": list(exit_ids), "answer_by": answer_by, **held_lanes_parameters()}
    )
    accounts = {row.connection_id: row for row in exits if _may_query(row)}
    for key in accounts:
        _queried_at[key] = machine_time()
    queried = [row for row in exits if row.connection_id in accounts]
    since: dict[UUID, datetime] = {}
    for row in queried:
        since[row.connection_id] = min(since.get(row.connection_id, row.opened_at), row.opened_at)
    known = broker_queries.fully_known_fill_ids(list(accounts.values()), since)
    return [
        row.id
        for row in queried
        if row.opened_by and set(row.opened_by) <= known.get(row.connection_id, set())
    ]


def _may_query(row: HeldExit) -> bool:
    has_waited = machine_time() - _queried_at.get(row.connection_id, float("-inf")) >= RETRY_SECONDS
    return has_waited and broker_queries.supports_fill_history(row)
