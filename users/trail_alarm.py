"""The alarm for a broken audit trail: raised once, kept until a full check passes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from common.db.sql import rows
from events.models import EventKind
from events.services import emit

SENTENCES_MAX = 5  # the command prints all of them

RAISE = """
INSERT INTO users_trailstatus (id, broken_at, findings)
VALUES (1, clock_timestamp(), %s)
ON CONFLICT (id) DO UPDATE SET broken_at = EXCLUDED.broken_at, findings = EXCLUDED.findings
WHERE users_trailstatus.broken_at IS NULL
RETURNING id
"""
CLEAR = """
UPDATE users_trailstatus SET broken_at = NULL, findings = ''
WHERE id = 1 AND broken_at IS NOT NULL RETURNING id
"""
READ = "SELECT broken_at, findings FROM users_trailstatus WHERE id = 1"
"""The fields of `TrailStatus`; no row: intact. Also for a statement that reads more than these."""


@dataclass(frozen=True, slots=True)
class TrailStatus:
    """broken_at: when a check first found the trail broken, machine time; None: intact."""

    broken_at: datetime | None = None
    findings: str = ""

    @property
    def is_broken(self) -> bool:
        """Whether a check has found the trail broken."""
        return self.broken_at is not None


def trail_status() -> TrailStatus:
    """Return the stored status of the audit trail; cheap enough for every page."""
    stored = rows(READ)
    return TrailStatus(*stored[0]) if stored else TrailStatus()


def raise_alarm(sentences: Sequence[str]) -> bool:
    """Report a broken trail to operators. Returns False if it was reported before."""
    findings = "\n".join(sentences[:SENTENCES_MAX])
    with transaction.atomic():
        is_new = bool(rows(RAISE, (findings,)))
        if is_new:
            emit(EventKind.AUDIT_TRAIL_BROKEN, payload={"detail": findings})
    return is_new


def clear_alarm() -> bool:
    """End the alarm after a full check has passed. Returns False if there was none."""
    with transaction.atomic():
        was_broken = bool(rows(CLEAR))
        if was_broken:
            emit(EventKind.AUDIT_TRAIL_INTACT)
    return was_broken
