"""Market moves, and trades by the account's owner at the exchange."""

from decimal import Decimal

from tests.fakes.exchange.model import ZERO
from tests.fakes.exchange.venue import Venue


def move_price(venue: Venue, symbol: str, price: Decimal) -> None:
    """Set the price, and execute the open orders that it reaches."""
    with venue.lock:
        venue.prices[symbol] = price
        venue.expire()
        for order in [order for order in venue.orders if order.is_open and order.symbol == symbol]:
            if order.is_open:  # the other order of its pair may just have ended it
                venue.match(order)


def close_by_hand(venue: Venue, symbol: str) -> None:
    """Close what is held of a symbol, as its owner would on the exchange's page."""
    with venue.lock:
        base = venue.markets[symbol].base
        balance = venue.balances.get(base, ZERO) - venue.locked(base)
        exits = [("SELL", balance, "BOTH")]
        if venue.derivatives:
            exits = [
                (
                    "BUY" if side == "SHORT" or position.amount < 0 else "SELL",
                    abs(position.amount),
                    side,
                )
                for (name, side), position in venue.positions.items()
                if name == symbol
            ]
        for side, amount, position_side in exits:
            if amount:
                reduces = venue.derivatives and not venue.hedged
                venue.place(
                    symbol, side, "MARKET", amount, reduce_only=reduces, position_side=position_side
                )
