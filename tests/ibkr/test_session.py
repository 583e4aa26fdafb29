"""The session: kept, lost, refused, made again, and never faster than TWS lets it."""

import asyncio
import time
from dataclasses import replace
from decimal import Decimal

import pytest

from brokers.base import NotSent, OutcomeUnknown, ReadFailed
from brokers.ibkr.adapter import IbkrAdapter
from brokers.ibkr.budget import Window
from brokers.ibkr.ledger import Ledger
from brokers.ibkr.news import News
from brokers.messages import OrderReport, ReportKind
from common.codes import Code
from tests.ibkr.cast import QUICK, Stage, exit_of, limit, order, played, protected

ID = "abc00000000000001"


@played
async def test_the_same_client_id_twice_is_refused_and_heals(stage: Stage) -> None:
    other = IbkrAdapter(QUICK)
    await other.account(stage.spec)
    with pytest.raises(NotSent) as refused:
        await stage.submit(order())
    assert refused.value.code is Code.CLIENT_ID_IN_USE
    (check,) = await stage.adapter.test(stage.spec)
    assert (check.name, check.result) == ("client id", "fail")

    tried = list(stage.tws.connects)
    await stage.until(lambda: len(stage.tws.connects) >= len(tried) + 2)
    pauses = [b - a for a, b in zip(tried[1:], stage.tws.connects[2:], strict=False)]
    assert min(pauses) >= 0.75 * QUICK.client_id_delay
    await other.disconnect()
    await stage.until(lambda: stage.session.usable)
    await stage.submit(order())


@played
async def test_an_account_that_the_login_does_not_have(stage: Stage) -> None:
    spec = replace(stage.spec, account="U999")
    with pytest.raises(ReadFailed) as failed:
        await stage.adapter.account(spec)
    assert failed.value.code is Code.UNKNOWN_ACCOUNT
    (check,) = await stage.adapter.test(spec)
    assert (check.name, check.result) == ("account", "fail")


@played
async def test_a_gateway_that_restarts_is_found_again_with_growing_pauses(stage: Stage) -> None:
    await stage.submit(limit())
    await stage.tws.close()
    await stage.until(lambda: not stage.session.usable)
    with pytest.raises(ReadFailed):
        await stage.adapter.find_order(stage.spec, ID)
    await stage.tws.open(stage.tws.port)
    (found,) = await stage.find(ID) or []
    assert found.kind is ReportKind.ACCEPTED


@played
async def test_a_gateway_that_says_nothing_any_more_is_left(stage: Stage) -> None:
    await stage.submit(limit())
    connects = len(stage.tws.connects)
    stage.tws.muted = {49}  # no answer to the ping
    await stage.until(lambda: len(stage.tws.connects) > connects)
    stage.tws.muted = set()
    assert await stage.find(ID) is not None


@played
async def test_lists_without_an_end_prove_nothing(stage: Stage) -> None:
    await stage.submit(limit("abc00000000000002"))
    for kind in (16, 99, 7):
        stage.tws.muted = {kind}
        with pytest.raises(ReadFailed):
            await stage.adapter.find_order(stage.spec, ID)
    for kind, read in ((61, stage.adapter.positions), (6, stage.adapter.account)):
        stage.tws.muted = {kind}
        with pytest.raises(ReadFailed):
            await read(stage.spec)
    stage.tws.muted = set()
    assert await stage.find(ID) is None


@played
async def test_an_accepted_order_in_no_list_is_not_called_absent(stage: Stage) -> None:
    await stage.submit(limit())
    stage.venue.orders.clear()  # the order book is gone
    with pytest.raises(ReadFailed):
        await stage.adapter.find_order(stage.spec, ID)
    assert await stage.adapter.open_orders(stage.spec) == []


@played
async def test_tws_that_stays_without_ibkr_is_connected_to_anew(stage: Stage) -> None:
    stage.adapter = IbkrAdapter(replace(QUICK, cut_off=0.1))
    await stage.submit(limit())
    connects = len(stage.tws.connects)
    stage.tws.announce(1100, "lost")
    await stage.until(lambda: len(stage.tws.connects) > connects)
    assert await stage.find(ID) is not None


@played
async def test_a_connection_may_wait_less_for_its_answers(stage: Stage) -> None:
    spec = replace(stage.spec, settings={**stage.spec.settings, "reply_timeout": "0.05"})
    stage.fault("accept in silence")
    began = time.monotonic()
    with pytest.raises(OutcomeUnknown):
        await stage.adapter.submit(spec, limit(), lambda _: None)
    assert time.monotonic() - began < QUICK.reply


@played
async def test_changed_settings_are_another_session(stage: Stage) -> None:
    await stage.submit(limit())
    stage.client_id = 9
    await stage.submit(limit("abc00000000000002"))
    await stage.until(lambda: [v.client_id for v in stage.tws.visitors] == [9])
    wrong = replace(stage.spec, settings={**stage.spec.settings, "port": "many"})
    with pytest.raises(NotSent):
        await stage.adapter.submit(wrong, order(), lambda _: None)
    with pytest.raises(ReadFailed) as failed:
        await stage.adapter.account(wrong)
    assert failed.value.code is Code.FIELD_INVALID
    (check,) = await stage.adapter.test(wrong)
    assert (check.name, check.result) == ("settings", "fail")


@played
async def test_client_id_and_budget_may_come_from_a_lease(stage: Stage) -> None:
    asked = []

    class Counted(Window):
        async def acquire(self, n: int, *, urgent: bool) -> None:
            asked.append((n, urgent))
            await super().acquire(n, urgent=urgent)

    stage.adapter = IbkrAdapter(
        QUICK,
        budget_for=lambda host, port: Counted(),
        client_id_for=lambda spec, base: base + 100,
    )
    await stage.submit(protected())
    await stage.submit(exit_of(ID))
    assert [visitor.client_id for visitor in stage.tws.visitors] == [107]
    assert (3, False) in asked  # an entry and its levels
    assert (1, True) in asked


@played
async def test_the_gateway_gets_at_most_45_messages_a_second(stage: Stage) -> None:
    admitted: list[float] = []

    class Counted(Window):
        async def acquire(self, n: int, *, urgent: bool) -> None:
            await super().acquire(n, urgent=urgent)
            admitted.extend([asyncio.get_running_loop().time()] * n)

    stage.adapter = IbkrAdapter(QUICK, budget_for=lambda host, port: Counted())
    ids = [f"abc000000000001{n:02d}" for n in range(60)]
    await asyncio.gather(*(stage.submit(limit(one)) for one in ids))
    busiest = max(sum(1 for at in admitted if start <= at < start + 0.99) for start in admitted)
    assert busiest <= 45
    assert len(stage.tws.writes) <= len(admitted)  # nothing went past it
    assert sorted(stage.venue.accepted) == sorted(ids)


def test_exits_leave_before_entries_that_waited_longer() -> None:
    async def play() -> list[str]:
        window, left = Window(most=2, seconds=0.05), []

        async def leave(name: str, *, urgent: bool, n: int = 1) -> None:
            await window.acquire(n, urgent=urgent)
            left.append(name)

        await leave("first", urgent=False, n=2)
        entries = [asyncio.create_task(leave(f"entry {n}", urgent=False)) for n in range(3)]
        await asyncio.sleep(0)
        gone = asyncio.create_task(leave("gave up", urgent=True))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(*entries, leave("exit", urgent=True, n=2))
        return left

    left = asyncio.run(play())
    assert left == ["first", "exit", "entry 0", "entry 1", "entry 2"]


def test_memory_is_bounded_and_ended_orders_go_first() -> None:
    async def play() -> None:
        ledger = Ledger(News(), most=3)
        for n in range(3):
            ledger.make("c1", f"abcd{n}", "")
        ended = ledger.get("c1", "abcd1")
        assert ended is not None
        ended.ended = ReportKind.CANCELLED
        ledger.moved(ended, (False, None))
        ledger.make("c1", "abcd3", "")
        assert ledger.get("c1", "abcd1") is None
        assert ledger.get("c1", "abcd0") is not None
        ledger.make("c1", "abcd4", "")
        assert ledger.get("c1", "abcd0") is None
        assert len(ledger) == 3

    asyncio.run(play())


@played
async def test_events_that_found_no_room_are_told_after_the_next_sync(stage: Stage) -> None:
    await stage.adapter.account(stage.spec)
    news = stage.adapter._desk().news
    news._most = 2
    ids = [f"abc0000000000001{n}" for n in range(5)]
    for one in ids:
        await stage.submit(limit(one))
    assert len(news) == 2
    news._most = 100
    stage.session.want_sync()

    def named(told: list[OrderReport]) -> set[str]:
        return {report.client_order_id for report in told}

    async with asyncio.timeout(5):
        while named(await stage.hear()) != set(ids):  # noqa: ASYNC110
            await asyncio.sleep(0.002)


@played
async def test_yesterdays_part_of_an_order_is_told_as_its_sum(stage: Stage) -> None:
    await stage.submit(limit())
    stage.venue.fill(ID, "5000", "1.0900")
    await stage.die()
    stage.venue.executions.clear()  # midnight
    await stage.adapter.account(stage.spec)
    found = await stage.find(ID) or []
    (total,) = [fill for report in found for fill in report.fills]
    assert (total.inferred, total.quantity, total.price) == (True, Decimal(5000), Decimal("1.09"))


@played
async def test_the_clock_is_ibkrs(stage: Stage) -> None:
    assert await stage.adapter.clock() is None
    stage.venue.clock_offset = 3600
    await stage.adapter.account(stage.spec)
    told = await stage.adapter.clock()
    assert told is not None
    assert 3598 < told.timestamp() - time.time() < 3601
