"""C141–C143: what the market is about to reach is frozen: it cannot be changed or cancelled."""

from decimal import Decimal

from brokers.base import Rejected
from brokers.types import OrderReport, OrderRequest, ReportKind
from common.reason_codes import Code
from conformance.assertions import describe_kinds
from conformance.harness import InjectedFault
from conformance.registry import Capability, CheckFailed, check, expect
from conformance.scenario import Scenario

HALF = Decimal("0.5")


@check(141, "frozen order keeps its price", Capability.LIMIT, Capability.GTC,
       Capability.CHANGE_PRICE, InjectedFault.FROZEN)  # fmt: skip
async def keeps_price(scenario: Scenario) -> None:
    """The instrument states its freeze level. Within it a working order's new price is refused
    with LEVELS_FROZEN, and the order is as it was; once the market is away, it is changed."""
    entry = await scenario.place_working()
    before = await scenario.open_order(entry)
    assert before is not None
    await scenario.harness.begin(InjectedFault.FROZEN)
    await _expect_freeze_level(scenario)
    new = await scenario.away(-1, HALF)
    try:
        answer = await scenario.change(entry, before, limit_price=new)
    except Rejected as error:
        expect(error.code is Code.LEVELS_FROZEN, f"its code is {error.code}")
    else:
        raise CheckFailed(f"it was not refused but {describe_kinds(answer)}")
    after = await scenario.open_order(entry)
    expect(after is not None and after.terms == before.terms, f"it is listed as {after}")
    await scenario.harness.end()
    await scenario.change(entry, before, limit_price=new)

    async def is_changed() -> bool:
        listed = await scenario.open_order(entry)
        return listed is not None and listed.limit_price == new

    await scenario.until(is_changed, "it is not changed although the market is away")


@check(142, "frozen order is not cancelled", Capability.LIMIT, Capability.GTC, InjectedFault.FROZEN)
async def keeps_working(scenario: Scenario) -> None:
    """A cancel within the freeze level is refused, never reported as done, and the order stays
    open; once the market is away, it is cancelled."""
    entry = await scenario.place_working()
    await scenario.harness.begin(InjectedFault.FROZEN)
    try:
        answer: list[OrderReport] = await scenario.cancel(entry)
    except Rejected as error:
        expect(error.code is Code.LEVELS_FROZEN, f"its code is {error.code}")
    else:
        kinds = {report.kind for report in answer}
        expect(ReportKind.CANCEL_REFUSED in kinds, f"it reports {describe_kinds(answer)}")
        expect(ReportKind.CANCELLED not in kinds, "it reports CANCELLED")
    expect(await scenario.is_open(entry), "it is not open any more")
    await scenario.harness.end()
    await scenario.cancel(entry)

    async def is_gone() -> bool:
        return not await scenario.is_open(entry)

    await scenario.until(is_gone, "it is open although the market is away")


@check(143, "frozen levels stay", Capability.MARKET, Capability.STOPS, Capability.MODIFY,
       InjectedFault.FROZEN)  # fmt: skip
async def keeps_levels(scenario: Scenario) -> None:
    """Within the freeze level a new stop of a position is refused with LEVELS_FROZEN, and the
    position keeps the one that it has; once the market is away, it is moved."""
    stop, new = await scenario.away(-1), await scenario.away(-1, HALF)
    entry = await scenario.buy(stop_loss=stop)
    await _wait_for_stop(scenario, stop)
    await scenario.harness.begin(InjectedFault.FROZEN)
    await _expect_frozen_stop(scenario, entry, new)
    expect(await _stop_of(scenario) == stop, "its stop has changed")
    await scenario.harness.end()
    await scenario.modify(entry, new, None)
    await _wait_for_stop(scenario, new)


async def _expect_frozen_stop(scenario: Scenario, entry: OrderRequest, stop: Decimal) -> None:
    try:
        answer = await scenario.modify(entry, stop, None)
    except Rejected as error:
        expect(error.code is Code.LEVELS_FROZEN, f"its code is {error.code}")
    else:
        raise CheckFailed(f"it was not refused but {describe_kinds(answer)}")


async def _expect_freeze_level(scenario: Scenario) -> None:
    listed = await scenario.call(scenario.harness.adapter.instruments(scenario.spec))
    levels = [one.freeze_level for one in listed if one.symbol == scenario.harness.symbol]
    expect(levels and levels[0] > 0, f"the instrument's freeze level is {levels}")


async def _wait_for_stop(scenario: Scenario, stop: Decimal) -> None:
    async def has_stop() -> bool:
        return await _stop_of(scenario) == stop

    await scenario.until(has_stop, f"the position does not show the stop {stop}")


async def _stop_of(scenario: Scenario) -> Decimal | None:
    levels = (await scenario.position()).levels
    return levels.stop_loss if levels else None
