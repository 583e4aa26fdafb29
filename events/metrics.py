"""Metrics of events, for `/metrics`."""

from common.metrics import Gauge

GAUGES = (
    Gauge("events_waiting", "Events that wait for delivery.", (), """
SELECT count(*) AS value FROM events_event WHERE routed_at IS NULL"""),
)  # fmt: skip
