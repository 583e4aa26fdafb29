"""Metrics of orders, workers, differences and audits, for `/metrics`."""

from common.process.metrics import Gauge
from connections.selectors import CONNECTIONS_WITH_HEALTH_SQL
from execution.base.statements import ALL_PENDING_SQL, LIVE_SQL

# By primary key, so that a scrape reads as much in a year as on the first day.
_RECENT = """
SELECT * FROM execution_order
WHERE id > (SELECT max(id) FROM execution_order) - 10000
  AND created_at > clock_timestamp() - interval '1 hour'"""

# What has never run is late, too, soon after the installation.
_MIGRATED = "(SELECT max(applied) FROM django_migrations)"

GAUGES = (
    Gauge("orders_live", "Orders that have not ended, by state.", ("state",), f"""
SELECT status AS state, count(*) AS value FROM execution_order
WHERE status IN {LIVE_SQL}
GROUP BY status
UNION ALL SELECT 'PENDING', count(*) FROM execution_order WHERE {ALL_PENDING_SQL}"""),
    Gauge("orders_recent",
        "Orders of the last hour, of the newest 10,000, by state and reason code.",
        ("state", "code"), f"""
SELECT status AS state, split_part(reason, ' ', 1) AS code, count(*) AS value
FROM ({_RECENT}) o GROUP BY 1, 2"""),
    Gauge("slippage", "Slippage of the same orders that filled, by broker type and unit:"
        " average (+ is worse) and largest of the absolute values.",
        ("broker", "unit", "of"), f"""
WITH filled AS (
  SELECT c.type AS broker, o.slippage_unit AS unit, o.slippage_pips AS slippage
  FROM {CONNECTIONS_WITH_HEALTH_SQL} JOIN ({_RECENT}) o ON o.connection_id = c.id
  WHERE o.slippage_pips IS NOT NULL AND o.filled_quantity > 0)
SELECT broker, unit, 'average' AS of, avg(slippage) AS value FROM filled GROUP BY 1, 2
UNION ALL SELECT broker, unit, 'largest', max(abs(slippage)) FROM filled GROUP BY 1, 2"""),
    Gauge("order_due_seconds", "How long the oldest due order has been due.", (), f"""
SELECT greatest(coalesce(extract(epoch FROM clock_timestamp() - min(due_at)), 0), 0) AS value
FROM execution_order WHERE {ALL_PENDING_SQL}"""),
    Gauge("order_unknown_seconds", "How long the oldest UNKNOWN order has been sent.", (), """
SELECT coalesce(extract(epoch FROM clock_timestamp() - min(submitted_at)), 0) AS value
FROM execution_order WHERE status IN ('SUBMITTING', 'UNKNOWN') AND status = 'UNKNOWN'"""),
    # A process serves several queues if its role names them, joined by +.
    Gauge("processes", "Processes with a valid lease, by each queue that they serve.",
        ("role",), """
SELECT queue AS role, count(*) AS value
FROM execution_workerlease, string_to_table(role, '+') AS queue
WHERE lease_until > clock_timestamp() GROUP BY queue"""),
    Gauge("drift_open",
        "Differences from brokers that wait for a decision, by kind.", ("kind",), """
SELECT kind, count(*) AS value FROM execution_driftitem WHERE state = 'OPEN' GROUP BY kind"""),
    Gauge("audit_counter", "Counters of the last hourly audit; each must be 0.", ("counter",), """
SELECT c.key AS counter, c.value::text::bigint AS value FROM (
  SELECT counters FROM execution_auditrun ORDER BY id DESC LIMIT 1) a, jsonb_each(a.counters) c"""),
    Gauge("audit_ok", "Whether the last hourly audit found no error.", (), """
SELECT ok::int AS value FROM execution_auditrun ORDER BY id DESC LIMIT 1"""),
    Gauge("audit_seconds", "How long ago the last hourly audit ended; before the first: the"
        " newest migration.", (), f"""
SELECT extract(epoch FROM clock_timestamp() - coalesce(
  (SELECT max(at) FROM execution_auditrun), {_MIGRATED})) AS value"""),
    Gauge("audit_not_judged",
        "Accounts and brokers' books that the last hourly audit could not judge.", (), """
SELECT jsonb_array_length(not_judged) + jsonb_array_length(unread) AS value
FROM execution_auditrun ORDER BY id DESC LIMIT 1"""),
    Gauge("level_scan_seconds", "How long ago all levels were last scanned; before the first"
        " time: the newest migration.", (), f"""
SELECT extract(epoch FROM clock_timestamp() - coalesce(
  (SELECT scanned_at FROM execution_levelscanheartbeat), {_MIGRATED})) AS value"""),
    Gauge("scheduler_seconds", "How long ago the scheduler (beat) last requested a scan; before the"
        " first time: the newest migration.", (), f"""
SELECT extract(epoch FROM clock_timestamp() - coalesce(
  (SELECT scheduled_at FROM execution_levelscanheartbeat), {_MIGRATED})) AS value"""),
    Gauge("watchdog_error_seconds",
        "How long the address of the outside watchdog has not accepted pings.", (), """
SELECT coalesce(extract(epoch FROM clock_timestamp() - error_since), 0) AS value
FROM execution_watchdogping WHERE checked_at > clock_timestamp() - interval '10 min'"""),
    # A total that begins with its first message shows Prometheus no increase.
    Gauge("dropped_seconds", "How long ago a message or report was last dropped, by kind.",
        ("name",), """
SELECT name, extract(epoch FROM clock_timestamp() - max(sampled_at)) AS value
FROM execution_droppedmessagecount GROUP BY name"""),
)  # fmt: skip

DROPPED_MESSAGES = (
    "SELECT name, sum(count) AS value FROM execution_droppedmessagecount GROUP BY name"
)
