"""Drift items: differences between us and a broker, stored with evidence until they are decided."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, NamedTuple

from django.db import transaction

from brokers.types import OrderReport
from common.db.sql import Query, columns, rows
from common.money import plain
from common.reason_codes import Code
from execution.base.statements import event_rows_sql, insert_events_sql


@dataclass(frozen=True, slots=True)
class DriftRecord:
    """One difference. key: its subject, the same in each comparison.

    evidence: `ours`, `theirs` and what explains them. Its `differs` states what differs: an ignored
    item is opened again only when that changes. A list in `differs` only grows.
    """

    kind: Code
    connection_id: str
    key: str
    evidence: dict[str, Any]
    position_id: int | None = None
    order_id: int | None = None
    is_note: bool = False  # stored as NOTED, without a notification


# Stored executions are kept: a later comparison names none of them, a later report only its own.
# A fill without an id is cumulative, so one with another quantity is another fill.
_MERGED_FILLS = """
CASE WHEN jsonb_array_length(coalesce(d.evidence->'fills', '[]')) > 0 THEN
  jsonb_build_object('fills', d.evidence->'fills' || coalesce((
    SELECT jsonb_agg(f ORDER BY at)
    FROM jsonb_array_elements(coalesce(EXCLUDED.evidence->'fills', '[]')) WITH ORDINALITY t(f, at)
    WHERE NOT d.evidence->'fills' @> jsonb_build_array(
      jsonb_build_object('broker_fill_id', f->'broker_fill_id', 'revision', f->'revision')
      || CASE f->>'broker_fill_id' WHEN '' THEN jsonb_build_object('quantity', f->'quantity')
        ELSE '{}' END)), '[]'))
ELSE '{}' END"""

# Nothing is removed from a list of what differs.
_MERGED_DIFFERS = """
CASE WHEN jsonb_typeof(d.evidence->'differs') = 'array' THEN
  jsonb_build_object('differs', d.evidence->'differs' || coalesce((
    SELECT jsonb_agg(item ORDER BY at)
    FROM jsonb_array_elements(CASE jsonb_typeof(EXCLUDED.evidence->'differs')
      WHEN 'array' THEN EXCLUDED.evidence->'differs' ELSE '[]' END) WITH ORDINALITY t(item, at)
    WHERE NOT d.evidence->'differs' @> item), '[]'))
ELSE '{}' END"""


class UpsertResult(NamedTuple):
    """How many items were inserted or updated."""

    written: int


_FOUND = event_rows_sql(
    "written m",
    kind="'drift.found'",
    payload="jsonb_build_object('drift', m.id, 'kind', m.kind, 'key', m.key)",
    signal_id="NULL::bigint",
    order_id="NULL::bigint",
    where="m.is_new AND m.state = 'OPEN'",
)

# A new item notifies people. One that exists already only gets a new `seen_at`.
UPSERT = Query(
    UpsertResult,
    f"""
WITH written AS (
  INSERT INTO execution_driftitem AS d (kind, connection_id, position_id, order_id, key, evidence,
    state)
  SELECT t.kind, c.id, t.position_id, t.order_id, t.key, t.evidence, t.state
  FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::text[], %s::jsonb[],
    %s::text[]) AS t(kind, connection_id, position_id, order_id, key, evidence, state)
  JOIN connections_executionconnection c ON c.id::text = t.connection_id
  ON CONFLICT (connection_id, kind, key) WHERE state <> 'RESOLVED'
  DO UPDATE SET seen_at = clock_timestamp(),
    position_id = EXCLUDED.position_id, order_id = EXCLUDED.order_id,
    (evidence, state, decision, found_at) = (SELECT x.evidence,
      CASE WHEN reopened THEN 'OPEN' ELSE d.state END,
      CASE WHEN reopened THEN '' ELSE d.decision END,
      CASE WHEN reopened THEN clock_timestamp() ELSE d.found_at END
      FROM (SELECT EXCLUDED.evidence || {_MERGED_FILLS} || {_MERGED_DIFFERS} AS evidence) x,
      LATERAL (
        SELECT d.state = 'IGNORED' AND d.evidence->>'differs'
          IS DISTINCT FROM x.evidence->>'differs' AS reopened) y)
  RETURNING d.id, d.kind, d.connection_id, d.key, d.state,
    d.found_at >= statement_timestamp() AS is_new
), notified AS (
  {insert_events_sql(_FOUND)}
)
SELECT count(*) AS written FROM written
""",
)


def upsert_items(records: Sequence[DriftRecord]) -> int:
    """Insert or update drift items, one for each key; return how many have a known connection."""
    by_key = {(record.kind, record.connection_id, record.key): record for record in records}
    if not by_key:
        return 0
    values = [_values(by_key[key]) for key in sorted(by_key)]  # all sessions lock in one order
    return rows(UPSERT, columns(values, 7))[0].written


def _values(record: DriftRecord) -> tuple[str | int | None, ...]:
    return (
        record.kind.value,
        record.connection_id,
        record.position_id,
        record.order_id,
        record.key[:120],
        json.dumps(record.evidence, default=_json),
        "NOTED" if record.is_note else "OPEN",
    )


def write_drift(
    code: Code, report: OrderReport, *, order_id: int | None = None, **more: object
) -> bool:
    """Store a report as a drift item. Return False if its connection is unknown: no operator or
    tenant could see the item. order_id: the order that it is about, if that is known.

    Several reports about one order make one item with the executions of all of them. Each new
    execution opens it again.
    """
    evidence = {**asdict(report), "differs": _execution_keys(report) or "", **more}
    key = report.client_order_id
    record = DriftRecord(code, report.connection_id, key, evidence, order_id=order_id)
    return upsert_items([record]) == 1


def quarantine_report(report: OrderReport, error: Exception, reference: str) -> bool:
    """Store a report that cannot be applied as drift: it is kept, and blocks no other report.

    reference: of the traceback in the log.
    """
    details: dict[str, Any] = {"fault": repr(error)[:1000], "reference": reference}
    # A report without executions is identified by its kind.
    differs = _execution_keys(report) or [report.kind.value]
    with transaction.atomic():
        return write_drift(Code.REPORT_PROCESSING_FAILED, report, **details, differs=differs)


def _execution_keys(report: OrderReport) -> list[str]:
    """Return each execution's id, or quantity if it has no id, with its revision."""
    return [
        f"{fill.broker_fill_id or plain(fill.quantity)} {fill.revision}"
        for fill in report.fills
        if not fill.is_commission_only
    ]


def _json(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
