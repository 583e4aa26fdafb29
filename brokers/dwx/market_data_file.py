"""DWX_Market_Data.txt: prices, and what a point is worth. Pure."""

from decimal import Decimal

from brokers.dwx.parse import MalformedError, load, number


def tick_values(raw: bytes) -> dict[str, Decimal]:
    """Read account currency per point and lot. Raises MalformedError."""
    try:
        return {symbol: number(one["tick_value"]) for symbol, one in load(raw).items()}
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedError(repr(error)) from error


def prices(raw: bytes) -> dict[str, tuple[Decimal, Decimal]]:
    """Read bid and ask by symbol. Raises MalformedError."""
    try:
        return {
            symbol: (number(one["bid"]), number(one["ask"])) for symbol, one in load(raw).items()
        }
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedError(repr(error)) from error
