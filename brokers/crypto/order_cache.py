"""What this process remembers of orders: their symbols, when they left, whose they are.

A look-up wants the symbol on most exchanges, and trades name an order by the exchange's number. It
is a help, not a truth, and it shares the process's room (brokers/record_cache.py). What is lost
with a
record: a look-up asks on every listed symbol; a trade's order is asked for at the exchange; whether
an order was accepted is the engine's to know, which never sends one twice, and the exchange's,
which refuses a second of a live one; how long an absence proves nothing is also known to the engine
(`Capabilities.arrives_within`). So those leave first of which nothing more is to come: orders that
have ended, and other people's, whose executions are all that we see of them.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from brokers.crypto import parse
from brokers.crypto.exchanges import ARRIVES_SECONDS
from brokers.record_cache import RECORD_CACHE, RecordCache
from brokers.types import BrokerOrder, OrderRequest
from common.clocks import machine_time

OrderKey = tuple[
    str, str, str
]  # connection, symbol, and the exchange's number: not unique without it


@dataclass(eq=False, slots=True)
class OrderRecord:
    """One order. name: our client order id; '' for an order that has none; None: not asked yet.
    number: the exchange's, once it is known; sent_at: machine_time() when it may have left;
    until: what the exchange's own clock shows when it takes it no more, in ms;
    accepted: taken by the exchange from this process; reduces: whether it could only reduce, if
    that was read; ended: nothing of it is at the exchange any more."""

    connection_id: str
    name: str | None = None
    symbol: str = ""
    number: str = ""
    sent_at: float | None = None
    until: int = 0
    accepted: bool = False
    reduces: bool | None = None
    ended: bool = False

    @property
    def place(self) -> OrderKey:
        return self.connection_id, self.symbol, self.number


class OrderCache:
    """One record for an order, by our client order id and by the exchange's number. Each call is
    whole by itself, on whatever thread."""

    def __init__(self, record_cache: RecordCache = RECORD_CACHE) -> None:
        self._partition, self._lock = record_cache.partition(self), threading.Lock()
        self._live: OrderedDict[int, OrderRecord] = OrderedDict()  # by id(), oldest first
        self._ended: OrderedDict[int, OrderRecord] = OrderedDict()
        self._named: dict[tuple[str, str], OrderRecord] = {}
        self._numbered: dict[OrderKey, OrderRecord] = {}

    def __len__(self) -> int:
        return len(self._live) + len(self._ended)

    @property
    def loop(self) -> None:
        """They may be dropped on any thread."""

    # ---- an order of ours -------------------------------------------------------------------
    def of(self, connection_id: str, client_order_id: str) -> OrderRecord | None:
        """Return what is known of an order of ours."""
        return self._named.get((connection_id, client_order_id))

    def was_accepted(self, connection_id: str, client_order_id: str) -> bool:
        """Whether the exchange has taken it from this process, as far as that is remembered."""
        known = self.of(connection_id, client_order_id)
        return known is not None and known.accepted

    def symbol_of(self, connection_id: str, client_order_id: str) -> str:
        """Return where an order was sent; '' if that is not known."""
        known = self.of(connection_id, client_order_id)
        return known.symbol if known else ""

    def is_early(self, connection_id: str, client_order_id: str, asked_at: float) -> bool:
        """Whether it was sent so recently that its absence proves nothing yet. asked_at:
        machine_time()."""
        known = self.of(connection_id, client_order_id)
        left = known.sent_at if known else None
        return left is not None and asked_at - left < ARRIVES_SECONDS

    def leaves(self, request: OrderRequest, until: int) -> None:
        """An order is about to leave. until: as in its record."""
        with self._lock:
            one = self._of(request.connection_id, request.client_order_id)
            if not one.number:
                one.symbol = request.symbol
            one.sent_at, one.until = machine_time(), until
            self._put(one, ended=False)
        self._partition.ensure_capacity()

    def accepted(self, request: OrderRequest, order: Mapping[str, Any]) -> None:
        """The exchange has taken an order, and says so to us."""
        self.seen(request.connection_id, request.client_order_id, request.symbol, order)
        if one := self.of(request.connection_id, request.client_order_id):
            one.accepted = True

    def seen(
        self, connection_id: str, client_order_id: str, symbol: str, order: Mapping[str, Any]
    ) -> None:
        """Record that the exchange listed an order of ours."""
        with self._lock:
            one = self._of(connection_id, client_order_id)
            self._number(one, symbol, str(order["id"]))
            self._put(one, ended=parse.has_ended(order))
        self._partition.ensure_capacity()

    def ended(self, connection_id: str, client_order_id: str) -> None:
        """Nothing of an order is at the exchange, and nothing will be."""
        with self._lock:
            if one := self.of(connection_id, client_order_id):
                self._put(one, ended=True)

    def set_open(self, connection_id: str, resting: Iterable[BrokerOrder], since: float) -> None:
        """Record all working orders of an account, requested after `since` (machine_time()): the
        orders listed before that are not among them have ended."""
        numbers, settled = {one.broker_order_id for one in resting}, since - ARRIVES_SECONDS
        with self._lock:
            for one in [one for one in self._live.values() if one.connection_id == connection_id]:
                is_old = one.sent_at is None or one.sent_at < settled
                if one.number and one.number not in numbers and is_old:
                    self._put(one, ended=True)

    # ---- an order by the exchange's number --------------------------------------------------
    def at(self, connection_id: str, symbol: str, number: str) -> OrderRecord | None:
        """Return the record of a trade's order, also of one that is not ours."""
        with self._lock:
            one = self._numbered.get((connection_id, symbol, number))
            if one is not None and one.ended:
                self._ended.move_to_end(id(one))  # it is asked for: those that are not leave first
            return one

    def belongs(
        self, connection_id: str, symbol: str, number: str, name: str, *, ended: bool
    ) -> None:
        """Note whose an order is, as the exchange says; '' for one without a client order id."""
        self._note(connection_id, symbol, number, name=name, ended=ended)

    def takes_off(self, connection_id: str, symbol: str, number: str, reduces: bool) -> None:
        """Record whether an order that is not ours could only reduce."""
        self._note(connection_id, symbol, number, reduces=reduces, ended=True)

    def _note(
        self, connection_id: str, symbol: str, number: str, *,
        ended: bool, name: str | None = None, reduces: bool | None = None,
    ) -> None:  # fmt: skip
        key = (connection_id, symbol, number)
        with self._lock:
            one = self._numbered.get(key) or self._named.get((connection_id, name or ""))
            one = one or OrderRecord(connection_id)
            self._number(one, symbol, number)
            one.name = one.name if name is None else name
            one.reduces = one.reduces if reduces is None else reduces
            if one.name:
                self._named[connection_id, one.name] = one
            self._put(one, ended=ended)
        self._partition.ensure_capacity()

    # ---- the room ---------------------------------------------------------------------------
    def drop(self, *, ended: bool) -> bool:
        """Let the oldest leave; never the one that has just come, which may be about to be sent."""
        with self._lock:
            gone = next(iter(self._ended.values()), None)
            if gone is None and not ended and len(self._live) > 1:
                gone = next(iter(self._live.values()))
            if gone is None:
                return False
            for kept in (self._live, self._ended):
                kept.pop(id(gone), None)
            if gone.name and self._named.get((gone.connection_id, gone.name)) is gone:
                del self._named[gone.connection_id, gone.name]
            if self._numbered.get(gone.place) is gone:
                del self._numbered[gone.place]
            self._partition.update_size(len(self))
            return True

    # ---- within, under the lock -------------------------------------------------------------
    def _of(self, connection_id: str, name: str) -> OrderRecord:
        return self._named.setdefault((connection_id, name), OrderRecord(connection_id, name))

    def _number(self, one: OrderRecord, symbol: str, number: str) -> None:
        if one.place != (one.connection_id, symbol, number):
            if self._numbered.get(one.place) is one:
                del self._numbered[one.place]
            one.symbol, one.number = symbol, number
        self._numbered[one.place] = one

    def _put(self, one: OrderRecord, *, ended: bool) -> None:
        one.ended = ended
        for kept in (self._live, self._ended):
            kept.pop(id(one), None)
        (self._ended if ended else self._live)[id(one)] = one
        self._partition.update_size(len(self))
