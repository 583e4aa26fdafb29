"""A gateway's budget: nothing leaves without its turn, what matters most goes first."""

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from decimal import Decimal

from brokers.base import NotSent
from brokers.budgets import Rank, Rate, budget_for
from brokers.ibkr.calls import IbkrAdapter
from brokers.ibkr.pace import MOST_MESSAGES, RATE
from brokers.messages import ModifyRequest
from common.clocks import machine_time
from common.codes import Code
from tests.ibkr.cast import QUICK, Stage, adapter, exit_of, limit, played, protected

ID = "abc00000000000001"


class Counted:
    """A budget that notes what it was asked for and when it admitted it."""

    def __init__(self, name: str, rate: Rate) -> None:
        self._budget = budget_for(name, rate)
        self.asked: list[tuple[float, Rank]] = []
        self.admitted: list[float] = []

    async def acquire(
        self, n: float = 1, *, rank: Rank = Rank.ENTRY, until: float | None = None
    ) -> None:
        self.asked.append((n, rank))
        await self._budget.acquire(n, rank=rank, until=until)
        self.admitted.extend([asyncio.get_running_loop().time()] * int(n))

    def rest(self, seconds: float) -> None:
        self._budget.rest(seconds)


@played
async def test_what_a_message_is_about_says_when_it_leaves(stage: Stage) -> None:
    """Exits and moved levels, then what is held and ordered, then entries, then all that can wait;
    and nothing goes past the budget."""
    budget = Counted(f"ibkr 127.0.0.1:{stage.tws.port}", RATE)
    stage.adapter = adapter(budget, replace(QUICK, ping=60.0))
    asked = budget.asked

    async def ranks(call: Awaitable[object]) -> list[tuple[float, Rank]]:
        asked.clear()
        await call
        return list(asked)

    in_step = [(1, Rank.LOOKUP)] * 4  # the greeting, and three lists
    assert await ranks(stage.adapter.connect(stage.spec)) == in_step
    entry = await ranks(stage.submit(protected()))
    assert entry == [(1, Rank.ENTRY), (3, Rank.ENTRY)]  # its contract; it and its levels
    levels = ModifyRequest(ID, "", "EURUSD", Decimal("1.095"), Decimal("1.13"))
    moved = await ranks(stage.adapter.modify(stage.spec, levels))
    assert moved == [(1, Rank.EXIT), (2, Rank.EXIT)]  # the price, and both
    assert await ranks(stage.adapter.find_order(stage.spec, ID)) == in_step[1:]
    reads = (stage.adapter.account, stage.adapter.positions, stage.adapter.instruments)
    for read in reads:
        assert {rank for _, rank in await ranks(read(stage.spec))} == {Rank.READ}
    assert await ranks(stage.submit(exit_of(ID))) == [(1, Rank.EXIT)]
    stage.session.details.clear()
    again = await ranks(stage.submit(exit_of(ID, "abc00000000000092")))
    assert again == [(1, Rank.EXIT), (1, Rank.EXIT)]  # nothing that it needs waits either
    assert len(stage.tws.writes) <= len(budget.admitted)


@played
async def test_the_gateway_gets_at_most_45_messages_a_second(stage: Stage) -> None:
    """Nothing leaves without its turn, and turns come no faster. A slow machine bunches what it
    admits, so each turn is counted from before the first was asked for."""
    name = f"ibkr 127.0.0.1:{stage.tws.port}"
    assert RATE.burst + RATE.per_second <= MOST_MESSAGES  # in any second, of all processes
    budgets: list[Counted] = []

    def budget_of(asked: str, rate: Rate) -> Counted:
        assert (asked, rate) == (name, RATE)
        budgets.append(Counted(asked, rate))
        return budgets[0]

    stage.adapter = IbkrAdapter(QUICK, budget_for=budget_of)
    ids = [f"abc000000000001{n:02d}" for n in range(60)]
    began = asyncio.get_running_loop().time()
    await asyncio.gather(*(stage.submit(limit(one)) for one in ids))
    (budget,) = budgets
    for number, at in enumerate(budget.admitted, start=1):
        assert number <= RATE.burst + RATE.per_second * (at - began)
    assert len(stage.tws.writes) <= len(budget.admitted)
    assert sorted(stage.venue.accepted) == sorted(ids)


@played
async def test_an_entry_whose_turn_comes_too_late_is_not_sent(stage: Stage) -> None:
    stage.adapter = IbkrAdapter(QUICK)  # as in production
    await stage.adapter.connect(stage.spec)
    soon = replace(protected(), send_by=machine_time() + 0.05)
    many = [replace(soon, client_order_id=f"abc000000000001{n:02d}") for n in range(20)]
    told = await asyncio.gather(*(stage.submit(one) for one in many), return_exceptions=True)
    late = [one for one in told if isinstance(one, NotSent)]
    assert late
    assert {error.code for error in late} == {Code.RATE_LIMITED}
    assert len(stage.venue.received) == 3 * (len(many) - len(late))
