"""For how long the answers of requests with an Idempotency-Key are kept."""

from datetime import timedelta

from django.utils import timezone

from common.db.sql import rows
from common.operational.current import settings_now

_SWEEP = """\
DELETE FROM common_keptanswer WHERE id IN (
  SELECT id FROM common_keptanswer WHERE created_at < %s ORDER BY created_at LIMIT 5000
  FOR UPDATE SKIP LOCKED)
RETURNING id"""


def kept_for() -> timedelta:
    """Return for how long a repetition gets the answer of its first request."""
    return timedelta(hours=settings_now().idempotency.check_window_hours)


def sweep_kept_answers() -> int:
    """Delete the answers that are too old to be repeated; return how many."""
    deleted = 0
    while batch := len(rows(_SWEEP, (timezone.now() - kept_for(),))):
        deleted += batch
    return deleted
