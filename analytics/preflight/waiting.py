"""Whether a preflight waits, or has been kept for long enough."""

from datetime import timedelta

from analytics.models import Preflight

KEPT = timedelta(days=1)
State = Preflight.State
ANY_TO_DO = f"""
SELECT true FROM analytics_preflight
WHERE state IN ('{State.WAITING.value}', '{State.RUNNING.value}')
  OR requested_at < clock_timestamp() - %s::interval LIMIT 1
"""
