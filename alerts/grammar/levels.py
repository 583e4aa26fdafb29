"""Whether the levels of an entry are prices, and fit together: `BUY AUDJPY NOW SL 80 TP 120`. Pure.

A level is a price only if something supports that: it is near the entry price of the same alert, it
is written with the decimals of a price, or stop and target lie as close together as two prices do.
Else a fresh quote decides, and where people usually mean pips, not even that: the alert is refused.
Bounds: docs/alerts.md#levels.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from alerts.grammar.lexicon import BOUNDS
from alerts.grammar.reading import LevelForm, refusal
from common.errors import InvalidInputError
from common.money import plain
from common.units import AssetClass
from signals.common_names import named_pair
from signals.models import Direction
from signals.reading.draft import SignalDraft
from signals.symbols import asset_class, known_pair

_UNNAMED = (LevelForm.NUMBER, LevelForm.FIELD)


class Bounds(NamedTuple):
    """How far levels may be from the entry: the larger price above the smaller one, as its part.

    round_stop, round_target: of levels that look like distances. together: how close to each other
    such levels support one another without an entry price. is_quotable: whether a quote may decide.
    """

    stop: Decimal
    target: Decimal
    round_stop: Decimal
    round_target: Decimal
    together: Decimal
    is_quotable: bool


def _bounds(name: str) -> Bounds:
    """Return the bounds of a class; the file has percents, in the order of the fields."""
    *percents, is_quotable = BOUNDS["classes"][name].values()
    return Bounds._make([*(Decimal(one) / 100 for one in percents), is_quotable])


_FX, _MAJOR, _METAL = _bounds("currency"), _bounds("major"), _bounds("metal")
_OTHER, _SHARE, _CRYPTO = _bounds("other"), _bounds("share"), _bounds("coin")
_CLASSES = {AssetClass.FX: _FX, AssetClass.METAL: _METAL, AssetClass.CRYPTO: _CRYPTO}
_MAJORS = {"EUR", "USD", "GBP", "CHF", "AUD", "NZD", "CAD", "JPY"}
_NO_SHARES = {"NATGAS", "UKOIL", "USOIL", "USTEC", "WTI", "VIX"}
# Distances are whole or have one decimal; above 1,000 they are points in round hundreds.
_FEW, _MOST, _MOST_OF_INDEX = Decimal(1000), Decimal(2000), Decimal(5000)
# Below it a number of a currency pair is a price (docs/alerts.md#comma-commands), unless it looks
# like a percent: SL 0.50, SL 1.25.
_LEAST_PIPS, _QUARTER, _LEAST_RATE = Decimal(5), Decimal("0.25"), Decimal("0.4")
_PERCENTS = 20
WRITE = "Write the entry price too, the level with all decimals of a price, or “20 pips”."


def bounds_of(pair: str) -> Bounds:
    """Return how far the levels of a symbol may be from its entry."""
    base, _, quote = pair.partition("/")
    if {base, quote} <= _MAJORS:
        return _MAJOR
    found = _CLASSES.get(asset_class(named_pair(base))) or _CLASSES.get(asset_class(pair))
    return found or (_SHARE if is_share(base) else _OTHER)


def is_share(base: str) -> bool:
    """Whether a base is a share that is known: of other words the quotation is unknown."""
    if base in _NO_SHARES or any(letter.isdigit() for letter in base):
        return False
    return bool(listed_pair(base))


def listed_pair(text: str) -> str:
    """Return the pair of a symbol that is in a list; '' if it is in none."""
    try:
        return known_pair(text)
    except InvalidInputError:
        return ""


def looks_like_distance(pair: str, price: Decimal) -> bool:
    """Whether a number could be pips, points or percent as well as a price of the pair."""
    exponent = price.as_tuple().exponent
    decimals = max(0, -exponent) if isinstance(exponent, int) else 0
    if decimals in (1, 2) and price < _LEAST_PIPS and asset_class(pair) is AssetClass.FX:
        return price % _QUARTER == 0 or price < _LEAST_RATE
    if decimals > 1:
        return False
    most = _MOST_OF_INDEX if bounds_of(pair) is _OTHER else _MOST
    return price < _FEW or (price <= most and len(price.normalize().as_tuple().digits) <= 2)


def may_be_distance(pair: str, price: Decimal, form: LevelForm) -> bool:
    """Whether a level that is written in this form may be a distance."""
    is_rate = asset_class(pair) is AssetClass.FX and price < _LEAST_PIPS and bool(price % 1)
    if form is LevelForm.FIELD and is_rate:
        return False  # no template has percents in a field of prices
    return form in _UNNAMED and looks_like_distance(pair, price)


def apart(one: Decimal, other: Decimal) -> Decimal:
    """Return how far two prices are apart: the larger one above the smaller one, as its part."""
    return max(one, other) / min(one, other) - 1


def require_supported(draft: SignalDraft, form: LevelForm) -> None:
    """Raise InvalidInputError ALERT_AMBIGUOUS for an entry with a level that may be a distance, and
    of which no quote could decide. Levels and prices must be above 0."""
    if form is LevelForm.COUNTED or not _levels(draft):
        return
    if draft.entry_price:
        require_within(draft, draft.entry_price, form)
        return
    bounds = bounds_of(draft.pair)
    most = (1 + bounds.stop) * (1 + bounds.target) - 1
    prices = [price for _, price in _levels(draft)]
    is_wide = form is not LevelForm.FIELD and apart(min(prices), max(prices)) > most
    if is_wide or (needs_quote(draft, form) and not (bounds.is_quotable and _is_one(prices))):
        raise _unclear(draft.pair, prices[0])


def _is_one(prices: list[Decimal]) -> bool:
    """Whether levels are one number, or some that are no round distances: 6 and 3, 4.2 and 7."""
    return len(prices) == 1 or any(price % 5 for price in prices)


def needs_quote(draft: SignalDraft, form: LevelForm) -> bool:
    """Whether only a quote can show that an entry's levels are prices."""
    prices = [price for _, price in _levels(draft)]
    if form not in _UNNAMED or not prices or draft.entry_price:
        return False
    if not all(may_be_distance(draft.pair, price, form) for price in prices):
        return False
    bounds = bounds_of(draft.pair)
    are_close = len(prices) > 1 and apart(min(prices), max(prices)) <= bounds.together
    # 100 and 105 are usual pips, 5 and 6 usual percents; 156 and 154 are neither.
    are_usual = not bounds.is_quotable and not any(price % 5 for price in prices)
    are_usual |= max(prices) <= _PERCENTS and not any(price % 1 for price in prices)
    return are_usual or not are_close


def require_within(draft: SignalDraft, reference: Decimal, form: LevelForm) -> None:
    """Raise InvalidInputError ALERT_AMBIGUOUS for a level that is too far from a price.

    reference: the entry price, or that of a fresh quote.
    """
    if form is LevelForm.COUNTED:
        return
    bounds = bounds_of(draft.pair)
    for name, price in _levels(draft):
        is_round = may_be_distance(draft.pair, price, form)
        if form is LevelForm.FIELD and not is_round:
            continue
        stop, target = (
            (bounds.round_stop, bounds.round_target) if is_round else (bounds.stop, bounds.target)
        )
        if apart(price, reference) > (stop if name == "sl" else target):
            raise _unclear(draft.pair, price, reference)


def near_any(pair: str, price: Decimal, references: Iterable[Decimal]) -> bool:
    """Whether a new level of an open trade is near a price of it; without one, whether it can only
    be a price."""
    known = [one for one in references if one > 0]
    if not known:
        return not looks_like_distance(pair, price)
    bounds = bounds_of(pair)
    is_round = looks_like_distance(pair, price)
    most = bounds.round_target if is_round else bounds.target
    return any(apart(price, one) <= most for one in known)


def _levels(draft: SignalDraft) -> list[tuple[str, Decimal]]:
    stop = [] if draft.sl is None else [("sl", draft.sl)]
    found = [*stop, *(("targets", target.price) for target in draft.targets)]
    return [(name, price) for name, price in found if price > 0]


def _unclear(pair: str, price: Decimal, reference: Decimal | None = None) -> InvalidInputError:
    shown = plain(price)
    beside = "" if reference is None else f" beside {plain(reference)}"
    is_number = looks_like_distance(pair, price)
    other = f"a distance of {shown}" if is_number else "a typing error for another price"
    return refusal("unclear", shown=shown, pair=pair, beside=beside, other=other)


# How many times the highest of a text's prices may be the lowest one.
_NARROW, _WIDE = Decimal("1.5"), Decimal(3)


# Between which prices a symbol trades, very roughly: SL 20 of EUR/USD is rather 20 pips.
_ANY = Decimal("Infinity")
_MAJORS_LEVELS = {"EUR", "USD", "GBP", "CHF", "AUD", "NZD", "CAD"}
_MAGNITUDES: dict[str, tuple[Decimal | int, Decimal | int]] = {
    name: (low, most[0] if most else _ANY) for name, (low, *most) in BOUNDS["prices"].items()
}
_UNKNOWN: tuple[Decimal | int, Decimal | int] = (0, _ANY)
_IN_DOLLARS = {"", "USD", "USDT", "USDC", "EUR", "GBP", "JPY"}


def magnitude(pair: str) -> tuple[Decimal | int, Decimal | int]:
    """Return between which prices a symbol trades, very roughly."""
    base, _, quote = pair.partition("/")
    if base in _MAJORS_LEVELS and quote in _MAJORS_LEVELS:
        return Decimal("0.2"), 5
    if base in _MAJORS_LEVELS and quote == "JPY":
        return 55, 400
    return _MAGNITUDES.get(base, _UNKNOWN) if quote in _IN_DOLLARS else _UNKNOWN


def require_magnitude(pair: str, prices: Iterable[Decimal]) -> None:
    """Raise InvalidInputError ALERT_AMBIGUOUS for a number that is rather a distance."""
    low, high = magnitude(pair)
    for price in prices:
        if not low <= price <= high:
            raise refusal("magnitude", shown=price, pair=pair)


def _spread(pair: str) -> Decimal:
    is_narrow = asset_class(pair) in (AssetClass.FX, AssetClass.METAL)
    return _NARROW if is_narrow else _WIDE


def require_near(pair: str, prices: Iterable[Decimal], known: Iterable[Decimal]) -> None:
    """Raise InvalidInputError ALERT_AMBIGUOUS for a new level that is near no price of its trade:
    “move SL to 20” is rather 20 pips. known: prices of the trade, and of the market."""
    references, prices = list(known), list(prices)
    require_magnitude(pair, prices)
    for price in prices:
        if not near_any(pair, price, references):
            reference = references[0] if references else "no known price"
            raise refusal("far_from_trade", shown=price, pair=pair, reference=reference)


def require_plausible(
    pair: str,
    side: Direction,
    entry: Decimal | None,
    document: Mapping[str, Any],
    targets: list[Decimal],
) -> None:
    """Raise InvalidInputError ALERT_CONTRADICTORY for levels that are far apart or not in order."""
    prices = [*targets]
    if entry is not None:
        prices.append(entry)
    if "sl" in document:
        prices.append(Decimal(document["sl"]))
    if prices and max(prices) > min(prices) * _spread(pair):
        raise refusal("levels_far_apart", low=min(prices), high=max(prices), pair=pair)
    require_magnitude(pair, prices)
    in_order = sorted(targets, reverse=side == Direction.SELL)
    if targets != in_order or len(set(targets)) != len(targets):
        shown = ", ".join(map(plain, in_order))
        raise refusal("targets_out_of_order", side=side.lower(), shown=shown)
