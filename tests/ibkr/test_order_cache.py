"""The size of the order cache, and that eviction loses nothing."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from brokers.event_buffer import EventBuffer
from brokers.ibkr.order_cache import OrderCache
from brokers.record_cache import RecordCache
from brokers.types import CancelRequest, OrderReport, ReportKind
from tests.ibkr.factories import (
    CONNECTION,
    WAIT_SECONDS,
    Environment,
    limit,
    order,
    with_environment,
)

ID = "abc00000000000001"


def test_cache_is_bounded_and_ended_orders_are_evicted_first() -> None:
    async def play() -> None:
        ledger = OrderCache(EventBuffer(), RecordCache(3))
        for n in range(3):
            ledger.get_or_create("c1", f"abcd{n}", "")
        ended = ledger.get("c1", "abcd1")
        assert ended is not None
        ended.ended = ReportKind.CANCELLED
        ledger.report_changes(ended, (False, None))
        ledger.get_or_create("c1", "abcd3", "")
        assert ledger.get("c1", "abcd1") is None
        assert ledger.get("c1", "abcd0") is not None
        ledger.get_or_create("c1", "abcd4", "")
        assert ledger.get("c1", "abcd0") is None
        assert len(ledger) == 3

    asyncio.run(play())


def test_orders_of_an_account_are_its_own_ended_ones_first_without_the_evicted() -> None:
    async def play() -> None:
        cache = OrderCache(EventBuffer(), RecordCache(4))
        for connection, name in (("c1", "a"), ("c2", "b"), ("c1", "c"), ("c1", "d")):
            cache.get_or_create(connection, name, "")
        ended = cache.get("c1", "c")
        assert ended is not None
        ended.ended = ReportKind.CANCELLED
        cache.report_changes(ended, (False, None))
        assert [record.client_order_id for record in cache.of("c1")] == ["c", "a", "d"]
        cache.get_or_create("c2", "e", "")  # evicts the ended one
        assert [record.client_order_id for record in cache.of("c1")] == ["a", "d"]
        for record in cache.of("c2"):
            cache.remove(record)
        assert cache.of("c2") == []
        assert [record.client_order_id for record in cache.of("c1")] == ["a", "d"]

    asyncio.run(play())


@with_environment
async def test_evicted_orders_are_requested_from_the_gateway(stage: Environment) -> None:
    await stage.adapter.connect(stage.spec)
    ledger = stage.session.order_cache
    ledger._partition = RecordCache(4).partition(ledger)
    ids = [f"abc000000000001{n:02d}" for n in range(8)]
    for one in ids:
        await stage.submit(order(one))
    await stage.wait_for_reports(ReportKind.FILLED, 8)
    resting = limit("abc00000000000900")
    await stage.submit(resting)
    assert len(ledger) == 4
    assert ledger.get(CONNECTION, ids[0]) is None
    assert ledger.get(CONNECTION, resting.client_order_id) is not None  # live: evicted last

    for one in ids:  # still known to the gateway, with price and commission
        found = await stage.find(one)
        assert found is not None
        assert found[0].fills[0].commission == Decimal("1.25")
    reports = await stage.adapter.fills_since(stage.spec, datetime.now(UTC) - timedelta(hours=1))
    assert {r.client_order_id: r.fills[0].commission for r in reports} == dict.fromkeys(
        ids, Decimal("1.25")
    )
    cancelled = await stage.adapter.cancel(stage.spec, CancelRequest(ids[0], "", "EURUSD"))
    assert cancelled[0].kind is ReportKind.CANCEL_REFUSED
    assert await stage.find("abc00000000000999") is None
    assert len(ledger) == 4
    before = len(await stage.drain_events())
    await stage.session.snapshot()
    await stage.session.snapshot()
    assert len(await stage.drain_events()) == before  # the lists of each minute add no events


@with_environment
async def test_correction_of_an_evicted_order_is_reported(stage: Environment) -> None:
    await stage.adapter.connect(stage.spec)
    stage.session.order_cache._partition = RecordCache(1).partition(stage.session.order_cache)
    await stage.submit(order())
    await stage.wait_for_reports(ReportKind.FILLED)
    await stage.submit(order("abc00000000000002"))
    execution = stage.venue.executions[0]
    stage.venue.correct(execution, "1.0999")
    corrected = await stage.wait_for_reports(ReportKind.FILLED, 3)
    assert corrected[-1].client_order_id == order().client_order_id
    assert corrected[-1].fills[0].revision >= 2
    reports = await stage.adapter.fills_since(stage.spec, datetime.now(UTC) - timedelta(hours=1))
    prices = {r.client_order_id: [f.price for f in r.fills] for r in reports}
    assert prices[order().client_order_id] == [Decimal("1.0999")]


@with_environment
async def test_events_beyond_the_buffer_are_reported_after_the_next_sync(
    stage: Environment,
) -> None:
    await stage.adapter.account(stage.spec)
    news = stage.adapter._state().event_buffer
    news._most = 2
    ids = [f"abc0000000000001{n}" for n in range(5)]
    for one in ids:
        await stage.submit(limit(one))
    assert len(news) == 2
    news._most = 100
    stage.session.request_sync()

    def named(reports: list[OrderReport]) -> set[str]:
        return {report.client_order_id for report in reports}

    async with asyncio.timeout(WAIT_SECONDS):
        while named(await stage.drain_events()) != set(ids):  # noqa: ASYNC110
            await asyncio.sleep(0.002)
