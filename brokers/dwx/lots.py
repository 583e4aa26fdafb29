"""Lot sizes: the terminal does not state them, so they come from rules and settings. Pure.

`settings["symbols"]` is a list of the broker's symbols ("EURUSD.m, XAUUSD") or an object of them,
each with what differs from the rules: `pair`, `contract_size`, `digits`, `pip`, `lot_min`,
`lot_step`, `lot_max`. Currency pairs have 100,000 base units in a lot and five digits (three
in yen and forint), gold has 100 ounces, silver 5,000; anything else must be set.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Any

from brokers import price_rounding
from brokers.base import Rejected
from brokers.types import Instrument, OrderType, Side
from common.currencies import LARGE_PIPS
from common.reason_codes import Code

CURRENCIES = frozenset(
    re.findall(
        "...", "AUDCADCHFCNHCZKDKKEURGBPHKDHUFILSJPYMXNNOKNZDPLNRONSEKSGDTHBTRYUSDZAR"
    )
)  # fmt: skip
METALS = {"XAU": (100, 2), "XAG": (5000, 3), "XPT": (100, 2), "XPD": (100, 2)}
MIN_STEP = Decimal("0.01")  # the expert advisor shows lots with two decimals
NAME = re.compile(r"(?:(?![,|:<>\"\\])[!-~]){1,32}")
"""What a command can carry: it is ASCII, and the expert advisor reads no escapes."""
PAIR = re.compile(r"[#._m]?([A-Z]{3})[/_]?([A-Z]{3})(?![A-Z])")


class LotsError(ValueError):
    """A symbol's settings are missing or wrong; the text names them."""


@dataclass(frozen=True, slots=True)
class Lots:
    """A symbol as this account trades it."""

    symbol: str
    pair: str
    contract_size: Decimal
    digits: int
    pip: Decimal
    minimum: Decimal
    step: Decimal
    maximum: Decimal

    def lots(self, quantity: Decimal, *, is_exit: bool = False) -> Decimal | None:
        """Return base units as lots; None unless they are one or more whole steps. An exit may be
        between the steps, which are the owner's setting: the broker decides."""
        lots = quantity / self.contract_size
        is_valid = lots.is_finite() and lots > 0 and (is_exit or lots % self.step == 0)
        return lots.normalize() if is_valid else None

    def quantity(self, lots: Decimal) -> Decimal:
        """Return lots as base units."""
        return lots * self.contract_size

    @property
    def tick(self) -> Decimal:
        """The smallest step of its price."""
        return Decimal(1).scaleb(-self.digits)

    def price(self, price: Decimal | None, side: Side, order_type: OrderType) -> str:
        """Return an order's price for the command file; '0' for none. Raises Rejected."""
        return self._as_text(
            price and price_rounding.round_entry_price(price, self.tick, side, order_type)
        )

    def level(self, price: Decimal | None, side: Side) -> str:
        """Return a stop or target for the command file; side: the position's. Raises Rejected."""
        return self._as_text(price and price_rounding.round_level_price(price, self.tick, side))

    def _as_text(self, price: Decimal | None) -> str:
        if price is None:
            return "0"
        if price <= 0:  # "0" would remove a level
            raise Rejected(Code.PRICE_INVALID, f"less than a tick of {self.tick:f}")
        return f"{price.quantize(self.tick):f}"

    def within(self, minimum: Decimal, maximum: Decimal) -> "Lots":
        """Return it with the terminal's own bounds."""
        return replace(self, minimum=max(minimum, MIN_STEP), maximum=maximum)

    def instrument(self) -> Instrument:
        """Return it as an instrument, in base units."""
        size = self.contract_size
        return Instrument(
            self.symbol, self.pair, self.digits, self.pip, self.minimum * size, self.step * size,
            self.maximum * size, size,
        )  # fmt: skip


def symbols_of(settings: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the symbols of a connection's settings, each with its own settings.

    Raises LotsError.
    """
    values = settings.get("symbols") or {}
    if isinstance(values, str):
        values = re.split(r"[\s,;]+", values.strip())
    if isinstance(values, list | tuple):
        values = {name: {} for name in values}
    if not isinstance(values, Mapping):
        raise LotsError("The setting `symbols` is neither a list nor an object.")
    for name, one in values.items():
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise LotsError(f"{str(name)[:40]!r} is not a symbol's name.")
        if not isinstance(one, Mapping):
            raise LotsError(f"The settings of {name} are not an object.")
    return dict(values)


def lots_of(settings: Mapping[str, Any], symbol: str) -> Lots:
    """Return a symbol's lots by the settings, completed by the rules.

    Raises LotsError if neither gives the lot size.
    """
    if not NAME.fullmatch(symbol):
        raise LotsError(f"{symbol[:40]!r} is not a symbol's name.")
    values = symbols_of(settings).get(symbol, {})
    pair, size, digits = _by_rule(symbol)
    size = _above_zero(values, "contract_size", size, symbol)
    digits = _above_zero(values, "digits", digits, symbol)
    if size is None or digits is None:
        raise LotsError(f"Set contract_size and digits of {symbol}.")
    if digits % 1 or digits > 5:
        raise LotsError(f"The digits of {symbol} must be 1 to 5: the terminal's files show five.")
    point = Decimal(1).scaleb(-int(digits))
    tenths = pair.startswith("XAU/") or digits % 2 == 1
    step = _above_zero(values, "lot_step", MIN_STEP, symbol) or MIN_STEP
    if step % MIN_STEP:
        raise LotsError(f"lot_step of {symbol} must be a multiple of 0.01.")
    return Lots(
        symbol, str(values.get("pair") or pair), size, int(digits),
        _above_zero(values, "pip", point * 10 if tenths else point, symbol) or point,
        _above_zero(values, "lot_min", step, symbol) or step, step,
        _above_zero(values, "lot_max", Decimal(100), symbol) or Decimal(100),
    )  # fmt: skip


def _by_rule(symbol: str) -> tuple[str, Decimal | None, Decimal | None]:
    found = PAIR.match(symbol)
    if found is None or found[2] not in CURRENCIES:
        return "", None, None
    pair = f"{found[1]}/{found[2]}"
    if metal := METALS.get(found[1]):
        return pair, Decimal(metal[0]), Decimal(metal[1])
    if found[1] in CURRENCIES:
        return pair, Decimal(100_000), Decimal(3 if found[2] in LARGE_PIPS else 5)
    return "", None, None


def _above_zero(
    values: Mapping[str, Any], key: str, rule: Decimal | None, symbol: str
) -> Decimal | None:
    if values.get(key) in (None, ""):
        return rule
    try:
        number = Decimal(str(values[key]))
    except InvalidOperation:
        number = Decimal(0)
    if not number.is_finite() or number <= 0:
        raise LotsError(f"{key} of {symbol} is not a number above zero.")
    return number
