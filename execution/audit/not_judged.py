"""Operators hear of accounts that the audit could not judge: a count of 0 says nothing of them."""

from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any

from common.sql import rows
from events.models import EventKind
from events.services import emit
from execution.audit.listings import NotJudged

NAMED = 20  # accounts in a message; the dashboard has all of them
# Every run of today has reported those that it could not judge, or found them reported.
REPORTED_TODAY = """
SELECT DISTINCT account->>'connection' AS connection
FROM execution_auditrun, jsonb_array_elements(not_judged) account
WHERE at >= date_trunc('day', clock_timestamp(), 'UTC')
"""


def to_report(found: Sequence[NotJudged], reported: Collection[str]) -> list[NotJudged]:
    """Return what a message about accounts that were not judged names: all of them, those first
    that no message of today has named; nothing if it has named all. Pure."""
    added = [one for one in found if one.connection not in reported]
    return [*added, *(one for one in found if one.connection in reported)] if added else []


def report(found: Sequence[NotJudged]) -> None:
    """Write one event with all of them, if some are not reported yet today (UTC).

    An account that is judged and not judged by turns causes one message a day. Must run in the
    transaction that writes the audit run down, before the run is written.
    """
    if not found:
        return
    reported = {row.connection for row in rows(REPORTED_TODAY)}
    if texts := to_report(found, reported):
        named: list[dict[str, Any]] = [asdict(one) for one in texts[:NAMED]]
        emit(EventKind.AUDIT_NOT_JUDGED, payload={"count": len(texts), "accounts": named})
