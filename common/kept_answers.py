"""For how long the answers of requests with an Idempotency-Key are kept."""

from datetime import timedelta

from django.utils import timezone

from common.sql import rows

KEPT_FOR = timedelta(hours=24)
_SWEEP = """\
DELETE FROM common_keptanswer WHERE id IN (
  SELECT id FROM common_keptanswer WHERE created_at < %s ORDER BY created_at LIMIT 5000
  FOR UPDATE SKIP LOCKED)
RETURNING id"""


def sweep_kept_answers() -> int:
    """Delete the answers that are too old to be repeated; return how many."""
    deleted = 0
    while batch := len(rows(_SWEEP, (timezone.now() - KEPT_FOR,))):
        deleted += batch
    return deleted
