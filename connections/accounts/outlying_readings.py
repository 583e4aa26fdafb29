"""A reading of an account far from the last one counts only if a second reading confirms it.

Brokers state invalid amounts at times: an equity of 0 or a tenth, until all positions are valued
again. By one such reading no loss limit may pause an account or close its positions, no peak may
rise, and no entry be sized. A reading is far if balance or equity has changed by more than SHARE
since the last one, or by more than a part of a loss limit of the account, since a wrong reading may
reach that however small it is. The account is then read again after CONFIRM_SECONDS:
- If the second reading is near the last one, the first was wrong: it is held back and counted.
- If it is far on the same side, the one that is nearer to the last counts: both have reached it.
- If it is far on the other side, neither counts; the read has failed.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from brokers.base import BrokerAdapter, ReadFailed
from brokers.types import AccountState, ConnectionSpec
from common.clocks import market_now
from common.db.sql import Query, columns, rows, run
from common.money import plain
from common.reason_codes import Code
from connections.accounts.limit_scope import applies_sql
from connections.models import LossMeasure, LossUnit

SHARE, LEAST_SHARE = Decimal("0.1"), Decimal("0.005")
LIMIT_PARTS = 4  # a change of a fourth of a loss limit is far
CONFIRM_SECONDS = 1.0
MAX_TEXT_LENGTH = 160


class LastReading(NamedTuple):
    """What is stored of an account. far_share: of balance or equity; a larger change is far."""

    connection_id: UUID
    currency: str
    balance: Decimal
    equity: Decimal
    far_share: Decimal = SHARE


LAST = Query(
    LastReading,
    f"""
SELECT a.connection_id, a.currency, a.balance, a.equity,
  least({SHARE}, greatest({LEAST_SHARE}, coalesce((
    SELECT min(CASE l.unit WHEN '{LossUnit.PERCENT}' THEN l.maximum / 100
      ELSE l.maximum / nullif(greatest(a.balance, a.equity), 0) END) / {LIMIT_PARTS}
    FROM connections_losslimit l
    WHERE l.unit <> '{LossUnit.TRADES}' AND l.measure <> '{LossMeasure.REALIZED_LOSS}'
      AND {applies_sql(account="c.id", preset="c.preset_id")}), {SHARE}))) AS far_share
FROM connections_accountsnapshot a
JOIN connections_executionconnection c ON c.id = a.connection_id
WHERE a.connection_id = ANY(%s::uuid[])
""",
)

COUNT_HELD = """
UPDATE connections_accountsnapshot a
SET held_readings = a.held_readings + 1, last_held_reading = t.text
FROM unnest(%s::uuid[], %s::text[]) AS t (id, text) WHERE a.connection_id = t.id
"""


@dataclass(frozen=True, slots=True)
class ConfirmedState:
    """A state that counts. held: what was held back before it, as a text; empty: nothing."""

    state: AccountState
    held: str = ""


def last_readings(connection_ids: Sequence[UUID]) -> dict[UUID, LastReading]:
    """Return the stored readings of accounts, by connection."""
    return {row.connection_id: row for row in rows(LAST, (list(connection_ids),))}


def count_held(held: Sequence[tuple[UUID, str]]) -> None:
    """Count readings that were held back; the accounts' pages show them."""
    if held:
        run(COUNT_HELD, columns(sorted(held), 2))


async def confirmed_state(
    adapter: BrokerAdapter, spec: ConnectionSpec, last: LastReading | None
) -> ConfirmedState:
    """Read an account, twice if the first reading is far from the last one.

    last: None if there is none. Raises as `adapter.account`; ReadFailed for two readings that
    contradict each other.
    """
    first = await adapter.account(spec)
    if last is None or not (moved := far_moves(first, last)):
        return ConfirmedState(first)
    await asyncio.sleep(CONFIRM_SECONDS)
    second = await adapter.account(spec)
    moved_again = far_moves(second, last)
    if not moved_again:
        return ConfirmedState(second, held_text(first, last))
    if any(moved.get(name, up) is not up for name, up in moved_again.items()):
        detail = f"its readings contradict each other: {_amounts(first)}, then {_amounts(second)}"
        raise ReadFailed(Code.BROKER_UNREACHABLE, detail)
    nearer = min((first, second), key=lambda state: abs(state.equity - last.equity))
    return ConfirmedState(nearer)


def far_moves(state: AccountState, last: LastReading) -> dict[str, bool]:
    """Return which amounts are far from the last reading, and whether they are above it. Pure.

    In another currency, and from nothing, none is."""
    if state.currency != last.currency:
        return {}
    moves = {"balance": (state.balance, last.balance), "equity": (state.equity, last.equity)}
    return {
        name: new > old
        for name, (new, old) in moves.items()
        if old > 0 and new.is_finite() and abs(new - old) > last.far_share * old
    }


def held_text(state: AccountState, last: LastReading) -> str:
    """Return what a page states about a reading that was held back."""
    text = (
        f"{_amounts(state)} after {plain(last.balance)} and {plain(last.equity)},"
        f" {market_now():%Y-%m-%d %H:%M:%S} UTC"
    )
    return text[:MAX_TEXT_LENGTH]


def _amounts(state: AccountState) -> str:
    return f"balance {plain(state.balance)}, equity {plain(state.equity)} {state.currency}"
