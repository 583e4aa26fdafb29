"""How many order records a process keeps, over all adapters: the bound, and who leaves first."""

import asyncio
import gc
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from weakref import ref

from hypothesis import given, settings
from hypothesis import strategies as st

from brokers.crypto.order_cache import OrderCache
from brokers.dwx import command_journal as dwx
from brokers.dwx import file_io
from brokers.dwx.sent_commands import OPEN, CommandFilter, SentCommand
from brokers.event_buffer import EventBuffer
from brokers.ibkr import order_cache as ibkr
from brokers.mt5.order_ids import OrderIds
from brokers.record_cache import MAX_RECORDS, RECORD_CACHE, RecordCache
from brokers.types import BrokerOrder, OrderRequest, OrderType, ReportKind, Side, TimeInForce
from tests.examples import examples
from tests.until import until

SYMBOL = "BTC/USDT"


class Shelf:
    """An owner of numbers that lists those it dropped while an ended one was left."""

    loop: asyncio.AbstractEventLoop | None = None

    def __init__(self, room: RecordCache, others: list["Shelf"]) -> None:
        self.live: list[int] = []
        self.over: list[int] = []
        self.others, self.wrong = others, 0
        self.share = room.partition(self)

    def add(self, number: int) -> None:
        self.live.append(number)
        self._count()
        self.share.ensure_capacity()

    def end(self) -> None:
        if self.live:
            self.over.append(self.live.pop(0))

    def drop(self, *, ended: bool) -> bool:
        if not self.over and (ended or len(self.live) < 2):
            return False
        if not self.over:
            self.wrong += any(one.over for one in self.others)
        (self.over or self.live).pop(0)
        self._count()
        return True

    def _count(self) -> None:
        self.share.update_size(len(self.live) + len(self.over))


@settings(max_examples=examples(200))
@given(
    most=st.integers(3, 12),
    moves=st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["add", "add", "end", "go"]))),
)
def test_cache_is_bounded_and_evicts_live_records_last(
    most: int, moves: list[tuple[int, str]]
) -> None:
    room = RecordCache(most)
    shelves: list[Shelf] = []
    shelves += [Shelf(room, shelves) for _ in range(3)]
    with no_collection():
        for number, (which, what) in enumerate(moves):
            if what == "add":
                shelves[which].add(number)
            elif what == "end":
                shelves[which].end()
            else:  # an adapter is no more
                replace_partition(room, shelves[which])
            held = [len(one.live) + len(one.over) for one in shelves]
            assert len(room) == sum(held) <= max(most, 3)
            assert all(one.wrong == 0 for one in shelves)


@contextmanager
def no_collection() -> Iterator[None]:
    """Collect no garbage meanwhile. What earlier tests left could be finalized inside a call of the
    cache; pytest keeps an exception there until the test has ended, with the frames below it, and
    they refer to the partition that the test waits to see gone."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def replace_partition(room: RecordCache, shelf: Shelf) -> None:
    """Give it a new partition, and wait until the old one is gone.

    Coverage takes its probes out again in a thread that reads the variables of all frames: it may
    refer to the partition for a moment.
    """
    old = ref(shelf.share)
    shelf.share = room.partition(shelf)
    shelf.live, shelf.over = [], []
    until(lambda: old() is None)


def filled(room: RecordCache, tmp_path: Path, each: int) -> tuple[list[Any], dict[str, Any]]:
    """One process: holders of every kind with `each` ended and `each` live records of theirs."""
    book, memory, names = ibkr.OrderCache(EventBuffer(), room), OrderCache(room), OrderIds(room)
    files = [dwx.CommandJournal(tmp_path / f"{n}.jsonl", room) for n in range(4)]
    for n in range(each):
        record = book.get_or_create("i", f"live{n}", "")
        book.get_or_create("i", f"over{n}", "").ended = ReportKind.CANCELLED
        over = book.get("i", f"over{n}")
        assert over is not None
        book.report_changes(over, ibkr.state_of(over))
        assert record.ended is None
        memory.record_send(order(f"live{n}"), expires_ms=1)
        memory.record_accepted(order(f"live{n}"), {"id": f"l{n}", "status": "open"})
        memory.record_send(order(f"over{n}"), expires_ms=1)
        memory.record_accepted(order(f"over{n}"), {"id": f"o{n}", "status": "closed"})
        names.mark_sent(f"live{n}")
        names.mark_sent(f"over{n}")
        names.mark_ended(f"over{n}")
    for k, file in enumerate(files):
        write(file, (sent_command(2 * n + 1, magic=n + 1) for n in range(each // 4)))
        write(
            file,
            (sent_command(2 * n + 2, magic=each + n, outcome="refused") for n in range(each // 4)),
        )
        file.about(CommandFilter(frozenset(range(1, each // 4 + 1))))
        assert len(file.commands()) == 2 * (each // 4), k
        file.about(CommandFilter(frozenset(range(1, each // 4 + 1))))
    return [book, memory, names, *files], {"book": book, "memory": memory, "names": names}


def order(client_order_id: str) -> OrderRequest:
    return OrderRequest(
        client_order_id, "c", "main", SYMBOL, Side.BUY, OrderType.MARKET, TimeInForce.GTC,
        Decimal(1),
    )  # fmt: skip


def write(file: dwx.CommandJournal, commands: Iterable[SentCommand]) -> None:
    """Put many on disk at once."""
    file_io.append(file._path, b"".join(dwx._line(dwx._as_json(one)) for one in commands))


def sent_command(number: int, **fields: Any) -> SentCommand:
    values = {
        "at": time.time() - 3600, "action": OPEN, "client_order_id": f"dwx{number}",
        "magic": number, "symbol": "EURUSD", "lots": Decimal("0.1"), **fields,
    }  # fmt: skip
    return SentCommand(number=number, **values)


def check(room: RecordCache, kept: dict[str, Any], each: int, holders: list[Any]) -> None:
    assert len(room) <= room.most
    assert sum(map(size, holders)) == len(room)
    for n in range(each):
        live = kept["book"].get("i", f"live{n}")
        assert live is not None
        assert live.ended is None
        assert kept["memory"].was_accepted("c", f"live{n}")
        assert kept["names"].sent_at(f"live{n}") > 0
    for file in holders[3:]:
        assert {one.magic for one in file._known.values()} >= set(range(1, each // 4 + 1))


def size(holder: Any) -> int:
    return len(holder._known) if isinstance(holder, dwx.CommandJournal) else len(holder)


def test_adapters_of_a_process_share_one_cache(tmp_path: Path) -> None:
    room = RecordCache(400)
    holders, kept = filled(room, tmp_path, each=80)
    check(room, kept, 80, holders)
    assert kept["book"].get("i", "over0") is None  # 640 came, 320 live


def test_a_process_holds_no_more_than_ten_thousand(tmp_path: Path) -> None:
    assert RECORD_CACHE.most == MAX_RECORDS == 10_000
    room = RecordCache()
    holders, kept = filled(room, tmp_path, each=2_000)  # 16,000 of them
    check(room, kept, 2_000, holders)
    assert len(room) >= 9_000


def test_oldest_record_of_the_largest_owner_is_evicted_if_all_are_live() -> None:
    room = RecordCache(10)
    memory, names = OrderCache(room), OrderIds(room)
    for n in range(3):
        names.mark_sent(f"name{n}")
    for n in range(30):
        memory.record_send(order(f"live{n}"), expires_ms=1)
    assert (len(memory), len(names)) == (7, 3)
    assert [n for n in range(30) if memory.get("c", f"live{n}")] == list(range(23, 30))


def test_pinned_and_new_records_stay() -> None:
    room = RecordCache(2)
    book, memory = ibkr.OrderCache(EventBuffer(), room), OrderCache(room)
    over = book.get_or_create("i", "over", "")
    over.ended = ReportKind.CANCELLED
    book.report_changes(over, (False, None))
    with book.pinned("i", "over"):
        for n in range(5):
            memory.record_send(order(f"live{n}"), expires_ms=1)
        assert book.get("i", "over") is over
        assert memory.get("c", "live4") is not None
        assert len(room) == 2
        book.get_or_create("i", "another", "")
        assert book.get("i", "another") is not None
    memory.record_send(order("live5"), expires_ms=1)
    assert book.get("i", "over") is None
    assert book.is_evicted("i", "over", "")
    assert len(room) == 2


def test_order_sent_during_an_open_orders_read_has_not_ended() -> None:
    memory = OrderCache(RecordCache(1))
    for n in range(2):
        memory.record_send(order(f"live{n}"), expires_ms=1)
    sent = order("sent")
    memory.record_send(sent, expires_ms=1)
    memory.record_accepted(sent, {"id": "1", "status": "open"})
    known = memory.get("c", "sent")
    assert known is not None
    assert known.sent_at is not None
    memory.set_open("c", [], known.sent_at)
    assert not known.ended
    memory.set_open("c", [], known.sent_at + 3600)
    assert known.ended


def test_deleted_owner_takes_no_cache_space() -> None:
    room = RecordCache(10)
    memory, other = OrderCache(room), OrderIds(room)
    for n in range(8):
        memory.record_send(order(f"live{n}"), expires_ms=1)
    other.mark_sent("name")
    assert len(room) == 9
    del memory
    gc.collect()
    until(lambda: len(room) == 1)  # coverage may refer to it for a moment, as above


def test_order_that_left_the_open_orders_has_ended() -> None:
    memory = OrderCache(room := RecordCache(4))
    for n in range(4):
        memory.record_send(order(f"live{n}"), expires_ms=1)
        memory.record_accepted(order(f"live{n}"), {"id": str(n), "status": "open"})
    resting = BrokerOrder("0", SYMBOL, Side.BUY, OrderType.LIMIT, Decimal(1))
    long_after = time.clock_gettime(time.CLOCK_BOOTTIME) + 3600
    memory.set_open("other", [], long_after)
    memory.set_open("c", [resting], 0.0)  # asked before they left
    memory.record_send(order("new"), expires_ms=1)
    assert memory.get("c", "live0") is None  # nothing had ended
    memory.set_open("c", [SimpleNamespace(broker_order_id="1")], long_after)  # type: ignore[list-item]
    memory.record_send(order("newer"), expires_ms=1)
    assert [n for n in range(4) if memory.get("c", f"live{n}")] == [1, 3]
    assert memory.get("c", "new") is not None  # it has no number yet: it may be on its way
    assert len(room) == 4
