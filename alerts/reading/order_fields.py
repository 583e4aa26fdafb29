"""The fields that a strategy's order and a close by symbol have in common. Pure."""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from alerts.reading.alerts import only_feed
from alerts.reading.strategy_meaning import StrategyOrder
from common.errors import InvalidInputError
from common.money import plain
from common.reason_codes import Code
from signals.models import Direction
from signals.reading.errors import InvalidSignalError
from signals.reading.fields import Fields
from signals.symbols import read_symbol

SYMBOL = ("ticker", "symbol", "currency_pair", "pair")
TIME = ("timenow", "time")
SIDE = ("action", "direction", "side")
POSITIONS = ("market_position", "prev_market_position", "position_size")
SIZES = ("contracts", "market_position_size", "prev_market_position_size")
NAMES = ("order_id", "external_id", "comment")


def raise_errors(fields: Fields, feed: str) -> None:
    """Raise InvalidSignalError with the faults found so far. feed: the slug that was named."""
    if fields.errors:
        raise InvalidSignalError(fields.errors, (only_feed(feed),))


def read_pair_field(fields: Fields) -> str:
    """Read the symbol, which is required; a fault is added to the fields."""
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


def read_side(fields: Fields, name: str) -> Direction | None:
    """Read buy or sell; None: not stated, or a fault that is added to the fields."""
    text = fields.text(name, 40)
    if not text or is_unfilled(fields, name, text):
        return None
    if text.upper() in Direction.values:
        return Direction(text.upper())
    detail = f"{text!r} is not buy or sell, the values of {{{{strategy.order.action}}}}."
    fields.add_error(Code.FIELD_INVALID, name, detail)
    return None


def is_unfilled(fields: Fields, name: str, text: str) -> bool:
    """Whether a placeholder was not filled in, which is added to the fields as a fault."""
    if "{{" not in text:
        return False
    detail = (
        f"{text[:60]!r} was not filled in: only the alert of a strategy has an order and a "
        "position. For an indicator, write the action itself (docs/tradingview.md)."
    )
    fields.add_error(Code.FIELD_INVALID, name, detail)
    return True


def symbol_field_of(parsed: Mapping[str, Any]) -> str:
    """Return the field name under which the symbol was sent."""
    return next((name for name in SYMBOL if parsed.get(name) is not None), SYMBOL[0])


def key_of(values: Mapping[str, Any], order: StrategyOrder | None) -> str:
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
