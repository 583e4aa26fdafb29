"""Spans to a collector of OpenTelemetry: the extra `observe`, off without `observe.otlp_url`.

Spans wait in a bounded queue; a thread of its own sends them by OTLP over HTTP. If the collector is
slow or dead, the oldest are dropped: nothing waits for it. What was lost is counted in the database
for `/metrics`; a process that ends takes with it what it had not counted yet.
"""

import hashlib
import importlib
import logging
import os
import random
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from math import inf
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from common.operational.document import Document
from common.process import tracing
from common.process.tracing import SpanRecord

log = logging.getLogger(__name__)
MOST_WAITING, AT_ONCE = 20_000, 500
SECONDS, TIMEOUT_SECONDS = 0.5, 5
STORE_SECONDS = 10.0  # so often what was lost is stored
FIRST = "publish"
"""The span of a signal that all others are below."""
MISSING = "observe.otlp_url is set, but the extra `observe` is not installed here."


def trace_ids(signal_id: int) -> tuple[int, int]:
    """Return the ids of a signal's trace and of its first span, the same in every process."""
    text = f"fillcast {settings.FILLCAST_INSTALLATION_TAG} signal {signal_id}"
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:16]), int.from_bytes(digest[16:24])


class SpanSender:
    """Sends the spans of one process. From any thread."""

    def __init__(self, url: str, *, store_lost: Callable[[int], None]) -> None:
        """store_lost: adds so many lost spans to those of the installation; may raise anything.

        Raises ImportError if the extra is not installed.
        """
        exporters = importlib.import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
        self._trace: Any = importlib.import_module("opentelemetry.trace")
        self._sdk: Any = importlib.import_module("opentelemetry.sdk.trace")
        resources = importlib.import_module("opentelemetry.sdk.resources")
        self.url = url
        self._exporter = exporters.OTLPSpanExporter(endpoint=url, timeout=TIMEOUT_SECONDS)
        self._resource = resources.Resource(
            {"service.name": "fillcast", "service.namespace": settings.FILLCAST_INSTALLATION_TAG,
             "host.name": socket.gethostname()}
        )  # fmt: skip
        self._waiting: deque[SpanRecord] = deque(maxlen=MOST_WAITING)
        self._pid, self._starting, self._ended = 0, threading.Lock(), threading.Event()
        self._store_lost, self._stored_at = store_lost, -inf
        self._lost, self._counting = 0, threading.Lock()

    def add(self, record: SpanRecord) -> None:
        """Let a span be sent. Returns at once."""
        if len(self._waiting) >= MOST_WAITING:
            self._lose(1)
        self._waiting.append(record)
        if self._pid != os.getpid():  # the first one, also of a fork: threads are not its own
            self._start()

    def end(self) -> None:
        """Send nothing more; does not wait for the collector."""
        self._ended.set()

    @property
    def lost(self) -> int:
        """How many spans were lost and are not stored yet."""
        return self._lost

    def _lose(self, count: int) -> None:
        with self._counting:
            self._lost += count

    def _start(self) -> None:
        with self._starting:
            if self._pid != os.getpid():
                threading.Thread(target=self._run, name="traces", daemon=True).start()
                self._pid = os.getpid()  # not before: a thread that did not start is tried again

    def _run(self) -> None:
        failed = False
        while not self._ended.wait(SECONDS):
            while self._waiting and not self._ended.is_set():
                batch = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
                was_failing, failed = failed, not self._is_sent(batch)
                if failed:
                    self._lose(len(batch))
                if failed and not was_failing:
                    log.warning("traces are dropped: the collector does not take them")
                self._store_if_due()
            self._store_if_due()
        self._lose(len(self._waiting))
        self._store()

    def _store_if_due(self) -> None:
        if time.monotonic() - self._stored_at >= STORE_SECONDS:
            self._store()

    def _store(self) -> None:
        """Store what was lost, also by errors of tracing itself; what cannot be is kept."""
        self._stored_at = time.monotonic()
        self._lose(tracing.take_failures())
        if not (lost := self._lost):
            return
        try:
            self._store_lost(lost)
        except Exception as error:  # any: the thread goes on, also while the process ends
            log.warning("lost spans were not counted yet: %s", str(error).strip())
        else:
            self._lose(-lost)

    def _is_sent(self, batch: list[SpanRecord]) -> bool:
        try:
            result = self._exporter.export([self._span_of(record) for record in batch])
        except Exception:  # any: of the exporter or its libraries; there is nothing to repair
            return False
        return bool(result.name == "SUCCESS")

    def _span_of(self, record: SpanRecord) -> Any:
        trace_id, first_id = trace_ids(record.signal_id)
        is_first = record.name == FIRST
        status = self._trace.Status(
            self._trace.StatusCode.ERROR if record.failed else self._trace.StatusCode.UNSET
        )
        return self._sdk.ReadableSpan(
            name=record.name,
            context=self._context(trace_id, first_id if is_first else random.getrandbits(64) or 1),
            parent=None if is_first else self._context(trace_id, first_id),
            resource=self._resource,
            attributes={"fillcast.signal": f"S-{record.signal_id}", **{
                f"fillcast.{name}": value for name, value in record.attributes.items()
            }, "process.pid": os.getpid()},
            start_time=record.began_ns,
            end_time=record.ended_ns,
            status=status,
        )  # fmt: skip

    def _context(self, trace_id: int, span_id: int) -> Any:
        sampled = self._trace.TraceFlags(self._trace.TraceFlags.SAMPLED)
        return self._trace.SpanContext(trace_id, span_id, is_remote=False, trace_flags=sampled)


def _store_lost(count: int) -> None:
    """Add lost spans to those of the installation, on a session that is closed again."""
    from execution.base.dropped_messages import record_lost_spans  # models: once all apps are ready
    from users.tenancy import for_all_tenants

    try:
        with transaction.atomic(), for_all_tenants():
            record_lost_spans(count)
    finally:
        connection.close()


_sender: SpanSender | None = None


def use(document: Document) -> None:
    """Send spans to the collector of the settings from now on; without one to none."""
    global _sender
    url = document.observe.otlp_url
    if url == (_sender.url if _sender else None):
        return
    tracing.receive(None)
    old, _sender = _sender, None
    if old is not None:
        old.end()
    if url is None:
        return
    try:
        _sender = SpanSender(url, store_lost=_store_lost)
    except ImportError:
        log.warning(MISSING)
        return
    tracing.receive(_sender.add)
