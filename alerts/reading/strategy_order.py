"""Read the order of a strategy: the fields in docs/tradingview.md, and those of entries. Pure."""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from alerts.dialects import LevelForm
from alerts.reading.alerts import AlertOrder
from alerts.reading.order_fields import (
    NAMES,
    POSITIONS,
    SIDE,
    SIZES,
    TIME,
    is_unfilled,
    key_of,
    raise_errors,
    read_pair_field,
    read_side,
    symbol_field_of,
)
from alerts.reading.scale import require_prices
from alerts.reading.strategy_meaning import MarketPosition, Meaning, StrategyOrder, meaning_of
from common.errors import InvalidInputError
from common.money import plain, read_decimal
from common.reason_codes import Code
from signals.models import Action, Direction
from signals.reading.draft import SignalDraft
from signals.reading.field_table import ENTRY_FIELDS, LEFT_OUT, EntryPoint
from signals.reading.fields import Fields
from signals.reading.intake import read_fields

_LEVELS = ("sl", "stop_loss", "tp", "take_profit")
# A floating-point number as JavaScript, Python and Java write it, within the range of a size.
_FLOAT = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,40})?([eE]([+]?1?[0-9]|-[0-9]{1,2}))?", re.ASCII)


def is_strategy_order(parsed: Mapping[str, Any]) -> bool:
    """Whether an object states a position, or an order by its side alone."""
    action = str(parsed.get("action") or "").strip().upper()
    return any(parsed.get(name) is not None for name in POSITIONS) or action in Direction.values


def read_strategy_order(
    parsed: Mapping[str, Any], *, needs_time: bool, form: LevelForm
) -> AlertOrder:
    """Read the order of a strategy: the fields in docs/tradingview.md, and those of entries.

    form: how its dialect writes levels.
    """
    fields = Fields(parsed)
    pair = read_pair_field(fields)
    order = _order(fields)
    time_field = fields.one_name(*TIME)
    sent_at = fields.moment(time_field)
    if needs_time and sent_at is None and not fields.failed(time_field):
        detail = "Send timenow: without it, two equal orders look like one that was sent twice."
        fields.add_error(Code.FIELD_REQUIRED, "timenow", detail)
    names = {name: fields.text(name, 100 if name != "comment" else 500) for name in NAMES}
    feed = fields.text("feed", 60)
    for name in ENTRY_FIELDS:
        fields.raw(name)  # read below if the order opens a trade
    for name, reason in LEFT_OUT[EntryPoint.STRATEGY].items():
        if fields.raw(name) is not None:
            detail = f"The order of a strategy has no {name}: {reason}."
            fields.add_error(Code.FIELD_INVALID, name, detail)
    fields.refuse_unknown()
    raise_errors(fields, feed)
    meaning = meaning_of(order)
    opening, opening_error = _opening_or_error(
        parsed, meaning, names, sent_at, feed, form
    )  # fmt: skip
    identity = {**names, "pair": pair, "sent_at": sent_at, "price": str(parsed.get("price") or "")}
    return AlertOrder(
        meaning=meaning,
        pair=pair,
        symbol_field=symbol_field_of(parsed),
        closes=meaning.closes is not None or meaning.opens is None,
        side=meaning.closes,
        fraction=meaning.fraction,
        opening=opening,
        sent_at=sent_at,
        key=key_of(identity, order),
        opening_error=opening_error,
        feed=feed,
    )


def _order(fields: Fields) -> StrategyOrder:
    """Read side, positions and sizes; the sign of `position_size` also gives the position."""
    sizes = {name: _size(fields, name) for name in (*SIZES, "position_size")}
    signed = sizes["position_size"]
    after = _standing(fields, "market_position")
    if signed is not None:
        by_sign = {True: MarketPosition.LONG, False: MarketPosition.SHORT}
        by_size = by_sign[signed > 0] if signed else MarketPosition.FLAT
        if after not in (None, by_size):
            detail = f"It says {by_size}, and market_position or sentiment {after}."
            fields.add_error(Code.ALERT_CONTRADICTORY, "position_size", detail)
        after = by_size
    size_after = sizes["market_position_size"]
    if size_after is None and signed is not None:
        size_after = abs(signed)
    return StrategyOrder(
        action=read_side(fields, fields.one_name(*SIDE)),
        before=_standing(fields, "prev_market_position"),
        after=after,
        contracts=sizes["contracts"],
        size_before=sizes["prev_market_position_size"],
        size_after=size_after,
    )


def _standing(fields: Fields, name: str) -> MarketPosition | None:
    text = fields.text(name, 60)
    if not text or is_unfilled(fields, name, text):
        return None
    if text.lower() in {standing.value for standing in MarketPosition}:
        return MarketPosition(text.lower())
    fields.add_error(Code.FIELD_INVALID, name, f"{text!r} is not one of long, short, flat.")
    return None


def _size(fields: Fields, name: str) -> Decimal | None:
    """Read a size; `NaN` means that the platform has none.

    It may be written as its language does (`1e-7`, twenty places), since sizes are only compared
    with each other.
    """
    value = fields.raw(name)
    if value is None or _is_nan(value):
        return None
    if isinstance(value, str) and is_unfilled(fields, name, value):
        return None
    try:
        is_float = isinstance(value, str) and _FLOAT.fullmatch(value.strip())
        number = Decimal(value.strip()) if is_float else read_decimal(value, field=name)
    except InvalidInputError as error:
        fields.add_error(error.code, name, error.detail)
        return None
    if number < 0 and name != "position_size":
        fields.add_error(Code.FIELD_INVALID, name, f"{plain(number)} must not be below 0.")
        return None
    return number


def _is_nan(value: Any) -> bool:
    return isinstance(value, str) and value.strip().lower() in ("nan", "")


def _opening_or_error(
    parsed: Mapping[str, Any],
    meaning: Meaning,
    names: Mapping[str, str],
    sent_at: datetime | None,
    feed: str,
    form: LevelForm,
) -> tuple[SignalDraft | None, InvalidInputError | None]:
    """Return what an order opens. If a reversal cannot open, return its error: it still closes.

    Raises InvalidInputError if the order only opens.
    """
    if meaning.opens is None:
        return None, None
    try:
        return replace(_opening(parsed, meaning, names, feed, form), sent_at=sent_at), None
    except InvalidInputError as error:
        if meaning.closes is None:
            raise
        return None, error


def _opening(
    parsed: Mapping[str, Any],
    meaning: Meaning,
    names: Mapping[str, str],
    feed: str,
    form: LevelForm,
) -> SignalDraft:
    """Return the OPEN signal of an order that begins a trade."""
    symbol = symbol_field_of(parsed)
    entry = {name: parsed[name] for name in ENTRY_FIELDS if parsed.get(name) is not None}
    fields = Fields(entry)
    for name in _LEVELS:
        if _is_nan(entry.get(name)):
            detail = (
                f"{name} is {entry[name]!r}: its plot has no value on this bar. Plot one on every "
                "bar with an entry, or leave it out of the message."
            )
            fields.add_error(Code.NUMBER_MALFORMED, name, detail)
            del entry[name]
    note = entry.get("note") or names["comment"] or names["order_id"]
    entry |= {"symbol": parsed[symbol], "direction": meaning.opens, "note": note}
    fields = Fields({**entry, "action": Action.OPEN}, errors=fields.errors)
    draft = read_fields(fields)
    fields.raise_errors(replace(draft, symbol_field=symbol, feed=feed))
    return replace(require_prices(draft, form), external_id="", symbol_field=symbol)
