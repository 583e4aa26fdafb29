"""Whether the prices of a signal are near the market, so that a wrong digit is never published.

Each price is compared with the newest quote of the feed's reference sources. `prices` provides it,
and registers itself at start-up. Without a recent quote nothing is compared: the limits of the
accounts remain (docs/limits.md).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from common.money import percent_apart, plain, rounded_apart
from common.reason_codes import Code
from signals.errors import FieldError, InvalidSignalError
from signals.models import Action, Feed, Signal

# At what the market is traded, and levels, which may lie far away from it.
PRICES = ("open_price", "stop_price", "activation_price", "price_limit")


@dataclass(frozen=True, slots=True)
class Reference:
    """The quote that a signal's prices are compared with. source: its name; time: market time."""

    bid: Decimal
    ask: Decimal
    time: datetime
    source: str

    @property
    def middle(self) -> Decimal:
        """The middle of bid and ask."""
        return (self.bid + self.ask) / 2


Source = Callable[[Feed, str], Reference | None]
_source: Source | None = None


def register_reference_price(source: Source) -> None:
    """Register the function that returns the newest quote of a pair for a feed."""
    global _source
    _source = source


def reference_price(feed: Feed, pair: str) -> Reference | None:
    """Return the quote that prices of this feed are compared with; None: there is no recent one."""
    return _source(feed, pair) if _source else None


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


def price_errors(signal: Signal, feed: Feed, reference: Reference) -> Iterator[FieldError]:
    """Yield an error for each price further from the market than the feed allows. Pure."""
    market = reference.middle
    for name, price, is_level in prices_of(signal):
        maximum = feed.max_level_deviation_percent if is_level else feed.max_price_deviation_percent
        if maximum is None or price <= 0 or deviation_percent(price, market) <= maximum:
            continue
        deviation = rounded_apart(deviation_percent(price, market), maximum)
        detail = (
            f"{plain(price)} is {plain(deviation)} % from the market, which {reference.source} "
            f"quotes at {plain(reference.bid)} / {plain(reference.ask)}; the maximum is "
            f"{plain(maximum)} %."
        )
        yield FieldError(Code.PRICE_FAR_FROM_MARKET, name, detail)


def found_price_errors(signal: Signal, feed: Feed) -> list[FieldError]:
    """Return the errors of an OPEN's or MODIFY's prices now. The signal may be unsaved."""
    if signal.action == Action.CLOSE or not any(prices_of(signal)):
        return []
    reference = reference_price(feed, signal.currency_pair)
    return [] if reference is None else list(price_errors(signal, feed, reference))


def require_reasonable_prices(signal: Signal, feed: Feed) -> None:
    """Raise InvalidSignalError with all prices that are further from the market than allowed."""
    if errors := found_price_errors(signal, feed):
        raise InvalidSignalError(errors)


def notice(signal: Signal) -> str:
    """Return what a person should know about the prices before publishing; empty: nothing."""
    if signal.action == Action.CLOSE or not any(prices_of(signal)):
        return ""
    reference = reference_price(signal.feed, signal.currency_pair)
    if reference is None:
        return (
            f"There is no recent quote of {signal.currency_pair}, so the signal's prices are not "
            "compared with the market. Check each digit; the limits of the accounts still apply."
        )
    errors = price_errors(signal, signal.feed, reference)
    return " ".join(f"{error.field}: {error.detail}" for error in errors)
