"""Metrics of alerts and signals, for `/metrics`."""

from common.process.metrics import Gauge

GAUGES = (
    Gauge("alerts_waiting", "Alerts in the inbox that are not settled.", (), """
SELECT count(*) AS value FROM alerts_incomingalert WHERE state = 'WAITING'"""),
    Gauge("alert_wait_seconds", "How long the oldest of them has waited.", (), """
SELECT coalesce(extract(epoch FROM clock_timestamp() - min(received_at)), 0) AS value
FROM alerts_incomingalert WHERE state = 'WAITING'"""),
    Gauge("alerts_refused", "Alerts of the last hour that were refused or too old, by code.",
        ("code",), """
SELECT code, count(*) AS value FROM alerts_incomingalert
WHERE received_at > clock_timestamp() - interval '1 hour' AND state IN ('REFUSED', 'EXPIRED')
GROUP BY code"""),
)  # fmt: skip
