"""The simulated network between us and the paper broker: delays and losses.

An order that was sent arrives even if its sender gives up: the delivery is a separate task, and a
caller that gave up gets no report.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from brokers.base import BrokerError, Guard, NotSent, OnOutcome, Outcome, OutcomeUnknown, Rejected
from brokers.paper.form import REPLY_TIMEOUT
from brokers.paper.order_intake import IncomingOrder, Reply, take_orders
from brokers.paper.reads import AccountAccess
from brokers.types import ConnectionSpec, OrderRequest
from common.reason_codes import Code

log = logging.getLogger(__name__)
THREADS = 4
P = ParamSpec("P")
T = TypeVar("T")
Sending = tuple[ConnectionSpec, OrderRequest, AccountAccess]


class WorkerThreads:
    """Threads for the broker's database work, so that it does not block the event loop."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._pid = 0

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run blocking work in a thread and return its result."""
        if self._pool is None or self._pid != os.getpid():  # threads do not survive a fork
            self._pool, self._pid = ThreadPoolExecutor(THREADS, "paper"), os.getpid()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: work(*args, **kwargs))


class Delivery:
    """One call of `submit_many`; reports outcomes until the caller stops listening."""

    def __init__(
        self,
        threads: WorkerThreads,
        guard: Guard,
        on_outcome: OnOutcome,
        in_flight: "set[asyncio.Task[Any]]",
    ):
        self._threads, self._in_flight = threads, in_flight
        self._guard, self._on_outcome = guard, on_outcome
        self._listening = True

    async def send(self, sendings: Sequence[Sending]) -> None:
        """Send orders and wait for the replies; returns when each outcome is reported."""
        sent = [sending for sending in sendings if self._check_sending(sending)]
        groups: dict[int, list[Sending]] = {}
        for sending in sent:
            groups.setdefault(sending[2].latency_ms, []).append(sending)
        tasks = [self._start(self._deliver(ms, group)) for ms, group in groups.items()]
        try:
            for task in tasks:
                await asyncio.shield(task)
        finally:
            self._listening = False

    def _start(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(work)
        self._in_flight.add(task)
        task.add_done_callback(self._in_flight.discard)
        return task

    def _check_sending(self, sending: Sending) -> bool:
        """Run the guard. Return False if the order is not sent, after reporting that."""
        spec, request, access = sending
        try:
            if access.unreachable:
                raise NotSent(Code.NOT_CONNECTED, "the paper broker cannot be reached")
            self._guard(request)
            if not access.admits(spec.credentials.get("password", "")):
                raise Rejected(Code.CREDENTIALS_REFUSED)
        except BrokerError as error:
            self._report(request, error)
            return False
        return True

    async def _deliver(self, latency_ms: int, group: Sequence[Sending]) -> None:
        """Deliver orders to the book and report their outcomes."""
        if latency_ms:
            await asyncio.sleep(latency_ms / 1000)
        arriving = [sending for sending in group if not sending[2].silent_before]
        lost = [sending for sending in group if sending[2].silent_before]
        incoming_orders = [
            IncomingOrder(access.account_id, request) for _, request, access in arriving
        ]
        try:
            replies = await self._threads.run(take_orders, incoming_orders, self._guard)
        except Exception as error:  # any: after an error of the broker the outcome is unknown
            log.warning("paper: %d orders without an answer: %s", len(arriving), error)
            for _, request, _ in arriving:
                self._report(request, OutcomeUnknown(Code.REPLY_LOST, type(error).__name__))
            replies = []
        waits: list[Awaitable[None]] = []
        for sending, reply in zip(arriving, replies, strict=False):
            if reply is None or reply.is_lost or sending[2].silent_after:
                lost.append(sending)
            elif sending[2].reply_delay_ms:
                waits.append(self._report_later(sending, reply))
            else:
                self._report(sending[1], reply.answer)
        waits += [self._time_out(sending) for sending in lost]
        if waits and self._listening:
            await asyncio.gather(*waits)
        else:
            _forget(waits)

    async def _report_later(self, sending: Sending, reply: Reply) -> None:
        await asyncio.sleep(sending[2].reply_delay_ms / 1000)
        self._report(sending[1], reply.answer)

    async def _time_out(self, sending: Sending) -> None:
        """Report a lost reply after the connection's reply time-out."""
        await asyncio.sleep(float(sending[0].settings.get("reply_timeout", REPLY_TIMEOUT)))
        self._report(sending[1], OutcomeUnknown(Code.REPLY_LOST, "no answer"))

    def _report(self, request: OrderRequest, outcome: Outcome) -> None:
        if self._listening:
            self._on_outcome(request, outcome)


def _forget(waits: Sequence[Awaitable[None]]) -> None:
    """Close replies that no caller awaits."""
    for wait in waits:
        if asyncio.iscoroutine(wait):
            wait.close()
