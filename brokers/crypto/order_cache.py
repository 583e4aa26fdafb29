"""What this process knows of recent orders: symbol, time of sending, client order id.

Most exchanges need the symbol to look an order up, and trades name an order by the exchange's id.
The cache only saves requests. It shares the process's capacity with other caches
(brokers/record_cache.py). Without a record, a look-up tries every listed symbol and reads a trade's
order from the exchange. The engine knows without it whether an order was accepted and how long an
absence proves nothing (`Capabilities.arrives_within`). Records of ended orders and of orders that
are not ours are evicted first.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from brokers.crypto import parse
from brokers.crypto.exchanges import ARRIVES_SECONDS
from brokers.crypto.level_orders import LevelName
from brokers.record_cache import RECORD_CACHE, RecordCache
from brokers.types import BrokerOrder, OrderRequest
from common.clocks import machine_time

OrderKey = tuple[str, str, str]
"""Connection, symbol and the exchange's id, which is unique only with the symbol."""


@dataclass(eq=False, slots=True)
class OrderRecord:
    """One order. client_order_id: '' if it has none; None: not read yet. broker_order_id: '' until
    it is known. sent_at: machine_time() when it may have been sent. expires_ms: when the exchange
    stops accepting it, by the exchange's clock. accepted: the exchange accepted it from this
    process. reduces: whether it could only reduce; None: not read. ended: no longer open.
    last_level: of an entry, the client order id of its level that was sent last. quantity: of its
    request, base units; None: this process has not sent it."""

    connection_id: str
    client_order_id: str | None = None
    symbol: str = ""
    broker_order_id: str = ""
    sent_at: float | None = None
    expires_ms: int = 0
    accepted: bool = False
    reduces: bool | None = None
    ended: bool = False
    last_level: str = ""
    quantity: Decimal | None = None

    @property
    def key(self) -> OrderKey:
        return self.connection_id, self.symbol, self.broker_order_id


class OrderCache:
    """Order records by our client order id and by the exchange's id. Thread-safe."""

    def __init__(self, record_cache: RecordCache = RECORD_CACHE) -> None:
        self._partition, self._lock = record_cache.partition(self), threading.Lock()
        self._live: OrderedDict[int, OrderRecord] = OrderedDict()  # by id(), oldest first
        self._live_of: dict[str, dict[int, OrderRecord]] = {}  # by connection
        self._ended: OrderedDict[int, OrderRecord] = OrderedDict()
        self._by_client_id: dict[tuple[str, str], OrderRecord] = {}
        self._by_broker_id: dict[OrderKey, OrderRecord] = {}

    def __len__(self) -> int:
        return len(self._live) + len(self._ended)

    @property
    def loop(self) -> None:
        """None: records may be dropped on any thread."""

    # ---- an order of ours -------------------------------------------------------------------
    def get(self, connection_id: str, client_order_id: str) -> OrderRecord | None:
        """Return the record of an order of ours, if there is one."""
        return self._by_client_id.get((connection_id, client_order_id))

    def was_accepted(self, connection_id: str, client_order_id: str) -> bool:
        """Whether the exchange is known to have accepted it from this process."""
        record = self.get(connection_id, client_order_id)
        return record is not None and record.accepted

    def symbol_of(self, connection_id: str, client_order_id: str) -> str:
        """Return an order's symbol; '' if it is not known."""
        record = self.get(connection_id, client_order_id)
        return record.symbol if record else ""

    def is_early(self, connection_id: str, client_order_id: str, looked_up_at: float) -> bool:
        """Whether it was sent so recently that its absence proves nothing yet.

        looked_up_at: machine_time() of the look-up.
        """
        record = self.get(connection_id, client_order_id)
        sent_at = record.sent_at if record else None
        return sent_at is not None and looked_up_at - sent_at < ARRIVES_SECONDS

    def early_level(self, connection_id: str, entry: str) -> str:
        """Return the entry's level that was sent last, if it was so recently that its absence
        proves nothing yet; else ''. entry: its client order id."""
        record = self.get(connection_id, entry)
        level = self.get(connection_id, record.last_level) if record else None
        if level is None or level.ended or not level.client_order_id:
            return ""
        name = level.client_order_id
        return name if self.is_early(connection_id, name, machine_time()) else ""

    def record_send(self, request: OrderRequest, expires_ms: int) -> None:
        """Record that an order is about to be sent. expires_ms: as in `OrderRecord`."""
        with self._lock:
            record = self._get_or_create(request.connection_id, request.client_order_id)
            if not record.broker_order_id:
                record.symbol = request.symbol
            record.sent_at, record.expires_ms = machine_time(), expires_ms
            record.quantity = request.quantity
            level = LevelName.read(request.client_order_id)
            if level and (entry := self.get(request.connection_id, level.entry)):
                entry.last_level = request.client_order_id
            self._put(record, ended=False)
        self._partition.ensure_capacity()

    def record_accepted(self, request: OrderRequest, order: Mapping[str, Any]) -> None:
        """Record that the exchange accepted an order."""
        self.record_listed(request.connection_id, request.client_order_id, request.symbol, order)
        if record := self.get(request.connection_id, request.client_order_id):
            record.accepted = True

    def record_listed(
        self, connection_id: str, client_order_id: str, symbol: str, order: Mapping[str, Any]
    ) -> None:
        """Record that the exchange listed an order of ours."""
        with self._lock:
            record = self._get_or_create(connection_id, client_order_id)
            self._index(record, symbol, str(order["id"]))
            self._put(record, ended=parse.has_ended(order))
        self._partition.ensure_capacity()

    def record_ended(self, connection_id: str, client_order_id: str) -> None:
        """Record that an order is not open at the exchange, and will not be."""
        with self._lock:
            if record := self.get(connection_id, client_order_id):
                self._put(record, ended=True)

    def has_ended(self, connection_id: str, client_order_id: str) -> bool:
        """Whether an order of ours is known to be no longer open at the exchange."""
        record = self.get(connection_id, client_order_id)
        return record is not None and record.ended

    def set_open(
        self, connection_id: str, open_orders: Iterable[BrokerOrder], requested_at: float
    ) -> None:
        """Record all working orders of an account; older orders that are missing have ended.

        requested_at: machine_time() before the request.
        """
        listed_ids = {order.broker_order_id for order in open_orders}
        settled_before = requested_at - ARRIVES_SECONDS
        with self._lock:
            for record in list(self._live_of.get(connection_id, {}).values()):
                is_old = record.sent_at is None or record.sent_at < settled_before
                if record.broker_order_id and record.broker_order_id not in listed_ids and is_old:
                    self._put(record, ended=True)

    # ---- an order by the exchange's id ------------------------------------------------------
    def by_broker_id(
        self, connection_id: str, symbol: str, broker_order_id: str
    ) -> OrderRecord | None:
        """Return the record of a trade's order, also of one that is not ours."""
        with self._lock:
            record = self._by_broker_id.get((connection_id, symbol, broker_order_id))
            if record is not None and record.ended:
                self._ended.move_to_end(id(record))  # used again: evicted later
            return record

    def set_client_order_id(
        self,
        connection_id: str,
        symbol: str,
        broker_order_id: str,
        client_order_id: str,
        *,
        ended: bool,
    ) -> None:
        """Record an order's client order id as the exchange states it; '' if it has none."""
        self._note(
            connection_id, symbol, broker_order_id, client_order_id=client_order_id, ended=ended
        )

    def set_reduces(
        self, connection_id: str, symbol: str, broker_order_id: str, reduces: bool
    ) -> None:
        """Record whether an order that is not ours could only reduce."""
        self._note(connection_id, symbol, broker_order_id, reduces=reduces, ended=True)

    def _note(
        self, connection_id: str, symbol: str, broker_order_id: str, *,
        ended: bool, client_order_id: str | None = None, reduces: bool | None = None,
    ) -> None:  # fmt: skip
        key = (connection_id, symbol, broker_order_id)
        with self._lock:
            record = self._by_broker_id.get(key) or self._by_client_id.get(
                (connection_id, client_order_id or "")
            )
            record = record or OrderRecord(connection_id)
            self._index(record, symbol, broker_order_id)
            record.client_order_id = (
                record.client_order_id if client_order_id is None else client_order_id
            )
            record.reduces = record.reduces if reduces is None else reduces
            if record.client_order_id:
                self._by_client_id[connection_id, record.client_order_id] = record
            self._put(record, ended=ended)
        self._partition.ensure_capacity()

    # ---- eviction ---------------------------------------------------------------------------
    def drop(self, *, ended: bool) -> bool:
        """Evict the oldest record; never the newest live one, which may be about to be sent."""
        with self._lock:
            evicted = next(iter(self._ended.values()), None)
            if evicted is None and not ended and len(self._live) > 1:
                evicted = next(iter(self._live.values()))
            if evicted is None:
                return False
            self._take_out(evicted)
            if (
                evicted.client_order_id
                and self._by_client_id.get((evicted.connection_id, evicted.client_order_id))
                is evicted
            ):
                del self._by_client_id[evicted.connection_id, evicted.client_order_id]
            if self._by_broker_id.get(evicted.key) is evicted:
                del self._by_broker_id[evicted.key]
            self._partition.update_size(len(self))
            return True

    # ---- within, under the lock -------------------------------------------------------------
    def _get_or_create(self, connection_id: str, client_order_id: str) -> OrderRecord:
        return self._by_client_id.setdefault(
            (connection_id, client_order_id), OrderRecord(connection_id, client_order_id)
        )

    def _index(self, record: OrderRecord, symbol: str, broker_order_id: str) -> None:
        if record.key != (record.connection_id, symbol, broker_order_id):
            if self._by_broker_id.get(record.key) is record:
                del self._by_broker_id[record.key]
            record.symbol, record.broker_order_id = symbol, broker_order_id
        self._by_broker_id[record.key] = record

    def _put(self, record: OrderRecord, *, ended: bool) -> None:
        record.ended = ended
        self._take_out(record)
        if ended:
            self._ended[id(record)] = record
        else:
            self._live[id(record)] = record
            self._live_of.setdefault(record.connection_id, {})[id(record)] = record
        self._partition.update_size(len(self))

    def _take_out(self, record: OrderRecord) -> None:
        self._ended.pop(id(record), None)
        if self._live.pop(id(record), None) is not None:
            of_connection = self._live_of[record.connection_id]
            del of_connection[id(record)]
            if not of_connection:
                del self._live_of[record.connection_id]
