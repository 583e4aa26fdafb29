"""What the claim writes: intents, denials and ends, and the triggers of orders that are held."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from django.conf import settings

from common.db.sql import Query, record_arrays, records_sql, rows, run
from common.failpoints import failpoint
from common.reason_codes import Code
from execution.base.statements import (
    event_rows_sql,
    insert_events_sql,
    insert_log_sql,
    log_rows_sql,
    refusal_payload_sql,
)
from execution.ids import at_attempt, new_client_order_ids
from execution.models import Status
from execution.reports.transitions import DEFERRED
from execution.submission.claim_sql import IS_PENDING
from execution.submission.outcomes import Deferred, EvaluationContext, Intent, Terminated
from execution.submission.rows import IntentRow, OrderRow
from execution.submission.sizing import Denial
from execution.submission.triggers import seconds_until_looked_at

Settled = Intent | Denial | Terminated
"""A decision with which an order leaves PENDING."""


class DecisionRecord(NamedTuple):
    """What becomes of an order. Of one that is not sent only the first fields are known."""

    id: int
    status: str
    reason: str
    detail: str
    numbers: str
    symbol: str
    client_order_id: str | None = None
    order_type: str | None = None
    quantity: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    expected_price: Decimal | None = None
    pip: Decimal | None = None
    rate: Decimal | None = None
    margin: Decimal | None = None
    risk: Decimal | None = None
    worst_price: Decimal | None = None
    unrounded_quantity: Decimal | None = None
    trail_distance: Decimal | None = None
    expires_at: datetime | None = None


class HeldRecord(NamedTuple):
    """An order that the engine holds. is_known: its trigger is; else it stays as it is.

    seconds: until it is looked at again.
    """

    id: int
    order_type: str
    seconds: float
    is_known: bool
    kind: str | None = None
    sent_as: str | None = None
    source_id: int | None = None
    pair: str | None = None
    side: str | None = None
    level: Decimal | None = None
    distance: Decimal | None = None
    activation_price: Decimal | None = None
    detail: str | None = None


_DEFERRED = f"{{{','.join(sorted(code.value for code in DEFERRED))}}}"

# `moved` has what was decided, too: to join both would compare each row with each, as the kept plan
# expects few rows.
_DECIDED = log_rows_sql(
    "moved m",
    code="coalesce(nullif(m.reason, ''), 'INTENT')",
    detail="m.whole_detail",
    numbers="m.numbers",
)
_NOT_SENT = event_rows_sql(
    "moved m",
    kind="'order.' || lower(m.status)",
    payload=refusal_payload_sql("m.reason", "m.whole_detail", "m.numbers"),
    where="m.status <> 'SUBMITTING'",
)

WRITE = Query(
    IntentRow,
    f"""
WITH decided AS MATERIALIZED (
  SELECT * FROM {records_sql(DecisionRecord)}
), moved AS (
  UPDATE execution_order o SET status = d.status, reason = d.reason, detail = left(d.detail, 300),
    client_order_id = coalesce(d.client_order_id, o.client_order_id), symbol = d.symbol,
    order_type = coalesce(d.order_type, o.order_type),
    quantity = coalesce(d.quantity, o.quantity), limit_price = d.limit_price,
    stop_price = d.stop_price, stop_loss = d.stop_loss, take_profit = d.take_profit,
    expected_price = d.expected_price, pip = d.pip, conversion_rate = d.rate, margin = d.margin,
    risk = d.risk, worst_price = d.worst_price, unrounded_quantity = d.unrounded_quantity,
    trail_distance = d.trail_distance, expires_at = d.expires_at,
    fence = o.fence + 1,
    -- An order that was only deferred keeps the start of its wait: it may be deferred again.
    waiting_since = CASE WHEN d.status = 'SUBMITTING' AND o.reason = ANY('{_DEFERRED}')
      THEN o.waiting_since END,
    worker_id = %(worker_id)s, absence_confirmations = 0,
    answer_by = clock_timestamp() + make_interval(secs => %(answer_within)s),
    validated_at = clock_timestamp(),
    submitted_at = CASE WHEN d.status = 'SUBMITTING' THEN clock_timestamp() END,
    done_at = CASE WHEN d.status <> 'SUBMITTING' THEN clock_timestamp() END
  FROM decided d WHERE o.id = d.id AND {IS_PENDING}
  RETURNING o.id, o.fence, o.client_order_id, o.status, o.signal_id, o.connection_id, d.reason,
    d.detail AS whole_detail, d.numbers
), logged AS (
  {insert_log_sql(_DECIDED)}
), notified AS (
  {insert_events_sql(_NOT_SENT)}
)
SELECT id, fence, client_order_id FROM moved WHERE status = 'SUBMITTING'
""",
)

# Orders that the engine holds. An order whose trigger has fired since it was loaded has another
# type by now and stays due. A trigger that is armed stays as it is, unless the account has another
# price source; that of an order that ended and was retried starts again. A trailing stop that was
# decided for its broker before and never sent keeps nothing of that.
AWAIT_TRIGGERS = f"""
WITH held AS (
  SELECT * FROM {records_sql(HeldRecord)}
), moved AS (
  UPDATE execution_order o SET reason = '{Code.AWAITING_TRIGGER.value}',
    detail = coalesce(h.detail, o.detail),
    due_at = clock_timestamp() + make_interval(secs => h.seconds), trail_distance = NULL,
    stop_price = CASE WHEN o.order_type <> 'TRAILING_STOP' THEN o.stop_price END,
    waiting_since = CASE WHEN o.reason = '{Code.AWAITING_TRIGGER.value}'
      THEN coalesce(o.waiting_since, clock_timestamp()) ELSE clock_timestamp() END
  FROM held h WHERE o.id = h.id AND o.status = 'PENDING' AND o.order_type = h.order_type
    AND NOT o.oco_fired
  RETURNING o.id, o.signal_id, o.connection_id, o.detail
), armed AS (
  INSERT INTO execution_ordertrigger AS t (order_id, connection_id, kind, sent_as, source_id, pair,
    side, level, distance, activation_price, active_since, armed_at)
  SELECT id, connection_id, kind, sent_as, source_id, pair, side, level, distance,
    activation_price,
    CASE WHEN level IS NOT NULL THEN clock_timestamp() END, clock_timestamp()
  FROM held JOIN moved USING (id) WHERE is_known ORDER BY id
  ON CONFLICT (order_id) DO UPDATE SET source_id = EXCLUDED.source_id, level = EXCLUDED.level,
    distance = EXCLUDED.distance, activation_price = EXCLUDED.activation_price,
    active_since = EXCLUDED.active_since, armed_at = EXCLUDED.armed_at, is_armed = true,
    fired_at = NULL, fired_price = NULL
  WHERE NOT t.is_armed OR t.source_id IS DISTINCT FROM EXCLUDED.source_id
  RETURNING order_id
)
INSERT INTO execution_executionlog (order_id, signal_id, connection_id, code, status, detail)
SELECT m.id, m.signal_id, m.connection_id, '{Code.AWAITING_TRIGGER.value}', 'PENDING', m.detail
FROM moved m JOIN armed a ON a.order_id = m.id
"""


def write_decisions(
    settled: Sequence[tuple[OrderRow, Settled]], worker_id: str, *, answer_within: int
) -> dict[int, IntentRow]:
    """Write intents and denials; return id, fence and client order id of each intent, by order.

    answer_within: as in `write_records`.
    """
    if not settled:
        return {}
    new_ids = new_client_order_ids(settings.FILLCAST_INSTALLATION_TAG, len(settled))
    records = [
        _record(row, decision, new_id)
        for (row, decision), new_id in zip(settled, new_ids, strict=True)
    ]
    return {row.id: row for row in write_records(records, worker_id, answer_within=answer_within)}


def write_records(
    records: Sequence[DecisionRecord], worker_id: str, *, answer_within: int
) -> list[IntentRow]:
    """Write decisions with their log and events; return the intents.

    answer_within: seconds from now within which an intent is answered, else it is looked up.
    """
    parameters = {
        **record_arrays(DecisionRecord, records),
        "worker_id": worker_id,
        "answer_within": answer_within,
    }
    return rows(WRITE, parameters, planned_once=True)


def _record(row: OrderRow, decision: Settled, new_id: str) -> DecisionRecord:
    """Return what becomes of an order. new_id: its client order id, if it has none yet."""
    if isinstance(decision, Intent):
        return _intent_record(row, decision, at_attempt(row.client_order_id or new_id, row.attempt))
    if isinstance(decision, Terminated):
        denial, status = decision.denial, decision.status
    else:
        denial, status = decision, Status.DENIED
    return DecisionRecord(
        id=row.id,
        status=status.value,
        reason=denial.code.value,
        detail=denial.detail,
        numbers=json.dumps(denial.numbers(row.pair, row.currency or "")),
        symbol=row.symbol,
        limit_price=row.limit_price,
        stop_price=row.stop_price,
        unrounded_quantity=denial.unrounded,
    )


def _intent_record(row: OrderRow, intent: Intent, client_order_id: str) -> DecisionRecord:
    return DecisionRecord(
        id=row.id,
        status=Status.SUBMITTING.value,
        reason="",
        detail=intent.detail,
        numbers="{}",
        symbol=intent.symbol,
        client_order_id=client_order_id,
        order_type=intent.order_type,
        quantity=intent.quantity,
        limit_price=intent.limit_price,
        stop_price=intent.stop_price,
        stop_loss=intent.stop_loss,
        take_profit=intent.take_profit,
        expected_price=intent.expected_price,
        pip=intent.pip,
        rate=intent.rate,
        margin=intent.margin,
        risk=intent.risk,
        worst_price=intent.worst_price,
        unrounded_quantity=intent.unrounded_quantity,
        trail_distance=intent.trail_distance,
        expires_at=intent.expires_at,
    )


def arm_triggers(held: Iterable[tuple[OrderRow, Deferred]], context: EvaluationContext) -> None:
    """Arm the triggers of these orders, and store until when they are looked at again."""
    records = [_held_record(row, deferred, context) for row, deferred in held]
    if records:
        run(AWAIT_TRIGGERS, record_arrays(HeldRecord, records))
        failpoint("triggers.armed")


def _held_record(row: OrderRow, deferred: Deferred, context: EvaluationContext) -> HeldRecord:
    seconds = seconds_until_looked_at(context.signal_of(row).valid_until)
    trigger = deferred.trigger
    if trigger is None:
        return HeldRecord(row.id, row.order_type, seconds, is_known=False)
    return HeldRecord(
        id=row.id,
        order_type=row.order_type,
        seconds=seconds,
        is_known=True,
        kind=trigger.kind.value,
        sent_as=trigger.sent_as.value,
        source_id=trigger.source_id,
        pair=trigger.pair,
        side=trigger.side.value,
        level=trigger.level,
        distance=trigger.distance,
        activation_price=trigger.activation_price,
        detail=trigger.text,
    )
