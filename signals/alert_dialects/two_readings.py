"""Entries whose words are all known and still mean two things together. Pure."""

from itertools import pairwise

from signals.alert_dialects.parts import Parts
from signals.alert_dialects.reading import ambiguous
from signals.alert_dialects.vocabulary import Kind, Token

_SIDES = (Kind.BUY, Kind.SELL)
_APART = {"buy stop", "sell stop"}  # as two words; “buystop” is an order type only


def require_one_reading(tokens: list[Token], parts: Parts) -> None:
    """Raise InvalidInputError ALERT_AMBIGUOUS for an entry that could be another order."""
    _require_clear_limit(tokens, parts)
    _require_clear_stop_order(tokens, parts)
    _require_target_beside_ratio(tokens, parts)
    _require_levels_beside_zone(tokens, parts)


def _require_clear_limit(tokens: list[Token], parts: Parts) -> None:
    """Refuse “BUY EURUSD LIMIT 1.0900 STOP 1.0800”: in many order tickets the limit is the target,
    and the stop the stop loss, of an entry at market."""
    if parts.targets or not any(token.kind is Kind.STOP for token in tokens):
        return
    for before, token in pairwise(tokens):
        if token.kind is Kind.LIMIT and before.kind is Kind.SYMBOL:
            raise ambiguous(
                "“Limit … stop …” after the symbol", "a limit order with a stop loss",
                "an entry at market with a target and a stop loss", field="order_type",
                write="Write “BUY LIMIT … SL …” for the one, “BUY NOW TP … SL …” for the other.",
            )  # fmt: skip


def _require_clear_stop_order(tokens: list[Token], parts: Parts) -> None:
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
            raise ambiguous(
                f"“{side} STOP {price}” without a stop loss", f"a stop order at {price}",
                f"an entry with the stop loss {price}", field="order_type",
                write=f"Write “{side} STOP @ {price}” for the one, “{side} NOW SL {price}” for the "
                "other.",
            )  # fmt: skip


def _require_target_beside_ratio(tokens: list[Token], parts: Parts) -> None:
    """Refuse “SL 1.0800 R:R 1:2” without a target: the ratio can be meant as one."""
    has_target = parts.targets or any(one.level == "tp" for one in parts.distances)
    if has_target or not any(token.kind is Kind.RATIO for token in tokens):
        return
    raise ambiguous(
        "R:R without a target", "a description", "a target at that multiple of the risk",
        field="targets", write="Write the target as a price, or leave R:R out.",
    )  # fmt: skip


def _require_levels_beside_zone(tokens: list[Token], parts: Parts) -> None:
    """Refuse “XAUUSD BUY ZONE 2340-2345” alone: analysts name areas of a chart so."""
    if parts.sl or parts.targets or parts.distances:
        return
    for before, token in pairwise(tokens):
        if before.kind in _SIDES and token.text.lower() == "zone":
            raise ambiguous(
                f"“{before.text} zone” without a stop or target", "an entry",
                "a description of the chart", field="open_price",
                write="Write “BUY LIMIT …”, or the stop loss too.",
            )  # fmt: skip
