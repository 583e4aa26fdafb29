"""Rate, errors and duration of tasks, brokers' calls, buses and rate limits, as a scraper reads."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from celery import shared_task
from django.db import OperationalError, connection
from django.test import Client

from brokers import rate_limits
from brokers.base import NotSent, OutcomeUnknown, ReadFailed, Rejected, outcome_of
from brokers.counted_calls import OPERATIONS, count_calls, outcome_name
from brokers.rate_limits import Priority, Rate, kind_of, rate_limiter_for
from brokers.registry import adapter_for
from brokers.types import ConnectionSpec
from buses.sinks import SinkRefused, SinkUnavailable
from common.clocks import machine_time
from common.db.sql import rows
from common.process import call_figures, stored_figures
from common.process.call_figures import FIGURES, MOST_KEYS, CallFigures, Kind
from common.reason_codes import Code
from events.models import EventKind
from events.services import emit
from execution.models import Order
from tests.api.test_metrics import TOKEN, scraped
from tests.buses.factories import MemorySink
from tests.buses.test_drain import drain_of
from tests.connections import make
from tests.execution import factories

pytestmark = pytest.mark.django_db
SPEC = ConnectionSpec(connection_id="", account="")


@pytest.fixture
def token(settings: Any) -> str:
    settings.FILLCAST_METRICS_TOKEN = TOKEN
    return f"Bearer {TOKEN}"


@pytest.fixture(autouse=True)
def nothing_counted() -> Iterator[None]:
    FIGURES.take()
    yield
    FIGURES.take()


def counted() -> dict[tuple[str, ...], int]:
    """Return how often each series was counted since the last look."""
    return {tuple(key): sum(one.counts) for key, one in FIGURES.take().items()}


class Tiny:
    """An adapter that answers as a test sets it; `submit` is implemented by `submit_many`."""

    answer: Any = None

    async def positions(self, spec: ConnectionSpec) -> list[Any]:
        if isinstance(self.answer, BaseException):
            raise self.answer
        return []

    async def find_order(self, spec: ConnectionSpec, client_order_id: str) -> list[Any]:
        return await self.positions(spec)

    async def submit(self, spec: ConnectionSpec, request: Any, guard: Any) -> list[Any]:
        outcomes: list[Any] = []
        await self.submit_many([(spec, request)], guard, lambda _, one: outcomes.append(one))
        return outcomes

    async def submit_many(self, requests: Any, guard: Any, on_outcome: Any) -> None:
        for _, request in requests:
            if request is not None:
                on_outcome(request, request)


@pytest.fixture
def tiny() -> Any:
    adapter: Any = Tiny()
    count_calls(adapter, "tiny")
    count_calls(adapter, "tiny")
    return adapter


@pytest.mark.parametrize(
    ("raised", "outcome"),
    [
        (None, "ok"),
        (Rejected(Code.UNEXPECTED), "refused"),
        (ReadFailed(Code.MARKET_CLOSED), "refused"),
        (ReadFailed(Code.BROKER_UNREACHABLE), "failed"),
        (NotSent(Code.SEND_DEADLINE), "not_sent"),
        (OutcomeUnknown(Code.REPLY_LOST), "unanswered"),
        (TimeoutError(), "unanswered"),
        (ZeroDivisionError(), "failed"),
    ],
)
def test_broker_call_is_counted_by_how_it_ended(tiny: Any, raised: Any, outcome: str) -> None:
    tiny.answer = raised
    asyncio.run(outcome_of(tiny.positions(SPEC)))
    assert counted() == {("broker", "tiny", "positions", outcome): 1}
    assert outcome_name(raised) == outcome


def test_call_that_times_out_counts_as_unanswered(tiny: Any) -> None:
    async def forever(*_: Any) -> None:
        await asyncio.Event().wait()

    async def call() -> None:
        async with asyncio.timeout(0.01):
            await tiny.positions(SPEC)

    Tiny.positions, before = forever, Tiny.positions  # type: ignore[method-assign, assignment]
    try:
        with pytest.raises(TimeoutError):
            asyncio.run(call())
    finally:
        Tiny.positions = before  # type: ignore[method-assign]
    assert counted() == {("broker", "tiny", "positions", "unanswered"): 1}


def test_call_inside_of_a_call_is_not_counted(tiny: Any) -> None:
    asyncio.run(tiny.find_order(SPEC, "a"))
    asyncio.run(tiny.submit(SPEC, [], None))
    assert counted() == {
        ("broker", "tiny", "find_order", "ok"): 1, ("broker", "tiny", "submit", "ok"): 1,
    }  # fmt: skip


def test_each_order_of_many_counts_as_one_submit(tiny: Any) -> None:
    reported: list[Any] = []
    requests = [(SPEC, []), (SPEC, Rejected(Code.UNEXPECTED)), (SPEC, None), (SPEC, [])]
    asyncio.run(tiny.submit_many(requests, None, lambda request, _: reported.append(request)))
    assert len(reported) == 3
    assert counted() == {
        ("broker", "tiny", "submit", "ok"): 2, ("broker", "tiny", "submit", "refused"): 1,
        ("broker", "tiny", "submit", "unanswered"): 1,
    }  # fmt: skip


@pytest.mark.parametrize("broker_type", ["paper", "mt4"])
def test_adapters_of_processes_are_counted_in_all_operations(broker_type: str) -> None:
    adapter = adapter_for(broker_type)
    assert set(OPERATIONS) <= vars(adapter).keys()
    assert adapter.submit.__module__ == "brokers.counted_calls"


@pytest.mark.usefixtures("inline_commits")
def test_written_refused_and_failed_batches_are_counted_by_bus() -> None:
    answers: list[Exception | None] = [None, SinkRefused("", "no"), SinkUnavailable("away")]
    sink = MemorySink("redis+stream://h/s")
    drain = drain_of(sink)
    drain.step()

    def answer(batch: Any) -> None:
        if (error := answers.pop(0)) is not None:
            raise SinkRefused(batch[0].id, "no") if isinstance(error, SinkRefused) else error

    sink.before = answer
    for _ in range(3):
        emit(EventKind.KILL_SWITCH, payload={})
        drain.step()
    assert counted() == {
        ("bus", sink.name, "", "ok"): 1, ("bus", sink.name, "", "refused"): 1,
        ("bus", sink.name, "", "failed"): 1,
    }  # fmt: skip


def test_celery_tasks_are_counted_by_name_and_outcome() -> None:
    @shared_task(name="tests.divide")
    def divide(by: int) -> None:
        assert 1 // by == 1

    divide.apply((1,))
    divide.apply((0,))
    assert counted() == {
        ("task", "tests.divide", "", "ok"): 1, ("task", "tests.divide", "", "failed"): 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ibkr 10.0.0.5:4002", "ibkr"),
        ("crypto kraken spot sandbox", "crypto kraken spot sandbox"),
        ("crypto kraken account 5f00ab12 orders", "crypto kraken account orders"),
        ("crypto bybit swap reads", "crypto bybit swap reads"),
    ],
)
def test_rate_limits_of_accounts_share_a_label(name: str, kind: str) -> None:
    assert kind_of(name) == kind


def test_waits_for_a_rate_limit_and_its_refusals_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rate_limits, "_url", "")
    monkeypatch.setattr(rate_limits, "_processes", 1)
    limiter = rate_limiter_for("ibkr 10.9.9.9:1", Rate(per_second=0.001, burst=1, exit_reserve=0))

    async def acquire(deadline: float | None) -> None:
        async with asyncio.timeout(60):
            await limiter.acquire(priority=Priority.ENTRY, deadline=deadline)

    asyncio.run(acquire(None))
    with pytest.raises(NotSent):
        asyncio.run(acquire(machine_time() + 1))
    assert counted() == {
        ("rate_limit", "ibkr", "entry", "ok"): 1, ("rate_limit", "ibkr", "entry", "refused"): 1,
    }  # fmt: skip


def test_figures_of_all_processes_are_added_up(client: Client, token: str) -> None:
    for seconds in (0.005, 0.7, 0.7, 99.0):
        FIGURES.count(Kind.BROKER, "paper", "submit", "ok", seconds)
        stored_figures.store()  # as another process would
    FIGURES.count(Kind.TASK, "ExecuteSignal", "", "failed", 0.2)
    stored_figures.store()
    samples = scraped(client, token)
    of = 'broker="paper",operation="submit",outcome="ok"'
    assert samples[f"broker_call_seconds_count{{{of}}}"] == 4
    assert samples[f"broker_call_seconds_sum{{{of}}}"] == pytest.approx(100.405)
    buckets = {
        bound: samples[
            f'broker_call_seconds_bucket{{broker="paper",le="{bound}",operation="submit",outcome="ok"}}'
        ]
        for bound in ("0.01", "0.5", "1.0", "30.0", "+Inf")
    }
    assert buckets == {"0.01": 1, "0.5": 1, "1.0": 3, "30.0": 3, "+Inf": 4}
    assert samples['task_seconds_count{outcome="failed",task="ExecuteSignal"}'] == 1


@pytest.mark.django_db(transaction=True)
def test_processes_store_at_the_same_time_and_lose_nothing() -> None:
    def process() -> None:
        for number in range(20):
            FIGURES.count(Kind.BUS, f"bus {number % 3}", "", "ok", 0.1)
            stored_figures.store()
        connection.close()

    threads = [threading.Thread(target=process) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(sum(row.counts) for row in rows(stored_figures.READ)) == 80


def test_figures_wait_for_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> None:
        raise OperationalError

    FIGURES.count(Kind.BUS, "a", "", "ok", 0.1)
    with monkeypatch.context() as patch:
        patch.setattr(stored_figures, "periodic_run", away)
        with pytest.raises(OperationalError):
            stored_figures.store()
    FIGURES.count(Kind.BUS, "a", "", "ok", 0.1)
    stored_figures.store()
    assert [sum(row.counts) for row in rows(stored_figures.READ)] == [2]
    stored_figures.store()
    assert [sum(row.counts) for row in rows(stored_figures.READ)] == [2]


def test_too_many_series_share_one() -> None:
    figures = CallFigures()
    for number in range(MOST_KEYS + 5):
        figures.count(Kind.BUS, f"bus {number}", "", "ok", 0.1)
    found = figures.take()
    assert len(found) == MOST_KEYS + 1
    assert sum(found[call_figures.Key(Kind.BUS, "other", "", "ok")].counts) == 5


def test_process_without_jobs_stores_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(stored_figures, "machine_time", lambda: now)
    pace = stored_figures.Pace()
    FIGURES.count(Kind.BUS, "a", "", "ok", 0.1)
    now = 109.0
    pace.store_if_due()
    assert rows(stored_figures.READ) == []
    now = 110.0
    pace.store_if_due()
    assert len(rows(stored_figures.READ)) == 1


@pytest.fixture
def empty_fake_broker() -> Iterator[None]:
    factories.register()
    factories.fake_broker().reset()
    yield
    factories.fake_broker().reset()


@pytest.mark.usefixtures("empty_fake_broker")
def test_recent_orders_by_state_and_code_and_their_slippage(client: Client, token: str) -> None:
    factories.instrument()
    feed = make.feed()
    factories.account(feed)
    for _ in range(3):
        factories.signal(feed)
        factories.fill_all()
    first, second, third = Order.objects.order_by("id")
    Order.objects.filter(pk=first.pk).update(slippage_pips="1.5", slippage_unit="pips")
    Order.objects.filter(pk=second.pk).update(slippage_pips="-2.5", slippage_unit="pips")
    factories.force(
        "UPDATE execution_order SET created_at = clock_timestamp() - interval '2 h' WHERE id = %s",
        (third.pk,),
    )
    samples = scraped(client, token)
    assert samples['orders_recent{code="",state="FILLED"}'] == 2
    kind = Order.objects.select_related("connection").get(pk=first.pk).connection.type
    assert samples[f'slippage{{broker="{kind}",of="average",unit="pips"}}'] == -0.5
    assert samples[f'slippage{{broker="{kind}",of="largest",unit="pips"}}'] == 2.5
