"""One trace for a signal, by the real exporter to a receiver that decodes what it is sent."""

import gzip
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.test import Client

from alerts.inbox.publishing import publish_waiting
from alerts.inbox.storing import accept_alert
from brokers.base import Rejected
from common.db.sql import rows
from common.operational.document import Document, Observe
from common.process import tracing
from common.reason_codes import Code
from config import traces
from connections.models import ExecutionConnection
from execution import services
from execution.models import DroppedMessageCount, Order
from execution.runtime.trading_runtime import TradingRuntime
from signals.models import Feed, Signal
from signals.services import publish
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.trading_process import until
from tests.fakes.http_server import serving_http
from tests.operational import set_setting
from tests.ports import closed_port
from tests.until import until as until_so

ENTRY = {"action": "OPEN", "symbol": "EURUSD", "direction": "BUY", "sl": "1.08"}


class Collector:
    """What a collector of OpenTelemetry was sent."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.resources: list[Any] = []
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.requests = 0

    def names(self, trace_id: bytes) -> set[str]:
        return {span.name for span in list(self.spans) if span.trace_id == trace_id}

    def take(self, body: bytes) -> None:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
            ExportTraceServiceRequest,
        )

        for found in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resources.append(found.resource)
            for scope in found.scope_spans:
                self.spans += scope.spans

    def handler(self) -> type[BaseHTTPRequestHandler]:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                is_gzip = self.headers.get("Content-Encoding") == "gzip"
                collector.requests += 1
                collector.may_answer.wait(120)
                collector.take(gzip.decompress(raw) if is_gzip else raw)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Print nothing."""

        return Handler


def with_url(url: str | None) -> Document:
    return replace(Document(), observe=Observe(otlp_url=url))


@pytest.fixture
def collector() -> Iterator[Collector]:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    found = Collector()
    with serving_http(found.handler()) as port:
        traces.use(with_url(f"http://127.0.0.1:{port}/v1/traces"))
        yield found
        found.may_answer.set()
        traces.use(Document())


def trace_of(signal: Signal) -> bytes:
    return traces.trace_ids(signal.pk)[0].to_bytes(16)


def attributes_of(span: Any) -> dict[str, Any]:
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}


@pytest.mark.django_db(transaction=True)
def test_alert_is_one_trace_from_its_receipt_to_the_report(
    collector: Collector, feed: Feed, alice: ExecutionConnection, trading: TradingRuntime
) -> None:
    accept_alert(feed, json.dumps(ENTRY).encode())
    publish_waiting(seconds=60)
    services.execute([order.pk for order in Order.objects.all()])
    until(lambda: Order.objects.get().status == "FILLED")
    signal, order = Signal.objects.get(), Order.objects.get()
    expected = {"alert", "publish", "claim", "send", "report"}
    until_so(lambda: collector.names(trace_of(signal)) == expected, seen=lambda: collector.spans)
    spans = {span.name: span for span in collector.spans}
    assert {span.trace_id for span in collector.spans} == {trace_of(signal)}
    first = spans["publish"]
    assert first.parent_span_id == b""
    assert {span.parent_span_id for span in spans.values() if span is not first} == {first.span_id}
    assert len({span.span_id for span in collector.spans}) == len(collector.spans)
    assert all(span.start_time_unix_nano <= span.end_time_unix_nano for span in collector.spans)
    sent = attributes_of(spans["send"])
    assert sent["fillcast.order"] == order.client_order_id
    assert (sent["fillcast.outcome"], sent["fillcast.signal"]) == ("OK", f"S-{signal.pk}")
    assert attributes_of(first)["fillcast.orders"] == 1
    names = {one.key: one.value.string_value for one in collector.resources[0].attributes}
    assert names["service.name"] == "fillcast"


@pytest.mark.django_db(transaction=True)
def test_signal_by_hand_that_a_broker_rejects_is_a_failed_span(
    collector: Collector,
    feed: Feed,
    alice: ExecutionConnection,
    trading: TradingRuntime,
    broker: FakeBroker,
) -> None:
    def reject(_request: Any) -> Any:
        raise Rejected(Code.NO_MONEY, "you have 17.35 left")

    broker.behaviour = reject
    signal = factories.feed_signal(feed)
    publish(signal.pk, by=None)
    services.execute([order.pk for order in Order.objects.all()])
    expected = {"publish", "claim", "send", "report"}
    until_so(lambda: collector.names(trace_of(signal)) == expected, seen=lambda: collector.spans)
    [send] = [span for span in collector.spans if span.name == "send"]
    assert (send.status.code, attributes_of(send)["fillcast.outcome"]) == (2, "NO_MONEY")
    assert b"17.35" not in send.SerializeToString()


def test_hanging_collector_delays_nothing_and_drops_the_oldest(collector: Collector) -> None:
    collector.may_answer.clear()
    tracing.add("publish", 1, 0.1)
    until_so(lambda: collector.requests == 1)
    for number in range(traces.MOST_WAITING + 10):
        tracing.add("send", number, 0.1)
    sender = traces._sender
    assert sender is not None
    assert len(sender._waiting) == traces.MOST_WAITING
    assert sender._waiting[0].signal_id == 10
    assert sender.lost == 10


def test_dead_collector_is_stated_once_and_delays_nothing(
    collector: Collector, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces, "SECONDS", 0.01)
    monkeypatch.setattr(traces, "TIMEOUT_SECONDS", 0.01)
    with closed_port() as port:
        traces.use(with_url(f"http://127.0.0.1:{port}/v1/traces"))
        for number in range(2):
            tracing.add("publish", number, 0.1)
            sender = traces._sender
            until_so(lambda sender=sender: not sender._waiting)  # type: ignore[misc]
        until_so(lambda: caplog.text.count("traces are dropped") == 1)


def lost_of_all_processes(settings: Any) -> float:
    settings.FILLCAST_METRICS_TOKEN = "t" * 32
    text = Client().get("/metrics", headers={"Authorization": "Bearer " + "t" * 32}).text
    name = 'fillcast_dropped_total{name="trace.span"} '
    found = [line for line in text.splitlines() if line.startswith(name)]
    return float(found[0].removeprefix(name)) if found else 0.0


@pytest.mark.django_db(transaction=True)
def test_spans_that_a_dead_collector_did_not_take_are_in_the_metrics(
    collector: Collector, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SECONDS", "TIMEOUT_SECONDS", "STORE_SECONDS"):
        monkeypatch.setattr(traces, name, 0.01)
    with closed_port() as port:
        traces.use(with_url(f"http://127.0.0.1:{port}/v1/traces"))
        assert lost_of_all_processes(settings) == 0
        for number in range(3):
            tracing.add("publish", number, 0.1)
        until_so(lambda: lost_of_all_processes(settings) == 3)
        tracing.receive(refuse)  # an error of tracing itself
        tracing.add("publish", 4, 0.1)
        until_so(lambda: lost_of_all_processes(settings) == 4)


def refuse(_record: tracing.SpanRecord) -> None:
    raise RuntimeError("can't start new thread")


@pytest.mark.parametrize("error", [OperationalError, InterfaceError, RuntimeError])
def test_lost_spans_are_kept_until_they_can_be_stored(error: type[Exception]) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    stored: list[int] = []
    errors = [error("gone"), None]

    def store(count: int) -> None:
        if found := errors.pop(0):
            raise found
        stored.append(count)

    tracing.take_failures()
    sender = traces.SpanSender("http://127.0.0.1:9/v1/traces", store_lost=store)
    sender._lose(7)
    sender._store()
    assert (stored, sender.lost) == ([], 7)
    sender._store()
    assert (stored, sender.lost) == ([7], 0)
    sender._store()  # nothing is lost: nothing is stored
    assert stored == [7]


@pytest.mark.django_db(transaction=True)
def test_web_process_may_store_what_it_lost() -> None:
    rows("SET ROLE fillcast_web")  # until the session is closed
    traces._store_lost(2)
    found = DroppedMessageCount.objects.values_list("name", "count")
    assert list(found) == [("trace.span", 2)]


def test_traces_end_without_an_address(collector: Collector) -> None:
    assert tracing.is_on()
    traces.use(Document())
    assert not tracing.is_on()
    tracing.add("publish", 1, 0.1)
    tracing.add_claim([("a", 1)], 0.1)
    assert collector.spans == []


@pytest.mark.usefixtures("collector")
def test_traces_follow_their_setting() -> None:
    traces.use(Document())
    for url in ("https://collector.example/v1/traces", None):
        set_setting("observe.otlp_url", url)
        assert tracing.is_on() is (url is not None)


def test_ids_of_a_trace_are_the_same_in_every_process_of_an_installation(settings: Any) -> None:
    assert traces.trace_ids(7) == traces.trace_ids(7) != traces.trace_ids(8)
    assert all(one > 0 for one in traces.trace_ids(7))
    before = traces.trace_ids(7)
    settings.FILLCAST_INSTALLATION_TAG = f"{settings.FILLCAST_INSTALLATION_TAG}x"
    assert traces.trace_ids(7) != before


def test_claims_and_reports_have_a_span_for_each_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[tracing.SpanRecord] = []
    monkeypatch.setattr(tracing, "_receive", found.append)
    monkeypatch.setattr(tracing, "_signals", {})
    monkeypatch.setattr(tracing, "MOST_ORDERS", 3)
    tracing.add_claim([("a", 1), ("b", 2), ("c", 1), ("exit", None)], 0.25)
    tracing.add_claim([("d", 3)], 0.25)  # the first one is forgotten
    tracing.add_reports(["a", "b", "c", "d", "exit", "c"], 0.5)
    assert [(one.name, one.signal_id, *one.attributes.values()) for one in found] == [
        ("claim", 1, 2), ("claim", 2, 1), ("claim", 3, 1),
        ("report", 1, 2), ("report", 2, 1), ("report", 3, 1),
    ]  # fmt: skip
    assert found[0].ended_ns - found[0].began_ns == 250_000_000
    assert abs(found[0].ended_ns - time.time_ns()) < 3600 * 10**9


@pytest.mark.django_db(transaction=True)
def test_failing_trace_costs_no_order_and_no_slot(
    collector: Collector,
    feed: Feed,
    alice: ExecutionConnection,
    trading: TradingRuntime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = threading.Thread.start

    def refuse_traces(thread: threading.Thread) -> None:
        if thread.name == "traces":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse_traces)
    before = tracing.failures()
    signal = factories.feed_signal(feed)
    publish(signal.pk, by=None)
    services.execute([order.pk for order in Order.objects.all()])
    until(lambda: Order.objects.get().status == "FILLED")
    until_so(lambda: trading.dispatcher.slots.in_flight == 0)
    assert tracing.failures() > before
    monkeypatch.undo()
    tracing.add("publish", signal.pk, 0.1)  # the next span starts the thread
    until_so(lambda: "claim" in collector.names(trace_of(signal)))


class Yielding(dict[str, int]):
    """A dictionary at whose steps other threads run."""

    def __iter__(self) -> Iterator[str]:
        found = super().__iter__()
        time.sleep(0)
        yield from found

    def __setitem__(self, key: str, value: int) -> None:
        time.sleep(0)
        super().__setitem__(key, value)


def test_claims_of_several_threads_lose_no_span(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[tracing.SpanRecord] = []
    monkeypatch.setattr(tracing, "_receive", found.append)
    monkeypatch.setattr(tracing, "_signals", Yielding())
    monkeypatch.setattr(tracing, "MOST_ORDERS", 2)
    errors: list[Exception] = []

    def claim(thread: int) -> None:
        try:
            for number in range(200):
                tracing.add_claim([(f"{thread}-{number}", 1)], 0.1)
                tracing.add_reports([f"{thread}-{number}"], 0.1)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=claim, args=(thread,)) for thread in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert errors == []
    assert sum(span.name == "claim" for span in found) == 4 * 200
    assert len(tracing._signals) == 2


def test_missing_extra_is_stated_and_measures_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    traces.use(with_url("https://collector.example/v1/traces"))
    assert traces.MISSING in caplog.text
    assert not tracing.is_on()


def test_nothing_is_imported_while_traces_are_off() -> None:
    """redis-py itself imports the SDK's metrics, if they are installed."""
    code = (
        "import django, sys; django.setup(); import config.traces; names = 'sentry_sdk',"
        " 'opentelemetry.exporter', 'opentelemetry.sdk.trace.export';"
        " print(any(name in sys.modules for name in names))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        cwd=settings.BASE_DIR,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "False"
