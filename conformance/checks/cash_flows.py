"""C130–C131: deposits and withdrawals."""

from datetime import datetime, timedelta
from decimal import Decimal

from brokers.base import BrokerError, ReadFailed
from brokers.types import BrokerCashFlow
from common.clocks import market_now
from conformance.harness import HarnessFeature, InjectedFault
from conformance.registry import Capability, CheckFailed, check, expect
from conformance.scenario import Scenario

MARGIN = timedelta(minutes=15)  # for a clock that differs
DEPOSIT, WITHDRAWAL = Decimal("150.25"), Decimal("-49.75")


@check(130, "deposits", Capability.MARKET, Capability.CASH_FLOWS, HarnessFeature.CASH)
async def deposits(scenario: Scenario) -> None:
    """A deposit and a withdrawal are listed once each, with their amounts, and are in the balance.
    A second read has the same references, and a trade is none of them."""
    began = market_now() - MARGIN
    known = {flow.reference for flow in await _flows(scenario, began)}
    before = await _balance(scenario)
    for amount in (DEPOSIT, WITHDRAWAL):
        await scenario.harness.book_cash(amount)

    async def listed() -> bool:
        new = [flow for flow in await _flows(scenario, began) if flow.reference not in known]
        return sorted(flow.amount for flow in new) == [WITHDRAWAL, DEPOSIT]

    await scenario.until(listed, "the deposit and the withdrawal are not listed once each")
    change = await _balance(scenario) - before
    expect(change == DEPOSIT + WITHDRAWAL, f"the balance has changed by {change}")
    first = await _flows(scenario, began)
    await scenario.close(await scenario.buy())
    expect(await _flows(scenario, began) == first, "a second read after a trade differs")
    references = [flow.reference for flow in first]
    expect(len({*references} - {""}) == len(references), "a reference is empty or not unique")


@check(
    131, "deposits half read", Capability.CASH_FLOWS, HarnessFeature.CASH, InjectedFault.READS
)  # fmt: skip
async def half_read(scenario: Scenario) -> None:
    """A read of the deposits that gets only a part of its reply fails."""
    began = market_now() - MARGIN
    await scenario.harness.book_cash(DEPOSIT)
    await scenario.harness.begin(InjectedFault.READS)
    try:
        answer = await _flows(scenario, began)
    except ReadFailed:
        return
    except BrokerError as error:
        raise CheckFailed(f"it raised {type(error).__name__} {error}") from error
    finally:
        await scenario.harness.end()
    raise CheckFailed(f"it returned {answer}")


async def _flows(scenario: Scenario, since: datetime) -> list[BrokerCashFlow]:
    return await scenario.call(scenario.harness.adapter.cash_flows(scenario.spec, since))


async def _balance(scenario: Scenario) -> Decimal:
    return (await scenario.call(scenario.harness.adapter.account(scenario.spec))).balance
