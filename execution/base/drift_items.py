"""Differences between us and a broker, written down with their evidence for people to decide."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

from brokers.types import OrderReport
from common.money import plain
from common.reason_codes import Code
from common.sql import columns, rows


@dataclass(frozen=True, slots=True)
class DriftRecord:
    """One difference. key: what it is about, the same at each look.

    evidence: `ours` and `theirs`, and whatever explains them. `differs` in it says what differs: an
    ignored difference is opened again when that changes, and only then. A list only gets longer.
    """

    kind: Code
    connection_id: str
    key: str
    evidence: dict[str, Any]
    position_id: int | None = None
    order_id: int | None = None
    is_note: bool = False  # told to nobody


# Executions that were told stay told: a later look says nothing of them, a later report only its
# own. One without an id is a sum of all so far: another sum is another.
FILLS = """
CASE WHEN jsonb_array_length(coalesce(d.evidence->'fills', '[]')) > 0 THEN
  jsonb_build_object('fills', d.evidence->'fills' || coalesce((
    SELECT jsonb_agg(f ORDER BY at)
    FROM jsonb_array_elements(coalesce(EXCLUDED.evidence->'fills', '[]')) WITH ORDINALITY t(f, at)
    WHERE NOT d.evidence->'fills' @> jsonb_build_array(
      jsonb_build_object('broker_fill_id', f->'broker_fill_id', 'revision', f->'revision')
      || CASE f->>'broker_fill_id' WHEN '' THEN jsonb_build_object('quantity', f->'quantity')
        ELSE '{}' END)), '[]'))
ELSE '{}' END"""

# A list of what was told only grows.
DIFFERS = """
CASE WHEN jsonb_typeof(d.evidence->'differs') = 'array' THEN
  jsonb_build_object('differs', d.evidence->'differs' || coalesce((
    SELECT jsonb_agg(one ORDER BY at)
    FROM jsonb_array_elements(CASE jsonb_typeof(EXCLUDED.evidence->'differs')
      WHEN 'array' THEN EXCLUDED.evidence->'differs' ELSE '[]' END) WITH ORDINALITY t(one, at)
    WHERE NOT d.evidence->'differs' @> one), '[]'))
ELSE '{}' END"""

# What is seen for the first time is told; seen again it is only known to be there still.
UPSERT = f"""
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
      CASE WHEN again THEN 'OPEN' ELSE d.state END, CASE WHEN again THEN '' ELSE d.decision END,
      CASE WHEN again THEN clock_timestamp() ELSE d.found_at END
      FROM (SELECT EXCLUDED.evidence || {FILLS} || {DIFFERS} AS evidence) x, LATERAL (
        SELECT d.state = 'IGNORED' AND d.evidence->>'differs'
          IS DISTINCT FROM x.evidence->>'differs' AS again) y)
  RETURNING d.id, d.kind, d.connection_id, d.key, d.state,
    d.found_at >= statement_timestamp() AS is_new
), told AS (
  INSERT INTO events_event (kind, user_id, connection_id, payload)
  SELECT 'drift.found', coalesce(c.user_id, c.admin_id), w.connection_id,
    jsonb_build_object('drift', w.id, 'kind', w.kind, 'key', w.key)
  FROM written w JOIN connections_executionconnection c ON c.id = w.connection_id
  WHERE w.is_new AND w.state = 'OPEN'
)
SELECT count(*) AS n FROM written
"""


def upsert_items(records: Sequence[DriftRecord]) -> int:
    """Write differences, each once; return how many were of connections that we have."""
    by_key = {(one.kind, one.connection_id, one.key): one for one in records}
    if not by_key:
        return 0
    lines = [_line(by_key[key]) for key in sorted(by_key)]  # one order of locks for everybody
    return int(rows(UPSERT, columns(lines, 7))[0].n)


def _line(record: DriftRecord) -> tuple[str | int | None, ...]:
    return (
        record.kind.value,
        record.connection_id,
        record.position_id,
        record.order_id,
        record.key[:120],
        json.dumps(record.evidence, default=_json),
        "NOTED" if record.is_note else "OPEN",
    )


def write_drift(code: Code, report: OrderReport, **more: object) -> bool:
    """Write a report as drift; False: its connection is not ours, so nobody could look at it.

    Several reports about one order are one difference with the executions of all of them; each
    that was not told before opens it again.
    """
    evidence = {**asdict(report), "differs": _report_evidence(report) or "", **more}
    return (
        upsert_items([DriftRecord(code, report.connection_id, report.client_order_id, evidence)])
        == 1
    )


def quarantine_report(report: OrderReport, fault: Exception, reference: str) -> bool:
    """Write a report that cannot be applied as drift, so that it blocks nobody and is not lost.

    reference: of the traceback in the log.
    """
    said = {"fault": repr(fault)[:1000], "reference": reference}
    # One without executions says what it says by its kind.
    differs = _report_evidence(report) or [report.kind.value]
    with transaction.atomic():
        return write_drift(Code.REPORT_PROCESSING_FAILED, report, **said, differs=differs)


def _report_evidence(report: OrderReport) -> list[str]:
    """Name the executions of a report, a sum by its quantity."""
    return [
        f"{fill.broker_fill_id or plain(fill.quantity)} {fill.revision}" for fill in report.fills
    ]


def _json(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
