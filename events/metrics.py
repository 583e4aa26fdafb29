"""Metrics of events, for `/metrics`."""

from common.process.metrics import Gauge
from events.delivery import MAX_TRIES

# A mail waits from its event on, or from the end of quiet hours. One that was given up after all
# its tries counts as well, for a week: the server is no better for it.
_MAIL_WAITS = f"""
SELECT coalesce(extract(epoch FROM clock_timestamp() - min(waits.since)), 0) AS value
FROM events_channel c JOIN events_delivery d ON d.channel_id = c.id
JOIN events_event e ON e.id = d.event_id,
LATERAL (SELECT greatest(e.created_at, d.released_at) AS since) waits
WHERE c.is_active AND starts_with(c.url_display, 'mailto')
  AND (d.status = 'PENDING' AND d.hold_until IS NULL
    OR d.status = 'FAILED' AND d.tries >= {MAX_TRIES}
      AND waits.since > clock_timestamp() - interval '7 days')
  AND waits.since > coalesce((SELECT max(last_sent_at) FROM events_channel
    WHERE starts_with(url_display, 'mailto')), '-infinity')"""

GAUGES = (
    Gauge("events_waiting", "Events that wait for delivery.", (), """
SELECT count(*) AS value FROM events_event WHERE routed_at IS NULL"""),
    Gauge("event_wait_seconds", "How long the oldest of them has waited.", (), """
SELECT coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0) AS value
FROM events_event WHERE routed_at IS NULL"""),
    # One address that is refused is no fault of the mail server: others are sent meanwhile.
    Gauge("mail_wait_seconds",
        "How long the oldest mail has waited that is newer than the last one sent.", (),
        _MAIL_WAITS),
)  # fmt: skip
