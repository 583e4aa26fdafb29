"""Changes in the terminal are seen by its numbers: one request each, and never a login."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from brokers.base import OrderWatcher, ReadFailed
from brokers.mt5 import activity
from brokers.mt5.adapter import Mt5Adapter
from brokers.mt5.worker_process import handle_call
from brokers.types import ConnectionSpec
from tests.fakes.mt5.fake_terminal import FakeTerminal
from tests.mt5.factories import LIMIT, D, no_guard, order, run, spec

SECONDS = 120.0


async def changed(stream: AsyncIterator[None]) -> None:
    async with asyncio.timeout(SECONDS):
        await anext(stream)


def calls_of(venue: FakeTerminal, name: str) -> int:
    calls: list[str] = venue.state()["calls"]
    return calls.count(name)


def test_fill_of_a_working_order_is_seen(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    assert isinstance(adapter, OrderWatcher)
    assert adapter.capabilities(spec()).order_stream

    async def watch() -> None:
        await adapter.connect(spec())
        stream = adapter.watch_orders(spec())
        await changed(stream)  # it is watched
        waiting = asyncio.ensure_future(anext(stream))
        await adapter.submit(spec(), order(**LIMIT), no_guard)
        before = calls_of(venue, "orders_total")
        await looked(lambda: calls_of(venue, "orders_total") >= before + 3)
        assert not waiting.done()  # of a new order there is nothing to read
        venue.quote("EURUSD", 1.0499, 1.05)
        async with asyncio.timeout(SECONDS):
            await waiting

    run(watch())


def test_closed_position_is_seen(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    async def watch() -> None:
        stop = order(stop_loss=D("1.05"))
        await adapter.submit(spec(native_stops=True), stop, no_guard)
        stream = adapter.watch_orders(spec())
        await changed(stream)
        venue.quote("EURUSD", 1.0499, 1.05)
        await changed(stream)
        assert await adapter.positions(spec()) == []

    run(watch())


def test_nothing_is_reported_without_a_change(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    async def watch() -> None:
        await adapter.connect(spec())
        stream = adapter.watch_orders(spec())
        await changed(stream)
        before = calls_of(venue, "orders_total")
        waiting = asyncio.ensure_future(anext(stream))
        await looked(lambda: calls_of(venue, "orders_total") >= before + 3)
        assert not waiting.done()
        waiting.cancel()

    run(watch())


async def looked(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not await asyncio.to_thread(is_so):  # noqa: ASYNC110 (another process changes it)
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("after", "is_news"),
    [
        ((3, 1, 1, 1), False),  # an order was placed
        ((1, 1, 2, 1), True),  # one was cancelled
        ((2, 1, 2, 1), True),  # one was cancelled, another one placed
        ((3, 2, 2, 2), True),  # one was filled, two were placed
        ((2, 1, 1, 1), False),
    ],
)
def test_what_counts_as_news(after: tuple[int, int, int, int], *, is_news: bool) -> None:
    before = activity.Activity(2, 1, 1, 1)
    assert activity.Activity(*after).is_news_after(before) is is_news


def test_other_account_is_not_logged_in_for_a_look(
    venue: FakeTerminal, adapter: Mt5Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activity, "AWAY_SECONDS", 0.02)
    other = spec(1003)

    async def watch() -> None:
        await adapter.connect(spec())
        logins = calls_of(venue, "login")
        waiting = asyncio.ensure_future(anext(adapter.watch_orders(other)))
        before = calls_of(venue, "orders_total")
        await looked(lambda: calls_of(venue, "orders_total") >= before + 3)
        assert (waiting.done(), calls_of(venue, "login")) == (False, logins)
        await adapter.connect(other)
        async with asyncio.timeout(SECONDS):
            await waiting

    run(watch())


def test_accounts_that_are_not_logged_in_are_looked_at_rarely() -> None:
    looks: list[float] = []

    async def look(_: ConnectionSpec, __: activity.Span) -> None:
        looks.append(time.monotonic())

    async def watch() -> None:
        waiting = asyncio.ensure_future(anext(activity.watch(look, spec())))
        await looked(lambda: len(looks) >= 2)
        waiting.cancel()

    run(watch())
    assert looks[1] - looks[0] >= activity.AWAY_SECONDS * 0.9


def test_look_starts_no_process(adapter: Mt5Adapter) -> None:
    async def look() -> activity.Activity | None:
        return await adapter.calls.activity(spec(), activity.Span(0, 1))

    assert run(look()) is None
    assert not adapter.calls.library.is_running


def test_look_starts_no_process_after_a_crash(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    library = adapter.calls.library

    async def look() -> activity.Activity | None:
        await adapter.connect(spec())
        assert library.pid is not None
        os.kill(library.pid, signal.SIGKILL)
        await looked(lambda: not library.is_running)
        return await adapter.calls.activity(spec(), activity.Span(0, 1))

    assert run(look()) is None
    assert not library.is_running


@pytest.mark.parametrize("name", ["orders_total", "history_deals_total", "account_info"])
def test_unknown_number_is_no_change(venue: FakeTerminal, adapter: Mt5Adapter, name: str) -> None:
    async def look() -> activity.Activity | None:
        await adapter.connect(spec())
        venue.fault(name, "none")
        return await adapter.calls.activity(spec(), activity.Span(0, 1))

    assert run(look()) is None


def test_broken_process_ends_the_stream(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    async def watch() -> None:
        await adapter.connect(spec())
        venue.fault("orders_total", "die")
        with pytest.raises(ReadFailed):
            await changed(adapter.watch_orders(spec()))

    run(watch())


def test_numbers_are_one_request_to_the_process() -> None:
    class Package:
        def account_info(self) -> None:
            return None

        def last_error(self) -> tuple[int, str]:
            return 1, "Success"

    call: dict[str, Any] = {"call": "activity", "args": (0, 1), "kwargs": {}, "before": None}
    assert handle_call(Package(), call) == {"result": None, "error": [1, "Success"]}


def test_span_moves_on_and_its_numbers_count_as_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past orders and deals of a span that never moved would leave it after days."""
    now = 0.0
    monkeypatch.setattr(activity, "machine_time", lambda: now)
    monkeypatch.setattr(activity, "LOOK_SECONDS", 0.0)
    spans: list[activity.Span] = []

    async def look(_: ConnectionSpec, span: activity.Span) -> activity.Activity:
        spans.append(span)
        return activity.Activity(0, 0, len(set(spans)), 0)

    async def watch() -> None:
        nonlocal now
        checked: Callable[[ConnectionSpec, activity.Span], Awaitable[activity.Activity]] = look
        stream = activity.watch(checked, spec())
        await changed(stream)
        now = activity.SPAN_SECONDS + 1
        monkeypatch.setattr(activity, "market_now", lambda: datetime(2030, 1, 1, tzinfo=UTC))
        await changed(stream)

    run(watch())
    assert len(set(spans)) == 2
