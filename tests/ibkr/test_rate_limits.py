"""A gateway's rate limit: each message waits for it, the most important first."""

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from decimal import Decimal

import pytest

from brokers.base import NotSent
from brokers.exit_reads import exit_read
from brokers.ibkr.adapter import IbkrAdapter
from brokers.ibkr.timing import MAX_MESSAGES, RATE
from brokers.rate_limits import Priority, Rate, rate_limiter_for
from brokers.types import ModifyRequest
from common.clocks import machine_time
from common.reason_codes import Code
from tests.fakes.tws.messages import by_hand
from tests.ibkr.factories import (
    QUICK,
    Environment,
    adapter,
    exit_of,
    limit,
    protected,
    with_environment,
)

ID = "abc00000000000001"


class Counted:
    """A rate limiter that records requests and when it admitted them."""

    def __init__(self, name: str, rate: Rate) -> None:
        self._budget = rate_limiter_for(name, rate)
        self.asked: list[tuple[float, Priority]] = []
        self.admitted: list[float] = []
        self.order: list[tuple[str, Priority]] = []  # of requests and admissions

    async def acquire(
        self,
        tokens: float = 1,
        *,
        priority: Priority = Priority.ENTRY,
        deadline: float | None = None,
    ) -> None:
        self.asked.append((tokens, priority))
        self.order.append(("asked", priority))
        await self._budget.acquire(tokens, priority=priority, deadline=deadline)
        self.order.append(("left", priority))
        self.admitted.extend([machine_time()] * int(tokens))

    def back_off(self, seconds: float) -> None:
        self._budget.back_off(seconds)


@with_environment
async def test_message_priority_depends_on_its_purpose(stage: Environment) -> None:
    """Exits and level changes go first, then positions and orders, then entries, then the rest; no
    message bypasses the rate limit."""
    budget = Counted(f"ibkr 127.0.0.1:{stage.tws.port}", RATE)
    stage.adapter = adapter(budget, replace(QUICK, ping=60.0))
    asked = budget.asked

    async def ranks(call: Awaitable[object]) -> list[tuple[float, Priority]]:
        asked.clear()
        await call
        return list(asked)

    in_step = [(1, Priority.LOOKUP)] * 4  # the greeting and three lists
    assert await ranks(stage.adapter.connect(stage.spec)) == in_step
    entry = await ranks(stage.submit(protected()))
    assert entry == [
        (1, Priority.ENTRY),
        (1, Priority.ENTRY),
        (3, Priority.ENTRY),
    ]  # its contract and the price steps of it, then the order and its levels
    levels = ModifyRequest(ID, "", "EURUSD", Decimal("1.095"), Decimal("1.13"))
    moved = await ranks(stage.adapter.modify(stage.spec, levels))
    assert moved == [(1, Priority.EXIT), (2, Priority.EXIT)]  # the price and both levels
    assert await ranks(stage.adapter.find_order(stage.spec, ID)) == in_step[1:]
    resting = await ranks(stage.adapter.open_orders(stage.spec))
    assert {priority for _, priority in resting} == {Priority.LOOKUP}  # contracts, at the first use
    held = await ranks(stage.adapter.positions(stage.spec))
    # The positions (a request, and its end) and the list with their levels; nothing else.
    assert held == [(1, Priority.LOOKUP)] * 3
    with exit_read():
        assert await ranks(stage.adapter.positions(stage.spec)) == [(1, Priority.EXIT)] * 2
        stage.session.details.clear()  # the contract, too
        assert await ranks(stage.adapter.positions(stage.spec)) == [(1, Priority.EXIT)] * 3
    for read in (stage.adapter.account, stage.adapter.instruments):
        stage.session.details.clear()
        assert {priority for _, priority in await ranks(read(stage.spec))} == {Priority.READ}
    assert await ranks(stage.submit(exit_of(ID))) == [(1, Priority.EXIT)]
    stage.session.details.clear()
    again = await ranks(stage.submit(exit_of(ID, "abc00000000000092")))
    assert again == [(1, Priority.EXIT), (1, Priority.EXIT)]  # what it needs does not wait either
    assert len(stage.tws.writes) <= len(budget.admitted)


@with_environment
async def test_reads_for_an_exit_go_before_entries(stage: Environment) -> None:
    """An exit of a netted position is sent after the positions were read. Entries that wait for the
    gateway's rate limit wait until then, whatever else this session has to read."""
    budget = Counted(f"ibkr 127.0.0.1:{stage.tws.port}", RATE)
    stage.adapter = adapter(budget, replace(QUICK, ping=60.0))
    await stage.submit(protected("abc00000000000100"))
    ids = [f"abc000000000002{n:02d}" for n in range(90)]
    entries = [asyncio.create_task(stage.submit(protected(one))) for one in ids]
    await stage.wait_until(lambda: budget.asked.count((3, Priority.ENTRY)) == 1 + len(ids))
    stage.session.details.clear()  # as in a process that has just started
    budget.order.clear()
    await stage.adapter.positions(stage.spec)
    assert budget.order.count(("left", Priority.ENTRY)) < len(ids) / 2  # some, while TWS answers
    asked = [at for at, one in enumerate(budget.order) if one == ("asked", Priority.LOOKUP)]
    assert len(asked) > 2  # contracts, too
    for at in asked:
        before = budget.order[at : budget.order.index(("left", Priority.LOOKUP), at)]
        assert before.count(("left", Priority.ENTRY)) <= 1  # it was being sent
    for one in entries:
        one.cancel()
    await asyncio.gather(*entries, return_exceptions=True)


@pytest.mark.parametrize("read", ["positions", "open_orders"])
def test_reads_for_an_exit_request_only_contracts_of_held_positions(read: str) -> None:
    """A map of 300 symbols once delayed all entries of a gateway by seven seconds."""

    @with_environment
    async def test(stage: Environment) -> None:
        others = {f"X{n}": {"secType": "STK", "currency": "USD"} for n in range(300)}
        apple = {"APPLE": {"secType": "STK", "symbol": "AAPL", "currency": "USD"}}
        spec = replace(stage.spec, settings={**stage.spec.settings, "symbols": {**others, **apple}})
        stage.venue.give(stage.venue.accounts[0], "AAPL", "5", "180")
        stage.venue.give(stage.venue.accounts[0], "IBUS500", "1", "5000")  # not mapped
        apples = stage.venue.security("AAPL").con_id
        owns = by_hand(1, apples, "SELL", Decimal(5), stage.venue.accounts[0])
        stage.venue.place(0, replace(owns, kind="LMT", limit="500"))
        budget = Counted(f"ibkr 127.0.0.1:{stage.tws.port}", RATE)
        stage.adapter = adapter(budget, replace(QUICK, ping=60.0))
        await stage.adapter.connect(spec)
        budget.asked.clear()
        results = await getattr(stage.adapter, read)(spec)
        assert "APPLE" in {one.symbol for one in results}
        assert {one.symbol for one in results} <= {"APPLE", "IBUS500"}
        messages = 2 if read == "positions" else 1  # the end of positions is requested, too
        assert budget.asked == [(1, Priority.LOOKUP)] * (messages + 1)  # and one contract
        budget.asked.clear()
        await getattr(stage.adapter, read)(spec)
        assert budget.asked == [(1, Priority.LOOKUP)] * messages

    test()


@with_environment
async def test_gateway_gets_at_most_45_messages_per_second(stage: Environment) -> None:
    """No message bypasses the rate limit, and the limit is kept. A slow machine admits in bursts,
    so each admission is counted from before the first request."""
    name = f"ibkr 127.0.0.1:{stage.tws.port}"
    assert RATE.burst + RATE.per_second <= MAX_MESSAGES  # in any second, of all processes
    budgets: list[Counted] = []

    def budget_of(asked: str, rate: Rate) -> Counted:
        assert (asked, rate) == (name, RATE)
        budgets.append(Counted(asked, rate))
        return budgets[0]

    stage.adapter = IbkrAdapter(QUICK, rate_limiter_for=budget_of)
    ids = [f"abc000000000001{n:02d}" for n in range(60)]
    began = machine_time()
    await asyncio.gather(*(stage.submit(limit(one)) for one in ids))
    (budget,) = budgets
    for number, at in enumerate(budget.admitted, start=1):
        assert number <= RATE.burst + RATE.per_second * (at - began)
    assert len(stage.tws.writes) <= len(budget.admitted)
    assert sorted(stage.venue.accepted) == sorted(ids)


@with_environment
async def test_entry_whose_turn_comes_too_late_is_not_sent(stage: Environment) -> None:
    stage.adapter = IbkrAdapter(QUICK)  # as in production
    await stage.adapter.connect(stage.spec)
    await stage.submit(protected())  # and what it has to read is read
    received = len(stage.venue.received)
    # The next message's turn is in a quarter of an hour.
    rate_limiter_for(f"ibkr 127.0.0.1:{stage.tws.port}", replace(RATE, per_second=0.001))
    soon = replace(protected(), send_by=machine_time() + 300)
    many = [replace(soon, client_order_id=f"abc000000000001{n:02d}") for n in range(20)]
    results = await asyncio.gather(*(stage.submit(one) for one in many), return_exceptions=True)
    late = [one for one in results if isinstance(one, NotSent)]
    assert late
    assert {error.code for error in late} == {Code.RATE_LIMITED}
    assert len(stage.venue.received) - received == 3 * (len(many) - len(late))
