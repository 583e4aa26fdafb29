"""C29–C38: what can be ordered at all: symbols, steps, limits, distances, money, hours."""

from decimal import Decimal

from brokers.base import BrokerError, NotSent, Rejected
from brokers.conformance.case import Ability, Failed, case, expect
from brokers.conformance.scene import Scene
from brokers.conformance.stage import Offer, Trouble
from brokers.conformance.words import filled, kinds
from brokers.messages import OrderReport, OrderRequest, OrderType, ReportKind
from common.codes import Code

JOURNAL = Offer.JOURNAL


@case(29, "unknown symbol", Ability.MARKET)
async def unknown_symbol(scene: Scene) -> None:
    """An order for a symbol that the broker does not list is refused as that."""
    await _refused(scene, scene.order(symbol="NOSUCHSYMBOL"), Code.UNKNOWN_SYMBOL_AT_BROKER)


@case(30, "between the steps", Ability.MARKET)
async def between_steps(scene: Scene) -> None:
    """A quantity between two steps is refused or rounded down, and never filled for more."""
    step = scene.instrument.quantity_step
    entry = scene.order(quantity=scene.on_step(scene.quantity) + step / 2)
    try:
        told = await scene.submit(entry)
    except (Rejected, NotSent) as error:
        expect(error.code is Code.VOLUME_INVALID, f"it says {error.code}")
        return
    lower = scene.on_step(scene.quantity)
    got = await scene.told(entry, lambda reports: filled(reports) >= lower, told)
    expect(filled(got) == lower, f"{filled(got)} was filled of {entry.quantity}")


@case(31, "below the minimum", Ability.MARKET)
async def below_minimum(scene: Scene) -> None:
    """A quantity below the smallest is refused as that, and never rounded up."""
    least = scene.instrument.quantity_min
    await _refused(scene, scene.order(quantity=least / 2), Code.VOLUME_INVALID)


@case(32, "above the maximum", Ability.MARKET, Offer.EXTREMES)
async def above_maximum(scene: Scene) -> None:
    """A quantity above the greatest is refused and never cut down."""
    most = scene.instrument.quantity_max
    request = scene.order(quantity=most + scene.instrument.quantity_step)
    await _refused(scene, request, Code.VOLUME_INVALID, Code.NO_MONEY)


@case(33, "no quantity at all", Ability.MARKET)
async def nonsense(scene: Scene) -> None:
    """Zero, less than nothing, and what is no number are refused here or there, never sent on."""
    for words in ("0", "-1", "NaN", "Infinity"):
        request = scene.order(quantity=Decimal(words))
        try:
            told = await scene.submit(request)
        except (Rejected, NotSent):
            continue
        except BrokerError as error:
            raise Failed(f"{words} ended as {type(error).__name__} {error}") from error
        raise Failed(f"{words} was taken: {kinds(told)}")
    expect(await scene.held() == 0, "something is held")


@case(34, "stop on the wrong side", Ability.MARKET, Ability.STOPS)
async def wrong_side(scene: Scene) -> None:
    """A stop on the wrong side is refused; or the entry stands and its lost stop is told."""
    await _stop_is_no_good(scene, await scene.away(1))


@case(35, "stop too near", Ability.MARKET, Ability.STOPS, Trouble.STOPS_NEAR)
async def too_near(scene: Scene) -> None:
    """A stop nearer than the broker allows is refused; or the entry stands and its lost stop is
    told."""
    await scene.stage.begin(Trouble.STOPS_NEAR)
    tick = scene.stage.tick or Decimal(1).scaleb(-scene.instrument.digits)
    await _stop_is_no_good(scene, scene.rounded((await scene.stage.quote()).bid) - tick)


@case(36, "market closed", Ability.MARKET, Trouble.CLOSED)
async def closed(scene: Scene) -> None:
    """An order to a closed market is refused as that."""
    entry = scene.order()
    await scene.stage.begin(Trouble.CLOSED)
    await _refused(scene, entry, Code.MARKET_CLOSED)


@case(37, "no money", Ability.MARKET, Trouble.POOR)
async def no_money(scene: Scene) -> None:
    """An order that the account has no money for is refused as that."""
    await scene.stage.begin(Trouble.POOR)
    await _refused(scene, scene.order(), Code.NO_MONEY)


@case(38, "a price is missing", Ability.LIMIT)
async def no_price(scene: Scene) -> None:
    """A limit order without a price is refused; it never becomes a market order."""
    await _refused(scene, scene.order(order_type=OrderType.LIMIT))
    expect(await scene.held() == 0, "it was filled")


async def _refused(scene: Scene, request: OrderRequest, *codes: Code) -> None:
    """Place an order that must be refused, with one of these codes if any are given."""
    try:
        code, _ = await scene.refusal(request)
    except NotSent as error:
        code = error.code
    except BrokerError as error:
        raise Failed(f"it ended as {type(error).__name__} {error}") from error
    expect(not codes or code in codes, f"it says {code}, not {' or '.join(codes)}")
    if JOURNAL not in scene.stage.lacks:
        await scene.accepted(request, 0)


async def _stop_is_no_good(scene: Scene, stop: Decimal) -> None:
    entry = scene.order(stop_loss=stop)
    try:
        told = await scene.submit(entry)
    except (Rejected, NotSent) as error:
        expect(error.code is Code.STOPS_INVALID, f"it says {error.code}")
        if JOURNAL not in scene.stage.lacks:
            await scene.accepted(entry, 0)
        return
    known = await scene.told(entry, lambda reports: any(map(_of_lost_stop, reports)), told)
    if any(report.kind is ReportKind.REJECTED for report in known):
        expect(await scene.held() == 0, "it was refused and filled")


def _of_lost_stop(report: OrderReport) -> bool:
    told = report.kind in (ReportKind.LEVELS, ReportKind.REJECTED)
    return told and report.code is Code.STOPS_INVALID
