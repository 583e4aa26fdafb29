"""Parse the text of an alert. Pure: nothing is looked up or written.

An alert is a signal as the API accepts it, a close by symbol, the order of a strategy in the
charting platform's placeholders (docs/tradingview.md), or a text of another dialect, which
`alert_dialects` translates into one of these or into an update of an open trade (docs/alerts.md).
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from common.errors import InvalidInputError
from common.money import plain, read_decimal
from common.reason_codes import Code
from signals.alert_dialects import (
    NO_MAPPING,
    AlertMapping,
    AlertUpdate,
    Dialect,
    Distance,
    Note,
    Reading,
    translate,
)
from signals.alert_dialects.turning_words import taken_back
from signals.draft import SignalDraft
from signals.errors import InvalidSignalError, field_errors
from signals.field_table import ENTRY_FIELDS, LEFT_OUT, Door
from signals.fields import Fields
from signals.intake import MAX_VALIDITY_SECONDS, read_close_fraction, read_fields, read_signal
from signals.models import Action, Direction, OrderType
from signals.strategy_orders import MarketPosition, Meaning, StrategyOrder, meaning_of
from signals.symbols import read_symbol
from signals.validation import refuse_for_action

SYMBOL = ("ticker", "symbol", "currency_pair", "pair")
TIME = ("timenow", "time")
SIDE = ("action", "direction", "side")
POSITIONS = ("market_position", "prev_market_position", "position_size")
SIZES = ("contracts", "market_position_size", "prev_market_position_size")
NAMES = ("order_id", "external_id", "comment")
OTHER_SIDE = {Direction.BUY: Direction.SELL, Direction.SELL: Direction.BUY}
_PLAIN_CLOSE = SignalDraft(action=Action.CLOSE)
_LEVELS = ("sl", "stop_loss", "tp", "take_profit")
# A floating-point number as JavaScript, Python and Java write it, within the range of a size.
_FLOAT = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,40})?([eE]([+]?1?[0-9]|-[0-9]{1,2}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class AlertOrder:
    """An alert about a symbol: what it closes, what it opens.

    key: identifies it, the same when it is sent again. opening: the trade that it opens.
    opening_error: why the trade that a reversal opens cannot be read; the reversal still closes.
    external_id: the sender's own id of a close. closing: what its CLOSE signals say besides the
    signals that they close. feed: the slug that it names, if any.
    """

    meaning: Meaning | None  # None: a close by symbol
    pair: str  # or a word without a currency, which only a broker's list completes; '': all symbols
    symbol_field: str
    closes: bool
    side: Direction | None  # of the trades that are closed; None: both
    fraction: Decimal
    opening: SignalDraft | None
    sent_at: datetime | None
    key: str
    opening_error: InvalidInputError | None = None
    external_id: str = ""
    closing: SignalDraft = _PLAIN_CLOSE
    feed: str = ""
    dialect: Dialect = Dialect.OWN
    notes: tuple[Note, ...] = ()

    @property
    def change(self) -> str:
        """How it was read: entry, add, reduce, reverse, flat; close for a close by symbol."""
        return self.meaning.change.value if self.meaning else "close"


@dataclass(frozen=True, slots=True)
class AlertSignal:
    """An alert that is a signal as the API accepts it.

    opposite: the side of trades that it could also be meant to end, if the feed has one open.
    distances: levels to add when the entry price is known. key: of its text, for those with levels
    that depend on the market.
    """

    draft: SignalDraft
    opposite: Direction | None = None
    dialect: Dialect = Dialect.OWN
    notes: tuple[Note, ...] = ()
    distances: tuple[Distance, ...] = ()
    key: str = ""


Alert = AlertSignal | AlertOrder | AlertUpdate


def read_alert(body: bytes, mapping: AlertMapping = NO_MAPPING) -> Alert:
    """Return a parsed alert. mapping: the feed's own.

    Raises InvalidInputError; InvalidSignalError holds all its errors.
    """
    reading = translate(body, mapping)
    key = hashlib.sha256(body.strip()).hexdigest()
    if reading.update is not None:
        return replace(reading.update, key=key, dialect=reading.dialect, notes=reading.notes)
    alert = _read_document(reading)
    if isinstance(alert, AlertOrder):
        return replace(alert, dialect=reading.dialect, notes=reading.notes)
    return replace(
        alert, dialect=reading.dialect, notes=reading.notes, distances=reading.distances, key=key
    )


def _read_document(reading: Reading) -> AlertSignal | AlertOrder:
    parsed = reading.document
    _require_meant(parsed)
    if _is_strategy(parsed):
        return _strategy_order(parsed, needs_time=reading.needs_time)
    action = str(parsed.get("action") or "").strip().upper()
    referred = parsed.get("refers_to") or parsed.get("refers_to_external_id")
    if action == Action.CLOSE and not referred:
        return _close_without_reference(parsed)
    draft = read_signal(parsed)
    if reading.may_end and draft.direction:
        return AlertSignal(draft, OTHER_SIDE[draft.direction])
    try:
        return AlertSignal(draft, None if action else _opposite(draft))
    except InvalidInputError as error:
        raise InvalidSignalError(field_errors(error), (only_feed(draft.feed),)) from error


def _require_meant(parsed: Mapping[str, Any]) -> None:
    """Raise InvalidInputError for a note that takes back what the other fields order."""
    for name in ("note", "comment"):
        if found := taken_back(str(parsed.get(name) or "")):
            detail = (
                f"{name} has {found!r}: it could be an order with a note, or none at all. Leave "
                "the words out, or do not send it."
            )
            raise InvalidInputError(Code.ALERT_AMBIGUOUS, detail, field=name)


def only_feed(named: str) -> SignalDraft:
    """Return what can still be checked of an alert that does not say what it trades: its feed."""
    return SignalDraft(action=Action.CLOSE, feed=named)


def ambiguous(direction: Direction) -> InvalidInputError:
    """Return the error for an alert with only a side, with both ways to read it."""
    opens, closes = ("long", "short") if direction == Direction.BUY else ("short", "long")
    detail = (
        f"{direction.lower()!r} alone could open a {opens} trade, or close a {closes} one. An "
        'indicator sends "action": "OPEN"; a strategy its market_position and prev_market_position.'
    )
    return InvalidInputError(Code.ALERT_AMBIGUOUS, detail, field="action")


def _opposite(draft: SignalDraft) -> Direction | None:
    """Return the side of the trades that a signal without action and position might end.

    None: it is certainly an entry, since it waits for a price. A stop or a target proves nothing: a
    template fills in the same ones for an exit and a reversal. Raises InvalidInputError
    ALERT_AMBIGUOUS if it has neither.
    """
    if draft.direction is None or draft.order_type != OrderType.MARKET:
        return None
    if draft.sl is None and not draft.targets:
        raise ambiguous(draft.direction)
    return OTHER_SIDE[draft.direction]


def _is_strategy(parsed: Mapping[str, Any]) -> bool:
    action = str(parsed.get("action") or "").strip().upper()
    return any(parsed.get(name) is not None for name in POSITIONS) or action in Direction.values


def _strategy_order(parsed: Mapping[str, Any], *, needs_time: bool) -> AlertOrder:
    """Read the order of a strategy: the fields in docs/tradingview.md, and those of entries."""
    fields = Fields(parsed)
    pair = _pair(fields)
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
    for name, reason in LEFT_OUT[Door.STRATEGY].items():
        if fields.raw(name) is not None:
            detail = f"The order of a strategy has no {name}: {reason}."
            fields.add_error(Code.FIELD_INVALID, name, detail)
    fields.refuse_unknown()
    _raise_errors(fields, feed)
    meaning = meaning_of(order)
    opening, opening_error = _opening_or_error(parsed, meaning, names, sent_at, feed)
    identity = {**names, "pair": pair, "sent_at": sent_at, "price": str(parsed.get("price") or "")}
    return AlertOrder(
        meaning=meaning,
        pair=pair,
        symbol_field=_symbol_field(parsed),
        closes=meaning.closes is not None or meaning.opens is None,
        side=meaning.closes,
        fraction=meaning.fraction,
        opening=opening,
        sent_at=sent_at,
        key=_key(identity, order),
        opening_error=opening_error,
        feed=feed,
    )


def _raise_errors(fields: Fields, feed: str) -> None:
    if fields.errors:
        raise InvalidSignalError(fields.errors, (only_feed(feed),))


def _order(fields: Fields) -> StrategyOrder:
    """Read side, positions and sizes; the sign of `position_size` also gives the position."""
    sizes = {name: _size(fields, name) for name in (*SIZES, "position_size")}
    signed = sizes["position_size"]
    after = _standing(fields, "market_position")
    if after is None and signed is not None:
        by_sign = {True: MarketPosition.LONG, False: MarketPosition.SHORT}
        after = by_sign[signed > 0] if signed else MarketPosition.FLAT
    size_after = sizes["market_position_size"]
    if size_after is None and signed is not None:
        size_after = abs(signed)
    return StrategyOrder(
        action=_side(fields, fields.one_name(*SIDE)),
        before=_standing(fields, "prev_market_position"),
        after=after,
        contracts=sizes["contracts"],
        size_before=sizes["prev_market_position_size"],
        size_after=size_after,
    )


def _pair(fields: Fields) -> str:
    name = fields.one_name(*SYMBOL)
    text = fields.text(name, 60)
    if text:
        try:
            return read_symbol(text)
        except InvalidInputError as error:
            fields.add_error(error.code, name, error.detail)
    elif not fields.failed(name):
        fields.add_error(
            Code.FIELD_REQUIRED, name, f"{name} is required: the symbol that this is about."
        )
    return ""


def _side(fields: Fields, name: str) -> Direction | None:
    text = fields.text(name, 40)
    if not text or _is_unfilled(fields, name, text):
        return None
    if text.upper() in Direction.values:
        return Direction(text.upper())
    detail = f"{text!r} is not buy or sell, the values of {{{{strategy.order.action}}}}."
    fields.add_error(Code.FIELD_INVALID, name, detail)
    return None


def _standing(fields: Fields, name: str) -> MarketPosition | None:
    text = fields.text(name, 60)
    if not text or _is_unfilled(fields, name, text):
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
    if isinstance(value, str) and _is_unfilled(fields, name, value):
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


def _is_unfilled(fields: Fields, name: str, text: str) -> bool:
    if "{{" not in text:
        return False
    detail = (
        f"{text[:60]!r} was not filled in: only the alert of a strategy has an order and a "
        "position. For an indicator, write the action itself (docs/tradingview.md)."
    )
    fields.add_error(Code.FIELD_INVALID, name, detail)
    return True


def _opening_or_error(
    parsed: Mapping[str, Any],
    meaning: Meaning,
    names: Mapping[str, str],
    sent_at: datetime | None,
    feed: str,
) -> tuple[SignalDraft | None, InvalidInputError | None]:
    """Return what an order opens. If a reversal cannot open, return its error: it still closes.

    Raises InvalidInputError if the order only opens.
    """
    if meaning.opens is None:
        return None, None
    try:
        return replace(_opening(parsed, meaning, names, feed), sent_at=sent_at), None
    except InvalidInputError as error:
        if meaning.closes is None:
            raise
        return None, error


def _opening(
    parsed: Mapping[str, Any], meaning: Meaning, names: Mapping[str, str], feed: str
) -> SignalDraft:
    """Return the OPEN signal of an order that begins a trade."""
    symbol = _symbol_field(parsed)
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
    return replace(draft, external_id="", symbol_field=symbol)


def _symbol_field(parsed: Mapping[str, Any]) -> str:
    """Return the field name under which the symbol was sent."""
    return next((name for name in SYMBOL if parsed.get(name) is not None), SYMBOL[0])


def _close_without_reference(parsed: Mapping[str, Any]) -> AlertOrder:
    """Read a CLOSE that names a symbol, or with `all` everything, instead of a signal."""
    fields = Fields(parsed)
    fields.raw("action")
    is_all = _is_all(fields)
    pair = "" if is_all else _pair(fields)
    side = _side(fields, fields.one_name("direction", "side"))
    sent_at = fields.moment(fields.one_name(*TIME))
    names = {name: fields.text(name, 100 if name != "comment" else 500) for name in NAMES}
    closing = _closing(fields)
    feed = fields.text("feed", 60)
    refuse_for_action(Action.CLOSE, fields)
    fields.refuse_unknown()
    _raise_errors(fields, feed)
    identity = {
        **names, "note": closing.note, "strategy_id": closing.strategy_id,
        "trade_plan_id": closing.trade_plan_id, "pair": pair, "side": side,
        "fraction": closing.close_fraction if fields.has("close_fraction") else None,
        "sent_at": sent_at,
    }  # fmt: skip
    return AlertOrder(
        meaning=None, pair=pair, symbol_field="all" if is_all else _symbol_field(parsed),
        closes=True, side=side, fraction=closing.close_fraction, opening=None, sent_at=sent_at,
        key=_key(identity, None), external_id=names["external_id"], closing=closing, feed=feed,
    )  # fmt: skip


def _closing(fields: Fields) -> SignalDraft:
    """Read what the CLOSE signals of an alert say besides what they close."""
    if fields.has("valid_until") and fields.has("valid_for"):
        detail = "Send valid_until or valid_for, not both."
        fields.add_error(Code.FIELD_INVALID, "valid_for", detail)
    return SignalDraft(
        action=Action.CLOSE,
        close_fraction=read_close_fraction(fields),
        valid_until=fields.moment("valid_until"),
        valid_for=fields.whole("valid_for", MAX_VALIDITY_SECONDS),
        note=fields.text("note", 500),
        strategy_id=fields.text("strategy_id", 64),
        trade_plan_id=fields.text("trade_plan_id", 64),
    )


def _is_all(fields: Fields) -> bool:
    """Return whether a CLOSE is about all symbols: `"all": true`, and no symbol."""
    value = fields.raw("all")
    if value is None:
        return False
    if value is not True:
        detail = "Send true to close everything, or leave it out and name the symbol."
        fields.add_error(Code.FIELD_INVALID, "all", detail)
    name = fields.one_name(*SYMBOL)
    if value is True and fields.has(name):
        detail = f"Send {name}, or all: true for everything that the feed has open."
        fields.add_error(Code.FIELD_INVALID, name, detail)
    return True


def _key(values: Mapping[str, Any], order: StrategyOrder | None) -> str:
    """Hash what identifies an alert: the order and its time, not the levels that come with it."""
    identity = {name: _as_text(value) for name, value in values.items() if value not in (None, "")}
    if order is not None:
        names = ("action", "before", "after", "contracts", "size_before", "size_after")
        identity |= {
            name: _as_text(value) for name in names if (value := getattr(order, name)) is not None
        }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _as_text(value: Any) -> str:
    if isinstance(value, Decimal):
        return plain(value)
    return value.isoformat() if isinstance(value, datetime) else str(value)
