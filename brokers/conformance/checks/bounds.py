"""C116 and C119: a market order's worst price."""

from brokers.base import Rejected
from brokers.bounds import bounded, can_bound
from brokers.conformance.case import Ability, case, expect
from brokers.conformance.scene import Scene
from brokers.conformance.stage import NotApplicable, Offer
from brokers.conformance.words import ended, filled, kinds
from brokers.messages import OrderRequest, ReportKind
from common.codes import Code

OVER = (ReportKind.CANCELLED, ReportKind.EXPIRED, ReportKind.REJECTED)
BEYOND_IT = frozenset(
    {
        Code.SLIPPAGE_LIMIT,  # the adapter's own judgement, before anything is sent
        Code.NO_PRICE_WITHIN_LIMIT,  # an immediate-or-cancel order at the bound
        Code.REQUOTE,  # a bound of the broker's own
    }
)
NO_BOUND = "the account keeps no worst price: such entries are denied by us"


@case(116, "worst price", Ability.MARKET, Ability.QUOTES, Offer.PRICES)
async def worst_price(scene: Scene) -> None:
    """A market order whose price gapped beyond its bound after the quote is never filled beyond
    it: it is refused or ends, with a code that says so; within its bound it is filled."""
    if not can_bound(scene.can):
        raise NotApplicable(NO_BOUND)
    near = scene.rounded((await scene.stage.quote()).ask * (1 + scene.stage.far / 2))
    within = bounded(scene.order(worst_price=near), scene.can)
    told = await scene.told(
        within, lambda reports: filled(reports) >= within.quantity, await scene.submit(within)
    )
    prices = [fill.price for report in told for fill in report.fills]
    expect(max(prices) <= near, f"filled at {max(prices)}, beyond {near}")

    await scene.stage.move(1 + scene.stage.far)
    await _ends_unfilled(scene, bounded(scene.order(worst_price=near), scene.can))
    await scene.holds(within.quantity)


@case(119, "worst price at the fill", Ability.MARKET, Ability.QUOTES, Offer.PRICES)
async def worst_price_at_the_fill(scene: Scene) -> None:
    """A market order whose price gaps beyond its bound after the adapter has looked at the price
    is not filled beyond it: the broker itself enforces the bound. Only an account that says so
    (`checks_worst_price`) may have symbols whose broker enforces none."""
    if not can_bound(scene.can):
        raise NotApplicable(NO_BOUND)
    near = scene.rounded((await scene.stage.quote()).ask * (1 + scene.stage.far / 2))
    try:
        await scene.stage.gap(1 + scene.stage.far)
    except NotApplicable:
        expect(
            scene.can.checks_worst_price or not scene.can.keeps_worst_price,
            "the account claims to keep every worst price, and the stage cannot show it",
        )
        raise
    await _ends_unfilled(scene, bounded(scene.order(worst_price=near), scene.can))


async def _ends_unfilled(scene: Scene, request: OrderRequest) -> None:
    """Place an order that must not be filled. Raises Failed if it is, or ends otherwise."""
    code = await _refusal(scene, request)
    allowed = BEYOND_IT
    if not scene.can.names_time_in_force:
        allowed = allowed | {Code.TIME_IN_FORCE_ENDED}
    expect(code in allowed, f"it ended with the code {code}")


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
