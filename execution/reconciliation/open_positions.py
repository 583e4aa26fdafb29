"""Comparison of open positions, ours and the broker's.

What differs is first explained by executions that we missed. The rest is left to `reconcile.py`.
"""

from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import transaction

from common.db.sql import Query, periodic_rows
from common.money import plain
from common.reason_codes import Code
from connections.selectors import LISTED_INSTRUMENTS_SQL, AccountRow, account_join_sql, tick_sql
from execution.base.archived_orders import archived_orders
from execution.base.drift_items import DriftRecord
from execution.base.statements import (
    LIVE_SQL,
    is_partly_known_sql,
    opening_entry_ids_join_sql,
    opens_position_sql,
)
from execution.ids import base_of
from execution.reconciliation.compare_orders import is_ours
from execution.reconciliation.compare_positions import (
    NO_REMAINDERS,
    POSITION_CODES,
    Differences,
    OurPosition,
    UnsellableRemainder,
    compare_positions,
    is_of,
)
from execution.reconciliation.open_orders import ReconciliationRun
from execution.reports.levels import LevelStatement, write_levels
from execution.runtime import broker_queries
from execution.runtime.broker_queries import Snapshot
from positions.levels import differs_sql


class RemainderRow(NamedTuple):
    """Of a symbol: its quantity step, the smallest sale, and the dust of earlier sales."""

    connection_id: UUID
    symbol: str
    step: Decimal
    minimum: Decimal
    dust: Decimal


class EnteringSymbol(NamedTuple):
    """A symbol with an entry whose fills we may not know yet."""

    connection_id: UUID
    symbol: str


OURS = Query(
    OurPosition,
    f"""
SELECT p.id, p.connection_id, p.symbol, p.side, p.quantity, p.entry_price, p.pip,
  coalesce({tick_sql("p")}, 0) AS tick,
  p.broker_position_id, p.broker_sl, p.broker_tp, p.opened_at, p.last_activity_at, p.missing_since,
  -- We are changing levels at the broker, or have suspended protection for an exit.
  p.protection_suspended OR coalesce(p.level_sync_due_at > clock_timestamp(), false)
    AS levels_are_changing,
  NOT p.levels_given_up AND (p.sl_guardian = 'BROKER' AND {differs_sql("p.sl", "p.broker_sl")}
    OR {differs_sql("(CASE WHEN p.tp_guardian = 'BROKER' THEN p.tp END)", "p.broker_tp")})
    AS has_unsent_levels,
  p.sl, p.tp, p.levels_reported_at, p.levels_given_up,
  p.sl_guardian = 'BROKER' AND p.sl IS NOT NULL AS sl_is_expected,
  p.tp_guardian = 'BROKER' AND p.tp IS NOT NULL AS tp_is_expected,
  -- Netted with another position of ours at some time: the broker's average price covers both.
  a.position_mode IS DISTINCT FROM 'HEDGING' AND p.broker_position_id <> '' AND EXISTS (
    SELECT FROM positions_executionposition n
    WHERE n.connection_id = p.connection_id AND n.broker_position_id = p.broker_position_id
      AND n.broker_position_id <> ''  -- as the index `position_of_ticket` has it
      AND n.id <> p.id AND (n.quantity > 0 OR n.closed_at >= p.opened_at)) AS is_shared,
  e.client_order_id, e.sent_as AS entry_sent_as,
  EXISTS (SELECT FROM execution_order o WHERE o.connection_id = p.connection_id
      AND o.status IN {LIVE_SQL} AND (o.position_id = p.id OR o.signal_id = p.signal_id
        AND o.position_id IS NULL AND o.position_leg = p.entry_leg))
    OR EXISTS (SELECT FROM execution_order o WHERE {opens_position_sql("o", "p")}
      AND {is_partly_known_sql("o")}) AS in_flight
FROM positions_executionposition p
{account_join_sql("p.connection_id")}
{opening_entry_ids_join_sql("p")}
WHERE p.id = ANY(ARRAY(
  SELECT id FROM positions_executionposition
  WHERE connection_id = ANY(%(connections)s) AND quantity > 0
  UNION SELECT unnest(%(before)s::bigint[])))
ORDER BY p.id
""",
)

# For accounts whose balances are positions: what a sale leaves behind (`exits/dust.py`).
REMAINDERS = Query(
    RemainderRow,
    f"""
SELECT c.id AS connection_id, i.symbol, i.quantity_step AS step, i.close_min AS minimum,
  coalesce(o.dust, 0) AS dust
FROM {LISTED_INSTRUMENTS_SQL}
LEFT JOIN (  -- once for all symbols of an account; there may be thousands
  SELECT connection_id, symbol, sum(filled_quantity) AS dust FROM execution_order
  WHERE connection_id = ANY(%(connections)s) AND leg LIKE 'dust%%' GROUP BY connection_id, symbol
) o ON o.connection_id = c.id AND o.symbol = i.symbol
WHERE i.close_min > 0 AND c.id = ANY(%(connections)s)
""",
)

# Entries whose fill the broker may have and we do not know yet.
ENTERING = Query(
    EnteringSymbol,
    f"""
SELECT connection_id, symbol FROM execution_order
WHERE connection_id = ANY(%(ids)s) AND position_id IS NULL AND status IN {LIVE_SQL}
UNION
SELECT connection_id, symbol FROM execution_order o
WHERE connection_id = ANY(%(ids)s) AND position_id IS NULL AND {is_partly_known_sql("o")}
""",
)


def store_level_reads(run: ReconciliationRun[AccountRow], read: dict[UUID, Snapshot]) -> None:
    """Store the brokers' levels from a read between two comparisons.

    Resolves no difference; whatever else the read shows is left to the next comparison.
    """
    if read:
        store_levels(run, compare(run, read))


def store_levels(run: ReconciliationRun[AccountRow], by_account: dict[UUID, Differences]) -> None:
    """Store the brokers' levels where ours are unknown or wrong.

    A missing stop is then placed again, and we guard it until the broker confirms it. Levels of
    closed positions, which could close what belongs to another one, are removed.
    """
    statements = [
        LevelStatement(position.client_order_id, held, began=run.began)
        for differences in by_account.values()
        for position, held in differences.level_reads
        if position.client_order_id
    ]
    left = [
        LevelStatement(entry, held, began=run.began)
        for differences in by_account.values()
        for entry, held in differences.other_levels.items()
    ]
    with transaction.atomic():
        write_levels([*left, *statements])


def query_missed_entries(run: ReconciliationRun[AccountRow], read: dict[UUID, Snapshot]) -> None:
    """Look up the entries of broker positions with our id that we do not hold.

    We missed the report of their fill.
    """
    tickets = [
        (key, ticket)
        for key, snapshot in read.items()
        for ticket in snapshot.positions
        if is_ours(ticket.client_order_id, settings.FILLCAST_INSTALLATION_TAG)
    ]
    held = {
        (row.connection_id, base_of(row.entry_sent_as or " "))
        for row in _ours(run, list(read))
        if row.quantity > 0
    }
    missed = [(k, t) for k, t in tickets if (k, base_of(t.client_order_id)) not in held]
    known = broker_queries.orders_by_client_id(
        (ticket.client_order_id for _, ticket in missed), run.began
    )
    queries = [
        (run.accounts[key], known[base].client_order_id, known[base].symbol)
        for key, ticket in missed
        if (base := base_of(ticket.client_order_id)) in known and known[base].has_ended
    ]
    broker_queries.query_orders(queries)


def with_entry_fills(
    run: ReconciliationRun[AccountRow], records: list[DriftRecord]
) -> list[DriftRecord]:
    """Add to unknown positions with our tag how much their entry filled.

    A part may be closed since; adopting the position reads all of its executions. One whose entry
    is in the archive names it.
    """
    tag = settings.FILLCAST_INSTALLATION_TAG
    ours = [
        record
        for record in records
        if record.kind is Code.UNKNOWN_POSITION and is_ours(record.evidence["client_order_id"], tag)
    ]
    queries = [
        (run.accounts[UUID(r.connection_id)], r.evidence["client_order_id"], r.evidence["symbol"])
        for r in ours
    ]
    filled = broker_queries.entry_filled_quantities(queries)
    archived = archived_orders(record.evidence["client_order_id"] for record in ours)
    for record in ours:
        base = base_of(record.evidence["client_order_id"])
        if (order := archived.get((record.connection_id, base))) is not None:
            record.evidence["archived_order"] = order.name
        quantity = filled.get((UUID(record.connection_id), record.evidence["client_order_id"]))
        if quantity:
            record.evidence["entered"] = plain(quantity)
    return records


def compare(
    run: ReconciliationRun[AccountRow], read: dict[UUID, Snapshot]
) -> dict[UUID, Differences]:
    """Compare the accounts read; return the differences by account."""
    ours: dict[UUID, list[OurPosition]] = {key: [] for key in read}
    for row in _ours(run, list(read)):
        if row.connection_id in ours:
            ours[row.connection_id].append(row)
    entering = {
        (row.connection_id, row.symbol) for row in periodic_rows(ENTERING, {"ids": list(read)})
    }
    remainders = _remainders(list(read))
    by_account = {}
    for key, snapshot in read.items():
        # An unknown position may belong to an entry in flight.
        theirs = [
            ticket
            for ticket in snapshot.positions
            if (key, ticket.symbol) not in entering or is_of(ours[key], ticket)
        ]
        by_account[key] = compare_positions(
            str(key), ours[key], theirs, run.began, remainders.get(key, NO_REMAINDERS)
        )
        skipped = {ticket.broker_position_id for ticket in snapshot.positions}
        skipped -= {ticket.broker_position_id for ticket in theirs}
        by_account[key].skip(POSITION_CODES, *skipped)
    return by_account


def _remainders(connections: list[UUID]) -> dict[UUID, dict[str, UnsellableRemainder]]:
    remainders: dict[UUID, dict[str, UnsellableRemainder]] = {}
    for row in periodic_rows(REMAINDERS, {"connections": connections}):
        remainders.setdefault(row.connection_id, {})[row.symbol] = UnsellableRemainder(
            row.step, row.dust, row.minimum
        )
    return remainders


def _ours(run: ReconciliationRun[AccountRow], connections: list[UUID]) -> list[OurPosition]:
    before = [id_ for key in connections for id_ in run.positions.get(key, ())]
    return periodic_rows(OURS, {"connections": connections, "before": before})


def apply_missed_fills(
    run: ReconciliationRun[AccountRow], by_account: dict[UUID, Differences]
) -> set[UUID] | None:
    """Read the executions that may explain differences and apply them.

    Returns the accounts that did not answer, which prove nothing this time; None if no account's
    broker lists executions, so that nothing was read.
    """
    since = {
        key: differences.since
        for key, differences in by_account.items()
        if differences.since is not None
    }
    accounts = [
        run.accounts[key]
        for key in since
        if broker_queries.supports_fill_history(run.accounts[key])
    ]
    return broker_queries.sync_fills(accounts, since) if accounts else None
