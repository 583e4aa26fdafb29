"""What others do at a venue: the market moves, the owner trades by hand."""

from decimal import Decimal

from tests.fakes.exchange.model import ZERO
from tests.fakes.exchange.venue import Venue


def move(venue: Venue, symbol: str, price: Decimal) -> None:
    """The price goes there; what rests and is reached is executed."""
    with venue.lock:
        venue.prices[symbol] = price
        for order in [one for one in venue.orders if one.is_open and one.symbol == symbol]:
            venue.match(order)


def owner_closes(venue: Venue, symbol: str) -> None:
    """The owner sells or buys back by hand what is held of a symbol, on the exchange's page."""
    with venue.lock:
        held = venue.balances.get(venue.markets[symbol].base, ZERO)
        sides = [("SELL", held, "BOTH")]
        if venue.derivatives:
            sides = [
                ("BUY" if side == "SHORT" or one.amount < 0 else "SELL", abs(one.amount), side)
                for (name, side), one in venue.positions.items()
                if name == symbol
            ]
        for side, amount, side_of in sides:
            if amount:
                reduces = venue.derivatives and not venue.hedged
                venue.place(symbol, side, "MARKET", amount, reduce_only=reduces, side_of=side_of)
