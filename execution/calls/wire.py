"""The wire: this process's event loop, on which every call to a broker runs.

Places are reserved before anything is claimed, because an intent without a place dies as
NEVER_ARRIVED when the process does. The loop outlives bundles and never touches the ORM: what it
learns goes into `outbox`, and the flusher writes it down.
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from types import MappingProxyType
from typing import Any, TypeVar

import structlog

from brokers.base import BrokerAdapter, BrokerError, NotSent, ReadFailed, Rejected
from brokers.masking import storable, without_secrets
from brokers.messages import OrderReport, OrderRequest, ReportKind
from brokers.registry import adapter_for
from common.clocks import machine_time
from common.codes import Code
from common.faults import point
from connections.models import HaltMode
from execution.audit.tallies import new_reference
from execution.calls.errands import Errands
from execution.calls.flusher import Reported, Told
from execution.calls.places import Pace, Room, crowded_out
from execution.halts import Halts
from execution.intents.claim import Outgoing

log = structlog.get_logger(__name__)
MAKE_ROOM_SECONDS = 0.25
BATCH_SECONDS = 60
ENDS = "This process ends: it asks no broker any more."
T = TypeVar("T")
Answer = Sequence[OrderReport] | BaseException
# A call's: order and fence. After this machine has slept an order may be sent again before its
# earlier call is given up: timers stand still meanwhile, leases do not.
Key = tuple[int, int]


class Switch:
    """This process's copy of the kill switch. One not read for a lease counts as set."""

    def __init__(self, lease_seconds: float) -> None:
        self._lease = lease_seconds
        self._halts, self._read_at = Halts(), float("-inf")

    def update(self, halts: Halts, read_at: float) -> None:
        """Take over what was read; read_at: machine_time() before the read."""
        self._halts, self._read_at = halts, read_at

    def stops(self, outgoing: Outgoing) -> bool:
        """Whether this order must not leave now."""
        if machine_time() > self._read_at + self._lease:
            return True
        mode = self._halts.mode(
            owner_id=outgoing.owner_id,
            feed_id=outgoing.feed_id,
            connection_id=outgoing.request.connection_id,
        )
        return mode == HaltMode.HALTED or (mode is not None and outgoing.is_entry)


@dataclass(slots=True)
class Call:
    """An order's call under way. began: machine_time(); is_aside: it has given its place back."""

    outgoing: Outgoing
    timer: asyncio.TimerHandle
    began: float
    is_aside: bool


class Wire(threading.Thread):
    """The loop's thread, its places, and what came back."""

    def __init__(
        self,
        *,
        places: int,
        call_timeout: float,
        switch: Switch,
        until: Callable[[str], float] = lambda lane: float("inf"),
        may_begin: Callable[[str], bool] = lambda lane: True,
    ) -> None:
        """until: the machine_time() until when calls of a lane may leave; may_begin: whether one
        may begin there now (`lanes.Lanes`)."""
        super().__init__(daemon=True, name="wire")
        self.outbox: queue.SimpleQueue[Told] = queue.SimpleQueue()
        self.loop = asyncio.new_event_loop()
        self.room, self.pace = Room(places), Pace()
        self._call_timeout, self._switch, self.until = call_timeout, switch, until
        self._calls: dict[Key, Call] = {}
        self._in_hand: dict[Key, str] = {}  # lanes
        self._overdue: frozenset[str] = frozenset()  # connections with an overdue call
        self._tasks: set[asyncio.Task[None]] = set()
        self._used: set[str] = set()
        self._has_ended = False
        self.errands = Errands(self.loop, self.outbox.put, call_timeout, may_begin)

    def run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self._make_room()
        self.loop.run_forever()

    def ask(self, call: Coroutine[Any, Any, T], timeout: float) -> T:
        """Run a coroutine on the loop from another thread and return its result.

        Raises TimeoutError after so many seconds; the call is ended then. Raises ReadFailed once
        the loop stands still: it would wait there for all of that time.
        """
        if self._has_ended:
            call.close()
            raise ReadFailed(Code.LANE_UNHELD, ENDS)
        future = asyncio.run_coroutine_threadsafe(call, self.loop)
        try:
            return future.result(timeout)
        except TimeoutError:
            future.cancel()
            raise

    def stop(self) -> None:
        """Have the loop stand still: nothing is asked on it any more."""
        self._has_ended = True
        self.loop.call_soon_threadsafe(self.loop.stop)

    def adapter(self, kind: str) -> BrokerAdapter:
        """This process's adapter of a kind, remembered for the disconnect at the end."""
        self._used.add(kind)
        return adapter_for(kind)

    def disconnect(self, timeout: float) -> None:
        """End the sessions of every adapter that was used."""
        for kind in sorted(self._used):
            try:
                self.ask(adapter_for(kind).disconnect(), timeout)
            except Exception as error:
                log.warning("disconnect failed", kind=kind, error=repr(error))

    # ---- places ---------------------------------------------------------------------------
    @property
    def in_flight(self) -> int:
        """How many orders' calls are under way or about to be."""
        return self.room.in_flight

    def wait_idle(self, timeout: float) -> bool:
        """Wait until no call is under way; False when the time is over first."""
        until = machine_time() + timeout
        idle = self.room.wait_idle(timeout)
        return self.errands.wait_idle(max(0.0, until - machine_time())) and idle

    def is_busy(self, lane: str) -> bool:
        """Whether a call of this lane is in hand: from when it is handed over, though this loop may
        not have begun it, until what came of it lies in the outbox."""
        return lane in self._in_hand.copy().values() or self.errands.is_busy(lane)

    def calling(self) -> set[str]:
        """Return the connections with an order's call under way. On the loop only."""
        return {call.outgoing.request.connection_id for call in self._calls.values()}

    def crowded_out(self, connection_ids: Collection[str]) -> set[str]:
        """Return those of these accounts whose entries must wait: slow ones, and those with an
        overdue call, beyond their share of the places."""
        slow = self.pace.slow | self._overdue
        return crowded_out(connection_ids, slow, self.room.for_slow) if slow else set()

    def _make_room(self) -> None:
        """Have calls that are overdue, the oldest first, give their places to the others."""
        self.loop.call_later(MAKE_ROOM_SECONDS, self._make_room)
        began_before, overdue = machine_time() - self.pace.overdue_after(), set()
        for call in self._calls.values():
            if call.began > began_before:
                break
            overdue.add(call.outgoing.request.connection_id)
            if not call.is_aside:
                call.is_aside = self.room.step_aside()
        self._overdue = frozenset(overdue)

    # ---- calls ----------------------------------------------------------------------------
    def hand_over(self, bundle: Sequence[Outgoing]) -> None:
        """Start the calls of a bundle whose places are reserved; returns at once."""
        if bundle:
            self._in_hand |= {_key(o.request): o.lane for o in bundle}
            self.loop.call_soon_threadsafe(self._begin, list(bundle))

    def _begin(self, bundle: list[Outgoing]) -> None:
        point("wire.begin")
        now, slow = machine_time(), self.pace.slow
        for outgoing in bundle:
            wait = max(0.0, outgoing.request.send_by - now) + self._call_timeout
            timer = self.loop.call_later(wait, self._time_out, outgoing)
            is_aside = outgoing.request.connection_id in slow and self.room.step_aside()
            self._calls[_key(outgoing.request)] = Call(outgoing, timer, now, is_aside)
        for kind, group in groupby(sorted(bundle, key=lambda o: o.kind), key=lambda o: o.kind):
            orders = list(group)
            adapter = self.adapter(kind)
            if adapter.capabilities(orders[0].spec).submit_many:
                self._spawn(self._submit_many(kind, orders))
            else:
                for outgoing in orders:
                    self._spawn(self._submit_one(outgoing))

    def _spawn(self, call: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(call)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _submit_one(self, outgoing: Outgoing) -> None:
        request = outgoing.request
        adapter = self.adapter(outgoing.kind)
        try:
            limit = max(0.0, request.send_by - machine_time()) + self._call_timeout
            async with asyncio.timeout(limit):  # ends the call itself: nothing is sent later
                answer: Answer = await adapter.submit(outgoing.spec, request, self._guard)
        except Exception as error:  # outcomes, time-outs and our own bugs: all are told
            answer = error
        self._told(outgoing, answer)

    async def _submit_many(self, kind: str, orders: list[Outgoing]) -> None:
        fault: BaseException = TimeoutError()
        known = {_key(o.request): o for o in orders}

        def tell(request: OrderRequest, answer: Answer) -> None:
            self._told(known[_key(request)], answer)

        try:
            pairs = [(o.spec, o.request) for o in orders]
            async with asyncio.timeout(BATCH_SECONDS):  # each order has its own long before that
                await self.adapter(kind).submit_many(pairs, self._guard, tell)
        except Exception as error:
            log.exception("submit_many failed", kind=kind, orders=len(orders))
            fault = error
        else:
            return  # whoever was not told waits for its own time-out: it may still be told
        for outgoing in orders:
            self._told(outgoing, fault)

    def _guard(self, request: OrderRequest) -> None:
        """Right before the socket write: the deadline, the kill switch, the lane's lease."""
        call = self._calls.get(_key(request))
        if call is None or machine_time() > request.send_by:
            raise NotSent(Code.SEND_DEADLINE)
        if self._switch.stops(call.outgoing):
            raise NotSent(Code.KILL_SWITCH)
        if call.outgoing.lane and machine_time() > self.until(call.outgoing.lane):
            raise NotSent(Code.LANE_LOST)
        point("wire.guarded")

    def _time_out(self, outgoing: Outgoing) -> None:
        if _key(outgoing.request) in self._calls:
            self._told(outgoing, TimeoutError())

    def _told(self, outgoing: Outgoing, answer: Answer) -> None:
        """One call has its outcome; facts that come after a time-out are still told."""
        point("wire.answered")
        request = outgoing.request
        call = self._calls.pop(_key(request), None)
        is_fact = isinstance(answer, Rejected) or not isinstance(answer, BaseException)
        if call is not None or is_fact:
            self.outbox.put(Reported(reports_of(request, answer, outgoing.spec.credentials)))
        self._in_hand.pop(_key(request), None)
        if call is not None:  # last: who waits for the wire to be idle finds all of it told
            call.timer.cancel()
            self.pace.note(request.connection_id, machine_time() - call.began)
            self.room.free(1, slow=call.is_aside)


def _key(request: OrderRequest) -> Key:
    return request.order_id, request.fence


def reports_of(
    request: OrderRequest, answer: Answer, secrets: Mapping[str, str] = MappingProxyType({})
) -> list[OrderReport]:
    """Turn what a call ended in into reports: facts as they are, everything else as a decision.

    secrets: the account's, which are taken out of what the broker said."""
    if not isinstance(answer, BaseException):
        return list(answer)
    if isinstance(answer, NotSent):
        kind, code = ReportKind.NOT_SENT, answer.code
    elif isinstance(answer, Rejected):
        kind, code = ReportKind.REJECTED, answer.code
    elif isinstance(answer, BrokerError):
        kind, code = ReportKind.UNKNOWN, answer.code
    elif isinstance(answer, TimeoutError):
        kind, code = ReportKind.UNKNOWN, Code.REPLY_LOST
    else:
        kind, code = ReportKind.UNKNOWN, Code.UNEXPECTED
    return [
        OrderReport(
            kind=kind,
            connection_id=request.connection_id,
            client_order_id=request.client_order_id,
            code=code,
            detail=storable(without_secrets(_detail_of(request, answer), secrets)),
            fence=request.fence,
        )
    ]


def _detail_of(request: OrderRequest, answer: BaseException) -> str:
    """The broker's own words; of an adapter's own failure its name and where its traceback is."""
    if isinstance(answer, BrokerError):
        return answer.detail
    if isinstance(answer, TimeoutError):
        return type(answer).__name__
    reference = new_reference()
    log.error("an adapter failed", order=request.order_id, reference=reference, exc_info=answer)
    return f"{type(answer).__name__} (reference {reference})"
