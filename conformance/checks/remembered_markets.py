"""C183–C185: what is remembered of a market outvotes neither the broker nor a balance."""

from brokers.types import BrokerPosition
from conformance.harness import InjectedFault
from conformance.registry import Capability, check, expect
from conformance.scenario import Scenario


@check(183, "a halt that is over", Capability.MARKET, InjectedFault.HALT_ENDED)
async def halt_ended(scenario: Scenario) -> None:
    """The symbol's data were read in a halt, which is over. An exit is sent, and filled."""
    entry = await scenario.buy()
    await scenario.harness.begin(InjectedFault.HALT_ENDED)
    await scenario.close(entry)
    await scenario.wait_until_held(entry.quantity * 0)


@check(184, "delisted while held", Capability.MARKET, InjectedFault.DELISTED)
async def delisted(scenario: Scenario) -> None:
    """The symbol leaves the broker's list. What is held of it stays a position, which cannot be
    traded or not be read, and the other reads go on; once it is listed again, it can be closed."""
    entry = await scenario.buy()
    await scenario.harness.begin(InjectedFault.DELISTED)
    held = await _position(scenario)
    expect(not (held.is_tradable and held.is_readable), "it is listed as if it had a market")
    await scenario.call(scenario.harness.adapter.open_orders(scenario.spec))
    await scenario.harness.end()
    await scenario.close(entry)
    await scenario.wait_until_held(entry.quantity * 0)


@check(185, "dust", Capability.MARKET, InjectedFault.FEE_IN_COIN)
async def dust(scenario: Scenario) -> None:
    """The fee is taken out of what was bought. The position is what can be sold, with the whole
    balance beside it; what a step leaves over stays in the list, without an entry price."""
    await scenario.harness.begin(InjectedFault.FEE_IN_COIN)
    entry = await scenario.buy()
    held = await _position(scenario)
    balance, step = held.balance, scenario.instrument.quantity_step
    expect(
        balance is not None and held.quantity <= balance < entry.quantity,
        f"{held.quantity} is open, with a balance of {balance}",
    )
    expect(held.quantity % step == 0, f"{held.quantity} is not in whole steps")
    await scenario.close(entry)
    left = await _position(scenario)
    expect(left.quantity < step, f"{left.quantity} is left, of which a step could be sold")
    expect(left.entry_price == 0, "what is left has an entry price")


async def _position(scenario: Scenario) -> BrokerPosition:
    listed = await scenario.call(scenario.harness.adapter.positions(scenario.spec))
    found = [one for one in listed if one.symbol == scenario.harness.symbol]
    expect(len(found) == 1, f"{len(found)} positions are listed in the symbol, not 1")
    return found[0]
