"""The dispatcher: this process's event loop, on which every call to a broker runs.

Slots are reserved before orders are claimed: an intent that waits for a slot when its process dies
ends as NEVER_ARRIVED. The loop outlives bundles and never uses the ORM: it puts results into the
queue `results`, and the report writer stores them.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from itertools import groupby
from types import MappingProxyType
from typing import Any, TypeVar

import structlog

from brokers.base import BrokerAdapter, BrokerError, NotSent, ReadFailed, Rejected, outcome_of
from brokers.redaction import storable, without_secrets
from brokers.registry import adapter_for
from brokers.types import OrderReport, OrderRequest, ReportKind
from common.clocks import machine_time
from common.failpoints import failpoint
from common.process import tracing
from common.reason_codes import Code
from connections.models import HaltMode
from execution.base.dropped_messages import new_reference
from execution.base.kill_switch import Halts
from execution.dispatch.background_calls import BackgroundCallRunner
from execution.dispatch.concurrency import LatencyTracker, SlotPool, throttled_connections
from execution.dispatch.report_writer import OrderCallReports, ResultItem
from execution.dispatch.send_recorder import CallOutcome, SendMarks, SendRecorder
from execution.submission.outgoing import Outgoing

log = structlog.get_logger(__name__)
RECLAIM_SECONDS = 0.25
MAX_DISOWNED = 100_000  # an order is disowned once for each of its tries
WAIT_STEP_SECONDS = 0.01
BATCH_TIMEOUT_SECONDS = 60
PROCESS_ENDING = "This process is ending and calls no broker any more."
CALL_NOT_ENDED = (TimeoutError, ReadFailed)
"""What `OrderDispatcher.run_call` itself raises: the call was not made, or has not ended."""
T = TypeVar("T")


class ProcessEndingError(ReadFailed):
    """A call was not made, or was ended, because the dispatcher stops."""

    def __init__(self) -> None:
        super().__init__(Code.NO_SESSION_WORKER, PROCESS_ENDING)


# A call's order id and fence. Both, because an order may have two calls: while a machine sleeps its
# timers stop and leases do not, so an order may be sent again before its earlier call times out.
CallKey = tuple[int, int]


class KillSwitchSnapshot:
    """This process's copy of the kill switch. A copy older than a lease blocks everything."""

    def __init__(self, lease_seconds: float) -> None:
        self._lease = lease_seconds
        self._halts, self._read_at = Halts(), float("-inf")
        self._storing = threading.Lock()  # the process reads it with each bundle, and each second

    def update(self, halts: Halts, read_at: float) -> None:
        """Store what was read, unless a later read is stored. read_at: machine_time() before it."""
        with self._storing:
            if read_at >= self._read_at:
                self._halts, self._read_at = halts, read_at

    def blocks(self, outgoing: Outgoing) -> bool:
        """Return whether this order must not be sent now."""
        if machine_time() > self._read_at + self._lease:
            return True
        if not self._halts:
            return False  # the usual case, asked twice for each order
        modes = [
            self._halts.mode(
                owner_id=outgoing.owner_id,
                feed_id=feed_id,
                connection_id=outgoing.request.connection_id,
                broker_type=outgoing.broker_type,
                pairs=outgoing.pairs,
            )
            for feed_id in (outgoing.feed_id, *outgoing.other_feeds)
        ]
        return HaltMode.HALTED in modes or (outgoing.is_entry and any(modes))


@dataclass(slots=True)
class InFlightCall:
    """An order's call in flight. began: machine_time(). has_yielded_slot: it gave its slot back."""

    outgoing: Outgoing
    timer: asyncio.TimerHandle
    began: float
    has_yielded_slot: bool
    marks: SendMarks = field(default_factory=SendMarks)


class OrderDispatcher(threading.Thread):
    """The thread of the event loop, with its slots and its queue of results."""

    def __init__(
        self,
        *,
        slots: int,
        call_timeout: Callable[[], float],
        kill_switch: KillSwitchSnapshot,
        lane_deadline: Callable[[str], float] = lambda lane: float("inf"),
        may_begin: Callable[[str], bool] = lambda lane: True,
        record_send: Callable[[int, int], None] = lambda order_id, fence: None,
        distrust_records: Callable[[], None] = lambda: None,
    ) -> None:
        """slots: calls of orders at once. call_timeout: returns seconds.

        record_send, distrust_records: see `SendRecorder`.
        lane_deadline: the machine_time() until which orders of a lane may be sent. may_begin:
        whether a background call may start in a lane now (both: `lane_leases.LaneLeaseManager`).
        """
        super().__init__(daemon=True, name="dispatcher")
        self.results: queue.SimpleQueue[ResultItem] = queue.SimpleQueue()
        self.loop = asyncio.new_event_loop()
        self.slots, self.latency = SlotPool(slots), LatencyTracker()
        self._call_timeout, self._kill_switch = call_timeout, kill_switch
        self.lane_deadline = lane_deadline
        self._recorder = SendRecorder(record_send, distrust_records)
        self._calls: dict[CallKey, InFlightCall] = {}
        self._dispatched_lanes: dict[CallKey, str] = {}  # until the outcome is in `results`
        self._disowned: dict[CallKey, None] = {}  # never to be sent, the oldest first
        self._taking = threading.Lock()  # an order is dispatched or disowned
        self._overdue: frozenset[str] = frozenset()  # connections with an overdue call
        self._is_reclaiming = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._awaited: set[Future[Any]] = set()  # calls of `run_call`
        self._used_broker_types: set[str] = set()
        self._stopped = threading.Event()
        self.background_calls = BackgroundCallRunner(
            self.loop, self.results.put, call_timeout, may_begin
        )

    def run(self) -> None:
        """Run the loop until `stop`."""
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def run_call(self, call: Coroutine[Any, Any, T], timeout: float) -> T:
        """Run a coroutine on the loop from another thread and return its result.

        Raises TimeoutError after `timeout` seconds, and cancels the call. Raises ProcessEndingError
        if the dispatcher has stopped, or stops meanwhile; ReadFailed if the call cancels itself.
        """
        if self._stopped.is_set():
            call.close()
            raise ProcessEndingError
        future = asyncio.run_coroutine_threadsafe(call, self.loop)
        self._awaited.add(future)
        if self._stopped.is_set():  # since the check above: the loop may never run the call
            future.cancel()
        try:
            return future.result(timeout)
        except TimeoutError:
            future.cancel()
            raise
        except CancelledError as error:
            if self._stopped.is_set():
                raise ProcessEndingError from error
            raise ReadFailed(Code.UNEXPECTED, "the call was cancelled") from error
        finally:
            self._awaited.discard(future)

    def stop(self) -> None:
        """Stop the loop: no call can be made on it any more, and calls in progress fail at once."""
        self._stopped.set()
        self.loop.call_soon_threadsafe(self.loop.stop)
        for future in tuple(self._awaited):
            future.cancel()

    def adapter(self, broker_type: str) -> BrokerAdapter:
        """Return this process's adapter of a broker type; `disconnect` will end its sessions."""
        adapter = adapter_for(broker_type)
        self._used_broker_types.add(broker_type)  # not before: its package may be broken
        return adapter

    def disconnect(self, timeout: float) -> None:
        """End the sessions of every adapter that was used."""
        for broker_type in sorted(self._used_broker_types):
            try:
                call = outcome_of(adapter_for(broker_type).disconnect())
                error = self.run_call(call, timeout)
            except CALL_NOT_ENDED as not_ended:
                error = not_ended
            if error is not None:
                log.warning("disconnect failed", broker_type=broker_type, error=repr(error))

    # ---- slots ----------------------------------------------------------------------------
    @property
    def in_flight(self) -> int:
        """How many orders' calls are in flight or have a reserved slot."""
        return self.slots.in_flight

    def awaits_reports(self) -> bool:
        """Return whether the reports of an order's call are still to come. From any thread."""
        return bool(self._calls)

    def wait_idle(self, timeout: float) -> bool:
        """Wait until no call is in flight; return False after `timeout` seconds."""
        until = machine_time() + timeout
        idle = self.slots.wait_idle(timeout)
        return self.background_calls.wait_idle(max(0.0, until - machine_time())) and idle

    def wait_ended(self, order_ids: Collection[int], timeout: float) -> bool:
        """Wait until no call of these orders is in flight; return False after `timeout` seconds."""
        until, wanted = machine_time() + timeout, {*order_ids}
        while any(order_id in wanted for order_id, _ in self._dispatched_lanes.copy()):
            if machine_time() >= until:
                return False
            time.sleep(WAIT_STEP_SECONDS)
        return True

    def is_lane_busy(self, lane: str) -> bool:
        """Return whether a call of this lane is in flight: until its result is in `results`."""
        is_dispatched = lane in self._dispatched_lanes.copy().values()
        return is_dispatched or self.background_calls.is_lane_busy(lane)

    def calling_connections(self) -> set[str]:
        """Return the connections with an order's call in flight. Call it on the loop only."""
        return {call.outgoing.request.connection_id for call in self._calls.values()}

    def throttled(self, connection_ids: Collection[str]) -> set[str]:
        """Return which of these accounts' entries must wait.

        Those are slow accounts, and accounts with an overdue call, beyond their share of the slots.
        """
        if not (slow := self.latency.slow | self._overdue):
            return set()
        return throttled_connections(connection_ids, slow, self.slots.free_for_slow)

    def _reclaim_overdue_slots(self) -> None:
        """Take the slots of overdue calls, the oldest first. Repeats itself while there are any."""
        self._is_reclaiming = bool(self._calls)
        if self._is_reclaiming:
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
        """Start the calls of a bundle whose slots are reserved; return at once."""
        with self._taking:
            taken = [o for o in bundle if _key(o.request) not in self._disowned]
            self._dispatched_lanes |= {_key(o.request): o.lane for o in taken}
        if taken:
            self.loop.call_soon_threadsafe(self._begin, taken)
        if len(taken) < len(bundle):  # they are reported as not sent
            self.slots.free(len(bundle) - len(taken))

    def disown(self, keys: Collection[CallKey]) -> set[CallKey]:
        """Refuse to dispatch these orders (id, fence) from now on; return those that it can refuse.

        The others are dispatched: their outcome comes, or is in `results`.
        """
        with self._taking:
            unknown = {key for key in keys if key not in self._dispatched_lanes}
            self._disowned |= dict.fromkeys(unknown)
            while len(self._disowned) > MAX_DISOWNED:
                self._disowned.pop(next(iter(self._disowned)))
        return unknown

    def _begin(self, bundle: list[Outgoing]) -> None:
        failpoint("dispatch.begin")
        now, slow = machine_time(), self.latency.slow
        for outgoing in bundle:
            wait = max(0.0, outgoing.request.send_by - now) + self._call_timeout()
            timer = self.loop.call_later(wait, self._time_out, outgoing)
            has_yielded = outgoing.request.connection_id in slow and self.slots.yield_slot()
            self._calls[_key(outgoing.request)] = InFlightCall(outgoing, timer, now, has_yielded)
        if not self._is_reclaiming:
            self._is_reclaiming = True
            self.loop.call_later(RECLAIM_SECONDS, self._reclaim_overdue_slots)
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
        self._on_outcome(outgoing, await outcome_of(self._submit(outgoing)))

    async def _submit(self, outgoing: Outgoing) -> list[OrderReport]:
        request = outgoing.request
        adapter = self.adapter(outgoing.broker_type)
        limit = max(0.0, request.send_by - machine_time()) + self._call_timeout()
        self._recorder.before_submit(outgoing, self._marks(request))
        async with asyncio.timeout(limit):  # cancels the call: nothing is sent later
            return await adapter.submit(outgoing.spec, request, self._guard)

    async def _submit_many(self, broker_type: str, orders: list[Outgoing]) -> None:
        by_key = {_key(o.request): o for o in orders}

        def report_outcome(request: OrderRequest, outcome: CallOutcome) -> None:
            self._on_outcome(by_key[_key(request)], outcome)

        async def submit() -> None:
            pairs = [(o.spec, o.request) for o in orders]
            for outgoing in orders:
                self._recorder.before_submit(outgoing, self._marks(outgoing.request))
            async with asyncio.timeout(BATCH_TIMEOUT_SECONDS):  # each order's is much shorter
                await self.adapter(broker_type).submit_many(pairs, self._guard, report_outcome)

        error = await outcome_of(submit())
        if error is None:
            return  # an order without an outcome waits for its own time-out: it may still come
        log.error("submit_many failed", broker_type=broker_type, orders=len(orders), exc_info=error)
        for outgoing in orders:
            self._on_outcome(outgoing, error)

    def _guard(self, request: OrderRequest) -> None:
        """Check deadline, kill switch and the lane's lease right before the socket write.

        The record comes first: if it is held up (by a swap, a disk), the checks notice. What they
        refuse after it is not sent, as its outcome states. Raises NotSent.
        """
        self._recorder.at_guard(request, self._marks(request))
        failpoint("dispatch.recorded")
        call = self._calls.get(_key(request))
        if call is None or machine_time() > request.send_by:
            raise NotSent(Code.SEND_DEADLINE)
        if self._kill_switch.blocks(call.outgoing):
            raise NotSent(Code.KILL_SWITCH)
        if call.outgoing.lane and machine_time() > self.lane_deadline(call.outgoing.lane):
            raise NotSent(Code.SESSION_MOVED)
        failpoint("dispatch.guarded")

    def _marks(self, request: OrderRequest) -> SendMarks:
        call = self._calls.get(_key(request))
        return call.marks if call else _unknown_marks()

    def _time_out(self, outgoing: Outgoing) -> None:
        if _key(outgoing.request) in self._calls:
            self._on_outcome(outgoing, TimeoutError())

    def _on_outcome(self, outgoing: Outgoing, outcome: CallOutcome) -> None:
        """Report the outcome of a call. A broker's answer after the time-out is reported, too."""
        failpoint("dispatch.answered")
        request = outgoing.request
        call = self._calls.pop(_key(request), None)
        is_broker_answer = isinstance(outcome, Rejected) or not isinstance(outcome, BaseException)
        if call is not None or is_broker_answer:
            self._recorder.at_outcome(outgoing, outcome, call.marks if call else _unknown_marks())
            self.results.put(
                OrderCallReports(reports_from_outcome(request, outcome, outgoing.spec.credentials))
            )
        self._dispatched_lanes.pop(_key(request), None)
        if call is not None:  # last: after `wait_idle` all outcomes are in `results`
            call.timer.cancel()
            took = machine_time() - call.began
            self.latency.record(request.connection_id, took)
            self.slots.free(1, slow=call.has_yielded_slot)
            if tracing.is_on() and outgoing.signal_id is not None:
                _trace(outgoing, outcome, took)


def _trace(outgoing: Outgoing, outcome: CallOutcome, seconds: float) -> None:
    failed = isinstance(outcome, BaseException)
    code = str(getattr(outcome, "code", "")) or type(outcome).__name__ if failed else "OK"
    tracing.add(
        "send", outgoing.signal_id or 0, seconds, failed=failed, broker=outgoing.broker_type,
        order=outgoing.request.client_order_id, outcome=code,
    )  # fmt: skip


def _unknown_marks() -> SendMarks:
    """Return the marks of a call that has ended: it is recorded again."""
    return SendMarks(has_met_guard=True)


def _key(request: OrderRequest) -> CallKey:
    return request.order_id, request.fence


def reports_from_outcome(
    request: OrderRequest, outcome: CallOutcome, secrets: Mapping[str, str] = MappingProxyType({})
) -> list[OrderReport]:
    """Return a call's outcome as reports: a broker's reports, or one NOT_SENT, REJECTED or UNKNOWN.

    secrets: the account's credentials, which are removed from the broker's message.
    """
    if not isinstance(outcome, BaseException):
        return list(outcome)
    if isinstance(outcome, NotSent):
        kind, code = ReportKind.NOT_SENT, outcome.code
    elif isinstance(outcome, Rejected):
        kind, code = ReportKind.REJECTED, outcome.code
    elif isinstance(outcome, BrokerError):
        kind, code = ReportKind.UNKNOWN, outcome.code
    elif isinstance(outcome, TimeoutError):
        kind, code = ReportKind.UNKNOWN, Code.REPLY_LOST
    else:
        kind, code = ReportKind.UNKNOWN, Code.UNEXPECTED
    return [
        OrderReport(
            kind=kind,
            connection_id=request.connection_id,
            client_order_id=request.client_order_id,
            code=code,
            detail=storable(without_secrets(_detail_of(request, outcome), secrets)),
            fence=request.fence,
        )
    ]


def _detail_of(request: OrderRequest, outcome: BaseException) -> str:
    """Return the broker's message; for a bug in an adapter a reference to its traceback."""
    if isinstance(outcome, BrokerError):
        return outcome.detail
    if isinstance(outcome, TimeoutError):
        return type(outcome).__name__
    reference = new_reference()
    log.error("adapter failed", order=request.order_id, reference=reference, exc_info=outcome)
    return f"{type(outcome).__name__} (reference {reference})"
