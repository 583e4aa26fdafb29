"""What stands for a position on spot, where an exchange knows balances only. Pure.

The balance of the base currency, no matter who bought it, is the position of the one listed symbol
with this base and the account's quote currency. Fees that were taken in the base currency are gone
from it, so it may be a little less than what was bought. What is below the market's smallest amount
cannot be sold but is still there (the exchange may have raised that amount since): it is read as a
position without an entry price, and the comparison judges what it is. So is what is held of a
symbol that has left the exchange's list. The entry price is computed from the account's trades
since nothing was held; if the listed trades do not reach back so far, it is their average.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from brokers.crypto.parse import moment, number, optional_number
from brokers.types import BrokerPosition, Instrument, Side
from common.money import floor_to_step


@dataclass(frozen=True, slots=True)
class _Step:
    """One trade's effect on the balance. change: base units."""

    change: Decimal
    price: Decimal
    at: Any


def sellable(balance: Decimal, of: Instrument) -> Decimal:
    """What of a balance can be sold: whole steps, nothing below the smallest amount."""
    quantity = floor_to_step(balance, of.quantity_step)
    return quantity if quantity >= of.quantity_min else Decimal(0)


def unsellable_position(of: Instrument, balance: Decimal) -> BrokerPosition:
    """Return what is held but cannot be sold, without an entry price. balance: above zero."""
    whole = floor_to_step(balance, of.quantity_step)
    return BrokerPosition(
        broker_position_id=of.symbol,
        symbol=of.symbol,
        side=Side.BUY,
        quantity=whole or balance,
        entry_price=Decimal(0),
        balance=balance,
    )


def unlisted_position(symbol: str, balance: Decimal) -> BrokerPosition:
    """Return what is held of a symbol that the exchange does not list: it has no market. balance:
    above zero."""
    return BrokerPosition(symbol, symbol, Side.BUY, balance, Decimal(0), is_tradable=False)


def position(
    of: Instrument, balance: Decimal, trades: Sequence[Mapping[str, Any]]
) -> BrokerPosition:
    """Return a position. trades: ccxt's, oldest first, as far as known. Raises ValueError."""
    base = of.pair.partition("/")[0]
    steps = _since_flat([_step(trade, base) for trade in trades], balance, of.quantity_min)
    price, quantity = Decimal(0), Decimal(0)
    for step in steps:
        if step.change > 0:
            price = (price * quantity + step.price * step.change) / (quantity + step.change)
        quantity = max(Decimal(0), quantity + step.change)
    return BrokerPosition(
        broker_position_id=of.symbol,
        symbol=of.symbol,
        side=Side.BUY,
        quantity=sellable(balance, of),
        entry_price=price,
        opened_at=moment(steps[0].at) if steps else None,
        balance=balance,
    )


def balance_change(trade: Mapping[str, Any]) -> Decimal:
    """Return by how much a trade has changed the balance of its coin. trade: ccxt's."""
    fee, base = trade.get("fee") or {}, str(trade["symbol"]).partition("/")[0]
    lost = optional_number(fee.get("cost")) if fee.get("currency") == base else Decimal(0)
    amount = number(trade["amount"])
    return (amount if trade["side"] == "buy" else -amount) - lost


def _step(trade: Mapping[str, Any], base: str) -> _Step:
    change = balance_change({"symbol": base, **trade})
    return _Step(change, number(trade["price"]), trade["timestamp"])


def _since_flat(steps: Sequence[_Step], balance: Decimal, dust: Decimal) -> list[_Step]:
    """The trades since the balance was last nothing."""
    left = balance
    found: list[_Step] = []
    for step in reversed(steps):
        if left < dust:
            break
        found.append(step)
        left -= step.change
    return found[::-1]
