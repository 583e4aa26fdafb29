"""Objects for robots of other services, which know their side or symbol themselves. Pure.

What such an object leaves to its robot cannot be known here, and is refused by its name.
"""

from collections.abc import Mapping
from typing import Any

from alerts.grammar.mapping import AlertMapping
from alerts.grammar.reading import (
    Dialect,
    Note,
    Reading,
    ambiguous,
    excerpt,
    not_understood,
    unread,
)

_KNOWN = ("message_type", "bot_id", "email_token", "delay_seconds", "pair", "action")
_MONEY = {"USDT", "USDC", "BUSD", "FDUSD", "TUSD", "DAI", "USD", "EUR", "GBP"}  # quotes of coins
_NAMELESS = {"code": "WunderTrading", "qv_user_id": "QuantLynk"}


def is_bot_object(parsed: Mapping[str, Any]) -> bool:
    """Whether an object is addressed to a robot: 3Commas's DCA bots, or by a code of its own."""
    has_symbol = any(parsed.get(name) for name in ("ticker", "symbol", "pair", "tv_instrument"))
    return "message_type" in parsed or (not has_symbol and not _NAMELESS.keys().isdisjoint(parsed))


def read_bot_object(parsed: Mapping[str, Any], mapping: AlertMapping) -> Reading:
    """Return the close that an object of a DCA bot says. Raises InvalidInputError for others."""
    if "message_type" not in parsed:
        name = next(name for name in _NAMELESS if name in parsed)
        raise not_understood(
            f"{name} of {_NAMELESS[name]} names no symbol and no side here.",
            'Send {"ticker": …, "action": …, "sentiment": …}, or our own JSON.', field=name,
        )  # fmt: skip
    for name in parsed:
        if name not in _KNOWN:
            raise unread(str(name))
    if str(parsed.get("delay_seconds") or "0") not in ("0", "0.0"):
        raise not_understood("An alert is carried out at once.", "Send delay_seconds 0.",
                             field="delay_seconds")  # fmt: skip
    action, pair = str(parsed.get("action") or ""), parsed.get("pair")
    if action and action != "close_at_market_price":
        raise not_understood(
            f"{excerpt(action)} is about the bot, not about a trade of this feed.",
            "Send close_at_market_price with a pair, or the signal itself.", field="action",
        )  # fmt: skip
    if not isinstance(pair, str) or not pair:
        raise not_understood("It names no pair.", "Send the pair.", field="pair")
    if not action:
        raise ambiguous(
            f"A start of the bot for {excerpt(pair)}", "a long trade", "a short one",
            field="action", write='Send {"ticker": …, "action": "enter_long"} or enter_short.',
        )  # fmt: skip
    notes = [
        Note(name, "the address selects the feed") for name in ("bot_id", "email_token")
        if parsed.get(name)
    ]  # fmt: skip
    document = {"action": "CLOSE", "symbol": mapping.symbol_of(_in_our_order(pair))}
    return Reading(Dialect.ORDER_OBJECT, document, notes=tuple(notes))


def _in_our_order(pair: str) -> str:
    """Return a pair with its base first: these bots write USDT_BTC, and USDT_BTCUSDT for futures.

    Raises InvalidInputError ALERT_AMBIGUOUS for BTC_USDT, which may be in either order.
    """
    quote, underscore, base = pair.strip().upper().partition("_")
    if not underscore:
        return pair
    if base.removesuffix("_PERP").removesuffix("-PERP").endswith(quote) and base != quote:
        return base
    if base in _MONEY and quote not in _MONEY:
        raise ambiguous(
            f"The pair {pair}", f"{quote}/{base}", f"{base}/{quote}", field="pair",
            write=f"Send {base}_{quote} for {quote}/{base}, with the quote currency first.",
        )  # fmt: skip
    return f"{base}/{quote}"
