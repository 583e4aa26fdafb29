"""The entry price of a text: one price, or a range of them. Pure.

Of a narrow range the edge that the market reaches first counts: the worst price that its sender
allows. In a wide one people spread several entries, and one at that edge would be another trade.
"""

from decimal import Decimal

from alerts.grammar.levels import require_magnitude, require_plausible
from alerts.grammar.lexicon import Kind
from alerts.grammar.numbers import read_number
from alerts.grammar.reading import Note, refusal
from alerts.grammar.slots import Slots
from common.money import plain
from common.units import AssetClass
from signals.models import Direction
from signals.symbols import asset_class

_TWO_PRICES = Decimal("1.05")  # prices further apart are no range
_LOTS = Decimal(10)  # numbers below it are usual lots, too
# How wide a range without a stop may be, as a part of its price.
_NARROW, _WIDE = Decimal("0.005"), Decimal("0.02")


def read_entry_price(parts: Slots, pair: str, side: Direction) -> Decimal | None:
    """Return the entry price; None for an entry without one. Raises InvalidInputError."""
    prices = [read_number(text, field="open_price") for text in parts.entry]
    if not prices:
        if parts.money:
            raise refusal("money_or_price", money=parts.money)
        return None
    if len(prices) == 1:
        if parts.is_bare:
            _require_no_lots(parts, prices[0])
            _require_price(parts, prices[0], pair, side)
        return prices[0]
    low, high = sorted(prices)
    _require_range(parts, low, high, side)
    near, far = (high, low) if side == Direction.BUY else (low, high)
    _require_narrow(parts, pair, near, far)
    is_market = Kind.MARKET in parts.types
    meaning = (
        f"its price is {plain(near)}" if is_market else f"the entry is at {plain(near)} or better"
    )
    reason = f"{meaning}, the edge that is reached first"
    parts.notes.append(Note(f"{parts.entry[0]}-{parts.entry[1]}", reason, explains=True))
    return near


def _require_range(parts: Slots, low: Decimal, high: Decimal, side: Direction) -> None:
    """Raise InvalidInputError for two prices that are no range, or whose order is a stop order:
    people mean a breakout of all of it, or its near edge."""
    if high > low * _TWO_PRICES:
        raise refusal("range_or_two_prices", entry=parts.entry[0], entry_2=parts.entry[1])
    if Kind.STOP_ORDER in parts.types:
        near, far = (low, high) if side == Direction.BUY else (high, low)
        raise refusal(
            "range_of_stop_order", entry=parts.entry[0], entry_2=parts.entry[1], near=near, far=far
        )
    if parts.sl and low <= (stop := read_number(parts.sl, field="sl")) <= high:
        raise refusal("stop_inside_range", stop=stop)


def _require_narrow(parts: Slots, pair: str, near: Decimal, far: Decimal) -> None:
    """Raise ALERT_AMBIGUOUS for a range that is wider than what is between it and the stop."""
    if parts.sl:
        most = abs(far - read_number(parts.sl, field="sl"))
    else:
        is_narrow = asset_class(pair) in (AssetClass.FX, AssetClass.METAL)
        most = near * (_NARROW if is_narrow else _WIDE)
    if abs(near - far) <= most:
        return
    than = f"the {plain(most)} to its stop" if parts.sl else "usual for one entry"
    raise refusal("wide_range", entry=parts.entry[0], entry_2=parts.entry[1], than=than, near=near)


def _require_no_lots(parts: Slots, number: Decimal) -> None:
    """Raise ALERT_AMBIGUOUS for “BUY EURUSD 1.00 SL 0.9900”: a small number with fewer decimals
    than the levels is as likely a number of lots."""
    levels = [parts.sl, *(target.price for target in parts.targets)]
    most = max((len(text.partition(".")[2]) for text in levels), default=0)
    decimals = len(parts.entry[0].partition(".")[2])
    if number < _LOTS and decimals <= 2 and decimals < most:
        raise refusal("no_lots", shown=parts.entry[0])


def _require_price(parts: Slots, number: Decimal, pair: str, side: Direction) -> None:
    """Raise ALERT_AMBIGUOUS if a number without @ beside the symbol may be a quantity. One like the
    levels, on their wrong side, is left to be refused as a price there. Levels that do not fit each
    other are refused first: the number may well be right."""
    sign = 1 if side == Direction.BUY else -1
    prices = [read_number(parts.sl, field="sl")] if parts.sl else []
    levels = [(number - price) * sign for price in prices]
    for target in parts.targets:
        if target.price:
            prices.append(read_number(target.price, field="targets"))
            levels.append((prices[-1] - number) * sign)
    least = 3 if parts.distances or pair.endswith("/JPY") else 4
    if _has_decimals_of_a_price(parts.entry[0], pair, least):
        return  # levels that are far from it are refused as such
    is_like_levels = all(one <= number * 2 and number <= one * 2 for one in prices)
    if levels and max(levels) <= number / 2 and (min(levels) > 0 or is_like_levels):
        return
    document = {"sl": prices[0]} if parts.sl else {}
    require_magnitude(pair, prices)
    require_plausible(pair, side, None, document, prices[len(document) :])
    raise refusal("price", shown=number)


def _has_decimals_of_a_price(text: str, pair: str, least: int) -> bool:
    """Whether a number of a currency pair has more decimals than a quantity in lots."""
    decimals = len(text.replace(",", ".").partition(".")[2])
    return asset_class(pair) is AssetClass.FX and decimals >= least
