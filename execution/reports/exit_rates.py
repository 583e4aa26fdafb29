"""The rate that converts the profit of an exit which its broker made.

An exit of ours has the rate of the moment when it is sent. One that the broker reports is converted
when that is applied: at its own price if the account has the pair's base currency, as the broker
does it, else by fresh quotes. The rate of the entry counts only where neither is known: the rate
has moved since.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from brokers.types import OrderReport
from common.money import divide, to_stored
from execution.reports.broker_exits_sql import ClosedPosition
from execution.reports.fees import QuoteRow, fresh_quotes
from prices.selectors import conversion, pairs_between

Quotes = Mapping[int | None, Mapping[str, QuoteRow]]


def exit_rates(exits: Sequence[tuple[ClosedPosition, OrderReport]]) -> list[Decimal | None]:
    """Return account currency for one of quote currency, for each exit; None: not known."""
    sources, pairs = set[int | None](), set[str]()
    for position, _ in exits:
        base, _, quote = position.pair.rpartition("/")
        if position.currency and position.currency not in (base, quote):
            sources.add(position.price_source_id)
            pairs.update(pairs_between(quote, position.currency))
    quotes = fresh_quotes(sources, pairs)
    return [_rate(position, report, quotes) for position, report in exits]


def _rate(position: ClosedPosition, report: OrderReport, quotes: Quotes) -> Decimal | None:
    base, _, quote = position.pair.rpartition("/")
    if not position.currency:
        return None
    if position.currency == base:
        price = _average_price(report)
        return divide(Decimal(1), price) if price > 0 else None
    found = conversion(quotes.get(position.price_source_id, {}), quote, position.currency)
    return None if found is None else to_stored(found.rate)


def _average_price(report: OrderReport) -> Decimal:
    """Return the mean price of what a report states as executed; 0: of nothing."""
    quantity = sum((fill.quantity for fill in report.fills), Decimal(0))
    value = sum((fill.quantity * fill.price for fill in report.fills), Decimal(0))
    return divide(value, quantity) if quantity > 0 else Decimal(0)
