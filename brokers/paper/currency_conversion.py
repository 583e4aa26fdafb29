"""Converting money between currencies by quoted pairs. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from common.money import divide

CROSSES = ("USD", "EUR")


class Priced(Protocol):
    """A bid and an ask in quote currency."""

    @property
    def bid(self) -> Decimal: ...

    @property
    def ask(self) -> Decimal: ...


@dataclass(frozen=True, slots=True)
class Conversion:
    """A rate between two currencies. pairs: those whose quotes it was calculated from."""

    rate: Decimal
    pairs: tuple[str, ...] = ()


def conversion(
    quotes: Mapping[str, Priced], from_currency: str, to_currency: str
) -> Conversion | None:
    """Return how many `to_currency` one `from_currency` is worth, at mid prices.

    quotes: by canonical pair `BASE/QUOTE`; metals, coins and shares are bases like any other.
    Looks for the pair, its inverse, then a way through USD or EUR. None: no pair joins the two.
    """
    if from_currency == to_currency:
        return Conversion(Decimal(1))
    if (direct := _pair(quotes, from_currency, to_currency)) is not None:
        return direct
    for cross in CROSSES:
        first = _pair(quotes, from_currency, cross)
        second = _pair(quotes, cross, to_currency)
        if first is not None and second is not None:
            return Conversion(first.rate * second.rate, first.pairs + second.pairs)
    return None


def conversion_rate(
    quotes: Mapping[str, Priced], from_currency: str, to_currency: str
) -> Decimal | None:
    """Return only the rate of `conversion`."""
    path = conversion(quotes, from_currency, to_currency)
    return path.rate if path else None


def pairs_between(from_currency: str, to_currency: str) -> Iterator[str]:
    """Return the pairs that `conversion_rate` may use between two currencies."""
    if from_currency == to_currency:
        return
    ends = (from_currency, to_currency)
    ways = [ends, *((end, cross) for cross in CROSSES for end in ends)]
    for one, other in ways:
        if one != other:
            yield f"{one}/{other}"
            yield f"{other}/{one}"


def _pair(quotes: Mapping[str, Priced], base: str, quote: str) -> Conversion | None:
    if price := quotes.get(name := f"{base}/{quote}"):
        return Conversion((price.bid + price.ask) / 2, (name,))
    if price := quotes.get(name := f"{quote}/{base}"):
        return Conversion(divide(Decimal(2), price.bid + price.ask), (name,))
    return None
