"""C117 and C118: the orders that an account lists. The audit of real accounts uses them."""

from datetime import datetime, timedelta

from brokers.order_listing import ListedOrder, listed_orders
from common.clocks import market_now
from conformance.harness import HarnessFeature
from conformance.registry import IS_SUPPORTED, Capability, check, expect
from conformance.scenario import Scenario

BEFORE = timedelta(minutes=2)


@check(117, "listed orders", Capability.MARKET, Capability.LISTING, HarnessFeature.JOURNAL)
async def listed(scenario: Scenario) -> None:
    """The account's list matches the broker's journal order by order: an entry, a closed one and,
    if there are limit orders, a working one."""
    began = market_now() - BEFORE
    closed = await scenario.buy()
    exit_order = await scenario.close(closed)
    entry = await scenario.buy()
    working = await scenario.place_working() if _has_limit_orders(scenario) else None
    placed = [closed, entry, *([working] if working else [])]

    async def agrees() -> bool:
        known = await _listed(scenario, began)
        return all(len(known.get(one.client_order_id, ())) == 1 for one in placed)

    await scenario.until(agrees, "an order that the broker accepted is not listed once")
    known = await _listed(scenario, began)
    for one in placed:
        accepted = await scenario.harness.accepted(one.client_order_id)
        expect(accepted == 1, f"the journal has {one.client_order_id} {accepted} times")
        (found,) = known[one.client_order_id]
        executed = 0 if one is working else one.quantity
        expect(found.executed == executed, f"{found.executed} of {executed} listed as executed")
    sent = {one.client_order_id for one in (*placed, exit_order)}
    expect(set(known) <= sent, f"listed but never sent: {sorted(set(known) - sent)}")
    if working is None:
        return
    await scenario.cancel(working)

    async def gone() -> bool:
        return working.client_order_id not in await _listed(scenario, began)

    await scenario.until(gone, "a cancelled order is still listed")


def _has_limit_orders(scenario: Scenario) -> bool:
    return IS_SUPPORTED[Capability.LIMIT](scenario.can) and IS_SUPPORTED[Capability.GTC](
        scenario.can
    )


@check(
    118,
    "an order executed twice is listed twice",
    Capability.MARKET,
    Capability.LISTING,
    HarnessFeature.EXECUTED_TWICE,
)
async def executed_twice(scenario: Scenario) -> None:
    """An order that the broker executed twice is listed twice, or with more executed than was
    ordered."""
    began = market_now() - BEFORE
    entry = await scenario.buy()
    await scenario.harness.execute_again(entry)

    async def seen() -> bool:
        found = (await _listed(scenario, began)).get(entry.client_order_id, [])
        return len(found) > 1 or sum(one.executed for one in found) > entry.quantity

    await scenario.until(seen, "the second execution is not listed")


async def _listed(scenario: Scenario, began: datetime) -> dict[str, list[ListedOrder]]:
    """Return the listed orders with an id of ours, by that id."""
    found: dict[str, list[ListedOrder]] = {}
    answer = await scenario.call(listed_orders(scenario.harness.adapter, scenario.spec, began))
    for one in answer:
        found.setdefault(one.client_order_id, []).append(one)
    return found
