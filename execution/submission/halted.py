"""Deny queued entries that a halt stops, many at once, before their bundles are claimed.

The claim would deny them as well, one bundle after the other, each behind the locks of its
accounts: a hundred small bundles of the same ten accounts then take seconds. Here one statement
denies what is due in all of them. It needs no account's lock: it moves rows from PENDING, and so
does a claim, so one of the two finds nothing to move.

Entries that wait for a trigger or a condition are not denied (`bundle_evaluation.decide`), and the
claim decides about those of which a route or an OCO pair may make something else.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

from django.db import transaction

from common.db.sql import IdRow, Query, array, rows
from common.reason_codes import Code
from connections.selectors import OWNER_ID_SQL, connection_join_sql
from execution.base.high_water_mark import HighWaterMark, checked_plans
from execution.base.kill_switch import Halts, denial_code
from execution.base.statements import ALL_PENDING_SQL
from execution.models import Status
from execution.submission.claim_writes import DecisionRecord, write_records
from execution.submission.triggers import HELD_AS
from signals.joins import signal_join_sql

MOST = 1000  # entries in one transaction
SEARCHED = 5000  # due orders, the oldest first: a long backlog of others must not slow each bundle


class QueuedEntry(NamedTuple):
    """An entry that is due, with what a halt may concern, and what its row keeps when it ends."""

    id: int
    owner_id: int
    feed_id: int
    connection_id: str
    broker_type: str
    pair: str
    signal_pair: str
    symbol: str
    limit_price: Decimal | None
    stop_price: Decimal | None


_HELD_TYPES = ", ".join(f"'{order_type}'" for order_type in HELD_AS)
# Of these a halt makes nothing but a denial.
_IS_QUEUED = f"""o.status = 'PENDING' AND o.position_id IS NULL AND o.pending_action = ''
  AND o.due_at <= clock_timestamp() AND NOT o.awaits_condition AND o.route_state = ''
  AND (o.oco_group IS NULL OR o.oco_fired)
  AND NOT (o.reason = '{Code.AWAITING_TRIGGER.value}' AND o.order_type IN ({_HELD_TYPES}))"""
_COLUMNS = f"""SELECT o.id, {OWNER_ID_SQL} AS owner_id, s.feed_id, o.connection_id::text,
  c.type AS broker_type, o.pair, s.currency_pair AS signal_pair, o.symbol, o.limit_price,
  o.stop_price"""
_JOINS = f"""{signal_join_sql("o.signal_id")}
{connection_join_sql("o.connection_id")}"""
OF_BUNDLE = Query(
    QueuedEntry,
    f"""
{_COLUMNS}
FROM execution_order o {_JOINS}
WHERE o.id = ANY(%s::bigint[]) AND {_IS_QUEUED}
""",
)
# By the index `order_pending`, in the order in which they would be claimed, roughly.
ALL_DUE = Query(
    QueuedEntry,
    f"""
{_COLUMNS}
FROM (
  SELECT * FROM execution_order WHERE {ALL_PENDING_SQL} AND due_at <= statement_timestamp()
  ORDER BY due_at LIMIT {SEARCHED}
) o {_JOINS}
WHERE {_IS_QUEUED}
""",
)
# Rows that another session has locked are being sent, cancelled or changed: nothing waits for them.
LOCK = Query(
    IdRow,
    f"""
SELECT o.id FROM execution_order o WHERE o.id = ANY(%s::bigint[]) AND {_IS_QUEUED}
ORDER BY o.id FOR NO KEY UPDATE SKIP LOCKED
""",
)


def deny_halted(
    order_ids: Sequence[int],
    halts: Halts,
    *,
    worker_id: str,
    known_mark: HighWaterMark | None = None,
) -> list[int]:
    """Deny the entries of a bundle that a halt stops; return the ids of the other orders.

    If there is one, also deny the halted entries of other bundles that are due. The log and the
    events of each are those of the claim. Without halts nothing is read. Raises
    DataLossSuspectedError if the server lacks known_mark: an entry may have been sent since.
    """
    if not halts:
        return list(order_ids)
    own = rows(OF_BUNDLE, (array(order_ids),))
    if not _codes(own, halts):
        return list(order_ids)
    with transaction.atomic(), checked_plans(known_mark):
        found = {entry.id: entry for entry in [*own, *rows(ALL_DUE)]}
        codes = _codes(found.values(), halts)
        first = [*dict.fromkeys([*(entry.id for entry in own if entry.id in codes), *codes])][:MOST]
        denied = {row.id for row in rows(LOCK, (array(first),))}
        _write([(found[order_id], codes[order_id]) for order_id in sorted(denied)], worker_id)
    return [order_id for order_id in order_ids if order_id not in denied]


def _codes(entries: Iterable[QueuedEntry], halts: Halts) -> dict[int, Code]:
    """Return why a halt stops entries, by order id; the others are left out."""
    codes = {}
    for entry in entries:
        mode = halts.mode(
            owner_id=entry.owner_id,
            feed_id=entry.feed_id,
            connection_id=entry.connection_id,
            broker_type=entry.broker_type,
            pairs=(entry.pair, entry.signal_pair),
        )
        if mode is not None:
            codes[entry.id] = denial_code(mode)
    return codes


def _write(denied: Sequence[tuple[QueuedEntry, Code]], worker_id: str) -> None:
    """Write the denials as the claim does, which clears what an earlier attempt had decided."""
    if denied:
        write_records([_record(entry, code) for entry, code in denied], worker_id, answer_within=0)


def _record(entry: QueuedEntry, code: Code) -> DecisionRecord:
    return DecisionRecord(
        id=entry.id,
        status=Status.DENIED.value,
        reason=code.value,
        detail="",
        numbers="{}",
        symbol=entry.symbol,
        limit_price=entry.limit_price,
        stop_price=entry.stop_price,
    )
