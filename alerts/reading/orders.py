"""Orders about a symbol: a close, and the order of a strategy (docs/tradingview.md). Pure."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from alerts.grammar.levels import require_magnitude, require_supported
from alerts.grammar.reading import LevelForm
from alerts.reading.alerts import AlertOrder, only_feed
from alerts.reading.strategy import Meaning, meaning_of, read_side, read_strategy
from common.errors import InvalidInputError
from common.money import plain
from common.reason_codes import Code
from signals.models import Action
from signals.reading.draft import SignalDraft
from signals.reading.errors import InvalidSignalError
from signals.reading.field_table import ENTRY_FIELDS, LEFT_OUT, EntryPoint
from signals.reading.fields import Fields
from signals.reading.intake import MAX_VALIDITY_SECONDS, read_close_fraction, read_fields
from signals.reading.validation import refuse_for_action
from signals.symbols import read_symbol

_SYMBOL, _TIME = ("ticker", "symbol", "currency_pair", "pair"), ("timenow", "time")
_NAMES = {"order_id": 100, "external_id": 100, "comment": 500}  # and how long they may be


def read_close(parsed: Mapping[str, Any]) -> AlertOrder:
    """Read a CLOSE that names a symbol, or with `all` everything, instead of a signal."""
    fields = Fields(parsed)
    fields.raw("action")
    is_all = _is_all(fields)
    pair = "" if is_all else _pair(fields)
    side = read_side(fields, fields.one_name("direction", "side"))
    sent_at = fields.moment(fields.one_name(*_TIME))
    names = {name: fields.text(name, longest) for name, longest in _NAMES.items()}
    closing = _closing(fields)
    feed = fields.text("feed", 60)
    refuse_for_action(Action.CLOSE, fields)
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
        key=_key_of(identity), external_id=names["external_id"], closing=closing, feed=feed,
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
    name = fields.one_name(*_SYMBOL)
    if value is True and fields.has(name):
        detail = f"Send {name}, or all: true for everything that the feed has open."
        fields.add_error(Code.FIELD_INVALID, name, detail)
    return True


def read_strategy_order(
    parsed: Mapping[str, Any], *, needs_time: bool, form: LevelForm
) -> AlertOrder:
    """Read the order of a strategy: the fields in docs/tradingview.md, and those of entries.

    form: how its dialect writes levels.
    """
    fields = Fields(parsed)
    pair, order = _pair(fields), read_strategy(fields)
    time_field = fields.one_name(*_TIME)
    sent_at = fields.moment(time_field)
    if needs_time and sent_at is None and not fields.failed(time_field):
        detail = "Send timenow: without it, two equal orders look like one that was sent twice."
        fields.add_error(Code.FIELD_REQUIRED, "timenow", detail)
    names = {name: fields.text(name, longest) for name, longest in _NAMES.items()}
    feed = fields.text("feed", 60)
    for name in ENTRY_FIELDS:
        fields.raw(name)  # read below if the order opens a trade
    for name, reason in LEFT_OUT[EntryPoint.STRATEGY].items():
        if fields.raw(name) is not None:
            detail = f"The order of a strategy has no {name}: {reason}."
            fields.add_error(Code.FIELD_INVALID, name, detail)
    _raise_errors(fields, feed)
    meaning = meaning_of(order)
    opening, error = None, None
    try:
        opening = _opening(parsed, meaning, names, sent_at, feed, form)
    except InvalidInputError as found:
        if meaning.closes is None:
            raise
        error = found  # a reversal that cannot open still closes
    identity = {**names, "pair": pair, "sent_at": sent_at, "price": str(parsed.get("price") or "")}
    stated = ("action", "before", "after", "contracts", "size_before", "size_after")
    identity |= {name: getattr(order, name) for name in stated}
    return AlertOrder(
        meaning=meaning, pair=pair, symbol_field=_symbol_field(parsed),
        closes=meaning.closes is not None or meaning.opens is None, side=meaning.closes,
        fraction=meaning.fraction, opening=opening, sent_at=sent_at, key=_key_of(identity),
        opening_error=error, feed=feed,
    )  # fmt: skip


def _opening(
    parsed: Mapping[str, Any], meaning: Meaning, names: Mapping[str, str],
    sent_at: datetime | None, feed: str, form: LevelForm,
) -> SignalDraft | None:  # fmt: skip
    """Return the OPEN signal of an order that begins a trade; None if it begins none."""
    if meaning.opens is None:
        return None
    symbol = _symbol_field(parsed)
    entry = {name: parsed[name] for name in ENTRY_FIELDS if parsed.get(name) is not None}
    errors = Fields(entry)
    for name in ("sl", "stop_loss", "tp", "take_profit"):
        if str(entry.get(name, "-")).strip().lower() in ("nan", ""):
            detail = (
                f"{name} is {entry[name]!r}: its plot has no value on this bar. Plot one on every "
                "bar with an entry, or leave it out of the message."
            )
            errors.add_error(Code.NUMBER_MALFORMED, name, detail)
            del entry[name]
    note = entry.get("note") or names["comment"] or names["order_id"]
    entry |= {"symbol": parsed[symbol], "direction": meaning.opens, "note": note}
    fields = Fields({**entry, "action": Action.OPEN}, errors=errors.errors)
    draft = replace(read_fields(fields), symbol_field=symbol)
    fields.raise_errors(replace(draft, feed=feed))
    require_prices(draft, form)
    return replace(draft, external_id="", sent_at=sent_at)


def _raise_errors(fields: Fields, feed: str) -> None:
    """Raise InvalidSignalError with the faults found so far. feed: the slug that was named."""
    fields.refuse_unknown()
    if fields.errors:
        raise InvalidSignalError(fields.errors, (only_feed(feed),))


def _pair(fields: Fields) -> str:
    """Read the symbol, which is required; a fault is added to the fields."""
    name = fields.one_name(*_SYMBOL)
    text = fields.text(name, 60)
    try:
        if text:
            return read_symbol(text)
        if not fields.failed(name):
            detail = f"{name} is required: the symbol that this is about."
            fields.add_error(Code.FIELD_REQUIRED, name, detail)
    except InvalidInputError as error:
        fields.add_error(error.code, name, error.detail)
    return ""


def _symbol_field(parsed: Mapping[str, Any]) -> str:
    """Return the field name under which the symbol was sent."""
    return next((name for name in _SYMBOL if parsed.get(name) is not None), _SYMBOL[0])


def _key_of(values: Mapping[str, Any]) -> str:
    """Hash what identifies an alert: the order and its time, not the levels that come with it."""
    identity = {name: _as_text(value) for name, value in values.items() if value not in (None, "")}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _as_text(value: Any) -> str:
    if isinstance(value, Decimal):
        return plain(value)
    return value.isoformat() if isinstance(value, datetime) else str(value)


def require_prices(draft: SignalDraft, form: LevelForm) -> None:
    """Raise ALERT_AMBIGUOUS for an entry whose prices can be none of its symbol: who pastes a
    message of another service leaves its pips in the fields of prices, `"sl": 20` of EUR/USD."""
    if draft.action == Action.OPEN and draft.pair:
        stated = (draft.open_price, draft.stop_price, draft.sl, *(t.price for t in draft.targets))
        require_magnitude(draft.pair, [price for price in stated if price is not None])
        require_supported(draft, form)
