"""The bound of the remembered orders while several threads and event loops make room at once."""

import asyncio
import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from brokers.crypto.order_cache import OrderCache
from brokers.event_buffer import EventBuffer
from brokers.ibkr import order_cache as ibkr
from brokers.mt5.order_ids import OrderIds, magic_of
from brokers.record_cache import RecordCache
from brokers.types import ReportKind
from tests.brokers.test_record_cache import SYMBOL, Shelf, order

WAIT = 60.0


class Book(ibkr.OrderCache):
    """IBKR's order cache that records on which threads it dropped records."""

    def drop(self, *, ended: bool) -> bool:
        threads.add(threading.get_ident())
        return super().drop(ended=ended)


threads: set[int] = set()


def with_ended(room: RecordCache, many: int) -> Book:
    book = Book(EventBuffer(), room)
    ended_ones(book, many, named="over")
    threads.clear()
    return book


def test_owner_is_notified_before_the_cache_is_full() -> None:
    room = RecordCache(1000)
    names = OrderIds(room)

    async def play() -> None:
        book = with_ended(room, 500)
        for n in range(600):  # from another thread; each time this loop has a moment
            await asyncio.to_thread(names.mark_sent, f"name{n}")
            assert len(room) <= 1000
        assert len(names) == 600
        assert len(book) == len(room) - 600 >= 385
        assert threads == {threading.get_ident()}

    asyncio.run(play())


def test_cache_stays_bounded_while_its_loop_is_busy() -> None:
    room = RecordCache(4)
    names = OrderIds(room)

    def add() -> None:
        for n in range(3):
            names.mark_sent(f"name{n}")
            assert len(room) <= 4

    async def play() -> None:
        book = with_ended(room, 3)
        elsewhere = threading.Thread(target=add)
        elsewhere.start()
        elsewhere.join(WAIT)  # this loop does nothing else meanwhile
        assert (len(book), len(names)) == (3, 1)
        assert names.sent_at("name2") > 0
        await asyncio.sleep(0)  # it was notified, and the cache has space
        assert (len(book), threads) == (3, set())

    asyncio.run(play())


class Slow(Shelf):
    """A slow owner: meanwhile no other thread evicts."""

    def __init__(self, room: RecordCache) -> None:
        super().__init__(room, [])
        self.begun, self.may_end = threading.Event(), threading.Event()

    def drop(self, *, ended: bool) -> bool:
        self.begun.set()
        self.may_end.wait(WAIT)
        return super().drop(ended=ended)


def ended_ones(book: ibkr.OrderCache, many: int, *, named: str) -> None:
    for n in range(many):
        one = book.get_or_create("i", f"{named}{n}", "")
        one.ended = ReportKind.CANCELLED
        book.report_changes(one, (False, None))


def fill(add: Callable[[Any], None], what: Iterable[Any]) -> None:
    for one in what:
        add(one)


def test_loop_evicts_its_own_records_while_another_thread_evicts() -> None:
    room = RecordCache(20)
    slow = Slow(room)

    async def play() -> None:
        for n in range(15):
            slow.add(n)
        slow.end()
        book = Book(EventBuffer(), room)
        ended_ones(book, 3, named="early")
        elsewhere = threading.Thread(target=fill, args=(slow.add, range(15, 18)))
        elsewhere.start()
        assert slow.begun.wait(WAIT)  # it evicts, and does not come to an end
        for n in range(30):
            ended_ones(book, 1, named=f"late{n}")
            book.get_or_create("i", f"live{n}", "")
            assert len(room) <= 20
        assert book.get("i", "live29") is not None
        slow.may_end.set()
        await asyncio.to_thread(elsewhere.join, WAIT)
        assert len(room) <= 20

    asyncio.run(play())


def test_blocked_loop_is_notified_once(monkeypatch: pytest.MonkeyPatch) -> None:
    room = RecordCache(100)
    names, rings = OrderIds(room), 0

    async def play() -> None:
        book, loop = with_ended(room, 50), asyncio.get_running_loop()
        ring = loop.call_soon_threadsafe

        def counted(*arguments: Any) -> Any:
            nonlocal rings
            rings += 1
            return ring(*arguments)

        monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
        for again in (1, 2):
            numbers = map(str, range(60 * again))
            elsewhere = threading.Thread(target=fill, args=(names.mark_sent, numbers))
            elsewhere.start()
            elsewhere.join(WAIT)  # this loop does nothing else meanwhile
            assert rings == again
            await asyncio.sleep(0)
            assert len(room) <= 99
        assert len(book) < 50

    asyncio.run(play())


def test_records_of_a_closed_loop_are_evicted_on_any_thread() -> None:
    room = RecordCache(4)
    names = OrderIds(room)

    async def play() -> Book:
        return with_ended(room, 3)

    book = asyncio.run(play())
    for n in range(3):
        names.mark_sent(f"name{n}")
    assert (len(book), len(names)) == (1, 3)


def test_many_threads_evict_concurrently() -> None:
    room = RecordCache(50)
    holders = [(OrderCache(room), OrderIds(room)) for _ in range(4)]
    wrong: list[BaseException] = []

    def add(which: int) -> None:
        memory, names = holders[which]
        try:
            for n in range(400):
                memory.record_send(order(f"{which}-{n}"), expires_ms=1)
                memory.record_accepted(order(f"{which}-{n}"), {"id": str(n), "status": "closed"})
                memory.by_broker_id("c", SYMBOL, str(n - 3))
                names.remember(f"abcd{which}{n}")
                names.resolve(magic_of(f"abcd{which}{n - 1}"), "")
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=add, args=(n,)) for n in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(WAIT)
    assert not any(one.is_alive() for one in threads)
    assert wrong == []
    room.evict()
    assert len(room) == sum(len(one) for pair in holders for one in pair) <= 50
