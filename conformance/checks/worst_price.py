"""C116 and C119: a market order's worst price."""

from brokers.base import Rejected
from brokers.types import OrderRequest, ReportKind
from brokers.worst_price import can_limit_price, with_worst_price
from common.reason_codes import Code
from conformance.assertions import describe_kinds, ended, filled
from conformance.harness import HarnessFeature, NotApplicable
from conformance.registry import Capability, check, expect
from conformance.scenario import Scenario

OVER = (ReportKind.CANCELLED, ReportKind.EXPIRED, ReportKind.REJECTED)
LIMIT_CODES = frozenset(
    {
        Code.SLIPPAGE_LIMIT,  # the adapter's own check, before it sends
        Code.NO_PRICE_WITHIN_LIMIT,  # an immediate-or-cancel order at the limit
        Code.REQUOTE,  # the broker's own limit
    }
)
NO_BOUND = "the account keeps no worst price: Fillcast denies such entries"


@check(116, "worst price", Capability.MARKET, Capability.QUOTES, HarnessFeature.PRICES)
async def worst_price(scenario: Scenario) -> None:
    """A market order whose price gapped beyond its limit after the quote is never filled beyond
    it: it is refused or ends, with a code that states the reason; within its limit it is filled."""
    if not can_limit_price(scenario.can):
        raise NotApplicable(NO_BOUND)
    near = scenario.rounded(
        (await scenario.harness.quote()).ask * (1 + scenario.harness.far_fraction / 2)
    )
    within = with_worst_price(scenario.order(worst_price=near), scenario.can)
    answer = await scenario.reports_of(
        within, lambda reports: filled(reports) >= within.quantity, await scenario.submit(within)
    )
    prices = [fill.price for report in answer for fill in report.fills]
    expect(max(prices) <= near, f"filled at {max(prices)}, beyond {near}")

    await scenario.harness.move(1 + scenario.harness.far_fraction)
    await _ends_unfilled(scenario, with_worst_price(scenario.order(worst_price=near), scenario.can))
    await scenario.wait_until_held(within.quantity)


@check(119, "worst price at the fill", Capability.MARKET, Capability.QUOTES, HarnessFeature.PRICES)
async def worst_price_at_the_fill(scenario: Scenario) -> None:
    """A market order whose price gaps beyond its limit after the adapter has checked the price is
    not filled beyond it: the broker enforces the limit. Only an account that claims
    `checks_worst_price` may have symbols without such a limit at the broker."""
    if not can_limit_price(scenario.can):
        raise NotApplicable(NO_BOUND)
    near = scenario.rounded(
        (await scenario.harness.quote()).ask * (1 + scenario.harness.far_fraction / 2)
    )
    try:
        await scenario.harness.gap(1 + scenario.harness.far_fraction)
    except NotApplicable:
        expect(
            scenario.can.checks_worst_price or not scenario.can.keeps_worst_price,
            "the account claims to keep every worst price, but the harness cannot test it",
        )
        raise
    await _ends_unfilled(scenario, with_worst_price(scenario.order(worst_price=near), scenario.can))


async def _ends_unfilled(scenario: Scenario, request: OrderRequest) -> None:
    """Place an order that must not be filled. Raises CheckFailed if it is, or ends otherwise."""
    code = await _rejection_code(scenario, request)
    allowed = LIMIT_CODES
    if not scenario.can.names_time_in_force:
        allowed = allowed | {Code.TIME_IN_FORCE_ENDED}
    expect(code in allowed, f"it ended with the code {code}")


async def _rejection_code(scenario: Scenario, request: OrderRequest) -> Code | None:
    """Place an order that must not be filled; return the code of its end. Raises CheckFailed."""
    try:
        answer = await scenario.submit(request)
    except Rejected as error:
        return error.code
    answer = list(
        await scenario.reports_of(
            request, lambda reports: ended(reports) or filled(reports) > 0, answer
        )
    )
    expect(filled(answer) == 0, f"filled beyond its limit: {describe_kinds(answer)}")
    expect(ended(answer), f"it did not end: {describe_kinds(answer)}")
    return next((report.code for report in answer if report.kind in OVER), None)
