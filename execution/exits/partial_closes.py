"""CLOSE signals of a part that come before an entry has filled (docs/adr/0030).

The entry's order remembers them: of what fills from then on the same part is closed, once the order
has ended. An order has two columns for it, `close_fraction` f and `close_offset` c: of what it has
filled, f * filled - c is still to be closed. So any number of such CLOSE signals, before, between
and after partial fills, adds up exactly, and what was written is known from the same row.

Slices that are not sent yet are left out: a CLOSE of a part does not end a plan (docs/slices.md).
"""

from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from django.db import transaction

from common.db.sql import IdRow, Query, array, rows, run
from common.failpoints import failpoint
from common.money import plain
from common.reason_codes import Code
from execution.base.statements import insert_log_sql, log_rows_sql
from execution.exits.legs import SIGNAL
from execution.exits.orders import ExitRequest, open_exits
from execution.models import may_move_sql
from positions.joins import entry_position_join_sql
from signals.joins import newest_close_sql

LATE_FILL_DAYS = 7  # a later fill of an order that ended filled in part is not closed in part
_LEAST = "0.000000000001"  # less is a rounding difference of a product of fractions

IS_REACHED_SQL = "NOT (status = 'PENDING' AND leg <> 'entry')"
"""Whether a CLOSE of a part counts for an entry that has not filled: it is no planned slice."""


class _ReachedEntry(NamedTuple):
    connection_id: UUID
    is_live: bool


class _DuePart(NamedTuple):
    """What is to be closed of an entry's position, base units. signal_id: the newest CLOSE."""

    order_id: int
    position_id: int
    quantity: Decimal
    signal_id: int | None


# With a, b for coalesce(close_fraction, 0) and coalesce(close_offset, 0), and g for the new
# fraction: what is due now, a * filled - b, shrinks by g like all that is open, and of what fills
# later 1 - (1 - a) * (1 - g) is closed. A filled order counts while its part is not written yet.
_AFTER = "(1 - (1 - coalesce(close_fraction, 0)) * (1 - %(fraction)s::numeric))"
_DUE = "(coalesce(close_fraction, 0) * filled_quantity - coalesce(close_offset, 0))"
_MAY_FILL = f"(m.done_at IS NULL OR {may_move_sql('m')})"
_REMEMBERED = log_rows_sql(
    "marked m",
    code=f"'{Code.PARTIAL_CLOSE_REMEMBERED.value}'",
    signal_id="%(signal_id)s",
    detail="%(detail)s",
    where=_MAY_FILL,
)
REMEMBER = Query(
    _ReachedEntry,
    f"""
WITH marked AS (
  UPDATE execution_order SET close_fraction = {_AFTER},
    close_offset = {_AFTER} * filled_quantity - (1 - %(fraction)s::numeric) * {_DUE}
  WHERE signal_id = %(refers_to)s AND leg LIKE 'entry%%' AND status <> ALL('{{SKIPPED, DENIED}}')
    AND (status <> 'FILLED' OR close_fraction IS NOT NULL) AND {IS_REACHED_SQL}
  RETURNING id, connection_id, status, route_state, done_at
), logged AS (
  {insert_log_sql(_REMEMBERED)}
)
SELECT connection_id, {_MAY_FILL} AS is_live FROM marked m
""",
)

IS_DUE_SQL = f"close_fraction * filled_quantity - close_offset > {_LEAST}"
"""Whether a part of what an ended entry has filled is still to be closed."""
# FILLED: nothing more fills, so the part can be forgotten.
_IS_OVER = f"(status = 'FILLED' OR done_at < clock_timestamp() - interval '{LATE_FILL_DAYS} days')"
# By the index `order_close_fraction`. What ended unfilled is not in it and keeps its mark.
LOCK_DUE = Query(
    IdRow,
    f"""
SELECT id FROM execution_order
WHERE close_fraction IS NOT NULL AND filled_quantity > 0 AND done_at IS NOT NULL
  AND ({IS_DUE_SQL} OR {_IS_OVER})
ORDER BY id LIMIT 1000 FOR NO KEY UPDATE SKIP LOCKED
""",
)
# A separate statement: it must see the positions that the previous holders of the locks committed.
# Of what others closed meanwhile (a person, a stop) nothing is left to close a part of.
DUE_PARTS = Query(
    _DuePart,
    f"""
SELECT o.id AS order_id, p.id AS position_id,
  least(o.close_fraction * o.filled_quantity - o.close_offset,
    o.close_fraction * (p.quantity - p.reserved)) AS quantity,
  {newest_close_sql("o.signal_id", of_a_part=True)} AS signal_id
FROM execution_order o {entry_position_join_sql("o")}
WHERE o.id = ANY(%s::bigint[]) AND p.quantity > 0 AND {IS_DUE_SQL}
ORDER BY o.id
""",
)
SETTLE = f"""
UPDATE execution_order SET
  close_offset = CASE WHEN NOT {_IS_OVER} THEN close_fraction * filled_quantity END,
  close_fraction = CASE WHEN NOT {_IS_OVER} THEN close_fraction END
WHERE id = ANY(%s::bigint[])
"""


def remember_partial_close(*, refers_to: int, fraction: Decimal, signal_id: int) -> set[UUID]:
    """Remember a CLOSE of a part on all entries of a signal; return the accounts that it concerns.

    Must run in the publish transaction, with the unfilled entries locked, before the exits of what
    is open are written. refers_to: the OPEN signal. signal_id: the CLOSE signal.
    """
    reached = rows(
        REMEMBER,
        {
            "refers_to": refers_to,
            "fraction": fraction,
            "signal_id": signal_id,
            "detail": f"S-{signal_id}: {plain(fraction * 100)} % of what fills from now on",
        },
    )
    return {row.connection_id for row in reached if row.is_live}


def close_remembered_parts() -> list[int]:
    """Write the exits of remembered parts whose entries have ended; return their order ids.

    Exits and what is settled are written in one transaction, so each part is closed once.
    """
    with transaction.atomic():
        ids = [row.id for row in rows(LOCK_DUE)]
        if not ids:
            return []
        written = _write_exits(rows(DUE_PARTS, (array(ids),)))
        run(SETTLE, (array(ids),))
        failpoint("partial_closes.written")
    return written


def _write_exits(due: list[_DuePart]) -> list[int]:
    """Write an exit for each position. Slices that are netted have one position together."""
    by_signal: dict[int | None, dict[int, ExitRequest]] = {}
    for part in due:
        requests = by_signal.setdefault(part.signal_id, {})
        before = requests.get(part.position_id)
        quantity = part.quantity + ((before.quantity if before else None) or Decimal(0))
        requests[part.position_id] = ExitRequest(
            part.position_id,
            SIGNAL,
            quantity=quantity,
            detail=f"S-{part.signal_id} came before O-{part.order_id} had filled",
            signal_id=part.signal_id,
        )
    return [
        exit_.order_id
        for requests in by_signal.values()
        for exit_ in open_exits(list(requests.values()))
    ]
