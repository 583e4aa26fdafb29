"""A quote that reaches a price which a polled broker holds wakes the poll of the account."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal as D
from time import monotonic
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.db import OperationalError, connection

from brokers.types import CloseCause, Quote
from common.clocks import machine_time, market_now
from common.db.sql import database_now, run
from common.process import job_alarm
from common.process.jobs import Job
from connections.models import ExecutionConnection
from execution import job_table, startup
from execution.job_table import jobs_of_role
from execution.models import AccountSyncState, Order, WorkerLease
from execution.monitoring import held_prices
from execution.monitoring.held_prices import HeldPriceMonitor
from execution.recovery import order_polling
from execution.recovery.order_polling import poll
from execution.runtime import poll_wakes, trading_runtime
from execution.runtime.open_work import Work
from positions.models import ExecutionPosition
from prices.signals import quotes_stored
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.statements import sent_statements
from tests.until import until

pytestmark = pytest.mark.usefixtures("inline_commits")
NEVER, JOB = 3600, "held prices"


class Ticking:
    """A clock that goes on at each look, and when a test lets it."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now, self.seconds_each_look = machine_time(), 0.0
        for module in (held_prices, job_alarm):
            patch.setattr(module, "machine_time", self)

    def __call__(self) -> float:
        self.now += self.seconds_each_look
        return self.now


@pytest.fixture
def monitor(polled_broker: FakeBroker) -> HeldPriceMonitor:
    return HeldPriceMonitor()


def rest(feed: Feed, broker: FakeBroker, side: str, order_type: str, price: str) -> Order:
    """Return an order that works at the broker, whose account has just been polled."""
    stop = D("1.09000") if side == "BUY" else D("1.11000")
    name = "open_price" if order_type == "LIMIT" else "stop_price"
    fields: dict[str, Any] = {name: D(price), "sl": stop}
    factories.signal(feed, direction=side, order_type=order_type, **fields)
    for outgoing in factories.claim_all():
        factories.answer(outgoing, broker.rest(outgoing.request))
    poll()
    return Order.objects.latest("id")


def quotes(*prices: tuple[str, str], pair: str = "EUR/USD") -> list[Quote]:
    return [Quote(pair, D(bid), D(ask), market_now()) for bid, ask in prices]


def source_of(account: ExecutionConnection) -> int:
    assert account.data_connection_id is not None
    return account.data_connection_id


def judged(monitor: HeldPriceMonitor, source_id: int, batch: list[Quote]) -> set[UUID]:
    """Return the accounts whose polls these quotes wake."""
    monitor.add_quotes(source_id, batch)
    return monitor.judge()


def is_woken(account: ExecutionConnection) -> bool:
    return AccountSyncState.objects.get(connection=account).woken_at is not None


CASES = [
    ("BUY", "LIMIT", "1.09500", ("1.09510", "1.09501"), ("1.09490", "1.09500")),
    ("SELL", "LIMIT", "1.10500", ("1.10499", "1.10510"), ("1.10500", "1.10510")),
    ("BUY", "STOP", "1.10500", ("1.10480", "1.10499"), ("1.10490", "1.10500")),
    ("SELL", "STOP", "1.09500", ("1.09501", "1.09510"), ("1.09500", "1.09510")),
]


@pytest.mark.parametrize(("side", "order_type", "price", "before", "reached"), CASES)
def test_working_order_wakes_the_poll_when_its_price_is_reached(
    alice: ExecutionConnection, feed: Feed, polled_broker: FakeBroker, monitor: HeldPriceMonitor,
    side: str, order_type: str, price: str, before: tuple[str, str], reached: tuple[str, str],
) -> None:  # fmt: skip
    rest(feed, polled_broker, side, order_type, price)
    source = source_of(alice)
    assert judged(monitor, source, quotes(before)) == set()
    assert not is_woken(alice)
    assert judged(monitor, source, quotes(reached, pair="USD/JPY")) == set()
    assert judged(monitor, source + 1, quotes(reached)) == set()
    assert judged(monitor, source, quotes(before, reached, before)) == {alice.pk}
    assert is_woken(alice)


@pytest.mark.django_db(transaction=True)
def test_reached_order_is_filled_long_before_the_interval(
    alice: ExecutionConnection, feed: Feed, polled_broker: FakeBroker,
    runtime: trading_runtime.TradingRuntime, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    order = rest(feed, polled_broker, "BUY", "LIMIT", "1.09500")
    monitor = HeldPriceMonitor()
    monkeypatch.setattr(startup, "held_price_monitor", monitor)
    runtime.start_background_jobs(
        [
            Job("order polling", NEVER, poll, Work.TRADES, poll_wakes.polls),
            Job(JOB, NEVER, monitor.judge_after_rest, alarm=monitor.alarm),
        ]
    )
    polled_broker.execute(polled_broker.tickets[0])
    source = source_of(alice)

    def reach() -> None:  # a poll that a pause of this process ends is not repeated by itself
        reached = quotes(("1.09490", "1.09500"))
        startup.on_quotes_for_polls(data_connection_id=source, quotes=reached)

    until(lambda: Order.objects.get(pk=order.pk).status == "FILLED", meanwhile=reach)


def test_nothing_is_judged_while_nothing_is_open(
    alice: ExecutionConnection, polled_broker: FakeBroker, runtime: trading_runtime.TradingRuntime
) -> None:
    runtime.open_work = startup_work = type(runtime.open_work)()
    startup_work._seen = dict.fromkeys(Work, float("-inf"))
    startup_work.update(Work(0))
    with sent_statements() as sent:
        startup.on_quotes_for_polls(
            data_connection_id=source_of(alice), quotes=quotes(("1.09490", "1.09500"))
        )
    assert sent == []


def test_stop_held_at_the_broker_wakes_the_poll(
    feed: Feed, polled_broker: FakeBroker, monitor: HeldPriceMonitor
) -> None:
    account = factories.account(feed, settings={"native_stops": True})
    factories.mark_monitored(account)
    position = factories.filled(factories.signal(feed))
    assert position.broker_sl == D("1.09")
    poll()
    source = source_of(account)
    assert judged(monitor, source, quotes(("1.09001", "1.09010"))) == set()
    assert judged(monitor, source, quotes(("1.09000", "1.09010"))) == {account.pk}
    polled_broker.close_at_broker(polled_broker.tickets[0], CloseCause.STOP_LOSS, D(100))
    assert poll() == 1
    assert ExecutionPosition.objects.get(pk=position.pk).close_reason == "sl"


def test_stop_that_the_engine_watches_wakes_no_poll(
    alice: ExecutionConnection, feed: Feed, polled_broker: FakeBroker, monitor: HeldPriceMonitor
) -> None:
    factories.filled(factories.signal(feed))
    assert judged(monitor, source_of(alice), quotes(("1.08000", "1.08010"))) == set()


def test_price_that_stays_reached_does_not_flood(
    alice: ExecutionConnection, feed: Feed, polled_broker: FakeBroker, monitor: HeldPriceMonitor
) -> None:
    rest(feed, polled_broker, "BUY", "LIMIT", "1.09500")
    began, woken = monotonic(), 0
    for _ in range(100):
        woken += len(judged(monitor, source_of(alice), quotes(("1.09400", "1.09410"))))
    assert 1 <= woken <= 1 + (monotonic() - began) / held_prices.FIRST_PAUSE


def test_pause_doubles_and_ends_with_its_order(
    alice: ExecutionConnection, feed: Feed, polled_broker: FakeBroker, monitor: HeldPriceMonitor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    now = 1000.0
    monkeypatch.setattr(held_prices, "machine_time", lambda: now)
    rest(feed, polled_broker, "BUY", "LIMIT", "1.09500")
    at: list[float] = []

    def judge() -> set[UUID]:
        return judged(monitor, source_of(alice), quotes(("1.09400", "1.09410")))

    for _ in range(640):  # 10 seconds, 64 quotes each
        if judge():
            at.append(now - 1000)
        now += 1 / 64
    assert at == [0.0, 0.25, 0.75, 1.75, 3.75, 7.75]
    assert judge() == set()
    rest(feed, polled_broker, "BUY", "LIMIT", "1.09500")  # another one of the account
    assert judge() == {alice.pk}


def test_account_whose_broker_announces_changes_is_left_out(
    alice: ExecutionConnection, feed: Feed, polled_broker: FakeBroker, monitor: HeldPriceMonitor
) -> None:
    rest(feed, polled_broker, "BUY", "LIMIT", "1.09500")
    until = database_now() + timedelta(minutes=1)
    WorkerLease.objects.create(id="listens", role="test", host="h", pid=1, lease_until=until)
    AccountSyncState.objects.update(stream_since=market_now(), stream_holder="listens")
    reached = quotes(("1.09490", "1.09500"))
    assert judged(monitor, source_of(alice), reached) == set()
    WorkerLease.objects.update(lease_until=database_now() - timedelta(seconds=1))  # it has died
    assert judged(monitor, source_of(alice), reached) == {alice.pk}


def test_account_with_an_event_stream_is_not_judged(
    alice: ExecutionConnection, feed: Feed, polled_broker: FakeBroker
) -> None:
    rest(feed, polled_broker, "BUY", "LIMIT", "1.09500")
    polled_broker.event_stream = True
    order_polling.polled_broker_types.cache_clear()
    monitor, reached = HeldPriceMonitor(), quotes(("1.09490", "1.09500"))
    assert judged(monitor, source_of(alice), reached) == set()
    with sent_statements() as sent:
        judged(monitor, source_of(alice), reached)
    assert sent == []  # it is known that the source has no polled account


def test_batch_that_reaches_nothing_is_one_statement(
    alice: ExecutionConnection, feed: Feed, polled_broker: FakeBroker, monitor: HeldPriceMonitor
) -> None:
    rest(feed, polled_broker, "BUY", "LIMIT", "1.09500")
    batch = quotes(("1.10000", "1.10010"), ("1.09900", "1.09910"))
    judged(monitor, source_of(alice), batch)
    with sent_statements() as sent:
        judged(monitor, source_of(alice), batch)
    assert len(sent) == 1


def test_stored_quotes_are_judged() -> None:
    """The signal is connected where trading processes start."""
    startup.connect()
    assert startup.on_quotes_for_polls in quotes_stored._live_receivers(None)[0]


@pytest.mark.parametrize("role", ["prices", "sessions", "execution"])
def test_each_process_judges_what_it_adds(role: str) -> None:
    (job,) = (job for job in jobs_of_role(role, exits_only=role == "prices") if job.name == JOB)
    assert (job.run, job.alarm) == (
        job_table.held_price_monitor.judge_after_rest, job_table.held_price_monitor.alarm,
    )  # fmt: skip


@contextmanager
def locked_orders() -> Iterator[None]:
    """Another session keeps everybody from the orders; this one gives up after a moment."""
    run("SET lock_timeout = '50ms'")
    try:
        with psycopg.connect(**session_parameters()) as other:
            other.execute("LOCK TABLE execution_order IN ACCESS EXCLUSIVE MODE")
            yield
            other.rollback()
    finally:
        run("RESET lock_timeout")


def session_parameters() -> dict[str, Any]:
    known = connection.get_connection_params()
    return {name: known[name] for name in ("host", "port", "user", "password", "dbname")
            if name in known}  # fmt: skip


@pytest.mark.django_db(transaction=True)
def test_sender_of_quotes_waits_for_no_judgement(
    alice: ExecutionConnection, feed: Feed, polled_broker: FakeBroker,
    runtime: trading_runtime.TradingRuntime, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """It checks the stops of every source, too; meanwhile this job hangs."""
    rest(feed, polled_broker, "BUY", "LIMIT", "1.09500")
    monitor = HeldPriceMonitor()
    monkeypatch.setattr(startup, "held_price_monitor", monitor)
    source, reached = source_of(alice), quotes(("1.09490", "1.09500"))
    began = threading.Event()

    def judge() -> None:
        began.set()
        monitor.judge_after_rest()

    runtime.start_background_jobs([Job(JOB, 0.05, judge, alarm=monitor.alarm)])
    with locked_orders():
        startup.on_quotes_for_polls(data_connection_id=source, quotes=reached)
        assert began.wait(60)
        for _ in range(100):  # a statement about orders would fail here
            startup.on_quotes_for_polls(data_connection_id=source, quotes=reached)
        assert not is_woken(alice)
    until(lambda: is_woken(alice))


@pytest.mark.django_db(transaction=True)
def test_prices_outlast_a_database_error(
    alice: ExecutionConnection, feed: Feed, polled_broker: FakeBroker, monitor: HeldPriceMonitor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    Ticking(monkeypatch)  # a rest of a second must not end before the test looks at it
    rest(feed, polled_broker, "BUY", "LIMIT", "1.09500")
    source, before = source_of(alice), quotes(("1.09510", "1.09520"))
    assert judged(monitor, source, before) == set()
    with locked_orders():
        for price in (("1.09490", "1.09500"), ("1.09510", "1.09520")):
            with pytest.raises(OperationalError):
                judged(monitor, source, quotes(price))
    monitor.alarm.take()
    monitor.add_quotes(source, before)
    assert monitor.alarm.seconds() > held_prices.RETRY_SECONDS / 2  # not with each quote
    assert judged(monitor, source, before) == {alice.pk}
    assert monitor.judge() == set()


@pytest.mark.django_db(transaction=True)
def test_order_wakes_at_once_after_a_wake_that_failed(
    alice: ExecutionConnection, feed: Feed, polled_broker: FakeBroker, monitor: HeldPriceMonitor
) -> None:
    rest(feed, polled_broker, "BUY", "LIMIT", "1.09500")
    reached = quotes(("1.09490", "1.09500"))
    with psycopg.connect(**session_parameters()) as other:
        other.execute("SELECT FROM execution_accountsyncstate FOR UPDATE")
        run("SET lock_timeout = '50ms'")
        with pytest.raises(OperationalError):
            judged(monitor, source_of(alice), reached)
        run("RESET lock_timeout")
    assert monitor.judge() == {alice.pk}


def test_waiting_prices_are_one_range_for_each_pair(
    alice: ExecutionConnection, feed: Feed, polled_broker: FakeBroker, monitor: HeldPriceMonitor
) -> None:
    """So they need no more memory, and one statement, however long the job waits."""
    rest(feed, polled_broker, "BUY", "LIMIT", "1.09500")
    source = source_of(alice)
    judged(monitor, source, quotes(("1.10000", "1.10010")))
    for _ in range(100):
        for price in (("1.10000", "1.10010"), ("1.09490", "1.09500"), ("1.10000", "1.10010")):
            monitor.add_quotes(source, quotes(price))
            monitor.add_quotes(source, quotes(price, pair="USD/JPY"))
    assert {source: 2} == {one: len(ranges) for one, ranges in monitor._ranges.items()}
    with sent_statements() as sent:
        assert monitor.judge() == {alice.pk}
    assert len(sent) == 2  # and the wake
    with sent_statements() as sent:
        assert monitor.judge() == set()
    assert sent == []


def test_job_rests_for_longer_than_it_works(
    alice: ExecutionConnection, polled_broker: FakeBroker, monitor: HeldPriceMonitor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    clock, batch = Ticking(monkeypatch), quotes(("1.10000", "1.10010"))
    clock.seconds_each_look = 0.01
    assert monitor.alarm.seconds() == float("inf")
    monitor.add_quotes(source_of(alice), batch)
    assert monitor.alarm.seconds() <= 0  # the first quotes do not wait
    monitor.alarm.take()
    began = clock()
    monitor.judge()
    took = clock() - began
    monitor.add_quotes(source_of(alice), batch)
    assert 0 < monitor.alarm.seconds() <= held_prices.REST * took


@pytest.mark.django_db(transaction=True)
def test_quotes_that_come_meanwhile_do_not_end_the_rest(
    alice: ExecutionConnection, polled_broker: FakeBroker, monitor: HeldPriceMonitor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Else a job that takes longer than the time between two quotes would never rest."""
    clock = Ticking(monkeypatch)
    source, batch = source_of(alice), quotes(("1.10000", "1.10010"))

    def judge() -> None:
        monitor.judge_after_rest()
        connection.close()

    monitor.add_quotes(source, batch)
    job = threading.Thread(target=judge)
    with locked_orders():
        job.start()
        until(lambda: not monitor._ranges)  # it has taken them, and hangs
        clock.now += 0.2
        monitor.add_quotes(source, batch)
    job.join()
    assert monitor.alarm.take()
    with sent_statements() as sent:
        monitor.judge_after_rest()
    assert sent == []
    assert 0.4 < monitor.alarm.seconds() <= held_prices.LONGEST_REST
    assert monitor._ranges.keys() == {source}
