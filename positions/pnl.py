"""Profit and average prices, pure: no database, no clock, no float.

Prices are in quote currency, quantities in base units, profit in account currency.
`conversion_rate` is account currency for one of quote currency. See docs/analytics.md.
"""

from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext

from brokers.messages import Side
from common.money import DIGITS, divide, to_stored

# Two differences and two products of numeric(38,18) need this many digits to stay exact.
_EXACT = Context(prec=4 * DIGITS, rounding=ROUND_HALF_EVEN)


def realized(
    *, side: Side, entry: Decimal, exit: Decimal, quantity: Decimal, conversion_rate: Decimal
) -> Decimal:
    """Return what closing `quantity` at `exit` made, gross of commission; a loss is negative.

    Calculated exactly, rounded once to what is stored (18 places).
    """
    with localcontext(_EXACT):
        gained = (exit - entry) * side.sign * quantity * conversion_rate
    return to_stored(gained)


def unrealized(
    *,
    side: Side,
    entry: Decimal,
    bid: Decimal,
    ask: Decimal,
    quantity: Decimal,
    conversion_rate: Decimal,
) -> Decimal:
    """Return what closing now would make: a BUY is closed at the bid, a SELL at the ask."""
    return realized(
        side=side,
        entry=entry,
        exit=closing_price(side=side, bid=bid, ask=ask),
        quantity=quantity,
        conversion_rate=conversion_rate,
    )


def closing_price(*, side: Side, bid: Decimal, ask: Decimal) -> Decimal:
    """Return the price at which a position of this side can be closed."""
    return bid if side is Side.BUY else ask


def average_price(
    *, quantity: Decimal, price: Decimal, added: Decimal, added_price: Decimal
) -> Decimal:
    """Return the volume-weighted price after `added` more at `added_price`.

    quantity may be 0 (then it is `added_price`); both together must be above 0.
    """
    with localcontext(_EXACT):
        paid = quantity * price + added * added_price
        together = quantity + added
    return divide(paid, together)
