"""Whether the prices of a signal are near the market, so that a wrong digit is never published.

Each price is compared with the newest quote of the feed's reference sources. `prices` provides it,
and registers itself at start-up. Without a recent quote nothing is compared: the limits of the
accounts remain (docs/limits.md). A trailing stop's distance counts as the stop price at which a
sell's starts.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from common.money import percent_apart, plain, rounded_apart
from common.reason_codes import Code
from common.stop_rules import ATR, RULE_DISTANCES
from common.units import Unit, size_of
from signals.field_error import FieldError
from signals.models import Action, Feed, Signal
from signals.reading.errors import InvalidSignalError
from signals.symbols import slippage_unit

# At what the market is traded, and levels, which may lie far away from it.
PRICES = ("open_price", "stop_price", "activation_price", "price_limit")
_PRICE = "PRICE"
_TRAILS = {
    "trail_distance": _PRICE, "trail_pips": Unit.PIPS.value, "trail_percent": Unit.PERCENT.value,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reference:
    """The quote that a signal's prices are compared with. source: its name; time: market time.

    pip, tick: the smallest that the feed's accounts have for the pair; None: unknown, or not asked
    for. source_id: the price source's.
    """

    bid: Decimal
    ask: Decimal
    time: datetime
    source: str
    pip: Decimal | None = None
    tick: Decimal | None = None
    source_id: int | None = None

    @property
    def middle(self) -> Decimal:
        """The middle of bid and ask."""
        return (self.bid + self.ask) / 2


class Source(Protocol):
    """Returns the newest quote of a pair for a feed."""

    def __call__(self, feed: Feed, pair: str, /, *, with_steps: bool) -> Reference | None:
        """Return it; with_steps: with the pair's pip and tick."""


_source: Source | None = None


def register_reference_price(source: Source) -> None:
    """Register the function that returns the newest quote of a pair for a feed."""
    global _source
    _source = source


def reference_price(signal: Signal, feed: Feed) -> Reference | None:
    """Return the quote that a signal's prices are compared with; None: there is no recent one."""
    if _source is None:
        return None
    return _source(feed, signal.currency_pair, with_steps=any(_distances(signal)))


def newest_quote(feed: Feed, pair: str) -> Reference | None:
    """Return the newest recent quote of a pair for a feed; None: there is none."""
    return None if _source is None else _source(feed, pair, with_steps=False)


def deviation_percent(price: Decimal, market: Decimal) -> Decimal:
    """Return how far two prices are apart: the larger one above the smaller one, in percent of it.

    So a tenth and ten times the market's price are equally far, 900 %. Both are above 0, and of any
    size that is stored. Pure.
    """
    return percent_apart(price, market)


def prices_of(signal: Signal) -> Iterator[tuple[str, Decimal, bool]]:
    """Yield (field, price, whether it is a level) of a signal. Pure."""
    for name in PRICES:
        if (price := getattr(signal, name)) is not None:
            yield name, price, False
    if signal.sl is not None:
        yield "sl", signal.sl, True
    for price in signal.target_prices or ():
        yield "targets", price, True


def _distances(signal: Signal) -> Iterator[tuple[str, Decimal, str]]:
    """Yield (field, distance above 0, unit) of a signal, except in ATR. Pure."""
    for name, unit in _TRAILS.items():
        if distance := getattr(signal, name):
            yield name, distance, unit
    if signal.stop_rule_unit == ATR:
        return
    for name in RULE_DISTANCES:
        if distance := getattr(signal, name):
            yield name, distance, signal.stop_rule_unit or slippage_unit(signal.currency_pair)


def _in_price(distance: Decimal, unit: str, reference: Reference) -> Decimal | None:
    """Return a distance in quote currency by the market now; None: the pip is not known. Pure."""
    if unit == _PRICE:
        return distance
    if reference.pip is None or reference.tick is None:
        return None
    size = size_of(Unit(unit), price=reference.middle, pip=reference.pip, tick=reference.tick)
    return distance * size


def _step_errors(signal: Signal, reference: Reference) -> Iterator[FieldError]:
    """Yield an error for each distance below one tick: the next quote would reach it. Pure."""
    for name, distance, unit in _distances(signal):
        in_price, tick = _in_price(distance, unit, reference), reference.tick
        if tick is not None and in_price is not None and 0 < in_price < tick:
            detail = (
                f"It is {plain(in_price)} in price, and {signal.currency_pair} moves by "
                f"{plain(tick)} or more."
            )
            yield FieldError(Code.DISTANCE_BELOW_TICK, name, detail)


def _is_compared(signal: Signal) -> bool:
    """Whether a signal has something to compare with the market. Pure."""
    has_any = any(prices_of(signal)) or any(_distances(signal))
    return has_any and signal.action != Action.CLOSE


def price_errors(signal: Signal, feed: Feed, reference: Reference) -> Iterator[FieldError]:
    """Yield an error for each price further from the market than the feed allows. Pure."""
    market = reference.middle
    for name, price, is_level in prices_of(signal):
        maximum = feed.max_level_deviation_percent if is_level else feed.max_price_deviation_percent
        if maximum is None or price <= 0 or deviation_percent(price, market) <= maximum:
            continue
        deviation = rounded_apart(deviation_percent(price, market), maximum)
        detail = f"{plain(price)} is {plain(deviation)} % from {_described(reference, maximum)}"
        yield FieldError(Code.PRICE_FAR_FROM_MARKET, name, detail)
    yield from _distance_errors(signal, feed.max_price_deviation_percent, reference)
    yield from _step_errors(signal, reference)


def _described(reference: Reference, maximum: Decimal) -> str:
    return (
        f"the market, which {reference.source} quotes at {plain(reference.bid)} / "
        f"{plain(reference.ask)}; the maximum is {plain(maximum)} %."
    )


def _distance_errors(
    signal: Signal, maximum: Decimal | None, reference: Reference
) -> Iterator[FieldError]:
    """Yield an error for a trailing stop's distance, if a stop that far below is too far. Pure.

    It is the same for buys and sells. A distance in pips is compared if the pip is known.
    """
    name, distance = "trail_distance", signal.trail_distance
    if signal.trail_pips is not None and reference.pip is not None:
        name, distance = "trail_pips", signal.trail_pips * reference.pip
    if maximum is None or distance is None or distance <= 0:
        return
    market = reference.middle
    stop = market - distance
    if stop <= 0:
        detail = f"{plain(distance)} is the whole price or more of {_described(reference, maximum)}"
    elif (apart := deviation_percent(stop, market)) > maximum:
        shown = plain(rounded_apart(apart, maximum))
        detail = f"A stop at {plain(stop)}, {plain(distance)} below, is {shown} % from "
        detail += _described(reference, maximum)
    else:
        return
    yield FieldError(Code.PRICE_FAR_FROM_MARKET, name, detail)


def found_price_errors(signal: Signal, feed: Feed) -> list[FieldError]:
    """Return the errors of an OPEN's or MODIFY's prices now. The signal may be unsaved."""
    if not _is_compared(signal):
        return []
    reference = reference_price(signal, feed)
    return [] if reference is None else list(price_errors(signal, feed, reference))


def require_reasonable_prices(signal: Signal, feed: Feed) -> None:
    """Raise InvalidSignalError with all prices that are further from the market than allowed."""
    if errors := found_price_errors(signal, feed):
        raise InvalidSignalError(errors)


def market_of_publication(signal: Signal, feed: Feed) -> Reference | None:
    """Return the quote of the moment that a signal is published; None: there is no recent one.

    Raises InvalidSignalError as `require_reasonable_prices` does, by the same quote.
    """
    market = reference_price(signal, feed)
    if market is None or not _is_compared(signal):
        return market
    if errors := list(price_errors(signal, feed, market)):
        raise InvalidSignalError(errors)
    return market


def notice(signal: Signal) -> str:
    """Return what a person should know about the prices before publishing; empty: nothing."""
    if not _is_compared(signal):
        return ""
    reference = reference_price(signal, signal.feed)
    if reference is None:
        return (
            f"There is no recent quote of {signal.currency_pair}, so the signal's prices are not "
            "compared with the market. Check each digit; the limits of the accounts still apply."
        )
    errors = price_errors(signal, signal.feed, reference)
    return " ".join(f"{error.field}: {error.detail}" for error in errors)
