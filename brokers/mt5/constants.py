"""The numbers of MetaTrader 5's enumerations, so that nothing else needs its package.

Source: MQL5 reference and the Python integration's pages (mql5.com/en/docs/python_metatrader5,
/constants/tradingconstants, /constants/environment_state/marketinfoconstants), read 2026-11-20 and
compared with the constants of the package's wheel 5.0.6231. The two masks are in the manual only.
"""

from enum import IntEnum, IntFlag


class Action(IntEnum):
    DEAL = 1
    PENDING = 5
    SLTP = 6
    MODIFY = 7
    REMOVE = 8


class OrderKind(IntEnum):
    """ENUM_ORDER_TYPE; 0 and 1 are also the sides of positions and deals."""

    BUY = 0
    SELL = 1
    BUY_LIMIT = 2
    SELL_LIMIT = 3
    BUY_STOP = 4
    SELL_STOP = 5
    BUY_STOP_LIMIT = 6
    SELL_STOP_LIMIT = 7
    CLOSE_BY = 8


class Filling(IntEnum):
    """What an order asks for (an enumeration: the symbol's mask has other numbers)."""

    FOK = 0
    IOC = 1
    RETURN = 2


class FillingMask(IntFlag):
    """What a symbol allows, `symbol_info().filling_mode`. RETURN has no bit."""

    FOK = 1
    IOC = 2


class Execution(IntEnum):
    """`symbol_info().trade_exemode`."""

    REQUEST = 0
    INSTANT = 1
    MARKET = 2
    EXCHANGE = 3


class Lifetime(IntEnum):
    """ENUM_ORDER_TYPE_TIME."""

    GTC = 0
    DAY = 1
    SPECIFIED = 2


class LifetimeMask(IntFlag):
    """`symbol_info().expiration_mode`."""

    GTC = 1
    DAY = 2
    SPECIFIED = 4


class OrderMask(IntFlag):
    """`symbol_info().order_mode`: the types that a symbol allows."""

    LIMIT = 2
    STOP = 4
    STOP_LIMIT = 8


class OrderState(IntEnum):
    """ENUM_ORDER_STATE."""

    STARTED = 0
    PLACED = 1
    CANCELED = 2
    PARTIAL = 3
    FILLED = 4
    REJECTED = 5
    EXPIRED = 6
    REQUEST_ADD = 7
    REQUEST_MODIFY = 8
    REQUEST_CANCEL = 9


class Reason(IntEnum):
    """Who made an order or a deal. Only deals have the last four: the server made them."""

    CLIENT = 0
    MOBILE = 1
    WEB = 2
    EXPERT = 3
    SL = 4
    TP = 5
    SO = 6  # stop out
    ROLLOVER = 7
    VMARGIN = 8  # variation margin
    SPLIT = 9
    CORPORATE_ACTION = 10  # a security was renamed or merged, or the client moved


class DealEntry(IntEnum):
    """ENUM_DEAL_ENTRY."""

    IN = 0
    OUT = 1
    INOUT = 2
    OUT_BY = 3


class DealKind(IntEnum):
    """ENUM_DEAL_TYPE beside the trades, 0 and 1: what puts money in or takes it out."""

    BALANCE = 2  # a deposit or a withdrawal
    CREDIT = 3  # money lent by the broker: equity, not balance
    CORRECTION = 5  # by the broker, such as of a balance below 0
    BONUS = 6


class MarginMode(IntEnum):
    """`account_info().margin_mode`."""

    RETAIL_NETTING = 0
    EXCHANGE = 1
    RETAIL_HEDGING = 2


class AccountKind(IntEnum):
    """`account_info().trade_mode`."""

    DEMO = 0
    CONTEST = 1
    REAL = 2


class TradeMode(IntEnum):
    """`symbol_info().trade_mode`."""

    DISABLED = 0
    LONG_ONLY = 1
    SHORT_ONLY = 2
    CLOSE_ONLY = 3
    FULL = 4


OK = 1  # RES_S_OK of `last_error()`
NOT_FOUND = -4
BAD_ARGUMENTS = -2
AUTH_FAILED = -6
COMMENT_LENGTH = 31  # a longer one is refused by the package (-2) or cut by the broker
