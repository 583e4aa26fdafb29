"""Differences between us and a broker, written down with their evidence for people to decide."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from django.db import transaction

from brokers.base import OrderReport
from common.codes import Code
from common.sql import columns, rows

Record = tuple[str, str, int | None, str, str]
"""kind, connection, position, key, evidence as JSON."""

# What is seen for the first time is told; seen again it is only known to be there still.
WRITE = """
WITH written AS (
  INSERT INTO execution_driftitem (kind, connection_id, position_id, key, evidence)
  SELECT t.kind, c.id, t.position_id, t.key, t.evidence
  FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::text[], %s::jsonb[])
    AS t(kind, connection_id, position_id, key, evidence)
  JOIN connections_executionconnection c ON c.id::text = t.connection_id
  ON CONFLICT (connection_id, kind, key) WHERE state = 'OPEN'
  DO UPDATE SET seen_at = clock_timestamp(), evidence = EXCLUDED.evidence
  RETURNING id, kind, connection_id, key, xmax = 0 AS is_new
), told AS (
  INSERT INTO events_event (kind, user_id, connection_id, payload)
  SELECT 'drift.found', coalesce(c.user_id, c.admin_id), w.connection_id,
    jsonb_build_object('drift', w.id, 'kind', w.kind, 'key', w.key)
  FROM written w JOIN connections_executionconnection c ON c.id = w.connection_id
  WHERE w.is_new
)
SELECT count(*) AS n FROM written
"""


def write_all(records: Sequence[Record]) -> int:
    """Write differences, each once; return how many were of connections that we have."""
    by_key = {record[:2] + record[3:4]: record for record in records}
    return int(rows(WRITE, columns(list(by_key.values()), 5))[0].n)


def write_drift(code: Code, report: OrderReport, **more: str) -> bool:
    """Write a report as drift; False: its connection is not ours, so nobody could look at it."""
    evidence = json.dumps({**asdict(report), **more}, default=_json)
    key = report.client_order_id[:120]
    return write_all([(code.value, report.connection_id, None, key, evidence)]) == 1


def set_aside(report: OrderReport, fault: Exception) -> bool:
    """Write a report that cannot be applied as drift, so that it blocks nobody and is not lost."""
    with transaction.atomic():
        return write_drift(Code.POISONED_REPORT, report, fault=repr(fault)[:1000])


def _json(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
