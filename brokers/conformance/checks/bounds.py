"""C116: a market order's worst price."""

from brokers.base import Rejected
from brokers.bounds import bounded, can_bound
from brokers.conformance.case import Ability, case, expect
from brokers.conformance.scene import Scene
from brokers.conformance.stage import NotApplicable, Offer
from brokers.conformance.words import ended, filled, kinds


@case(116, "worst price", Ability.MARKET, Ability.QUOTES, Offer.PRICES)
async def worst_price(scene: Scene) -> None:
    """A market order whose price gapped beyond its bound after the quote is never filled beyond
    it: it is refused with a code, or ends; within its bound it is filled."""
    if not can_bound(scene.can):
        raise NotApplicable("the account keeps no worst price: such entries are denied by us")
    near = scene.rounded((await scene.stage.quote()).ask * (1 + scene.stage.far / 2))
    within = bounded(scene.order(worst_price=near), scene.can)
    told = await scene.told(
        within, lambda reports: filled(reports) >= within.quantity, await scene.submit(within)
    )
    prices = [fill.price for report in told for fill in report.fills]
    expect(max(prices) <= near, f"filled at {max(prices)}, beyond {near}")

    await scene.stage.move(1 + scene.stage.far)
    beyond = bounded(scene.order(worst_price=near), scene.can)
    try:
        told = await scene.submit(beyond)
    except Rejected as error:
        expect(error.code is not None, "refused without a code")
    else:
        told = await scene.told(beyond, lambda reports: ended(reports) or filled(reports) > 0, told)
        expect(filled(told) == 0, f"filled beyond {near}: {kinds(told)}")
        expect(ended(told), f"it did not end: {kinds(told)}")  # the engine says SLIPPAGE_LIMIT
    await scene.holds(within.quantity)
