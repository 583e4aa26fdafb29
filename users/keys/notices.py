"""Notify owners of a new API key, 7 days and 1 day before a key ends, and when it has ended."""

from django.db import transaction

from common.db.sql import run
from events.models import EventKind
from events.outbox import INSERT_EVENTS_SQL
from events.services import emit
from users.models import ApiKey, User

# stage 1: a week left, 2: a day left, 3: ended. A key whose lifetime is not longer than a notice's
# lead gets no such notice. Keys that ended more than a week ago are not reported.
NOTIFY = f"""
WITH due AS (
  SELECT k.id, k.user_id, k.name, k.prefix, k.expires_at,
    CASE WHEN k.expires_at <= clock_timestamp() THEN 3
      WHEN k.expires_at <= clock_timestamp() + interval '1 day'
        AND k.created_at < k.expires_at - interval '25 hours' THEN 2
      WHEN k.created_at < k.expires_at - interval '7 days 1 hour' THEN 1 ELSE 0 END AS stage
  FROM users_apikey k JOIN users_user u ON u.id = k.user_id AND u.is_active
  WHERE k.revoked_at IS NULL AND k.expires_at <= clock_timestamp() + interval '7 days'
    AND k.expires_at > clock_timestamp() - interval '7 days'
), recorded AS (
  INSERT INTO users_apikeynotice (key_id, stage, ends_at)
  SELECT id, stage, expires_at FROM due WHERE stage > 0 ORDER BY id
  ON CONFLICT (key_id) DO UPDATE SET stage = EXCLUDED.stage, ends_at = EXCLUDED.ends_at
  WHERE users_apikeynotice.ends_at <> EXCLUDED.ends_at
    OR users_apikeynotice.stage < EXCLUDED.stage
  RETURNING key_id
)
{INSERT_EVENTS_SQL}
SELECT CASE d.stage WHEN 3 THEN '{EventKind.API_KEY_ENDED.value}'
    ELSE '{EventKind.API_KEY_ENDS_SOON.value}' END, d.user_id, NULL, NULL, NULL,
  jsonb_build_object('key_id', d.id, 'name', d.name, 'prefix', d.prefix, 'page', '/keys/',
    'days', CASE d.stage WHEN 1 THEN 7 WHEN 2 THEN 1 END,
    'ends_at', to_char(d.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
FROM recorded r JOIN due d ON d.id = r.key_id ORDER BY d.id
"""


def notify_made(key: ApiKey, by: User) -> None:
    """Write the event of a new key, in the transaction that stores it. by: who made it."""
    parent = key.made_with
    payload = {
        "key_id": key.pk, "name": key.name, "prefix": key.prefix, "page": "/keys/",
        "scopes": ", ".join(key.scopes), "ends_at": f"{key.expires_at:%Y-%m-%dT%H:%M:%SZ}",
        "by": "owner" if by.pk == key.user_id else "administrator",
        "made_with": f"“{parent.name}” ({parent.prefix}…)" if parent else "",
    }  # fmt: skip
    emit(EventKind.API_KEY_MADE, user_id=key.user_id, payload=payload)


def notify_key_ends() -> int:
    """Write an event for each API key that ends soon or has ended, once a stage; return the
    count."""
    with transaction.atomic():
        return run(NOTIFY)
