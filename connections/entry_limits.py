"""The limits of an entry, each written once. Pure.

From a field of `EntryLimits` follow its columns (`models/limit_columns.py`), the rule that a
subscription may only tighten it, its inputs in the portal and the console, its fields of the API,
and what the claim loads. docs/limits.md has an example of each.
"""

from dataclasses import dataclass, replace
from decimal import Decimal
from enum import Enum, StrEnum
from types import NoneType
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

from common.reason_codes import Code
from connections.symbol_filter import MAX_LENGTH as SYMBOL_LENGTH
from connections.trading_sessions import MAX_LENGTH as SESSION_LENGTH

MONEY, UNITS, PERCENT, EQUITY = "account currency", "base units", "%", "% of equity"
IN_ITS_UNIT, AT_MOST = "in its unit", "at most"


class Part(StrEnum):
    """The part of a preset's form in which a limit is. The value is its title."""

    TRADE = "Limits per trade"
    EXPOSURE = "Exposure"
    FLOW = "Flow"
    SESSIONS = "Sessions and symbols"


class Tighter(Enum):
    """Which value counts if the preset and the subscription both have one; its SQL."""

    LOWER = "least({preset}, {own})"
    HIGHER = "greatest({preset}, {own})"
    EITHER = "coalesce({preset}, false) OR coalesce({own}, false)"
    BOTH = "{preset}"  # each is checked: the subscription's are other fields of an `OrderRow`


@dataclass(frozen=True, slots=True)
class EntryLimit:
    """What a limit is, besides its type and its default.

    label, unit: of its input. help: of its column. code: of the denial; None: it denies nothing.
    least: the smallest value; None: above 0. unit_name: the field with its unit. title: if it is
    not its name. sentence: of its input, if not `help`. item_length: of the texts of a list.
    """

    part: Part
    label: str
    unit: str = ""
    help: str = ""
    code: Code | None = None
    tighter: Tighter = Tighter.LOWER
    least: int | None = None
    unit_name: str = ""
    title: str | None = None
    sentence: str = ""
    item_length: int = 0
    name: str = ""
    type: Any = None
    is_optional: bool = True
    default: Any = None

    @property
    def is_number(self) -> bool:
        return self.type in (int, Decimal)


_UNIT_HELP = "Empty: pips for currencies and metals, basis points (0.01 %) for the rest."


class EntryLimits(NamedTuple):
    """Limits of an account's entries; None or empty: no limit. Defaults: those of a new preset."""

    max_trade_risk_percent: Annotated[
        Decimal | None,
        EntryLimit(
            Part.TRADE, "Largest risk of a trade", EQUITY, code=Code.TRADE_RISK,
            help="Of equity, lost at the stop of a single entry.",
        ),
    ] = None  # fmt: skip
    max_quantity: Annotated[
        Decimal | None,
        EntryLimit(
            Part.TRADE, "Largest quantity", UNITS, code=Code.MAX_QUANTITY, help="Base units.",
            sentence="An entry of more is denied, not made smaller.",
        ),
    ] = None  # fmt: skip
    max_size_multiple: Annotated[
        Decimal | None,
        EntryLimit(
            Part.TRADE, "Largest unusual size", "× the median", code=Code.SIZE_UNUSUAL, least=1,
            help="Largest quantity, as a multiple of the median of the account's last entries in "
            "the symbol.",
        ),
    ] = None  # fmt: skip
    max_price_deviation_percent: Annotated[
        Decimal | None,
        EntryLimit(
            Part.TRADE, "Price away from the market by", PERCENT, code=Code.PRICE_UNREASONABLE,
            help="How far a signal's own price may be from the market, in percent of it.",
        ),
    ] = None  # fmt: skip
    # A wide limit by default: a misplaced point is a factor of ten, which is 900 %.
    max_level_deviation_percent: Annotated[
        Decimal | None,
        EntryLimit(
            Part.TRADE, "Stop or target away by", PERCENT, code=Code.PRICE_UNREASONABLE,
            help="The same for stop, targets, price limit and activation price, in percent of the "
            "smaller of both: 400 is a fifth to five times the market.",
        ),
    ] = Decimal(400)  # fmt: skip
    max_spread: Annotated[
        Decimal | None,
        EntryLimit(
            Part.TRADE, "Widest spread", IN_ITS_UNIT, code=Code.SPREAD_LIMIT, least=0,
            tighter=Tighter.BOTH, unit_name="max_spread_unit",
            help="In its unit. Entries with a wider spread are denied.",
        ),
    ] = None  # fmt: skip
    max_spread_unit: Annotated[
        str, EntryLimit(Part.TRADE, "Unit of the spread", help=_UNIT_HELP, tighter=Tighter.BOTH)
    ] = ""
    max_slippage_pips: Annotated[
        Decimal | None,
        EntryLimit(
            Part.TRADE, "Largest slippage", IN_ITS_UNIT, code=Code.SLIPPAGE_LIMIT, least=0,
            tighter=Tighter.BOTH, unit_name="slippage_unit", title="max slippage",
            help="In the slippage unit, see below.",
        ),
    ] = None  # fmt: skip
    slippage_unit: Annotated[
        str, EntryLimit(Part.TRADE, "Unit of the slippage", help=_UNIT_HELP, tighter=Tighter.BOTH)
    ] = ""
    max_open_positions: Annotated[
        int,
        EntryLimit(
            Part.EXPOSURE, "Open positions", AT_MOST, code=Code.MAX_OPEN_POSITIONS,
            sentence="An entry that would open one more is denied.",
        ),
    ] = 20  # fmt: skip
    max_leverage: Annotated[
        Decimal,
        EntryLimit(
            Part.EXPOSURE, "Leverage", "open notional / equity", code=Code.MAX_LEVERAGE,
            help="Open notional / equity.",
            sentence="At 30, an account with an equity of 1,000 holds 30,000 at most.",
        ),
    ] = Decimal(30)  # fmt: skip
    max_portfolio_risk_percent: Annotated[
        Decimal,
        EntryLimit(
            Part.EXPOSURE, "Risk of all trades", EQUITY, code=Code.PORTFOLIO_RISK,
            sentence="What all stops together would lose, the new trade included.",
        ),
    ] = Decimal(10)  # fmt: skip
    max_symbol_exposure_percent: Annotated[
        Decimal | None,
        EntryLimit(
            Part.EXPOSURE, "Exposure to a symbol", EQUITY, code=Code.SYMBOL_EXPOSURE,
            help="Open notional of a symbol, in percent of equity.",
        ),
    ] = None  # fmt: skip
    max_currency_exposure_percent: Annotated[
        Decimal | None,
        EntryLimit(
            Part.EXPOSURE, "Exposure to a currency", EQUITY, code=Code.CURRENCY_EXPOSURE,
            help="Buys less sells of a currency, coin or share, in percent of equity.",
        ),
    ] = None  # fmt: skip
    correlated_exposure_warning_percent: Annotated[
        Decimal | None,
        EntryLimit(
            Part.EXPOSURE, "Warn from a net exposure of", EQUITY,
            help="Warn about an entry beyond this net exposure to a currency, in percent of "
            "equity. Nothing is denied.",
        ),
    ] = None  # fmt: skip
    max_open_orders: Annotated[
        int | None,
        EntryLimit(
            Part.FLOW, "Open orders", AT_MOST, code=Code.MAX_OPEN_ORDERS,
            help="Entries of the account that are not filled yet.",
        ),
    ] = None  # fmt: skip
    max_orders_per_minute: Annotated[
        int | None,
        EntryLimit(
            Part.FLOW, "Orders within a minute", AT_MOST, code=Code.MAX_ORDERS_PER_MINUTE,
            help="Entries that the account sends within a minute.",
        ),
    ] = None  # fmt: skip
    same_trade_window_seconds: Annotated[
        int | None,
        EntryLimit(
            Part.FLOW, "No second same trade within", "seconds", code=Code.SAME_TRADE,
            tighter=Tighter.HIGHER,
            help="Within this time after an entry, no second one of the same feed, symbol and "
            "side is sent.",
        ),
    ] = None  # fmt: skip
    max_daily_notional: Annotated[
        Decimal | None,
        EntryLimit(
            Part.FLOW, "Notional of a day", MONEY, code=Code.DAILY_NOTIONAL,
            help="Account currency: notional of the entries of a trading day.",
        ),
    ] = None  # fmt: skip
    max_daily_volume: Annotated[
        Decimal | None,
        EntryLimit(
            Part.FLOW, "Volume of a day in a symbol", UNITS, code=Code.DAILY_VOLUME,
            help="Base units: quantity of the entries of a trading day in a symbol.",
        ),
    ] = None  # fmt: skip
    allowed_symbols: Annotated[
        list[str],
        EntryLimit(
            Part.SESSIONS, "Symbols", "separated by commas", code=Code.SYMBOL_NOT_ALLOWED,
            tighter=Tighter.BOTH, item_length=SYMBOL_LENGTH,
            help="Symbols such as EUR/USD, or all of a currency: EUR/*, */USD. Empty: all.",
        ),
    ] = []  # fmt: skip
    trading_sessions: Annotated[
        list[str],
        EntryLimit(
            Part.SESSIONS, "Sessions", "separated by commas", code=Code.OUTSIDE_SESSION,
            tighter=Tighter.BOTH, item_length=SESSION_LENGTH,
            help="When entries are sent, in the trading day's zone: MON-FRI 08:00-16:30. "
            "Empty: always.",
        ),
    ] = []  # fmt: skip
    market_hours_only: Annotated[
        bool,
        EntryLimit(
            Part.SESSIONS, "Only while the symbol’s market is open",
            code=Code.OUTSIDE_MARKET_HOURS, tighter=Tighter.EITHER,
            help="No entries while the market of the symbol is closed: currencies and metals "
            "at the weekend.",
        ),
    ] = False  # fmt: skip


def _complete(name: str, hint: Any) -> EntryLimit:
    """Return a field's limit with its name, type and default. hint: its annotation."""
    value_type, about = get_args(hint)
    limit: EntryLimit = about
    types = [one for one in get_args(value_type) if one is not NoneType]
    is_plain = get_origin(value_type) is list or not types
    return replace(
        limit,
        name=name,
        type=value_type if is_plain else types[0],
        is_optional=NoneType in get_args(value_type),
        default=EntryLimits._field_defaults[name],
    )


ENTRY_LIMITS = {
    name: _complete(name, hint)
    for name, hint in get_type_hints(EntryLimits, include_extras=True).items()
}
"""Every limit, by the name of its field."""


def limits_in(part: Part) -> tuple[str, ...]:
    """Return the names of the limits of a part, in their order."""
    return tuple(name for name, limit in ENTRY_LIMITS.items() if limit.part is part)
