"""The orders that this process knows of, over all its connections, and what they tell.

Live ones and as many ended ones as the process has room for (brokers/record_cache.py). Of the
others only that they have been told is kept: today's lists have them again each minute. Who wants
one asks the broker, and pins it meanwhile.
"""

import asyncio
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from weakref import ref

from brokers.event_buffer import EventBuffer
from brokers.ibkr.order_records import ENTRY, STOP, TARGET, Fill, Record, levels_report
from brokers.record_cache import RECORD_CACHE, RecordCache, running_loop
from brokers.types import OrderReport, ReportKind

MAX_NAMES = 10_000  # of contracts
MAX_GONE = 200_000  # numbers of 8 bytes: a day's ended orders
LEVELS_GROUPING_SECONDS = 0.02  # seconds in which a position's stop and target are told as one
Key = tuple[str, str, str]
OrderKey = tuple[str, int, int]


class OrderCache:
    """Records by client order id and leg, and by IBKR's own numbers. All of it belongs to the event
    loop that it was made on."""

    def __init__(self, event_buffer: EventBuffer, record_cache: RecordCache = RECORD_CACHE) -> None:
        self.event_buffer = event_buffer
        self._partition = record_cache.partition(self)
        self._loop = ref(loop) if (loop := running_loop()) else None
        self._live: OrderedDict[Key, Record] = OrderedDict()
        self._ended: OrderedDict[Key, Record] = OrderedDict()
        self._orders: dict[OrderKey, Record] = {}
        self._gone: OrderedDict[int, None] = OrderedDict()  # hashes of ended ones without a record
        self._pinned: Counter[tuple[str, str]] = Counter()
        self._fills: dict[tuple[str, str], tuple[Record, Fill]] = {}
        self._levels_due: dict[tuple[str, str], bool] = {}
        self._levels_reported: dict[tuple[str, str], OrderReport] = {}
        self._watchers: dict[tuple[str, str], list[Callable[[], None]]] = defaultdict(list)
        self._called: OrderedDict[tuple[str, int], str] = OrderedDict()

    def __len__(self) -> int:
        return len(self._live) + len(self._ended)

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """Where records may be dropped; None where it is no more."""
        return self._loop() if self._loop else None

    def get(self, connection_id: str, client_order_id: str, leg: str = ENTRY) -> Record | None:
        """Return what is known of an order."""
        key = (connection_id, client_order_id, leg)
        return self._live.get(key) or self._ended.get(key)

    def make(self, connection_id: str, client_order_id: str, leg: str) -> Record:
        """Return its record, new if there is none."""
        known = self.get(connection_id, client_order_id, leg)
        if known is None:
            known = Record(connection_id, client_order_id, leg)
            self._live[known.key] = known
            self._reclaim_overdue_slots()
        return known

    def keep(self, record: Record, client_id: int) -> None:
        """Take in a record that was made elsewhere: an order that is about to leave."""
        self._live[record.key] = record
        self.number(record, client_id, record.order_id)
        self._reclaim_overdue_slots()

    def number(self, record: Record, client_id: int, order_id: int) -> None:
        """Note the numbers by which IBKR speaks of it."""
        before = (record.connection_id, record.client_id, record.order_id)
        if self._orders.get(before) is record:  # TWS may have given the number to another since
            del self._orders[before]
        record.client_id, record.order_id = client_id, order_id
        self._orders[record.connection_id, client_id, order_id] = record

    def call(self, connection_id: str, con_id: int, symbol: str) -> None:
        """Note what our books call a contract: that outlives a change of the connection's map."""
        self._called[connection_id, con_id] = symbol
        self._called.move_to_end((connection_id, con_id))
        if len(self._called) > MAX_NAMES:
            self._called.popitem(last=False)

    def called(self, connection_id: str, con_id: int) -> str:
        """Return what our books call a contract; '' where nobody has said it here."""
        return self._called.get((connection_id, con_id), "")

    def by_number(self, connection_id: str, client_id: int, order_id: int) -> Record | None:
        return self._orders.get((connection_id, client_id, order_id))

    def of(self, connection_id: str) -> list[Record]:
        """Return every record of a connection."""
        return [record for record in self._all() if record.connection_id == connection_id]

    def forget(self, record: Record) -> None:
        """Drop a record: it never left, or its room is needed."""
        self._live.pop(record.key, None)
        self._ended.pop(record.key, None)
        self._partition.update_size(len(self))
        self._levels_reported.pop(record.key[:2], None)
        key = (record.connection_id, record.client_id, record.order_id)
        if self._orders.get(key) is record:
            del self._orders[key]
        for fill in record.fills.values():
            self._fills.pop((record.connection_id, fill.broker_fill_id), None)

    def is_gone(self, connection_id: str, client_order_id: str, leg: str) -> bool:
        """Whether an order has ended, was told, and had to leave: a list need not tell it again."""
        key = (connection_id, client_order_id, leg)
        return hash(key) in self._gone and not self._pinned[key[:2]] and self.get(*key) is None

    @contextmanager
    def pinned(self, connection_id: str, client_order_id: str) -> Iterator[None]:
        """Keep an order and its levels here, also if they are told only now."""
        self._pinned[connection_id, client_order_id] += 1
        try:
            yield
        finally:
            self._pinned[connection_id, client_order_id] -= 1
            self._pinned += Counter()  # without the zeros

    # ---- what changes ---------------------------------------------------------------------
    def add_fill(self, record: Record, fill: Fill) -> Fill | None:
        """Take an execution. None: it is known, or an older telling of it."""
        known = record.fills.get(fill.broker_fill_id)
        if known is not None and known.correction >= fill.correction:
            return None
        record.fills[fill.broker_fill_id] = fill
        record.accepted, record.in_doubt = True, False
        self._fills[record.connection_id, fill.broker_fill_id] = (record, fill)
        return fill

    def fill(self, connection_id: str, broker_fill_id: str) -> tuple[Record, Fill] | None:
        return self._fills.get((connection_id, broker_fill_id))

    def moved(self, record: Record, before: tuple[object, ...]) -> None:
        """Tell what has changed since `state_of`, and wake who waits for it."""
        now = state_of(record)
        if record.ended is not None and self._live.get(record.key):
            del self._live[record.key]
            self._ended[record.key] = record
        if now == before:
            return
        if record.leg == ENTRY:
            if record.accepted and not before[0] and record.ended is None:
                self.event_buffer.push(record.accepted_report())
            end = record.end_report()
            told_in_reply = record.awaited and record.ended is ReportKind.REJECTED
            if end is not None and before[1] is None and not told_in_reply:
                self.event_buffer.push(end)
        else:
            self.report_levels(record.connection_id, record.client_order_id)
        self.wake(record)

    def report_fill(self, record: Record, fill: Fill) -> None:
        """Tell an execution, once it is complete or nobody waits for its commission any more."""
        fill.told = True
        self.event_buffer.push(record.filled_report(fill))
        self.report_levels(record.connection_id, record.client_order_id, always=True)
        self.wake(record)

    def report_levels(
        self, connection_id: str, client_order_id: str, *, always: bool = False
    ) -> None:
        """Tell soon what protects an entry's position. always: even if nothing of it has
        changed."""
        key = (connection_id, client_order_id)
        if key in self._levels_due:
            self._levels_due[key] |= always
            return
        self._levels_due[key] = always
        asyncio.get_running_loop().call_later(LEVELS_GROUPING_SECONDS, self._report_levels_now, key)

    def _report_levels_now(self, key: tuple[str, str]) -> None:
        always = self._levels_due.pop(key)
        stop, target = self.get(*key, STOP), self.get(*key, TARGET)
        about = self.get(*key) or stop or target
        if about is None or (stop is None and target is None):
            return
        report = levels_report(about, stop, target)
        if always or self._levels_reported.get(key) != report:
            self._levels_reported[key] = report
            self.event_buffer.push(report)

    def report_dropped(self, connection_id: str) -> None:
        """Tell everything that is known of a connection, if some of it was dropped untold."""
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
        """Have `wake` called when anything of the order changes; returns how to end that."""
        key = (record.connection_id, record.client_order_id)
        self._watchers[key].append(wake)

        def end() -> None:
            self._watchers[key].remove(wake)
            if not self._watchers[key]:
                del self._watchers[key]

        return end

    def wake(self, record: Record) -> None:
        """Wake who waits for something of this order."""
        for wake in list(self._watchers.get((record.connection_id, record.client_order_id), ())):
            wake()

    def wake_all(self, connection_id: str) -> None:
        """Wake everybody who waits on a connection: its line has changed."""
        for key in [key for key in self._watchers if key[0] == connection_id]:
            for wake in list(self._watchers.get(key, ())):
                wake()

    def _all(self) -> Iterator[Record]:
        """Every record, in the order in which they leave: ended ones first, the oldest first."""
        yield from self._ended.values()
        yield from self._live.values()

    def _reclaim_overdue_slots(self) -> None:
        self._partition.update_size(len(self))
        self._partition.ensure_capacity()

    def drop(self, *, ended: bool) -> bool:
        """Let the oldest leave: of the ended ones, or of all. Never one that is pinned, nor the one
        that has just come, which may be about to be sent."""
        newest = next(reversed(self._live.values()), None)
        of = self._ended.values() if ended else self._all()
        free = (r for r in of if r is not newest and not self._pinned[r.key[:2]])
        leaving = next(free, None)
        if leaving is None:
            return False
        if leaving.ended is not None:
            self._gone[hash(leaving.key)] = None
            if len(self._gone) > MAX_GONE:
                self._gone.popitem(last=False)
        self.forget(leaving)
        return True


def state_of(record: Record) -> tuple[object, ...]:
    """What `moved` compares: everything of a record that anybody is told."""
    return (
        record.accepted, record.ended, record.in_doubt, record.limit_price, record.stop_price,
        record.quantity, record.status, record.refused_change, record.filled,
    )  # fmt: skip
