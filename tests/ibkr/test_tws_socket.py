"""Between the guard and the kernel: bytes are sent at once or never."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from brokers.base import NotSent, OutcomeUnknown
from brokers.rate_limits import Priority
from brokers.types import CancelRequest, ModifyRequest, OrderRequest
from common.reason_codes import Code
from tests.ibkr.factories import (
    QUICK,
    Environment,
    UnlimitedRate,
    adapter,
    limit,
    order,
    protected,
    with_environment,
)

ID = "abc00000000000001"


@with_environment
async def test_order_refused_by_guard_is_not_sent(stage: Environment) -> None:
    def refuse(_: OrderRequest) -> None:
        raise NotSent(Code.KILL_SWITCH)

    with pytest.raises(NotSent):
        await stage.adapter.submit(stage.spec, protected(), refuse)
    assert await stage.find(ID) is None  # requested after it on the same connection
    assert stage.venue.received == []


@with_environment
async def test_nothing_runs_between_guard_and_write(stage: Environment) -> None:
    await stage.adapter.positions(stage.spec)
    sent = []

    def guard(_: OrderRequest) -> None:
        loop, conn = asyncio.get_running_loop(), stage.session.client.conn
        sent.append(conn.numBytesSent)
        loop.call_soon(lambda: sent.append(conn.numBytesSent))

    await stage.adapter.submit(stage.spec, protected(), guard)
    before, after = sent
    assert after - before > 300  # all three were sent in one turn of the loop


@with_environment
async def test_connection_with_unsent_bytes_is_not_written_to(stage: Environment) -> None:
    await stage.submit(limit("abc00000000000002"))
    stage.tws.listening.clear()
    transport: Any = stage.session.client.conn.transport
    transport.write(b"\0" * 30_000_000)  # more than both kernels buffer
    assert transport.get_write_buffer_size() > 0
    with pytest.raises(NotSent):
        await stage.submit(order())
    transport.abort()
    stage.tws.listening.set()
    await stage.wait_until(lambda: not stage.session.usable)
    assert await stage.find(ID) is None
    assert stage.venue.received == ["abc00000000000002"]


class Brim(UnlimitedRate):
    """A rate limiter that can fill both socket buffers right before an admitted write."""

    def __init__(self, stage: Environment) -> None:
        self._stage, self.fills = stage, False
        stage.adapter = adapter(self, replace(QUICK, ping=60.0))  # no ping fills the buffer

    async def acquire(
        self,
        tokens: float = 1,
        *,
        priority: Priority = Priority.ENTRY,
        deadline: float | None = None,
    ) -> None:
        if not self.fills:
            return
        self.fills = False
        self._stage.tws.listening.clear()
        transport: Any = self._stage.session.client.conn.transport
        with suppress(BlockingIOError):
            while True:
                os.write(transport.get_extra_info("socket").fileno(), b"\0" * 65536)
        assert transport.get_write_buffer_size() == 0


@with_environment
async def test_partly_buffered_message_is_never_sent_later(stage: Environment) -> None:
    brim = Brim(stage)
    for n, (request, outcome) in enumerate(
        [(order(), NotSent), (protected("abc00000000000003"), OutcomeUnknown)]
    ):
        await stage.adapter.instruments(stage.spec)  # caches its contract
        brim.fills = True
        with pytest.raises(outcome):
            await stage.submit(request)
        assert not stage.session.usable, n  # the connection was reset at once
        stage.tws.listening.set()
        assert await stage.find(request.client_order_id) is None
    assert stage.venue.received == []


@with_environment
async def test_lost_connection_leaves_cancel_not_sent_and_level_changes_unknown(
    stage: Environment,
) -> None:
    brim = Brim(stage)
    await stage.submit(protected())
    await stage.submit(limit("abc00000000000002"))
    levels = ModifyRequest(ID, "", "EURUSD", Decimal("1.095"), Decimal("1.13"))
    cancel = CancelRequest("abc00000000000002", "", "EURUSD")
    one = replace(levels, take_profit=Decimal("1.12"))
    calls: list[tuple[Callable[[], Awaitable[object]], type[Exception]]] = [
        (lambda: stage.adapter.modify(stage.spec, levels), OutcomeUnknown),
        (lambda: stage.adapter.modify(stage.spec, one), NotSent),
        (lambda: stage.adapter.cancel(stage.spec, cancel), NotSent),
    ]
    for call, outcome in calls:
        await stage.adapter.quote(stage.spec, "EURUSD")  # so levels need no price request
        brim.fills = True
        with pytest.raises(outcome):
            await call()
        stage.tws.listening.set()
        await stage.wait_until(lambda: not stage.session.usable)
        await stage.wait_until(lambda: stage.session.usable)
    assert stage.venue.order(f"{ID}:sl").aux == "1.09"
    assert stage.venue.order("abc00000000000002").live


@with_environment
async def test_calls_during_a_reconnect_are_not_sent(stage: Environment) -> None:
    await stage.submit(protected())
    await stage.tws.close()
    await stage.wait_until(lambda: not stage.session.usable)
    with pytest.raises(NotSent):
        await stage.adapter.cancel(stage.spec, CancelRequest(ID, "", "EURUSD"))
    with pytest.raises(NotSent):
        await stage.adapter.modify(stage.spec, ModifyRequest(ID, "", "EURUSD", None, None))


@with_environment
async def test_order_waiting_for_rate_limit_is_not_sent_after_a_disconnect(
    stage: Environment,
) -> None:
    class Slow(UnlimitedRate):
        hold = asyncio.Event()

        async def acquire(
            self,
            tokens: float = 1,
            *,
            priority: Priority = Priority.ENTRY,
            deadline: float | None = None,
        ) -> None:
            if tokens == 3:
                await self.hold.wait()

    stage.adapter = adapter(Slow())
    await stage.adapter.positions(stage.spec)
    waiting = asyncio.create_task(stage.submit(protected()))
    await asyncio.sleep(0)
    stage.tws.announce(1100, "lost")
    await stage.wait_until(lambda: not stage.session.usable)
    Slow.hold.set()
    with pytest.raises(NotSent):
        await waiting
    assert stage.venue.received == []
