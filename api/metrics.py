"""The /metrics endpoint in Prometheus' text format, computed at each scrape.

The figures come from the database, so any web process can answer, and each reads few rows by a
partial index. Those of requests are of the web process that answers; without the database they are
all there is. They show how much is traded, so they are not public: a scraper sends
`FILLCAST_METRICS_TOKEN` as its bearer token. If that setting is empty, the endpoint returns 404.
"""

import hmac
from collections.abc import Iterator
from typing import Any

import structlog
from django.conf import settings
from django.db import DatabaseError, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseNotFound
from kombu.exceptions import OperationalError
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from redis import Redis
from redis.exceptions import RedisError

from api import call_metrics, request_metrics
from api.answer_limit import database_answers_within
from buses import metrics as buses
from common import message_queues
from common.operational.current import in_force
from common.sql import rows
from connections import metrics as connections
from events import metrics as events
from execution import metrics as execution
from positions import metrics as positions
from prices import metrics as prices
from signals import metrics as signals
from users.tenancy import for_all_tenants

log = structlog.get_logger(__name__)
DATABASE_SECONDS = 4.0  # with a new session and Redis less than the 10 s that a scraper waits
QUEUES = ("exits", "execution", "maintenance")

GAUGES = (
    *execution.GAUGES, *positions.GAUGES, *prices.GAUGES, *connections.GAUGES, *signals.GAUGES,
    *events.GAUGES, *buses.GAUGES,
)  # fmt: skip


class MetricsCollector(Collector):
    """Collects all figures of a scrape."""

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, one query each."""
        found: list[Metric] = []
        try:
            found = _from_database()
        except DatabaseError as error:
            log.warning("no figures from the database", error=str(error))
        is_up = float(bool(found))
        yield GaugeMetricFamily("fillcast_database_up", "Whether PostgreSQL answers.", value=is_up)
        yield from found
        yield _settings()
        yield from _queues()


def _from_database() -> list[Metric]:
    # No transaction is open: a web process without its database answers here, too.
    with (
        database_answers_within(DATABASE_SECONDS),
        transaction.atomic(),
        for_all_tenants(),
    ):
        dropped = "Messages and reports that were dropped, by kind."
        return [
            *(
                _filled(
                    GaugeMetricFamily(
                        f"fillcast_{gauge.name}", gauge.description, labels=gauge.labels
                    ),
                    gauge.statement(),
                )
                for gauge in GAUGES
            ),
            _filled(
                CounterMetricFamily("fillcast_dropped", dropped, labels=("name",)),
                execution.DROPPED_MESSAGES,
            ),
            *call_metrics.families(),
        ]


def _settings() -> Metric:
    """Return whether the newest version of the operational settings is in force."""
    description = "1 if the newest version of the settings is invalid, so that an older one holds."
    invalid = float(bool(in_force().faults))
    return GaugeMetricFamily("fillcast_settings_invalid", description, value=invalid)


def _filled(metric: Any, statement: str) -> Any:
    for *labels, value in rows(statement):
        metric.add_metric([str(label) for label in labels], float(value))
    return metric


def _queues() -> Iterator[Metric]:
    """Yield the lengths of the Celery queues, and whether Redis answers."""
    up = GaugeMetricFamily(
        "fillcast_redis_up", "Whether Redis answers.", value=float(_redis_is_up())
    )
    lengths = GaugeMetricFamily(
        "fillcast_queue_length", "Messages that wait, by queue.", labels=("queue",)
    )
    try:
        for queue, length in message_queues.lengths(QUEUES).items():
            lengths.add_metric([queue], float(length))
    except (RedisError, OperationalError, OSError) as error:
        log.warning("no queue lengths", error=str(error))
    yield up
    yield lengths


def _redis_is_up() -> bool:
    redis = Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1)
    try:
        with redis:
            return bool(redis.ping())
    except RedisError:
        return False


def metrics(request: HttpRequest) -> HttpResponse:
    """Answer a scraper with the right token; 404 for all others."""
    token = settings.FILLCAST_METRICS_TOKEN
    authorization = request.headers.get("Authorization", "").encode()
    if not token or not hmac.compare_digest(authorization, f"Bearer {token}".encode()):
        return HttpResponseNotFound()
    registry = CollectorRegistry(auto_describe=False)
    registry.register(MetricsCollector())
    body = generate_latest(registry) + generate_latest(request_metrics.REGISTRY)
    return HttpResponse(body, content_type=CONTENT_TYPE_LATEST)
