"""Entries whose words are all known and still mean two things together. Pure."""

import re
from decimal import Decimal
from itertools import pairwise

from alerts.grammar.levels import apart
from alerts.grammar.lexicon import Kind, Token
from alerts.grammar.numbers import read_number
from alerts.grammar.reading import refusal
from alerts.grammar.slots import Slots
from common.errors import InvalidInputError
from common.units import AssetClass
from signals.models import Direction
from signals.symbols import asset_class

_JOINTS = (Kind.MARK, Kind.LINE, Kind.FILLER, Kind.DECOR)
_JOINING = {"&", ",", "/", "|", "+", ";", "-", "and", "with", "."}
_NEAR, _DECIMALS, _LARGE, _LEVERAGE = Decimal("0.15"), 3, 20, 500
_DIGITS = 4
_LARGE_PIPS = ("/JPY", "/HUF")
_SLACK, _LEAST_SLACK = Decimal("0.15"), Decimal(2)  # of rounded pips
_MULTIPLE = re.compile(r"[1-9](?:\.5)?", re.ASCII)  # of the risk, as people state it
_COUNTING = set("123456789")
_APART = {"buy stop", "sell stop"}  # as two words; “buystop” is an order type only


def require_one_reading(tokens: list[Token], parts: Slots) -> None:
    """Raise InvalidInputError ALERT_AMBIGUOUS for an entry that could be another order."""
    _require_whole_symbol(tokens)
    _require_one_entry(tokens, parts)
    _require_single_prices(parts)
    _require_plain_sizes(parts)
    _require_plain_number(parts)
    _require_stated_pips(parts)
    _require_clear_stop_order(tokens, parts)
    _require_target_beside_ratio(tokens, parts)
    _require_no_ratio_as_target(tokens, parts)
    _require_whole_targets(tokens, parts)


def _require_whole_symbol(tokens: list[Token]) -> None:
    """Refuse “SHORT ETHUSD T.P 2300”: a gap may have parted ETHUSDT.P, the perpetual contract, and
    its price be no target. In the next line “T.P” is a label, unless targets have another one."""
    has_other = any(one.kind is Kind.TP and one.text != "t.p" for one in tokens)
    words = [one for one in tokens if not (has_other and one.kind is Kind.LINE)]
    for symbol, label in pairwise(words):
        is_in_dollars = symbol.kind is Kind.SYMBOL and symbol.text.upper().endswith("USD")
        if is_in_dollars and label.text == "t.p":
            raise refusal("whole_symbol", text=symbol.text)


def _require_one_entry(tokens: list[Token], parts: Slots) -> None:
    """Refuse “Entry: CMP & 64500”: the market and a price are two entries, unless the price only
    says where the market is, “NOW @ 64500”, “CMP (64500)”."""
    if not parts.entry or Kind.MARKET not in parts.types:
        return
    places = [place for place, token in enumerate(tokens) if token.kind is Kind.MARKET]
    for place in places:
        first, last = sorted((place, parts.entry_place))
        between = tokens[first + 1 : last]
        if place > parts.entry_place:  # behind both ends of a range
            between = between[2 * (len(parts.entry) - 1) :]
        has_words = any(one.kind not in _JOINTS for one in between)
        is_joined = any(one.text.lower() in _JOINING for one in between)
        is_apart = place < parts.entry_place and any(one.kind is Kind.LINE for one in between)
        if (parts.is_market_entry and (has_words or is_apart)) or (is_joined and not has_words):
            raise refusal("two_entries", entry=parts.entry[0])


def _require_single_prices(parts: Slots) -> None:
    """Refuse “TP 2350.2360”: two prices with a point in place of a gap."""
    for text in parts.prices:
        whole, _, after = text.partition(".")
        is_long = len(whole) == len(after) >= _DIGITS and whole.isdigit() and after.isdigit()
        if is_long and int(after) and apart(Decimal(whole), Decimal(after)) <= _NEAR:
            raise refusal("single_prices", text=text, whole=whole, after=after)


def _require_plain_sizes(parts: Slots) -> None:
    """Refuse “@ 1.0850 risk 1.0800”: what has no effect may be the stop, if it looks like a price
    of the text."""
    prices = list(map(read_number, parts.prices))
    is_at_market = Kind.MARKET in parts.types
    for size in parts.sizes:
        kind, text = size.kind, size.text
        try:
            number = read_number(text)
        except InvalidInputError:
            continue  # no price is written like that
        is_stated = size.is_counted or (is_at_market and size.is_labelled)
        if not is_stated and _fits_as_entry(number, parts):
            raise refusal("size_or_entry", shown=size.shown, text=size.text)
        if kind is Kind.LEVERAGE and text.isdigit() and number <= _LEVERAGE:
            continue
        decimals = len(text.partition(".")[2])
        is_near = any(apart(number, price) <= _NEAR for price in prices)
        is_exact = decimals >= _DECIMALS or number >= _LARGE
        if kind is Kind.RISK:
            is_price = decimals >= _DECIMALS or (not prices and number >= _LARGE)
        else:  # lots have two decimals, prices of currencies more
            is_price = decimals >= _DECIMALS and all(map(_is_of_currencies, parts.pairs))
        if is_price or (is_near and (is_exact or decimals == _most_decimals(parts.prices) > 0)):
            raise refusal("plain_sizes", kind=kind, text=text)


def _fits_as_entry(number: Decimal, parts: Slots) -> bool:
    """Whether a number could be the price that an entry does not state: it is between stop and
    target, or near the only one of them."""
    if parts.entry or not parts.sides:
        return False
    sign = 1 if parts.sides[0] is Direction.BUY else -1
    stops = [read_number(parts.sl)] if parts.sl else []
    targets = [read_number(target.price) for target in parts.targets if target.price]
    is_inside = all((number - stop) * sign > 0 for stop in stops)
    is_inside &= all((target - number) * sign > 0 for target in targets)
    levels = [*stops, *targets]
    is_near = any(apart(number, level) <= _NEAR for level in levels)
    return is_inside and (is_near or bool(stops and targets))


def _is_of_currencies(pair: str) -> bool:
    return asset_class(pair) is AssetClass.FX


def _require_plain_number(parts: Slots) -> None:
    """Refuse “#2350 XAUUSD BUY SL 2340”: the number of the signal may be its price."""
    prices = list(map(read_number, parts.prices))
    for text in parts.numbered:
        number = Decimal(text)
        if number and any(apart(number, price) <= _NEAR for price in prices):
            raise refusal("plain_number", text=text)


def _require_stated_pips(parts: Slots) -> None:
    """Refuse “@ 1.0850 SL 1.0800 (20 pips)”: one of the numbers is wrong. Of a range its sender may
    count from either edge. Only pips of currencies have one meaning."""
    if not parts.entry or not parts.pairs or not all(map(_is_of_currencies, parts.pairs)):
        return
    pip = Decimal("0.01") if parts.pairs[0].endswith(_LARGE_PIPS) else Decimal("0.0001")
    for price, text in parts.stated:
        stated = read_number(text)
        ways = [abs(read_number(edge) - read_number(price)) / pip for edge in parts.entry]
        slack = max(_LEAST_SLACK, stated * _SLACK)
        if not min(ways) - slack <= stated <= max(ways) + slack:
            raise refusal("stated_pips", price=price, least=min(ways), text=text)


def _most_decimals(texts: list[str]) -> int:
    return max((len(text.partition(".")[2]) for text in texts), default=0)


def _require_clear_stop_order(tokens: list[Token], parts: Slots) -> None:
    """Refuse “EURUSD BUY STOP 1.0800 TP 1.0900”: without a stop loss of its own, the stop can be
    it. A stop order names its price with @, or stands before its symbol."""
    if parts.sl or any(one.level == "sl" for one in parts.distances):
        return
    for place, token in enumerate(tokens):
        if token.kind is not Kind.STOP_ORDER or token.text not in _APART:
            continue
        after = [one for one in tokens[place + 1 :] if one.text not in tuple(":=-(")]
        after = [one for one in after if one.kind is not Kind.LINE]
        if after and after[0].kind is Kind.NUMBER:
            side, price = token.text.split()[0].upper(), after[0].text
            raise refusal("clear_stop_order", side=side, price=price)


def _require_target_beside_ratio(tokens: list[Token], parts: Slots) -> None:
    """Refuse “SL 1.0800 R:R 1:2” without a target: the ratio can be meant as one."""
    has_target = parts.targets or any(one.level == "tp" for one in parts.distances)
    if has_target or not any(token.kind is Kind.RATIO for token in tokens):
        return
    raise refusal("target_beside_ratio")


def _require_no_ratio_as_target(tokens: list[Token], parts: Slots) -> None:
    """Refuse “XRPUSDT LONG @ 2.5 SL 2.3 TP 1:3”: target 1 at 3, or three times the risk. “TP1: 3”
    names its target, but not beside prices with more decimals."""
    has_stop = parts.sl or any(one.level == "sl" for one in parts.distances)
    if not has_stop or len(parts.targets) != 1:
        return
    most = _most_decimals([*parts.entry, parts.sl])
    for place, label in enumerate(tokens):
        texts = [one.text for one in tokens[place + 1 : place + 4]]
        if label.index:
            texts.insert(0, str(label.index))
        if label.kind is not Kind.TP or texts[:2] != ["1", ":"]:
            continue
        number = texts[2] if len(texts) > 2 else ""
        is_named = label.index and _most_decimals([number]) >= most
        if _MULTIPLE.fullmatch(number) and not is_named:
            price = f"{number}0" if "." in number else f"{number}.0"
            raise refusal("no_ratio_as_target", number=number, price=price)


def _require_whole_targets(tokens: list[Token], parts: Slots) -> None:
    """Refuse “SELL EURUSD NOW SL 1.0880 TP 1”: target 1, whose price is missing, or the price 1."""
    if _most_decimals(parts.prices) < _DECIMALS:
        return
    for label, number in pairwise(tokens):
        is_number = label.kind is Kind.TP and not label.index and number.text in _COUNTING
        if is_number and any(target.price == number.text for target in parts.targets):
            raise refusal("whole_targets", text=number.text)
