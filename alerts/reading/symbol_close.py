"""Read a CLOSE that names a symbol, or with `all` everything, instead of a signal. Pure."""

from collections.abc import Mapping
from typing import Any

from alerts.reading.alerts import AlertOrder
from alerts.reading.order_fields import (
    NAMES,
    SYMBOL,
    TIME,
    key_of,
    raise_errors,
    read_pair_field,
    read_side,
    symbol_field_of,
)
from common.reason_codes import Code
from signals.models import Action
from signals.reading.draft import SignalDraft
from signals.reading.fields import Fields
from signals.reading.intake import MAX_VALIDITY_SECONDS, read_close_fraction
from signals.reading.validation import refuse_for_action


def read_close(parsed: Mapping[str, Any]) -> AlertOrder:
    """Read a CLOSE that names a symbol, or with `all` everything, instead of a signal."""
    fields = Fields(parsed)
    fields.raw("action")
    is_all = _is_all(fields)
    pair = "" if is_all else read_pair_field(fields)
    side = read_side(fields, fields.one_name("direction", "side"))
    sent_at = fields.moment(fields.one_name(*TIME))
    names = {name: fields.text(name, 100 if name != "comment" else 500) for name in NAMES}
    closing = _closing(fields)
    feed = fields.text("feed", 60)
    refuse_for_action(Action.CLOSE, fields)
    fields.refuse_unknown()
    raise_errors(fields, feed)
    identity = {
        **names, "note": closing.note, "strategy_id": closing.strategy_id,
        "trade_plan_id": closing.trade_plan_id, "pair": pair, "side": side,
        "fraction": closing.close_fraction if fields.has("close_fraction") else None,
        "sent_at": sent_at,
    }  # fmt: skip
    return AlertOrder(
        meaning=None, pair=pair, symbol_field="all" if is_all else symbol_field_of(parsed),
        closes=True, side=side, fraction=closing.close_fraction, opening=None, sent_at=sent_at,
        key=key_of(identity, None), external_id=names["external_id"], closing=closing, feed=feed,
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
