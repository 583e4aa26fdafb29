"""Between the guard and the kernel: bytes leave at once, or never."""

import asyncio
import os
from contextlib import suppress
from typing import Any

import pytest

from brokers.base import NotSent, OutcomeUnknown
from brokers.messages import OrderRequest
from common.codes import Code
from tests.ibkr.cast import Stage, limit, order, played, protected

ID = "abc00000000000001"


@played
async def test_what_the_guard_refuses_never_leaves(stage: Stage) -> None:
    def refuse(_: OrderRequest) -> None:
        raise NotSent(Code.KILL_SWITCH)

    with pytest.raises(NotSent):
        await stage.adapter.submit(stage.spec, protected(), refuse)
    assert await stage.find(ID) is None  # asked behind it on the same line
    assert stage.venue.received == []


@played
async def test_nothing_is_awaited_between_guard_and_write(stage: Stage) -> None:
    await stage.adapter.positions(stage.spec)
    sent = []

    def guard(_: OrderRequest) -> None:
        loop, conn = asyncio.get_running_loop(), stage.session.client.conn
        sent.append(conn.numBytesSent)
        loop.call_soon(lambda: sent.append(conn.numBytesSent))

    await stage.adapter.submit(stage.spec, protected(), guard)
    before, after = sent
    assert after - before > 300  # the bytes of all three had left when the loop came round


@played
async def test_a_line_that_holds_bytes_back_is_not_written_to(stage: Stage) -> None:
    await stage.submit(limit("abc00000000000002"))
    stage.tws.listening.clear()
    transport: Any = stage.session.client.conn.transport
    transport.write(b"\0" * 30_000_000)  # more than both kernels take
    assert transport.get_write_buffer_size() > 0
    with pytest.raises(NotSent):
        await stage.submit(order())
    transport.abort()
    stage.tws.listening.set()
    await stage.until(lambda: not stage.session.usable)
    assert await stage.find(ID) is None
    assert stage.venue.received == ["abc00000000000002"]


def fill_the_kernel(stage: Stage) -> None:
    """Have both kernels full, with nothing waiting in the process."""
    stage.tws.listening.clear()
    transport: Any = stage.session.client.conn.transport
    with suppress(BlockingIOError):
        while True:
            os.write(transport.get_extra_info("socket").fileno(), b"\0" * 65536)
    assert transport.get_write_buffer_size() == 0


@played
async def test_what_the_kernel_does_not_take_whole_never_leaves_later(stage: Stage) -> None:
    for n, (request, outcome) in enumerate(
        [(order(), NotSent), (protected("abc00000000000003"), OutcomeUnknown)]
    ):
        await stage.adapter.positions(stage.spec)  # its contract is known then
        fill_the_kernel(stage)
        with pytest.raises(outcome):
            await stage.submit(request)
        assert not stage.session.usable, n  # the line was cut at once
        stage.tws.listening.set()
        assert await stage.find(request.client_order_id) is None
    assert stage.venue.received == []
