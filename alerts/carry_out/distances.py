"""Levels that an alert gives as distances: prices, once the entry price is known.

The entry is the signal's own price, else the market's now: the ask of a buy, the bid of a sell.
Without a recent quote they are refused, since a level from an old price is a wrong one.
"""

from collections.abc import Iterable
from dataclasses import replace
from decimal import ROUND_HALF_EVEN, Decimal

from alerts.reading import Distance, Unit
from common.currencies import pip_of_quote
from common.errors import InvalidInputError
from common.reason_codes import Code
from common.units import AssetClass
from signals.checks.price_guard import newest_quote
from signals.models import Direction, Feed
from signals.reading.draft import SignalDraft, Target, level_errors
from signals.reading.errors import InvalidSignalError
from signals.symbols import asset_class

_PLACE = Decimal("1e-8")


def with_distances(feed: Feed, draft: SignalDraft, distances: Iterable[Distance]) -> SignalDraft:
    """Return a draft with its levels as prices. The draft's pair must be complete.

    Raises InvalidInputError PRICE_REQUIRED, FIELD_INVALID; InvalidSignalError for wrong sides.
    """
    distances = list(distances)
    if not distances or draft.direction is None:
        return draft
    direction = draft.direction
    entry = draft.entry_price or _market(feed, draft)
    sign = 1 if direction == Direction.BUY else -1
    for distance in distances:
        step = _size(draft.pair, entry, distance)
        if distance.level == "sl":
            draft = replace(draft, sl=_rounded(entry - sign * step))
        else:
            target = Target(_rounded(entry + sign * step), Decimal(1))
            draft = replace(draft, targets=(target,))
    errors = list(
        level_errors(direction=direction, entry=entry, sl=draft.sl, targets=draft.targets)
    )
    if errors:
        raise InvalidSignalError(errors, (draft,))
    return draft


def _market(feed: Feed, draft: SignalDraft) -> Decimal:
    quote = newest_quote(feed, draft.pair)
    if quote is None:
        detail = (
            f"There is no recent quote of {draft.pair}, so that a distance is no price yet. Send "
            "the levels as prices, or the entry price too."
        )
        raise InvalidInputError(Code.PRICE_REQUIRED, detail, field="sl")
    return quote.ask if draft.direction == Direction.BUY else quote.bid


def _size(pair: str, entry: Decimal, distance: Distance) -> Decimal:
    """Return a distance in the pair's quote currency. Pure."""
    if distance.unit is Unit.PERCENT:
        size = entry * distance.value / 100
    else:
        size = distance.value * _pip(pair, distance)
    if size >= entry:
        detail = f"{distance.value} {distance.unit} are the whole price or more."
        raise InvalidInputError(Code.FIELD_INVALID, detail, field=distance.level)
    return size


def _pip(pair: str, distance: Distance) -> Decimal:
    """Return a pip of a currency pair; of metals and others people mean different things. Pure."""
    if asset_class(pair) is not AssetClass.FX:
        detail = f"A pip of {pair} has no single meaning. Send {distance.level} as a price."
        raise InvalidInputError(Code.ALERT_AMBIGUOUS, detail, field=distance.level)
    return pip_of_quote(pair.partition("/")[2])


def _rounded(price: Decimal) -> Decimal:
    return price.quantize(_PLACE, ROUND_HALF_EVEN).normalize() + 0
