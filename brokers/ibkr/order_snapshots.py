"""What the broker has of orders, read anew: one reading at a time, shared by who asks in time."""

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ib_async.objects import ExecutionFilter

from brokers.base import ReadFailed
from brokers.ibkr.wrapper import COMPLETED, OPEN, AnswerError, TwsWrapper
from brokers.rate_limits import Priority
from common.reason_codes import Code

if TYPE_CHECKING:
    from brokers.ibkr.session import Session


@dataclass(slots=True)
class Snapshot:
    """The open orders as they came, today's executions, and what those cost by their ids."""

    open: list[Any]
    executions: list[Any]
    costs: dict[str, tuple[Any, str]]


class OrderSnapshots:
    """One session's readings of its orders."""

    def __init__(self, session: "Session", ear: TwsWrapper) -> None:
        self._session, self._wrapper = session, ear
        self._next: asyncio.Task[Snapshot] | None = None
        self._one_at_a_time = asyncio.Lock()

    async def fresh(self) -> Snapshot:
        """Return a reading that is sent after this call. Raises ReadFailed."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._read())
            self._next.add_done_callback(_retrieve)
        return await asyncio.shield(self._next)

    async def _read(self) -> Snapshot:
        """Open ones first: what ends meanwhile stands in one of the later lists."""
        session = self._session
        ask = partial(session.ask, priority=Priority.LOOKUP)
        async with self._one_at_a_time:
            self._next = None  # who asks from here on gets a newer one
            filter_ = ExecutionFilter(acctCode=session.endpoint.account)
            try:
                opened = await ask(lambda client, _: client.reqAllOpenOrders(), key=OPEN)
                await ask(lambda client, _: client.reqCompletedOrders(False), key=COMPLETED)
                with self._wrapper.costs_kept() as costs:
                    executions = await ask(lambda client, n: client.reqExecutions(n, filter_))
            except AnswerError as error:
                raise ReadFailed(Code.BROKER_UNREACHABLE, str(error)) from error
            session.require_ibkr()  # else TWS answered from its memory
            return Snapshot(opened, executions, costs)


def _retrieve(task: "asyncio.Task[Snapshot]") -> None:
    """Look at a reading's failure, so that nobody is warned where all who asked are gone."""
    if not task.cancelled():
        task.exception()
