"""C181–C182: each price is on the broker's grid, and what carries our id is ours."""

from collections.abc import Sequence
from decimal import Decimal

from brokers.types import OrderReport, OrderRequest
from conformance.harness import InjectedFault, NotApplicable
from conformance.registry import Capability, check, expect
from conformance.scenario import Scenario

PART_OF_TICK = Decimal("0.4")


@check(181, "price between two ticks", Capability.LIMIT, Capability.GTC)
async def between_ticks(scenario: Scenario) -> None:
    """A limit order to buy whose price is between two ticks is accepted, on the lower one."""
    tick = scenario.harness.tick or Decimal(1).scaleb(-scenario.instrument.digits)
    on_tick = await scenario.away(-1)
    price = on_tick + PART_OF_TICK * tick
    entry = await scenario.place_working(limit_price=price)
    listed = await scenario.open_order(entry)
    found = listed.limit_price if listed else None
    if found == price:
        raise NotApplicable("this broker takes prices between two ticks")
    expect(found == on_tick, f"{price} is listed as {found}, not as {on_tick}")


@check(182, "position with another number", Capability.MARKET, InjectedFault.RENUMBERED)
async def renumbered(scenario: Scenario) -> None:
    """The broker numbers its positions again. Each is listed with the id of its entry, or by its
    former number; its entry has not filled again, and it can be closed."""
    entry = await scenario.buy()
    before = await scenario.position()
    known = await _find(scenario, entry)
    await scenario.harness.begin(InjectedFault.RENUMBERED)
    after = await scenario.position()
    is_named = after.broker_position_id == before.broker_position_id
    expect(
        is_named or after.client_order_id == entry.client_order_id,
        f"{before.broker_position_id} is {after.broker_position_id}, without the entry's id",
    )
    expect(after.quantity == before.quantity, f"{after.quantity} is open")
    expect(_fills(await _find(scenario, entry)) == _fills(known), "its entry has filled again")
    await scenario.close(entry)
    expect(await scenario.held() == 0, "a position is open")


async def _find(scenario: Scenario, entry: OrderRequest) -> list[OrderReport]:
    find = scenario.harness.adapter.find_order
    return await scenario.call(find(scenario.spec, entry.client_order_id, entry.symbol)) or []


def _fills(reports: Sequence[OrderReport]) -> list[tuple[str, Decimal]]:
    found = [fill for report in reports for fill in report.fills]
    return sorted((fill.broker_fill_id, fill.quantity) for fill in found)
