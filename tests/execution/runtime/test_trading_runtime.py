"""The lease: one row a process, renewed even if other threads are stuck; every call ends."""

import ast
import asyncio
import inspect
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.db import connection

from brokers import rate_limits
from brokers.base import BrokerError, ReadFailed
from brokers.types import Check, ConnectionSpec
from common.db.sql import rows
from common.errors import InvalidInputError
from common.process.jobs import Job
from common.reason_codes import Code
from config import settings as as_written
from connections.health.connection_checks import run_on_process_loop, run_test
from connections.health.due_tests import due_tests
from connections.models import (
    ConnectionHealth,
    ExecutionConnection,
    HealthStatus,
    KillSwitch,
    MaintenanceWindow,
)
from connections.session_lanes import held_lanes
from execution.dispatch.background_calls import BackgroundCall
from execution.dispatch.order_dispatcher import OrderDispatcher
from execution.models import Order, WorkerLease
from execution.runtime import trading_runtime
from execution.runtime.trading_runtime import TradingRuntime
from execution.services import execute
from signals.models import Feed
from tests.execution import factories
from tests.execution.dispatch.test_background_calls import About
from tests.execution.fake_broker import KIND, FakeBroker
from tests.statements import sent_statements
from tests.until import until

ROOT = Path(__file__).parents[3]


def lease_of(present: TradingRuntime) -> datetime:
    return WorkerLease.objects.get(pk=present.id).lease_until


def is_prolonged(present: TradingRuntime) -> Callable[[], bool]:
    before = lease_of(present)
    return lambda: lease_of(present) > before


@pytest.fixture
def stuck() -> Iterator[threading.Event]:
    released = threading.Event()
    yield released
    released.set()


@pytest.mark.parametrize("step", range(1, 15))
def test_signal_that_interrupts_a_drain_drains_too(step: int) -> None:
    runtime, steps = TradingRuntime("test"), 0

    def trace(_frame: FrameType, event: str, _: object) -> Any:
        nonlocal steps
        steps += event == "line"
        if event == "line" and steps == step:
            signal.raise_signal(signal.SIGUSR2)
        return trace

    handler, tracer = signal.getsignal(signal.SIGUSR2), sys.gettrace()
    signal.signal(signal.SIGUSR2, lambda *_: runtime.drain())
    sys.settrace(trace)
    try:
        runtime.drain()
    finally:
        sys.settrace(tracer)
        signal.signal(signal.SIGUSR2, handler)
    assert steps >= step
    assert runtime.is_draining
    assert runtime._stopping.is_set()


@pytest.mark.django_db(transaction=True)
def test_lease_is_renewed_while_a_job_and_the_report_writer_are_stuck(
    broker: FakeBroker, stuck: threading.Event, settings: Any
) -> None:
    settings.FILLCAST_LEASE_SECONDS = 0.8  # renewed four times as often
    present, entered = TradingRuntime("test"), threading.Semaphore(0)

    def wait(*_: Any) -> None:
        entered.release()
        stuck.wait(90)

    async def answer() -> str:
        return "yes"

    present.start()
    present.start_background_jobs([Job(name, 0.01, wait) for name in ("one", "another")])
    try:
        present.dispatcher.background_calls.start([BackgroundCall("k", About("h"), answer, wait)])
        assert all(
            entered.acquire(timeout=60) for _ in range(3)
        )  # both rounds and the report writer
        until(is_prolonged(present))
        until(is_prolonged(present))
    finally:
        stuck.set()
        present.stop()
    assert not WorkerLease.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_draining_process_keeps_its_lease_until_its_last_outcome_is_written(
    alice: ExecutionConnection, feed: Feed, trading: TradingRuntime, broker: FakeBroker,
    stuck: threading.Event, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    real = broker.submit

    async def submit(*args: Any) -> Any:
        await asyncio.to_thread(stuck.wait, 20)
        return await real(*args)

    monkeypatch.setattr(broker, "submit", submit)
    factories.signal(feed)
    execute(factories.pending())
    trading.drain()
    until(is_prolonged(trading))
    until(is_prolonged(trading))
    stuck.set()
    assert trading.stop()
    assert Order.objects.get().status == "FILLED"
    assert not WorkerLease.objects.filter(pk=trading.id).exists()


@pytest.mark.usefixtures("inline_commits")
def test_lease_is_one_row_of_at_most_ten_seconds_by_the_database_clock(
    trading: TradingRuntime,
) -> None:
    for _ in range(3):
        trading.renew()
    (row,) = rows(
        "SELECT extract(epoch FROM lease_until - clock_timestamp()) AS left"
        " FROM execution_workerlease"
    )
    assert 0 < row.left <= settings.FILLCAST_LEASE_SECONDS <= 10


@pytest.mark.django_db
def test_renewal_is_one_exchange_with_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    exchanges, pipeline = [], psycopg.Connection.pipeline

    def counted(self: psycopg.Connection[Any]) -> Any:
        exchanges.append(1)
        return pipeline(self)

    monkeypatch.setattr(psycopg.Connection, "pipeline", counted)
    KillSwitch.objects.create(scope="ALL", mode="HALTED", reason="drill")
    MaintenanceWindow.objects.create(weekday=0, starts_at="10:00", minutes=5, note="n")
    present = TradingRuntime("test")
    for is_active, statements in ((True, 5), (False, 4)):
        MaintenanceWindow.objects.update(is_active=is_active)
        with sent_statements() as sent:
            present.renew()
        assert (len(exchanges), len(sent)) == (1, statements)
        exchanges.clear()


@pytest.mark.usefixtures("inline_commits")
def test_new_process_deletes_leases_that_expired_a_day_ago(broker: FakeBroker) -> None:
    now = datetime.now(UTC)
    for name, hours in (("crashed-yesterday", 25), ("crashed-today", 23)):
        WorkerLease.objects.create(
            id=name, role="execution", host="h", pid=1, lease_until=now - timedelta(hours=hours)
        )
    present = TradingRuntime("execution")
    present.start()
    try:
        names = set(WorkerLease.objects.values_list("id", flat=True))
        assert names == {"crashed-today", present.id}
    finally:
        present.stop()


@pytest.mark.usefixtures("inline_commits")
def test_jobs_start_after_the_runtime_is_set(broker: FakeBroker) -> None:
    """They used to start before it was set, and the first one failed with a warning."""
    seen: list[bool] = []
    every = [
        Job(f"round {n}", 0.0, lambda: seen.append(trading_runtime.is_started())) for n in range(20)
    ]
    trading_runtime.start_runtime("test", jobs=every)
    try:
        until(lambda: len(seen) >= 20)
        assert all(seen)
    finally:
        trading_runtime.stop_runtime()


@pytest.mark.django_db(transaction=True)
def test_stopped_loop_is_not_used_after_the_end() -> None:
    present = TradingRuntime("sessions")
    present.start()
    assert held_lanes() == ()
    present.stop()
    asked = []

    async def ask() -> None:
        asked.append(threading.current_thread())

    run_on_process_loop(ask())  # it used to wait two minutes for the stopped loop
    assert asked == [threading.current_thread()]
    assert held_lanes() == ("",)


@pytest.mark.django_db(transaction=True)
def test_job_that_outlives_its_runtime_calls_no_broker(
    broker: FakeBroker, stuck: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would open sessions again, on another loop than the adapters' objects."""
    monkeypatch.setattr(trading_runtime, "JOBS_END_SECONDS", 0.05)
    began, asked = threading.Event(), threading.Semaphore(0)
    answers: list[object] = []

    async def journal() -> str:
        return "read"

    def ask() -> None:
        try:
            answers.append(trading_runtime.run_call(journal()))
        except BrokerError as error:  # as a reader of a broker's books expects
            answers.append(error.code)
        asked.release()

    def late() -> None:
        began.set()
        assert present._ended.wait(
            60
        )  # its dispatcher has stopped, and it is still the current runtime
        ask()
        stuck.wait(60)
        ask()

    present = trading_runtime.start_runtime("test", jobs=[Job("late", 0.01, late)])
    assert began.wait(60)
    trading_runtime.stop_runtime()
    assert not trading_runtime.is_started()
    stuck.set()
    assert all(asked.acquire(timeout=60) for _ in range(2))
    assert answers == [Code.NO_SESSION_WORKER, Code.NO_SESSION_WORKER]
    trading_runtime.start_runtime("test")
    try:
        assert trading_runtime.run_call(journal()) == "read"
    finally:
        trading_runtime.stop_runtime()


@pytest.mark.usefixtures("inline_commits")
def test_second_stop_does_not_use_the_stopped_loop(
    trading: TradingRuntime, broker: FakeBroker
) -> None:
    """The fixture's stop is the third. Each used to wait for a disconnect never awaited."""
    assert trading.dispatcher.adapter(KIND) is broker
    asked, ended = [], []

    async def end() -> None:
        ended.append(1)

    def disconnect(spec: Any = None) -> Coroutine[Any, Any, None]:
        asked.append(spec)
        return end()

    broker.disconnect = disconnect  # type: ignore[method-assign]
    assert trading.stop()
    assert trading.stop()
    assert (asked, ended) == ([None], [1])


# ---- every call ends ----
@pytest.mark.django_db
def test_process_knows_how_many_processes_share_the_rate_limits() -> None:
    now = datetime.now(UTC)
    for name, seconds in (("alive", 600), ("alive too", 600), ("dead", -600)):
        until = now + timedelta(seconds=seconds)
        WorkerLease.objects.create(id=name, role="test", host="h", pid=1, lease_until=until)
    present = TradingRuntime("test")
    for _ in range(2):  # its own row is there the second time
        present.renew()
        assert rate_limits._processes == 3


def test_every_dispatcher_call_names_its_timeout() -> None:
    assert (
        inspect.signature(OrderDispatcher.run_call).parameters["timeout"].default
        is inspect.Parameter.empty
    )
    asked = [
        (path.name, call.lineno, len(call.args) + len(call.keywords))
        for path in (ROOT / "execution").rglob("*.py")
        if "run_call" in (text := path.read_text())
        for call in ast.walk(ast.parse(text))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr == "run_call"
        and ast.unparse(call.func.value).endswith(("dispatcher", "self"))
    ]
    assert len(asked) >= 4
    assert [where for where in asked if where[2] != 2] == []


NEEDS_TIMEOUT = {  # callables that open connections, and their timeout argument
    "urlopen": "timeout",
    "HTTPConnection": "timeout",
    "HTTPSConnection": "timeout",
    "SMTP": "timeout",
    "SMTP_SSL": "timeout",
}
ROOMS = (
    "alerts", "analytics", "api", "brokers", "buses", "common", "config", "conformance",
    "connections", "console", "demo", "events", "execution", "ops", "portal", "positions", "prices",
    "signals", "users",
)  # fmt: skip


OPENING = {*NEEDS_TIMEOUT, "from_url", "create_connection", "connect"}
OPENS = re.compile(rf"\b(?:{'|'.join(sorted(OPENING))})\(")


def last_name(called: ast.expr) -> str:
    return called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")


def test_no_connection_is_opened_without_a_timeout() -> None:
    without = []
    for path in (one for room in ROOMS for one in (ROOT / room).rglob("*.py")):
        if not OPENS.search(text := path.read_text()):
            continue
        for call in ast.walk(ast.parse(text)):
            if not isinstance(call, ast.Call) or last_name(call.func) not in OPENING:
                continue
            name = ast.unparse(call.func)
            given = {keyword.arg for keyword in call.keywords}
            needed = NEEDS_TIMEOUT.get(name.rpartition(".")[2])
            if needed and needed not in given | {None}:
                without.append((path.name, call.lineno, name))
            if name.endswith("Redis.from_url") and not {"socket_timeout", None} & given:
                without.append((path.name, call.lineno, name))
            if name == "socket.create_connection" and len(call.args) < 2 and "timeout" not in given:
                without.append((path.name, call.lineno, name))
            if name == "psycopg.connect" and not {"connect_timeout", None} & given:
                without.append((path.name, call.lineno, name))
    assert without == []


def test_mail_cache_and_queue_have_timeouts() -> None:
    assert 0 < settings.EMAIL_TIMEOUT <= 10
    whole: Any = as_written.CACHES["default"]  # those of this process are longer
    cache = whole["OPTIONS"]
    assert 0 < cache["socket_timeout"] <= 5
    assert 0 < cache["socket_connect_timeout"] <= 5
    bell = settings.CELERY_BROKER_TRANSPORT_OPTIONS
    assert 0 < bell["socket_timeout"] <= 5
    assert 0 < bell["socket_connect_timeout"] <= 5


def test_dispatcher_ends_a_call_that_never_returns(runtime: TradingRuntime) -> None:
    never = asyncio.Event()
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        runtime.dispatcher.run_call(never.wait(), 0.05)
    assert time.monotonic() - began < 60
    assert trading_runtime.MAX_READ_SECONDS <= 120


@pytest.mark.django_db(transaction=True)
def test_call_that_runs_while_the_process_stops_fails_at_once() -> None:
    """The loop that it runs on stops, so nothing would ever answer it."""
    present = TradingRuntime("sessions")
    present.start()
    began, codes = threading.Event(), []

    async def endless() -> None:
        began.set()
        await asyncio.Event().wait()

    def ask() -> None:
        try:
            present.dispatcher.run_call(endless(), 60)
        except ReadFailed as error:
            codes.append(error.code)

    waiting = threading.Thread(target=ask, daemon=True)
    waiting.start()
    assert began.wait(60)
    present.stop()
    waiting.join(60)
    assert codes == [Code.NO_SESSION_WORKER]


@pytest.mark.django_db(transaction=True)
def test_connection_test_stays_due_if_its_process_stops(
    alice: ExecutionConnection, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of the process proves nothing about the account, which must go on trading."""
    health = ConnectionHealth.objects.filter(pk=alice.pk)
    health.update(test_requested_at=datetime.now(UTC))
    present = TradingRuntime("test")
    present.start()
    began = threading.Event()

    async def endless(spec: ConnectionSpec) -> list[Check]:
        began.set()
        await asyncio.Event().wait()
        return []

    def test() -> None:
        run_test(alice.pk)
        connection.close()

    monkeypatch.setattr(broker, "test", endless)
    testing = threading.Thread(target=test, daemon=True)
    testing.start()
    assert began.wait(60)
    present.stop()
    testing.join(60)
    assert health.get().status == HealthStatus.ACTIVE
    assert [check["name"] for check in health.get().last_test] == ["worker"]
    assert due_tests(10) == [alice.pk]


@pytest.mark.usefixtures("inline_commits")
def test_process_without_a_library_stops_and_ends_its_lease() -> None:
    """It has tried to use a broker type that it cannot."""
    present = TradingRuntime("test")
    present.start()
    with pytest.raises(InvalidInputError):
        present.dispatcher.adapter("broken")
    assert present.stop()
    assert not WorkerLease.objects.filter(pk=present.id).exists()


@pytest.mark.django_db
def test_call_that_cancels_itself_has_failed(runtime: TradingRuntime) -> None:
    async def cancel() -> None:
        raise asyncio.CancelledError

    with pytest.raises(ReadFailed) as failed:
        runtime.dispatcher.run_call(cancel(), 10)
    assert failed.value.code is Code.UNEXPECTED
