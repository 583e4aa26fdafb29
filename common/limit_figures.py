"""The figures of a refusal: what was limited, its value, and the bound that it broke. Pure.

They are stored with the log line and the event of a refusal as a JSON object with `name`, `value`
and one of the bounds, such as `maximum`. Texts and the API are made from that object.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum

from common.formatting import number
from common.reason_codes import Code


class Bound(StrEnum):
    """What a value is compared with. The value is the name of the bound in stored figures."""

    MAXIMUM = "maximum"
    MINIMUM = "minimum"
    ALLOWED = "allowed"  # a list, such as of symbols
    COMPARED_WITH = "compared_with"  # another price or quantity


BASE_UNIT, ACCOUNT_CURRENCY = "{base}", "{currency}"
"""Units that differ by order: the symbol's base, and the account's currency."""
OF_EQUITY = "% of equity"
SECONDS = "s"


@dataclass(frozen=True, slots=True)
class Limit:
    """What a code's figures are of. word: what the bound is called, if not by its own name."""

    name: str
    unit: str = ""
    bound: Bound = Bound.MAXIMUM
    word: str = ""


def _price(name: str, other: str) -> Limit:
    return Limit(name, bound=Bound.COMPARED_WITH, word=other)


def _seconds(name: str, bound: Bound = Bound.MAXIMUM) -> Limit:
    return Limit(name, SECONDS, bound)


# The limits that presets, subscriptions, feeds and signals set, and the account's funds.
LIMITS: Mapping[Code, Limit] = {
    Code.MAX_QUANTITY: Limit("Quantity", BASE_UNIT),
    Code.MAX_OPEN_POSITIONS: Limit("Open positions"),
    Code.MAX_OPEN_ORDERS: Limit("Open orders"),
    Code.MAX_LEVERAGE: Limit("Leverage"),
    Code.SYMBOL_EXPOSURE: Limit("Exposure to the symbol", OF_EQUITY),
    Code.CURRENCY_EXPOSURE: Limit("Exposure to a currency", OF_EQUITY),
    Code.MARGIN: Limit("Margin", ACCOUNT_CURRENCY),
    Code.TRADE_RISK: Limit("Risk of the trade", OF_EQUITY),
    Code.PORTFOLIO_RISK: Limit("Risk of all trades", OF_EQUITY),
    Code.SAME_TRADE: _seconds("Time since the same trade", Bound.MINIMUM),
    Code.MAX_ORDERS_PER_MINUTE: Limit("Orders within a minute"),
    Code.SIZE_UNUSUAL: Limit("Size", "× the median"),
    Code.DAILY_NOTIONAL: Limit("Notional of the day", ACCOUNT_CURRENCY),
    Code.DAILY_VOLUME: Limit("Volume of the day", BASE_UNIT),
    Code.SIGNAL_NOTIONAL: Limit("This account's notional"),
    Code.PRICE_UNREASONABLE: Limit("Distance from the market", "%"),
    Code.SPREAD_LIMIT: Limit("Spread"),
    Code.SLIPPAGE_LIMIT: Limit("Slippage"),
    Code.SYMBOL_NOT_ALLOWED: Limit("Symbol", bound=Bound.ALLOWED, word="not in"),
    Code.OUTSIDE_SESSION: Limit("Time", bound=Bound.ALLOWED, word="not in"),
    Code.OUTSIDE_MARKET_HOURS: Limit("Time", bound=Bound.ALLOWED, word="market opens"),
    Code.SIGNAL_TOO_OLD: _seconds("Age of the signal"),
    Code.LOSS_LIMIT: Limit("Loss"),
    Code.DRAWDOWN_LIMIT: Limit("Drawdown"),
    Code.REALIZED_LOSS_LIMIT: Limit("Realized loss"),
    Code.LOSING_STREAK: Limit("Losing trades in a row"),
}
# Other refusals with figures: of brokers, of prices, and of data that is too old.
OTHER_FIGURES: Mapping[Code, Limit] = {
    Code.ACCOUNT_DATA_STALE: _seconds("Age of the account's data"),
    Code.QUOTE_STALE: _seconds("Age of the price"),
    Code.CONVERSION_RATE_STALE: _seconds("Age of the exchange rate"),
    Code.EXPIRY_TOO_NEAR: _seconds("Time until its end", Bound.MINIMUM),
    Code.QUANTITY_BELOW_MINIMUM: Limit("Quantity", BASE_UNIT, Bound.MINIMUM),
    Code.VOLUME_INVALID: Limit("Quantity", BASE_UNIT),
    Code.CHANGE_BELOW_FILLED: Limit("Quantity", BASE_UNIT, Bound.COMPARED_WITH, "filled"),
    Code.STOP_TOO_NEAR: Limit("Distance of a level from the entry", bound=Bound.MINIMUM),
    Code.STOP_AT_ENTRY: _price("Entry price", "stop loss"),
    Code.LEVEL_PAST_ENTRY: _price("Entry price", "stop loss"),
    Code.STOP_WRONG_SIDE: _price("Stop loss", "entry price"),
    Code.TARGET_WRONG_SIDE: _price("Take profit", "entry price"),
    Code.PRICE_WRONG_SIDE: _price("Market price", "its own price"),
    Code.LIMIT_BEYOND_STOP: _price("Limit price", "stop price"),
    Code.SLICES_TOO_FEW: Limit("Slices", bound=Bound.MINIMUM),
    Code.SLICE_PRICE_LIMIT: _price("Market price", "price limit"),
    Code.SLIPPAGE_NOT_KEPT: _price("Market price", "worst price"),
    Code.ACTIVATION_REACHED: _price("Market price", "activation price"),
    Code.DISTANCE_BELOW_TICK: Limit("Trailing distance", bound=Bound.MINIMUM),
    Code.TRAIL_TOO_WIDE: _price("Trailing distance", "price"),
    Code.DECISION_UNAVAILABLE: Limit("Factor of the decision"),
}
FIGURES: Mapping[Code, Limit] = {**LIMITS, **OTHER_FIGURES}
"""What the figures of each code are of."""

# Rows that were stored before figures had names.
_OLD_VALUE, _OLD_BOUND = "current", "limit"


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one refusal, as texts: numbers in plain digits."""

    name: str
    value: str
    bound: Bound
    bound_value: str
    unit: str = ""
    word: str = ""

    @property
    def text(self) -> str:
        """The figures for people: `Quantity: 1,001 EUR, maximum 1,000 EUR`."""
        parts = [f"{self.name}: {self.shown(self.value)}"] if self.value else []
        if self.bound_value:
            word = self.word or self.bound.value
            parts.append(f"{word} {self.shown(self.bound_value)}")
        return ", ".join(parts)

    def as_json(self) -> dict[str, str]:
        """Return what is stored of them."""
        found = {"name": self.name, "value": self.value, self.bound.value: self.bound_value}
        found |= {"unit": self.unit, "bound_name": self.word}
        return {name: text for name, text in found.items() if text}

    def shown(self, text: str) -> str:
        """Return one of the texts for people, with its unit if it is a number."""
        try:
            shown = number(Decimal(text))
        except InvalidOperation:
            return text
        return f"{shown} {self.unit}".rstrip()


def read_figures(code: str, stored: object) -> Figures | None:
    """Return stored figures, None if there are none. code: of their refusal.

    Rows of earlier versions have `current` and `limit`, and no name.
    """
    if not isinstance(stored, Mapping):
        return None
    known = FIGURES.get(Code(code)) if code in Code.__members__ else None
    limit = known or Limit("Value")
    if _OLD_VALUE in stored or _OLD_BOUND in stored:
        value, bound = stored.get(_OLD_VALUE, ""), stored.get(_OLD_BOUND, "")
        unit = "" if limit.unit.startswith("{") else limit.unit
        return Figures(limit.name, str(value), limit.bound, str(bound), unit, limit.word)
    name, value = stored.get("name"), stored.get("value", "")
    bound = next((bound for bound in Bound if bound in stored), None)
    if not name or not (value or bound):
        return None
    return Figures(
        str(name),
        str(value),
        bound or limit.bound,
        str(stored[bound]) if bound else "",
        str(stored.get("unit", "")),
        str(stored.get("bound_name", "")),
    )


def text_with_detail(figures: Figures | None, detail: str) -> str:
    """Return figures and the detail of a refusal as one text, without what would stand twice."""
    if figures is None or not figures.text:
        return detail
    if detail and _contains(figures.text, detail):
        return f"{figures.text}."
    if figures.name in detail and _contains(detail, figures.shown(figures.value)):
        return detail
    return f"{figures.text}. {detail}".rstrip()


def _contains(text: str, part: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(part)}(?!\w)", text) is not None
