"""Operators hear of accounts that the audit could not judge: a count of 0 says nothing of them."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from typing import Any

from common.sql import rows
from events.models import EventKind
from events.services import emit
from execution.audit.listings import NotJudged

NAMED = 20  # accounts in a message; the dashboard has all of them
LAST = """
SELECT not_judged, (at AT TIME ZONE 'UTC')::date AS day,
  (clock_timestamp() AT TIME ZONE 'UTC')::date AS today
FROM execution_auditrun ORDER BY at DESC LIMIT 1
"""


def is_due(now: set[str], before: set[str], day: date | None, today: date | None) -> bool:
    """Whether accounts that were not judged are to be reported (again): they are others than in
    the run before, or it is the day's first run. day: of the run before, UTC. Pure."""
    return bool(now) and (now != before or day != today)


def report(found: Sequence[NotJudged]) -> None:
    """Write one event with all of them, if it is due.

    Must run in the transaction that writes the audit run down, before the run is written.
    """
    last = next(iter(rows(LAST)), None)
    before = {one["connection"] for one in last.not_judged} if last else set()
    now = {one.connection for one in found}
    if is_due(now, before, last and last.day, last and last.today):
        named: list[dict[str, Any]] = [asdict(one) for one in found[:NAMED]]
        emit(EventKind.AUDIT_NOT_JUDGED, payload={"count": len(found), "accounts": named})
