"""Metrics of positions, for `/metrics`."""

from common.process.metrics import Gauge

GAUGES = (
    Gauge("positions_open", "Open positions.", (), """
SELECT count(*) AS value FROM positions_executionposition WHERE quantity > 0"""),
    Gauge("positions_unprotected", "Open positions that should have a stop and have none.", (), """
SELECT count(*) AS value FROM positions_executionposition
WHERE quantity > 0 AND (unprotected_since IS NOT NULL OR sl IS NOT NULL AND (sl_guardian = ''
  OR sl_guardian = 'BROKER' AND (broker_sl IS NULL OR broker_sl_quantity < quantity)))"""),
    Gauge("unprotected_seconds", "How long the longest of them has had none.", (), """
SELECT coalesce(extract(epoch FROM clock_timestamp() - min(unprotected_since)), 0) AS value
FROM positions_executionposition WHERE unprotected_since IS NOT NULL"""),
)  # fmt: skip
