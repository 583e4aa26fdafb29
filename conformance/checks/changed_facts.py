"""C180: what was remembered of a symbol has changed at the broker, which is right."""

from decimal import Decimal

from brokers.base import Rejected
from common.reason_codes import Code
from conformance.assertions import filled
from conformance.harness import InjectedFault
from conformance.registry import Capability, check, expect
from conformance.scenario import Scenario


@check(180, "a step that has changed", Capability.MARKET, Capability.PARTS, InjectedFault.COARSER)
async def changed_step(scenario: Scenario) -> None:
    """The step of a held symbol becomes coarser. An exit of all is refused by the broker or filled,
    never cut; after the refusal the instrument has the new step, and an exit by it is filled."""
    step = scenario.instrument.quantity_step
    whole = scenario.on_step(scenario.quantity) // (2 * step) * (2 * step)
    entry = await scenario.buy(quantity=whole + step)
    held = await scenario.position()
    await scenario.harness.begin(InjectedFault.COARSER)
    exit_all = scenario.exit(entry, held, quantity=whole + step)
    try:
        answer = await scenario.submit(exit_all)
    except Rejected as error:
        expect(error.code is Code.VOLUME_INVALID, f"its code is {error.code}")
    else:
        got = await scenario.reports_of(exit_all, lambda reports: filled(reports) > 0, answer)
        expect(filled(got) == whole + step, f"{filled(got)} was filled of {whole + step}")
        return
    expect(await _step_of(scenario) == 2 * step, "the instrument still has the old step")
    part = scenario.exit(entry, held, quantity=whole)
    answer = await scenario.submit(part)
    await scenario.reports_of(part, lambda reports: filled(reports) >= whole, answer)


async def _step_of(scenario: Scenario) -> Decimal | None:
    listed = await scenario.call(scenario.harness.adapter.instruments(scenario.spec))
    steps = [one.quantity_step for one in listed if one.symbol == scenario.harness.symbol]
    return steps[0] if steps else None
