"""Metrics of events, for `/metrics`."""

from common.metrics import Gauge

GAUGES = (
    Gauge("events_waiting", "Events that wait for delivery.", (), """
SELECT count(*) AS value FROM events_event WHERE routed_at IS NULL"""),
    Gauge("event_wait_seconds", "How long the oldest of them has waited.", (), """
SELECT coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0) AS value
FROM events_event WHERE routed_at IS NULL"""),
)  # fmt: skip
