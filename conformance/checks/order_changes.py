"""C132–C139: changes of working orders. The order stays the same order."""

from decimal import Decimal

from brokers.base import BrokerError, NotSent, OutcomeUnknown, Rejected
from brokers.types import BrokerOrder, OrderField, OrderReport, OrderRequest, ReportKind
from common.clocks import machine_time
from common.reason_codes import Code
from conformance.assertions import describe_kinds, filled
from conformance.harness import HarnessFeature, InjectedFault, NotApplicable
from conformance.registry import Capability, CheckFailed, check, expect
from conformance.scenario import Scenario

HALF = Decimal("0.5")


@check(132, "price of a working order", Capability.LIMIT, Capability.GTC, Capability.CHANGE_PRICE)
async def price(scenario: Scenario) -> None:
    """A new limit price is reported by CHANGED, with all terms, and listed. The order keeps both
    ids, and it stays the only one."""
    entry, before = await _working(scenario)
    new = await scenario.away(-1, HALF)
    answer = await scenario.change(entry, before, limit_price=new)
    _expect_changed(answer, before, quantity=before.quantity, limit_price=new)
    after = await _listed(scenario, entry, before, limit_price=new)
    expect(after.quantity == before.quantity, f"its quantity is {after.quantity}")
    await _is_the_only_one(scenario, entry)


@check(
    133, "quantity of a working order", Capability.LIMIT, Capability.GTC, Capability.CHANGE_QUANTITY
)
async def quantity(scenario: Scenario) -> None:
    """The quantity is raised, then lowered: each is reported by CHANGED and listed."""
    entry, before = await _working(scenario)
    for new in (before.quantity * 2, before.quantity):
        present = await scenario.open_order(entry)
        assert present is not None
        answer = await scenario.change(entry, present, quantity=new)
        _expect_changed(answer, before, quantity=new, limit_price=before.limit_price)
        await _listed(scenario, entry, before, quantity=new)
    await _is_the_only_one(scenario, entry)


@check(134, "same change twice", Capability.LIMIT, Capability.GTC, Capability.CHANGE_PRICE)
async def twice(scenario: Scenario) -> None:
    """The same change again has no other effect: it is reported as done, or refused."""
    entry, before = await _working(scenario)
    new = await scenario.away(-1, HALF)
    await scenario.change(entry, before, limit_price=new)
    try:
        answer = await scenario.change(entry, before, limit_price=new)
    except Rejected:
        answer = []
    if answer:
        _expect_changed(answer, before, quantity=before.quantity, limit_price=new)
    await _listed(scenario, entry, before, limit_price=new)
    await _is_the_only_one(scenario, entry)


@check(135, "change past its time", Capability.LIMIT, Capability.GTC, Capability.CHANGE_PRICE)
async def late(scenario: Scenario) -> None:
    """A change past its deadline is not sent: it raises NotSent, and the order is unchanged."""
    entry, before = await _working(scenario)
    try:
        answer = await scenario.change(
            entry, before, machine_time() - 1, limit_price=await scenario.away(-1, HALF)
        )
    except NotSent as error:
        expect(error.code is Code.SEND_DEADLINE, f"its code is {error.code}")
    else:
        raise CheckFailed(f"it was sent: {describe_kinds(answer)}")
    await _listed(scenario, entry, before, limit_price=before.limit_price)


@check(136, "change of an ended order", Capability.LIMIT, Capability.GTC, Capability.CHANGE_PRICE)
async def ended(scenario: Scenario) -> None:
    """A change of a cancelled order is refused, and nothing works afterwards."""
    entry, before = await _working(scenario)
    await scenario.cancel(entry)

    async def gone() -> bool:
        return not await scenario.is_open(entry)

    await scenario.until(gone, "it is still open after its cancel")
    try:
        answer = await scenario.change(entry, before, limit_price=await scenario.away(-1, HALF))
    except Rejected:
        pass
    else:
        raise CheckFailed(f"it was not refused but {describe_kinds(answer)}")
    expect(not await scenario.is_open(entry), "it works again")
    await _is_the_only_one(scenario, entry)


@check(
    137,
    "change without a reply",
    Capability.LIMIT,
    Capability.GTC,
    Capability.CHANGE_PRICE,
    InjectedFault.NO_ANSWER,
)
async def no_reply(scenario: Scenario) -> None:
    """A change whose reply is lost is unknown. The list then has what the order is, and the same
    change may be repeated."""
    entry, before = await _working(scenario)
    new = await scenario.away(-1, HALF)
    await scenario.harness.begin(InjectedFault.NO_ANSWER)
    try:
        answer = await scenario.change(entry, before, limit_price=new)
    except OutcomeUnknown:
        pass
    except BrokerError as error:
        raise CheckFailed(f"it raises {error!r}") from error
    else:  # a broker whose events or reads state the outcome
        _expect_changed(answer, before, quantity=before.quantity, limit_price=new)
    await scenario.harness.end()
    present = await scenario.open_order(entry)
    assert present is not None
    if present.limit_price != new:
        await scenario.change(entry, present, limit_price=new)
    await _listed(scenario, entry, before, limit_price=new)
    await _is_the_only_one(scenario, entry)


@check(
    138,
    "changed price is the one that holds",
    Capability.LIMIT,
    Capability.GTC,
    Capability.CHANGE_PRICE,
    HarnessFeature.PRICES,
)
async def price_holds(scenario: Scenario) -> None:
    """At its old price a changed order is not filled; at its new one it is, there or better."""
    entry, before = await _working(scenario, HALF)
    new = await scenario.away(-1, Decimal(1))
    await scenario.change(entry, before, limit_price=new)
    await scenario.harness.move(1 - scenario.harness.far_fraction * Decimal("0.75"))
    await scenario.until(lambda: scenario.is_open(entry), "it is no longer open")
    expect(await scenario.held() == 0, "it was filled at its old price")
    await scenario.harness.move(1 - scenario.harness.far_fraction * Decimal("1.25"))
    reports = await scenario.reports_of(entry, lambda known: filled(known) >= entry.quantity)
    worst = max(fill.price for report in reports for fill in report.fills)
    expect(worst <= new, f"filled at {worst}, above its new limit {new}")
    await scenario.wait_until_held(entry.quantity)


@check(139, "change that is not claimed", Capability.LIMIT, Capability.GTC)
async def not_claimed(scenario: Scenario) -> None:
    """A field that the account does not claim is refused before anything is sent."""
    unclaimed = frozenset(OrderField) - scenario.can.changes_orders
    if not unclaimed:
        raise NotApplicable("the account claims changes of price and quantity")
    entry, before = await _working(scenario)
    new_price = await scenario.away(-1, HALF)
    for field in sorted(unclaimed):
        try:
            if field is OrderField.PRICE:
                answer = await scenario.change(entry, before, limit_price=new_price)
            else:
                answer = await scenario.change(entry, before, quantity=before.quantity * 2)
        except Rejected as error:
            expect(error.code is Code.CHANGE_UNSUPPORTED, f"its code is {error.code}")
        else:
            raise CheckFailed(f"{field} was not refused but {describe_kinds(answer)}")
    await _listed(scenario, entry, before, limit_price=before.limit_price, quantity=before.quantity)


async def _working(
    scenario: Scenario, distance: Decimal = Decimal(1)
) -> tuple[OrderRequest, BrokerOrder]:
    """Place a limit order away from the market; return it, and how the broker lists it."""
    limit = await scenario.away(-1, distance)
    entry = await scenario.place_working(limit_price=limit)
    listed = await scenario.open_order(entry)
    assert listed is not None
    return entry, listed


def _expect_changed(
    answer: list[OrderReport], before: BrokerOrder, **terms: Decimal | None
) -> None:
    stated = [one for one in answer if one.kind is ReportKind.CHANGED]
    expect(stated, f"it reports {describe_kinds(answer)}")
    last = stated[-1]
    assert last.terms is not None
    for name, value in terms.items():
        found = getattr(last.terms, name)
        expect(found == value, f"it reports the {name} {found}, not {value}")
    expect(last.broker_order_id == before.broker_order_id, "it reports another order")


async def _listed(
    scenario: Scenario, entry: OrderRequest, before: BrokerOrder, **terms: Decimal | None
) -> BrokerOrder:
    """Wait until the order is listed with these terms; check that it is the same order."""
    found: list[BrokerOrder] = []

    async def has_terms() -> bool:
        listed = await scenario.open_order(entry)
        found[:] = [listed] if listed is not None else []
        return listed is not None and all(
            getattr(listed, name) == value for name, value in terms.items()
        )

    await scenario.until(has_terms, lambda: f"it is listed as {found}, not with {terms}")
    [listed] = found
    expect(listed.broker_order_id == before.broker_order_id, "it is another order")
    expect(listed.filled == 0, f"{listed.filled} has filled")
    return listed


async def _is_the_only_one(scenario: Scenario, entry: OrderRequest) -> None:
    """No other order works in the symbol, and the broker has accepted ours once."""
    working = await scenario.call(scenario.harness.adapter.open_orders(scenario.spec))
    names = [one.client_order_id for one in working if one.symbol == scenario.harness.symbol]
    expect(set(names) <= {entry.client_order_id} and len(names) <= 1, f"{len(names)} orders work")
    if HarnessFeature.JOURNAL not in scenario.harness.unavailable:
        await scenario.expect_accepted(entry, 1)
