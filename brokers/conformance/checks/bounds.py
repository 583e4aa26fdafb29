"""C116: a market order's worst price."""

from brokers.base import Rejected
from brokers.bounds import bounded, can_bound
from brokers.conformance.case import Ability, case, expect
from brokers.conformance.scene import Scene
from brokers.conformance.stage import NotApplicable, Offer
from brokers.conformance.words import ended, filled, kinds
from brokers.messages import OrderRequest, ReportKind
from common.codes import Code

OVER = (ReportKind.CANCELLED, ReportKind.EXPIRED, ReportKind.REJECTED)
BEYOND_IT = (
    Code.SLIPPAGE_LIMIT,  # the adapter's own word, before anything is sent
    Code.NO_PRICE_WITHIN_LIMIT,  # an immediate-or-cancel order at the bound
    Code.TIME_IN_FORCE_ENDED,  # the same at Kraken, which does not repeat an order's time in force
    Code.REQUOTE,  # a bound of the broker's own
)


@case(116, "worst price", Ability.MARKET, Ability.QUOTES, Offer.PRICES)
async def worst_price(scene: Scene) -> None:
    """A market order whose price gapped beyond its bound after the quote is never filled beyond
    it: it is refused or ends, with a code that says so; within its bound it is filled."""
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
    code = await _refusal(scene, beyond)
    expect(code in BEYOND_IT, f"it ended with the code {code}")
    await scene.holds(within.quantity)


async def _refusal(scene: Scene, beyond: OrderRequest) -> Code | None:
    """Return the code that an order ends with which must not be filled. Raises Failed."""
    try:
        told = await scene.submit(beyond)
    except Rejected as error:
        return error.code
    told = list(
        await scene.told(beyond, lambda reports: ended(reports) or filled(reports) > 0, told)
    )
    expect(filled(told) == 0, f"filled beyond its bound: {kinds(told)}")
    expect(ended(told), f"it did not end: {kinds(told)}")
    return next((report.code for report in told if report.kind in OVER), None)
