"""The dispatcher: this process's event loop, on which every call to a broker runs.

Places are reserved before anything is claimed, because an intent without a place dies as
NEVER_ARRIVED when the process does. The loop outlives bundles and never touches the ORM: what it
learns goes into `outbox`, and the report writer writes it down.
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
from brokers.redaction import storable, without_secrets
from brokers.registry import adapter_for
from brokers.types import OrderReport, OrderRequest, ReportKind
from common.clocks import machine_time
from common.failpoints import failpoint
from common.reason_codes import Code
from connections.models import HaltMode
from execution.base.dropped_messages import new_reference
from execution.base.kill_switch import Halts
from execution.dispatch.background_calls import BackgroundCallRunner
from execution.dispatch.concurrency import LatencyTracker, SlotPool, throttled_connections
from execution.dispatch.report_writer import OrderCallReports, OutboxItem
from execution.submission.claim import Outgoing

log = structlog.get_logger(__name__)
RECLAIM_SECONDS = 0.25
BATCH_TIMEOUT_SECONDS = 60
PROCESS_ENDING = "This process ends: it asks no broker any more."
T = TypeVar("T")
CallOutcome = Sequence[OrderReport] | BaseException
# A call's: order and fence. After this machine has slept an order may be sent again before its
# earlier call is given up: timers stand still meanwhile, leases do not.
CallKey = tuple[int, int]


class KillSwitchSnapshot:
    """This process's copy of the kill switch. One not read for a lease counts as set."""

    def __init__(self, lease_seconds: float) -> None:
        self._lease = lease_seconds
        self._halts, self._read_at = Halts(), float("-inf")

    def update(self, halts: Halts, read_at: float) -> None:
        """Take over what was read; read_at: machine_time() before the read."""
        self._halts, self._read_at = halts, read_at

    def blocks(self, outgoing: Outgoing) -> bool:
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
class InFlightCall:
    """An order's call under way. began: machine_time(); is_aside: it has given its place back."""

    outgoing: Outgoing
    timer: asyncio.TimerHandle
    began: float
    has_yielded_slot: bool


class OrderDispatcher(threading.Thread):
    """The loop's thread, its places, and what came back."""

    def __init__(
        self,
        *,
        slots: int,
        call_timeout: float,
        kill_switch: KillSwitchSnapshot,
        lane_deadline: Callable[[str], float] = lambda lane: float("inf"),
        may_begin: Callable[[str], bool] = lambda lane: True,
    ) -> None:
        """lane_deadline: the machine_time() until when calls of a lane may leave; may_begin:
        whether one may begin there now (`lane_leases.LaneLeaseManager`)."""
        super().__init__(daemon=True, name="wire")
        self.outbox: queue.SimpleQueue[OutboxItem] = queue.SimpleQueue()
        self.loop = asyncio.new_event_loop()
        self.slots, self.latency = SlotPool(slots), LatencyTracker()
        self._call_timeout, self._kill_switch, self.lane_deadline = (
            call_timeout,
            kill_switch,
            lane_deadline,
        )
        self._calls: dict[CallKey, InFlightCall] = {}
        self._dispatched_lanes: dict[CallKey, str] = {}  # lanes
        self._overdue: frozenset[str] = frozenset()  # connections with an overdue call
        self._tasks: set[asyncio.Task[None]] = set()
        self._used_broker_types: set[str] = set()
        self._is_stopped = False
        self.background_calls = BackgroundCallRunner(
            self.loop, self.outbox.put, call_timeout, may_begin
        )

    def run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self._reclaim_overdue_slots()
        self.loop.run_forever()

    def run_call(self, call: Coroutine[Any, Any, T], timeout: float) -> T:
        """Run a coroutine on the loop from another thread and return its result.

        Raises TimeoutError after so many seconds; the call is ended then. Raises ReadFailed once
        the loop stands still: it would wait there for all of that time.
        """
        if self._is_stopped:
            call.close()
            raise ReadFailed(Code.NO_SESSION_WORKER, PROCESS_ENDING)
        future = asyncio.run_coroutine_threadsafe(call, self.loop)
        try:
            return future.result(timeout)
        except TimeoutError:
            future.cancel()
            raise

    def stop(self) -> None:
        """Have the loop stand still: nothing is asked on it any more."""
        self._is_stopped = True
        self.loop.call_soon_threadsafe(self.loop.stop)

    def adapter(self, broker_type: str) -> BrokerAdapter:
        """This process's adapter of a kind, remembered for the disconnect at the end."""
        self._used_broker_types.add(broker_type)
        return adapter_for(broker_type)

    def disconnect(self, timeout: float) -> None:
        """End the sessions of every adapter that was used."""
        for broker_type in sorted(self._used_broker_types):
            try:
                self.run_call(adapter_for(broker_type).disconnect(), timeout)
            except Exception as error:
                log.warning("disconnect failed", kind=broker_type, error=repr(error))

    # ---- places ---------------------------------------------------------------------------
    @property
    def in_flight(self) -> int:
        """How many orders' calls are under way or about to be."""
        return self.slots.in_flight

    def wait_idle(self, timeout: float) -> bool:
        """Wait until no call is under way; False when the time is over first."""
        until = machine_time() + timeout
        idle = self.slots.wait_idle(timeout)
        return self.background_calls.wait_idle(max(0.0, until - machine_time())) and idle

    def is_lane_busy(self, lane: str) -> bool:
        """Whether a call of this lane is in hand: from when it is handed over, though this loop may
        not have begun it, until what came of it lies in the outbox."""
        return lane in self._dispatched_lanes.copy().values() or self.background_calls.is_lane_busy(
            lane
        )

    def calling_connections(self) -> set[str]:
        """Return the connections with an order's call under way. On the loop only."""
        return {call.outgoing.request.connection_id for call in self._calls.values()}

    def throttled(self, connection_ids: Collection[str]) -> set[str]:
        """Return those of these accounts whose entries must wait: slow ones, and those with an
        overdue call, beyond their share of the places."""
        slow = self.latency.slow | self._overdue
        return (
            throttled_connections(connection_ids, slow, self.slots.free_for_slow) if slow else set()
        )

    def _reclaim_overdue_slots(self) -> None:
        """Have calls that are overdue, the oldest first, give their places to the others."""
        self.loop.call_later(RECLAIM_SECONDS, self._reclaim_overdue_slots)
        overdue_since, overdue = machine_time() - self.latency.overdue_after(), set()
        for call in self._calls.values():
            if call.began > overdue_since:
                break
            overdue.add(call.outgoing.request.connection_id)
            if not call.has_yielded_slot:
                call.has_yielded_slot = self.slots.yield_slot()
        self._overdue = frozenset(overdue)

    # ---- calls ----------------------------------------------------------------------------
    def dispatch(self, bundle: Sequence[Outgoing]) -> None:
        """Start the calls of a bundle whose places are reserved; returns at once."""
        if bundle:
            self._dispatched_lanes |= {_key(o.request): o.lane for o in bundle}
            self.loop.call_soon_threadsafe(self._begin, list(bundle))

    def _begin(self, bundle: list[Outgoing]) -> None:
        failpoint("wire.begin")
        now, slow = machine_time(), self.latency.slow
        for outgoing in bundle:
            wait = max(0.0, outgoing.request.send_by - now) + self._call_timeout
            timer = self.loop.call_later(wait, self._time_out, outgoing)
            is_aside = outgoing.request.connection_id in slow and self.slots.yield_slot()
            self._calls[_key(outgoing.request)] = InFlightCall(outgoing, timer, now, is_aside)
        for broker_type, group in groupby(
            sorted(bundle, key=lambda o: o.broker_type), key=lambda o: o.broker_type
        ):
            orders = list(group)
            adapter = self.adapter(broker_type)
            if adapter.capabilities(orders[0].spec).submit_many:
                self._spawn(self._submit_many(broker_type, orders))
            else:
                for outgoing in orders:
                    self._spawn(self._submit_one(outgoing))

    def _spawn(self, call: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(call)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _submit_one(self, outgoing: Outgoing) -> None:
        request = outgoing.request
        adapter = self.adapter(outgoing.broker_type)
        try:
            limit = max(0.0, request.send_by - machine_time()) + self._call_timeout
            async with asyncio.timeout(limit):  # ends the call itself: nothing is sent later
                answer: CallOutcome = await adapter.submit(outgoing.spec, request, self._guard)
        except Exception as error:  # outcomes, time-outs and our own bugs: all are told
            answer = error
        self._on_outcome(outgoing, answer)

    async def _submit_many(self, broker_type: str, orders: list[Outgoing]) -> None:
        fault: BaseException = TimeoutError()
        known = {_key(o.request): o for o in orders}

        def report_outcome(request: OrderRequest, answer: CallOutcome) -> None:
            self._on_outcome(known[_key(request)], answer)

        try:
            pairs = [(o.spec, o.request) for o in orders]
            async with asyncio.timeout(
                BATCH_TIMEOUT_SECONDS
            ):  # each order has its own long before that
                await self.adapter(broker_type).submit_many(pairs, self._guard, report_outcome)
        except Exception as error:
            log.exception("submit_many failed", kind=broker_type, orders=len(orders))
            fault = error
        else:
            return  # whoever was not told waits for its own time-out: it may still be told
        for outgoing in orders:
            self._on_outcome(outgoing, fault)

    def _guard(self, request: OrderRequest) -> None:
        """Right before the socket write: the deadline, the kill switch, the lane's lease."""
        call = self._calls.get(_key(request))
        if call is None or machine_time() > request.send_by:
            raise NotSent(Code.SEND_DEADLINE)
        if self._kill_switch.blocks(call.outgoing):
            raise NotSent(Code.KILL_SWITCH)
        if call.outgoing.lane and machine_time() > self.lane_deadline(call.outgoing.lane):
            raise NotSent(Code.SESSION_MOVED)
        failpoint("wire.guarded")

    def _time_out(self, outgoing: Outgoing) -> None:
        if _key(outgoing.request) in self._calls:
            self._on_outcome(outgoing, TimeoutError())

    def _on_outcome(self, outgoing: Outgoing, answer: CallOutcome) -> None:
        """One call has its outcome; facts that come after a time-out are still told."""
        failpoint("wire.answered")
        request = outgoing.request
        call = self._calls.pop(_key(request), None)
        is_fact = isinstance(answer, Rejected) or not isinstance(answer, BaseException)
        if call is not None or is_fact:
            self.outbox.put(
                OrderCallReports(reports_from_outcome(request, answer, outgoing.spec.credentials))
            )
        self._dispatched_lanes.pop(_key(request), None)
        if call is not None:  # last: who waits for the dispatcher to be idle finds all of it told
            call.timer.cancel()
            self.latency.record(request.connection_id, machine_time() - call.began)
            self.slots.free(1, slow=call.has_yielded_slot)


def _key(request: OrderRequest) -> CallKey:
    return request.order_id, request.fence


def reports_from_outcome(
    request: OrderRequest, answer: CallOutcome, secrets: Mapping[str, str] = MappingProxyType({})
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
