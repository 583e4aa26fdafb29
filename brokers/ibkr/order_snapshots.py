"""Snapshots of the broker's orders: one read at a time, shared by callers that wait for it.

TWS lists everything that ended or was executed today, which is more with each trade: a reader that
needs only what works now does not ask for that, unless an order of ours is missing there.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from typing import Any, Protocol

from ib_async.objects import ExecutionFilter

from brokers.base import ReadFailed
from brokers.ibkr.endpoint import Endpoint
from brokers.ibkr.order_cache import OrderCache
from brokers.ibkr.order_records import Fill
from brokers.ibkr.parse import to_decimal
from brokers.ibkr.twin_orders import settle
from brokers.ibkr.wrapper import COMPLETED, OPEN, AnswerError, TwsWrapper
from brokers.rate_limits import Priority
from common.reason_codes import Code


class Depth(IntEnum):
    """What a snapshot has at least: open orders; today's executions; orders that ended today."""

    OPEN = 1
    EXECUTED = 2
    ENDED = 3


@dataclass(slots=True)
class Snapshot:
    """Open orders as received, today's executions, and their commissions by execution id.

    The executions are empty where the reader did not ask for them.
    """

    open: list[Any]
    executions: list[Any]
    commissions: dict[str, tuple[Any, str]]

    @property
    def open_refs(self) -> set[str]:
        """The references of the open orders."""
        return _refs_of(self.open)

    @property
    def executed_refs(self) -> set[str]:
        """The references of the orders that were executed today."""
        return {execution.orderRef for _, execution in self.executions}

    def add_commission(self, fill: Fill, exec_id: str) -> None:
        """Give an execution of this list its commission; it may have been reported without it."""
        amount, fill.currency = self.commissions.get(exec_id, (None, ""))
        fill.commission, fill.may_be_stored = to_decimal(amount), True


class ReadSession(Protocol):
    """What reading needs of the session whose orders it reads."""

    @property
    def endpoint(self) -> Endpoint:
        """The account, and where its gateway is."""

    @property
    def order_cache(self) -> OrderCache:
        """What is known of our orders."""

    @property
    def request(self) -> Callable[..., Coroutine[Any, Any, list[Any]]]:
        """Sends a request and returns its answers."""

    def require_ibkr(self) -> None:
        """Raise ReadFailed while TWS answers from its cache."""


class OrderSnapshots:
    """Reads the orders of one session."""

    def __init__(self, session: ReadSession, wrapper: TwsWrapper) -> None:
        self._session, self._wrapper = session, wrapper
        self._next: dict[Depth, asyncio.Task[Snapshot]] = {}  # those that have not begun
        self._one_at_a_time = asyncio.Lock()

    async def fresh(self, depth: Depth) -> Snapshot:
        """Return a snapshot that is requested after this call. Raises ReadFailed."""
        task = next((task for has, task in self._next.items() if has >= depth), None)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._read(depth))
            self._next[depth] = task
            task.add_done_callback(_retrieve_exception)
        return await asyncio.shield(task)

    async def _read(self, depth: Depth) -> Snapshot:
        """Read open orders first: an order that ends meanwhile is in one of the later lists."""
        session = self._session
        request = partial(session.request, priority=Priority.LOOKUP)
        async with self._one_at_a_time:
            del self._next[depth]  # later callers get a newer snapshot
            filter_ = ExecutionFilter(acctCode=session.endpoint.account)
            executions, commissions = list[Any](), dict[str, tuple[Any, str]]()
            try:
                opened = await request(lambda client, _: client.reqAllOpenOrders(), key=OPEN)
                settle(session.order_cache, session.endpoint.connection_id, opened)
                if not self._explains_all(opened):
                    depth = Depth.ENDED
                if depth >= Depth.ENDED:
                    await request(lambda client, _: client.reqCompletedOrders(False), key=COMPLETED)
                if depth >= Depth.EXECUTED:
                    with self._wrapper.collect_commissions() as commissions:
                        executions = await request(lambda c, n: c.reqExecutions(n, filter_))
            except AnswerError as error:
                raise ReadFailed(Code.BROKER_UNREACHABLE, str(error)) from error
            session.require_ibkr()  # else TWS answered from its cache
            return Snapshot(opened, executions, commissions)

    def _explains_all(self, opened: list[Any]) -> bool:
        """Whether every order that may be executed is open, with the executions that we have.

        Otherwise one has ended, or was executed, without a message.
        """
        open_refs = _refs_of(opened)
        records = self._session.order_cache.of(self._session.endpoint.connection_id)
        return all(
            record.filled <= record.executed and (record.order_ref in open_refs or not record.live)
            for record in records
        )


def _refs_of(opened: list[Any]) -> set[str]:
    return {item[1].orderRef for item in opened if len(item) == 3}  # others: statuses, unread


def _retrieve_exception(task: "asyncio.Task[Snapshot]") -> None:
    """Retrieve a failure, so that asyncio logs no warning if all callers were cancelled."""
    if not task.cancelled():
        task.exception()
