"""The order records of this process, over all its connections, and the reports about them.

It has live orders, and as many ended ones as the record cache allows (brokers/record_cache.py). Of
evicted orders it only keeps that they were reported, since today's lists repeat them each minute. A
caller that needs an evicted order reads it from the broker and pins it meanwhile.
"""

import asyncio
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from weakref import ref

from brokers.event_buffer import EventBuffer
from brokers.ibkr.order_records import ENTRY, STOP, TARGET, ZERO, Fill, Record, levels_report
from brokers.record_cache import RECORD_CACHE, RecordCache, running_loop
from brokers.types import OrderReport, ReportKind

MAX_NAMES = 10_000  # contracts with a symbol
MAX_EVICTED = 200_000  # hashes of 8 bytes: the ended orders of a day
LEVELS_GROUPING_SECONDS = 0.02  # stop and target changes within this time are one report
Key = tuple[str, str, str]
OrderKey = tuple[str, int, int]


class OrderCache:
    """Records by client order id and leg, and by IBKR's own numbers.

    Use it only on the event loop on which it was created."""

    def __init__(self, event_buffer: EventBuffer, record_cache: RecordCache = RECORD_CACHE) -> None:
        self.event_buffer = event_buffer
        self._partition = record_cache.partition(self)
        self._loop = ref(loop) if (loop := running_loop()) else None
        self._live: OrderedDict[Key, Record] = OrderedDict()
        self._ended: OrderedDict[Key, Record] = OrderedDict()
        self._of: dict[str, dict[Key, Record]] = {}  # both, by connection
        self._orders: dict[OrderKey, Record] = {}
        self._evicted: OrderedDict[int, None] = OrderedDict()  # hashes of evicted ended orders
        self._pinned: Counter[tuple[str, str]] = Counter()
        self._fills: dict[tuple[str, str], tuple[Record, Fill]] = {}
        self._levels_due: dict[tuple[str, str], bool] = {}
        self._levels_reported: dict[tuple[str, str], OrderReport] = {}
        self._watchers: dict[tuple[str, str], list[Callable[[], None]]] = defaultdict(list)
        self._symbols: OrderedDict[tuple[str, int], str] = OrderedDict()

    def __len__(self) -> int:
        return len(self._live) + len(self._ended)

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop on which records may be dropped; None if it no longer exists."""
        return self._loop() if self._loop else None

    def get(self, connection_id: str, client_order_id: str, leg: str = ENTRY) -> Record | None:
        """Return the record of an order; None if there is none."""
        key = (connection_id, client_order_id, leg)
        return self._live.get(key) or self._ended.get(key)

    def get_or_create(self, connection_id: str, client_order_id: str, leg: str) -> Record:
        """Return the record of an order; create it if there is none."""
        record = self.get(connection_id, client_order_id, leg)
        if record is None:
            record = Record(connection_id, client_order_id, leg)
            self._add(record)
            self._ensure_capacity()
        return record

    def keep(self, record: Record, client_id: int) -> None:
        """Add the record of an order that is about to be sent."""
        self._add(record)
        self.set_numbers(record, client_id, record.order_id)
        self._ensure_capacity()

    def set_numbers(self, record: Record, client_id: int, order_id: int) -> None:
        """Set clientId and orderId, by which IBKR refers to the order."""
        before = (record.connection_id, record.client_id, record.order_id)
        if self._orders.get(before) is record:  # TWS may have reused the number
            del self._orders[before]
        record.client_id, record.order_id = client_id, order_id
        self._orders[record.connection_id, client_id, order_id] = record

    def set_symbol(self, connection_id: str, con_id: int, symbol: str) -> None:
        """Store our symbol of a contract, which stays valid if the connection's map changes."""
        self._symbols[connection_id, con_id] = symbol
        self._symbols.move_to_end((connection_id, con_id))
        if len(self._symbols) > MAX_NAMES:
            self._symbols.popitem(last=False)

    def symbol_of(self, connection_id: str, con_id: int) -> str:
        """Return our symbol of a contract; '' if it is not stored."""
        return self._symbols.get((connection_id, con_id), "")

    def by_number(self, connection_id: str, client_id: int, order_id: int) -> Record | None:
        """Return the record with these IBKR numbers; None if there is none."""
        return self._orders.get((connection_id, client_id, order_id))

    def of(self, connection_id: str) -> list[Record]:
        """Return every record of a connection, ended ones first.

        Each read of positions asks for them: it may not take longer the more accounts there are.
        """
        records = self._of.get(connection_id, {})
        ended = [record for key, record in records.items() if key in self._ended]
        return ended + [record for key, record in records.items() if key not in self._ended]

    def _add(self, record: Record) -> None:
        self._ended.pop(record.key, None)
        self._live[record.key] = record
        self._of.setdefault(record.connection_id, {})[record.key] = record

    def remove(self, record: Record) -> None:
        """Remove a record: it was never sent, or it is evicted."""
        self._live.pop(record.key, None)
        self._ended.pop(record.key, None)
        of_connection = self._of.get(record.connection_id, {})
        of_connection.pop(record.key, None)
        if not of_connection:
            self._of.pop(record.connection_id, None)
        self._partition.update_size(len(self))
        self._levels_reported.pop(record.key[:2], None)
        key = (record.connection_id, record.client_id, record.order_id)
        if self._orders.get(key) is record:
            del self._orders[key]
        for fill in record.fills.values():
            self._fills.pop((record.connection_id, fill.broker_fill_id), None)

    def is_evicted(self, connection_id: str, client_order_id: str, leg: str) -> bool:
        """Whether an order has ended, was reported and evicted: do not report it again."""
        key = (connection_id, client_order_id, leg)
        return hash(key) in self._evicted and not self._pinned[key[:2]] and self.get(*key) is None

    @contextmanager
    def pinned(self, connection_id: str, client_order_id: str) -> Iterator[None]:
        """Do not evict an order and its levels meanwhile, even if they are added only now."""
        self._pinned[connection_id, client_order_id] += 1
        try:
            yield
        finally:
            self._pinned[connection_id, client_order_id] -= 1
            self._pinned += Counter()  # without the zeros

    # ---- changes --------------------------------------------------------------------------
    def add_fill(self, record: Record, fill: Fill) -> Fill | None:
        """Add an execution and return it; None if the record has the same or a newer revision.

        A correction replaces its execution, also in the order's total.
        """
        known = record.fills.get(fill.broker_fill_id)
        if known is not None and known.correction >= fill.correction:
            return None
        if known is not None and fill.quantity < known.quantity:
            # IBKR's total had the former quantity. A status that counts more sets it again.
            record.filled = max(ZERO, record.filled - (known.quantity - fill.quantity))
        record.fills[fill.broker_fill_id] = fill
        record.accepted, record.in_doubt = True, False
        self._fills[record.connection_id, fill.broker_fill_id] = (record, fill)
        return fill

    def fill(self, connection_id: str, broker_fill_id: str) -> tuple[Record, Fill] | None:
        """Return an execution with the record of its order; None if it is unknown."""
        return self._fills.get((connection_id, broker_fill_id))

    def report_changes(self, record: Record, before: tuple[object, ...]) -> None:
        """Report what has changed since `state_of` returned `before`, and wake its waiters."""
        now = state_of(record)
        if record.ended is not None and self._live.get(record.key):
            del self._live[record.key]
            self._ended[record.key] = record
        revived = record.ended is None and self._ended.pop(record.key, None) is not None
        if revived:  # TWS works an order that it seemed to refuse
            self._live[record.key] = record
        if now == before:
            return
        if record.leg == ENTRY:
            if record.accepted and (revived or not before[0]) and record.ended is None:
                self.event_buffer.push(record.accepted_report())
            end = record.end_report()
            is_in_reply = record.awaited and record.ended is ReportKind.REJECTED
            if end is not None and before[1] is None and not is_in_reply:
                self.event_buffer.push(end)
        else:
            self.report_levels(record.connection_id, record.client_order_id)
        self.wake(record)

    def report_fill(self, record: Record, fill: Fill) -> None:
        """Report an execution that has its commission, or has waited long enough for it."""
        fill.reported = True
        self.event_buffer.push(record.filled_report(fill))
        self.report_levels(record.connection_id, record.client_order_id, always=True)
        self.wake(record)

    def report_levels(
        self, connection_id: str, client_order_id: str, *, always: bool = False
    ) -> None:
        """Report the levels of an entry's position soon. always: even if they are unchanged."""
        key = (connection_id, client_order_id)
        if key in self._levels_due:
            self._levels_due[key] |= always
            return
        self._levels_due[key] = always
        asyncio.get_running_loop().call_later(LEVELS_GROUPING_SECONDS, self._report_levels_now, key)

    def _report_levels_now(self, key: tuple[str, str]) -> None:
        always = self._levels_due.pop(key)
        stop, target = self.get(*key, STOP), self.get(*key, TARGET)
        record = self.get(*key) or stop or target
        if record is None or (stop is None and target is None):
            return
        report = levels_report(record, stop, target)
        if always or self._levels_reported.get(key) != report:
            self._levels_reported[key] = report
            self.event_buffer.push(report)

    def report_dropped(self, connection_id: str) -> None:
        """Report everything of a connection again if the event buffer has dropped some of it."""
        if connection_id not in self.event_buffer.dropped:
            return
        self.event_buffer.dropped.discard(connection_id)
        for record in self.of(connection_id):
            if record.leg == ENTRY or record.fills:
                for report in record.reports():
                    self.event_buffer.push(report)
            if record.leg == ENTRY:
                self.report_levels(connection_id, record.client_order_id, always=True)

    # ---- waiting --------------------------------------------------------------------------
    def watch(self, record: Record, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake` whenever the order changes. Return a function that ends that."""
        key = (record.connection_id, record.client_order_id)
        self._watchers[key].append(wake)

        def end() -> None:
            self._watchers[key].remove(wake)
            if not self._watchers[key]:
                del self._watchers[key]

        return end

    def wake(self, record: Record) -> None:
        for wake in list(self._watchers.get((record.connection_id, record.client_order_id), ())):
            wake()

    def wake_all(self, connection_id: str) -> None:
        """Call all watchers of a connection: its state has changed."""
        for key in [key for key in self._watchers if key[0] == connection_id]:
            for wake in list(self._watchers.get(key, ())):
                wake()

    def _all(self) -> Iterator[Record]:
        """Yield all records in the order of eviction: ended ones first, oldest first."""
        yield from self._ended.values()
        yield from self._live.values()

    def _ensure_capacity(self) -> None:
        self._partition.update_size(len(self))
        self._partition.ensure_capacity()

    def drop(self, *, ended: bool) -> bool:
        """Drop the oldest ended order, or (not `ended`) the oldest of all.

        It never drops a pinned order, nor the newest one, which may be about to be sent."""
        newest = next(reversed(self._live.values()), None)
        records = self._ended.values() if ended else self._all()
        evictable = (r for r in records if r is not newest and not self._pinned[r.key[:2]])
        record = next(evictable, None)
        if record is None:
            return False
        if record.ended is not None:
            self._evicted[hash(record.key)] = None
            if len(self._evicted) > MAX_EVICTED:
                self._evicted.popitem(last=False)
        self.remove(record)
        return True


def state_of(record: Record) -> tuple[object, ...]:
    """Return what `report_changes` compares: all fields of a record that reports contain."""
    return (
        record.accepted, record.ended, record.in_doubt, record.limit_price, record.stop_price,
        record.quantity, record.status, record.refused_change, record.filled,
    )  # fmt: skip
