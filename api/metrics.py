"""The /metrics endpoint in Prometheus' text format, computed at each scrape.

The figures come from the database, so any web process can answer, and each reads few rows by a
partial index. Those of requests are of the web process that answers; without the database they are
all there is. They show how much is traded, so they are not public: a scraper sends
`FILLCAST_METRICS_TOKEN` as its bearer token. If that setting is empty, the endpoint returns 404.
"""

import hmac
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseNotFound
from kombu.exceptions import OperationalError
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from redis import Redis
from redis.exceptions import RedisError

from alerts import metrics as signals
from api import call_metrics, request_metrics
from api.database_figures import Figure, read_figures
from buses import metrics as buses
from buses.sinks import named_urls
from common.certificate_files import CertificateFile, certificate_files
from common.db.sql import rows
from common.operational.current import in_force
from common.process import message_queues
from common.process.metrics import Gauge
from connections import metrics as connections
from events import metrics as events
from execution import metrics as execution
from positions import metrics as positions
from prices import metrics as prices

log = structlog.get_logger(__name__)
QUEUES = ("exits", "execution", "maintenance")

GAUGES = (
    *execution.GAUGES, *positions.GAUGES, *prices.GAUGES, *connections.GAUGES, *signals.GAUGES,
    *events.GAUGES, *buses.GAUGES,
)  # fmt: skip


class MetricsCollector(Collector):
    """Collects all figures of a scrape."""

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, one query each. What cannot be read in time is left out and named."""
        answer = read_figures(_figures())
        yield GaugeMetricFamily(
            "fillcast_database_up", "Whether PostgreSQL answers.", value=float(answer.is_up)
        )
        yield from answer.metrics
        if answer.is_up:
            missing = GaugeMetricFamily(
                "fillcast_figure_missing",
                "1 for each figure of the database that was not read; its alarms are silent.",
                labels=("name",),
            )
            for name in answer.missing:
                missing.add_metric([name], 1.0)
            yield missing
        yield _settings()
        yield _certificates()
        yield from _queues()


def _figures() -> Iterator[Figure]:
    """Yield what reads each figure of the database."""
    for gauge in GAUGES:
        yield Figure(gauge.name, partial(_gauge, gauge))
    yield Figure("dropped", _dropped)
    yield Figure("calls", call_metrics.families)


def _gauge(gauge: Gauge) -> list[Metric]:
    name = f"fillcast_{gauge.name}"
    metric = GaugeMetricFamily(name, gauge.description, labels=gauge.labels)
    return [_filled(metric, gauge.statement())]


def _dropped() -> list[Metric]:
    description = "Messages and reports that were dropped, by kind."
    metric = CounterMetricFamily("fillcast_dropped", description, labels=("name",))
    return [_filled(metric, execution.DROPPED_MESSAGES)]


def _settings() -> Metric:
    """Return whether the newest version of the operational settings is in force."""
    description = "1 if the newest version of the settings is invalid, so that an older one holds."
    invalid = float(bool(in_force().faults))
    return GaugeMetricFamily("fillcast_settings_invalid", description, value=invalid)


def _certificates() -> Metric:
    """Return how long each certificate is valid that the settings of this process name."""
    left = GaugeMetricFamily(
        "fillcast_certificate_seconds_left",
        "Until the certificate file ends; 0: it cannot be read, or has not begun.",
        labels=("file", "used_as"),
    )
    now = datetime.now(UTC)
    for file in certificate_files(named_urls()):
        if (seconds := _seconds_left(file, now)) is not None:
            left.add_metric([file.path, file.labels], seconds)
    return left


def _seconds_left(file: CertificateFile, now: datetime) -> float | None:
    """Return None for a file that only another process has."""
    try:
        found = file.certificate()
    except OSError as error:
        return None if file.may_be_elsewhere(error) else 0.0
    except ValueError:
        return 0.0
    has_begun = found.not_valid_before_utc <= now
    return (found.not_valid_after_utc - now).total_seconds() if has_begun else 0.0


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
