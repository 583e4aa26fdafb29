"""C117 and C118: which orders an account lists. The audit judges real accounts by it."""

from datetime import datetime, timedelta

from brokers.order_listing import ListedOrder, listed_orders
from common.clocks import market_now
from conformance.harness import HarnessFeature
from conformance.registry import IS_SUPPORTED, Ability, case, expect
from conformance.scenario import Scenario

BEFORE = timedelta(minutes=2)


@case(117, "listed orders", Ability.MARKET, Ability.LISTING, HarnessFeature.JOURNAL)
async def listed(scenario: Scenario) -> None:
    """What the account lists and what the broker's journal accepted agree, order by order: an
    entry, one that was closed again and, where there are limit orders, one that rests."""
    began = market_now() - BEFORE
    closed = await scenario.buy()
    leaving = await scenario.close(closed)
    entry = await scenario.buy()
    waiting = await scenario.place_working() if _can_rest(scenario) else None
    placed = [closed, entry, *([waiting] if waiting else [])]

    async def agrees() -> bool:
        known = await _listed(scenario, began)
        return all(len(known.get(one.client_order_id, ())) == 1 for one in placed)

    await scenario.until(agrees, "an order that the broker accepted is not listed once")
    known = await _listed(scenario, began)
    for one in placed:
        accepted = await scenario.harness.accepted(one.client_order_id)
        expect(accepted == 1, f"the journal has {accepted} of {one.client_order_id}")
        (found,) = known[one.client_order_id]
        executed = 0 if one is waiting else one.quantity
        expect(found.executed == executed, f"{found.executed} of {executed} listed as executed")
    sent = {one.client_order_id for one in (*placed, leaving)}
    expect(set(known) <= sent, f"listed, and never sent: {sorted(set(known) - sent)}")
    if waiting is None:
        return
    await scenario.cancel(waiting)

    async def gone() -> bool:
        return waiting.client_order_id not in await _listed(scenario, began)

    await scenario.until(gone, "a cancelled order is listed")


def _can_rest(scenario: Scenario) -> bool:
    return IS_SUPPORTED[Ability.LIMIT](scenario.can) and IS_SUPPORTED[Ability.GTC](scenario.can)


@case(
    118,
    "an order executed twice is listed twice",
    Ability.MARKET,
    Ability.LISTING,
    HarnessFeature.EXECUTED_TWICE,
)
async def executed_twice(scenario: Scenario) -> None:
    """An order that the broker executed a second time is listed as two, or with more executed than
    was ordered."""
    began = market_now() - BEFORE
    entry = await scenario.buy()
    await scenario.harness.execute_again(entry)

    async def seen() -> bool:
        found = (await _listed(scenario, began)).get(entry.client_order_id, [])
        return len(found) > 1 or sum(one.executed for one in found) > entry.quantity

    await scenario.until(seen, "the second execution is not listed")


async def _listed(scenario: Scenario, began: datetime) -> dict[str, list[ListedOrder]]:
    """The orders of this play and its like by our id; what others placed is left out."""
    found: dict[str, list[ListedOrder]] = {}
    answer = await scenario.call(listed_orders(scenario.harness.adapter, scenario.spec, began))
    for one in answer:
        found.setdefault(one.client_order_id, []).append(one)
    return found
