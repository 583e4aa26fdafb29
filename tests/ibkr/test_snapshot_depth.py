"""Which of TWS's lists are read: those of the day grow with each trade, and are seldom needed."""

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from brokers.ibkr.order_snapshots import Depth
from brokers.types import ReportKind
from common.clocks import market_now
from tests.ibkr.factories import QUICK, Environment, adapter, limit, protected, with_environment

FILLED, WORKING = "abc00000000000001", "abc00000000000021"
ALL = ["open", "completed", "executions"]


async def connected(stage: Environment) -> None:
    """Hold a position with its levels, and an order that works; every list was read once."""
    await stage.adapter.connect(stage.spec)
    await stage.submit(protected())
    await stage.wait_for_reports(ReportKind.FILLED)
    await stage.submit(limit(WORKING))
    await stage.adapter.positions(stage.spec)
    stage.tws.list_requests.clear()


async def lists_read_by(stage: Environment, read: Awaitable[object]) -> list[str]:
    stage.tws.list_requests.clear()
    await read
    return stage.tws.list_requests


@with_environment
async def test_what_works_is_read_without_what_has_ended(stage: Environment) -> None:
    await connected(stage)
    for _ in range(2):
        assert await lists_read_by(stage, stage.adapter.positions(stage.spec)) == ["open"]
        assert await lists_read_by(stage, stage.adapter.open_orders(stage.spec)) == ["open"]
    today = stage.adapter.fills_since(stage.spec, market_now() - timedelta(hours=1))
    assert await lists_read_by(stage, today) == ["open", "executions"]
    expected = {WORKING: ["open"], FILLED: ALL, "abc000000000000f1": ALL}
    for client_order_id, lists in expected.items():
        order = stage.adapter.find_order(stage.spec, client_order_id)
        assert await lists_read_by(stage, order) == lists


@with_environment
async def test_order_that_ended_without_a_message_is_looked_for(stage: Environment) -> None:
    await connected(stage)
    stage.tws.sessions[0].silent = True
    stage.venue.cancel(stage.venue.order(WORKING))
    assert await lists_read_by(stage, stage.adapter.open_orders(stage.spec)) == ALL
    (report,) = await stage.wait_for_reports(ReportKind.CANCELLED)
    assert report.client_order_id == WORKING
    assert await lists_read_by(stage, stage.adapter.open_orders(stage.spec)) == ["open"]


@with_environment
async def test_execution_without_a_message_is_looked_for(stage: Environment) -> None:
    """A part of the order that still works: its status in the list has more than we know."""
    await connected(stage)
    stage.tws.sessions[0].silent = True
    working = stage.venue.order(WORKING)
    stage.venue.execute(working, working.quantity / 4, Decimal("1.09"))
    assert await lists_read_by(stage, stage.adapter.open_orders(stage.spec)) == ALL
    assert await lists_read_by(stage, stage.adapter.open_orders(stage.spec)) == ["open"]
    (report,) = await stage.wait_for_reports(
        ReportKind.FILLED, of=lambda report: report.client_order_id == WORKING
    )
    assert report.fills[0].quantity == working.quantity / 4


@with_environment
async def test_readers_share_a_read_that_has_what_they_need(stage: Environment) -> None:
    await connected(stage)
    depths = (Depth.ENDED, Depth.OPEN, Depth.EXECUTED)
    await asyncio.gather(*(stage.session.snapshot(depth) for depth in depths))
    assert stage.tws.list_requests == ALL


@pytest.mark.parametrize(("full", "expected"), [(60.0, ["open"]), (0.1, ALL)])
def test_periodic_sync_reads_the_day_now_and_then(full: float, expected: list[str]) -> None:
    @with_environment
    async def play(stage: Environment) -> None:
        timing = replace(QUICK, ping=0.02, resync=0.1, full_resync=full)
        stage.adapter = adapter(timing=timing)
        await connected(stage)
        await stage.wait_until(lambda: len(stage.tws.list_requests) >= len(expected))
        assert stage.tws.list_requests[: len(expected)] == expected

    play()
