"""The /metrics endpoint in Prometheus' text format, computed at each scrape.

Each figure comes from the database, so any web process can answer, and each reads few rows by a
partial index. The figures show how much is traded, so they are not public: a scraper sends
`FILLCAST_METRICS_TOKEN` as its bearer token. If that setting is empty, the endpoint returns 404.
"""

import hmac
from collections.abc import Iterator
from typing import Any

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseNotFound
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from redis import Redis
from redis.exceptions import RedisError

from common.sql import rows
from connections.selectors import CONNECTIONS_WITH_HEALTH_SQL
from users.tenancy import for_all_tenants

log = structlog.get_logger(__name__)
QUEUES = ("exits", "execution", "maintenance")

# name, description, labels, statement (the labels' columns, then `value`; no row: no sample)
GAUGES: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
    ("orders_live", "Orders that have not ended, by state.", ("state",), """
SELECT status AS state, count(*) AS value FROM execution_order
WHERE status IN ('SUBMITTING', 'UNKNOWN', 'SUBMITTED', 'PARTIALLY_FILLED', 'CANCEL_REQUESTED')
GROUP BY status
UNION ALL SELECT 'PENDING', count(*) FROM execution_order WHERE status = 'PENDING'"""),
    ("order_due_seconds", "How long the oldest due order has been due.", (), """
SELECT greatest(coalesce(extract(epoch FROM clock_timestamp() - min(due_at)), 0), 0) AS value
FROM execution_order WHERE status = 'PENDING'"""),
    ("order_unknown_seconds", "How long the oldest UNKNOWN order has been sent.", (), """
SELECT coalesce(extract(epoch FROM clock_timestamp() - min(submitted_at)), 0) AS value
FROM execution_order WHERE status IN ('SUBMITTING', 'UNKNOWN') AND status = 'UNKNOWN'"""),
    ("processes", "Processes with a valid lease, by role.", ("role",), """
SELECT role, count(*) AS value FROM execution_workerlease
WHERE lease_until > clock_timestamp() GROUP BY role"""),
    ("lanes", "Lanes of broker sessions, by whether a process holds them.", ("held",), """
SELECT CASE WHEN l.until >= clock_timestamp() THEN 'yes' ELSE 'no' END AS held,
  count(DISTINCT c.lane) AS value
FROM connections_executionconnection c LEFT JOIN connections_lanelease l ON l.lane = c.lane
WHERE c.lane <> '' AND c.archived_at IS NULL GROUP BY 1"""),
    ("drift_open", "Differences from brokers that wait for a decision, by kind.", ("kind",), """
SELECT kind, count(*) AS value FROM execution_driftitem WHERE state = 'OPEN' GROUP BY kind"""),
    ("positions_open", "Open positions.", (), """
SELECT count(*) AS value FROM positions_executionposition WHERE quantity > 0"""),
    ("positions_unprotected", "Open positions that should have a stop and have none.", (), """
SELECT count(*) AS value FROM positions_executionposition
WHERE quantity > 0 AND (unprotected_since IS NOT NULL OR sl IS NOT NULL AND (sl_guardian = ''
  OR sl_guardian = 'BROKER' AND (broker_sl IS NULL OR broker_sl_quantity < quantity)))"""),
    ("audit_counter", "Counters of the last hourly audit; each must be 0.", ("counter",), """
SELECT c.key AS counter, c.value::text::bigint AS value FROM (
  SELECT counters FROM execution_auditrun ORDER BY at DESC LIMIT 1) a, jsonb_each(a.counters) c"""),
    ("audit_ok", "Whether the last hourly audit found no error.", (), """
SELECT ok::int AS value FROM execution_auditrun ORDER BY at DESC LIMIT 1"""),
    ("audit_seconds", "How long ago the last hourly audit ended.", (), """
SELECT extract(epoch FROM clock_timestamp() - max(at)) AS value FROM execution_auditrun
HAVING count(*) > 0"""),
    ("audit_not_judged", "Accounts that the last hourly audit could not judge.", (), """
SELECT jsonb_array_length(not_judged) AS value FROM execution_auditrun ORDER BY at DESC LIMIT 1"""),
    ("level_scan_seconds", "How long ago all levels were last scanned.", (), """
SELECT extract(epoch FROM clock_timestamp() - scanned_at) AS value
FROM execution_levelscanheartbeat WHERE scanned_at IS NOT NULL"""),
    ("scheduler_seconds", "How long ago the scheduler (beat) last requested a scan.", (), """
SELECT extract(epoch FROM clock_timestamp() - scheduled_at) AS value
FROM execution_levelscanheartbeat WHERE scheduled_at IS NOT NULL"""),
    ("events_waiting", "Events that wait for delivery.", (), """
SELECT count(*) AS value FROM events_event WHERE delivered_at IS NULL"""),
    ("kill_switches", "Kill switches that are set.", ("scope", "mode"), """
SELECT scope, mode, count(*) AS value FROM connections_killswitch
WHERE released_at IS NULL GROUP BY scope, mode"""),
    ("epoch_open", "Whether a recovery epoch is open.", (), """
SELECT count(*) AS value FROM connections_epoch WHERE released_at IS NULL"""),
    ("connections", "Connections that are switched on, by health.", ("status",), f"""
SELECT h.status, count(*) AS value FROM {CONNECTIONS_WITH_HEALTH_SQL}
WHERE c.is_active AND c.archived_at IS NULL GROUP BY h.status"""),
)  # fmt: skip
DROPPED = "SELECT name, sum(count) AS value FROM execution_droppedmessagecount GROUP BY name"


class MetricsCollector(Collector):
    """Collects all figures of a scrape."""

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, one query each. Raises DatabaseError."""
        with for_all_tenants():
            for name, description, labels, statement in GAUGES:
                yield _filled(
                    GaugeMetricFamily(f"fillcast_{name}", description, labels=labels), statement
                )
            dropped = "Messages and reports that were dropped, by kind."
            yield _filled(
                CounterMetricFamily("fillcast_dropped", dropped, labels=("name",)), DROPPED
            )
        yield from _queues()


def _filled(metric: Any, statement: str) -> Any:
    for *labels, value in rows(statement):
        metric.add_metric([str(label) for label in labels], float(value))
    return metric


def _queues() -> Iterator[Metric]:
    """Yield the lengths of the Celery queues, and whether Redis answers."""
    up = GaugeMetricFamily("fillcast_redis_up", "Whether Redis answers.")
    lengths = GaugeMetricFamily(
        "fillcast_queue_length", "Messages that wait, by queue.", labels=("queue",)
    )
    try:
        redis = Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1)
        with redis:
            for queue in QUEUES:
                lengths.add_metric([queue], float(redis.llen(queue)))
        up.add_metric([], 1)
    except RedisError as error:
        log.warning("no queue lengths", error=str(error))
        lengths.samples.clear()
        up.add_metric([], 0)
    yield up
    yield lengths


def metrics(request: HttpRequest) -> HttpResponse:
    """Answer a scraper with the right token; 404 for all others."""
    token = settings.FILLCAST_METRICS_TOKEN
    authorization = request.headers.get("Authorization", "").encode()
    if not token or not hmac.compare_digest(authorization, f"Bearer {token}".encode()):
        return HttpResponseNotFound()
    registry = CollectorRegistry(auto_describe=False)
    registry.register(MetricsCollector())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
