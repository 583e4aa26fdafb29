"""Differences between us and a broker, written down with their evidence for people to decide."""

import json
from dataclasses import asdict
from datetime import datetime

from django.db import transaction

from brokers.base import OrderReport
from common.codes import Code
from common.sql import run

WRITE = """
INSERT INTO execution_driftitem (kind, connection_id, order_id, key, evidence)
SELECT %s, c.id, NULL, %s, %s::jsonb FROM connections_executionconnection c WHERE c.id::text = %s
ON CONFLICT (connection_id, kind, key) WHERE state = 'OPEN'
DO UPDATE SET seen_at = clock_timestamp(), evidence = EXCLUDED.evidence
"""


def write_drift(code: Code, report: OrderReport, **more: str) -> bool:
    """Write a report as drift; False: its connection is not ours, so nobody could look at it."""
    evidence = json.dumps({**asdict(report), **more}, default=_json)
    key = report.client_order_id[:120]
    return run(WRITE, (code.value, key, evidence, report.connection_id)) == 1


def set_aside(report: OrderReport, fault: Exception) -> bool:
    """Write a report that cannot be applied as drift, so that it blocks nobody and is not lost."""
    with transaction.atomic():
        return write_drift(Code.POISONED_REPORT, report, fault=repr(fault)[:1000])


def _json(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
