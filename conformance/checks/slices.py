"""C140: an entry in slices on an account with a position for each order."""

from decimal import Decimal

from brokers.types import BrokerPosition, OrderRequest, PositionMode
from conformance.assertions import filled
from conformance.harness import NotApplicable
from conformance.registry import Capability, check, expect
from conformance.scenario import Scenario


@check(140, "slices are positions of their own", Capability.MARKET, Capability.STOPS,
       Capability.MODIFY, Capability.NO_REVERSE)  # fmt: skip
async def slices(scenario: Scenario) -> None:
    """Three entries on a hedging account are three positions with stops of their own: moving the
    stop of one, and closing it by its ticket, changes nothing of the others; the next closes end
    each of them."""
    mode = (await scenario.call(scenario.harness.adapter.account(scenario.spec))).position_mode
    if mode is not PositionMode.HEDGING:
        raise NotApplicable("the account nets: slices add to one position")
    stop, moved = await scenario.away(-1), await scenario.away(-1, Decimal("0.75"))
    entries = [await scenario.buy(stop_loss=stop) for _ in range(3)]
    whole = sum((entry.quantity for entry in entries), Decimal(0))
    await scenario.wait_until_held(whole)
    tickets = [await _ticket_of(scenario, entry) for entry in entries]
    expect(len({one.broker_position_id for one in tickets}) == 3, "they share a position")
    await scenario.modify(entries[1], moved, None, position=tickets[1].broker_position_id)
    await _stops_are(scenario, entries, [stop, moved, stop])
    await _close(scenario, entries[1], tickets[1])
    await scenario.wait_until_held(whole - entries[1].quantity)
    await _stops_are(scenario, [entries[0], entries[2]], [stop, stop])
    for number in (2, 0):
        await _close(scenario, entries[number], tickets[number])
    await scenario.wait_until_held(Decimal(0))


async def _ticket_of(scenario: Scenario, entry: OrderRequest) -> BrokerPosition:
    """Return the position whose id the entry's reports name."""
    reports = await scenario.reports_of(
        entry, lambda known: any(one.broker_position_id for one in known)
    )
    named = {one.broker_position_id for one in reports if one.broker_position_id}
    expect(len(named) == 1, f"{entry.client_order_id} names {sorted(named)}")
    held = [one for one in await scenario.positions() if one.broker_position_id in named]
    expect(len(held) == 1, f"{sorted(named)} is not among the positions")
    expect(held[0].quantity == entry.quantity, f"it holds {held[0].quantity}")
    return held[0]


async def _stops_are(scenario: Scenario, entries: list[OrderRequest], stops: list[Decimal]) -> None:
    async def shown() -> bool:
        return [(await _ticket_of(scenario, one)).stop_loss for one in entries] == stops

    await scenario.until(shown, f"the stops are not {[str(stop) for stop in stops]}")


async def _close(scenario: Scenario, entry: OrderRequest, ticket: BrokerPosition) -> None:
    request = scenario.exit(entry, ticket)
    answer = await scenario.sent(request)
    await scenario.reports_of(request, lambda known: filled(known) >= request.quantity, answer)
