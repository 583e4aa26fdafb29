"""Metrics of events, for `/metrics`."""

from common.metrics import Gauge

GAUGES = (
    Gauge("events_waiting", "Events that wait for delivery.", (), """
SELECT count(*) AS value FROM events_event WHERE routed_at IS NULL"""),
    Gauge("event_wait_seconds", "How long the oldest of them has waited.", (), """
SELECT coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0) AS value
FROM events_event WHERE routed_at IS NULL"""),
    # One address that is refused is no fault of the mail server: others are sent meanwhile.
    Gauge("mail_wait_seconds",
        "How long the oldest mail has waited that is newer than the last one sent.", (), """
SELECT coalesce(extract(epoch FROM clock_timestamp() - min(e.created_at)), 0) AS value
FROM events_delivery d JOIN events_event e ON e.id = d.event_id
JOIN events_channel c ON c.id = d.channel_id
WHERE d.status = 'PENDING' AND d.hold_until IS NULL AND c.is_active
  AND starts_with(c.url_display, 'mailto') AND e.created_at > coalesce((
    SELECT max(last_sent_at) FROM events_channel
    WHERE starts_with(url_display, 'mailto')), '-infinity')"""),
)  # fmt: skip
