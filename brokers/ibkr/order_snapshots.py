"""Snapshots of the broker's orders: one read at a time, shared by callers that wait for it."""

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ib_async.objects import ExecutionFilter

from brokers.base import ReadFailed
from brokers.ibkr.order_records import Fill
from brokers.ibkr.parse import to_decimal
from brokers.ibkr.wrapper import COMPLETED, OPEN, AnswerError, TwsWrapper
from brokers.rate_limits import Priority
from common.reason_codes import Code

if TYPE_CHECKING:
    from brokers.ibkr.session import Session


@dataclass(slots=True)
class Snapshot:
    """Open orders as received, today's executions, and their commissions by execution id."""

    open: list[Any]
    executions: list[Any]
    commissions: dict[str, tuple[Any, str]]

    def add_commission(self, fill: Fill, exec_id: str) -> None:
        """Give an execution of this list its commission; it may have been reported without it."""
        amount, fill.currency = self.commissions.get(exec_id, (None, ""))
        fill.commission, fill.may_be_stored = to_decimal(amount), True


class OrderSnapshots:
    """Reads the orders of one session."""

    def __init__(self, session: "Session", wrapper: TwsWrapper) -> None:
        self._session, self._wrapper = session, wrapper
        self._next: asyncio.Task[Snapshot] | None = None
        self._one_at_a_time = asyncio.Lock()

    async def fresh(self) -> Snapshot:
        """Return a snapshot that is requested after this call. Raises ReadFailed."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._read())
            self._next.add_done_callback(_retrieve_exception)
        return await asyncio.shield(self._next)

    async def _read(self) -> Snapshot:
        """Read open orders first: an order that ends meanwhile is in one of the later lists."""
        session = self._session
        request = partial(session.request, priority=Priority.LOOKUP)
        async with self._one_at_a_time:
            self._next = None  # later callers get a newer snapshot
            filter_ = ExecutionFilter(acctCode=session.endpoint.account)
            try:
                opened = await request(lambda client, _: client.reqAllOpenOrders(), key=OPEN)
                await request(lambda client, _: client.reqCompletedOrders(False), key=COMPLETED)
                with self._wrapper.collect_commissions() as commissions:
                    executions = await request(lambda client, n: client.reqExecutions(n, filter_))
            except AnswerError as error:
                raise ReadFailed(Code.BROKER_UNREACHABLE, str(error)) from error
            session.require_ibkr()  # else TWS answered from its cache
            return Snapshot(opened, executions, commissions)


def _retrieve_exception(task: "asyncio.Task[Snapshot]") -> None:
    """Retrieve a failure, so that asyncio logs no warning if all callers were cancelled."""
    if not task.cancelled():
        task.exception()
