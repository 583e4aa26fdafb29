"""TWS's message codes, mapped to ours.

Source: IBKR Campus, "TWS API: Error Handling / Message Codes", compared with ib_async 2.1
wrapper.py `error`, 2026-11-20. A number that is in no table here proves nothing: the adapter then
looks the order up at once (order_outcome.py).
"""

from common.reason_codes import Code

REJECTED: dict[int, Code] = {
    109: Code.PRICE_INVALID,  # the price is out of the range defined by the precautionary settings
    110: Code.PRICE_INVALID,  # does not conform to the minimum price variation
    111: Code.ORDER_TYPE_UNSUPPORTED,  # TIF and order type do not go together
    154: Code.MARKET_CLOSED,  # the security is halted
    163: Code.PRICE_INVALID,  # violates the percentage of the precautions
    200: Code.UNKNOWN_SYMBOL_AT_BROKER,  # no security definition
    201: Code.REJECTED_BY_BROKER,  # order rejected - reason: (see REJECTION_REASONS)
    203: Code.SYMBOL_TRADING_DISABLED,  # the security is not available or allowed for this account
    321: Code.REJECTED_BY_BROKER,  # error validating a request (a new order's; also read-only)
    355: Code.VOLUME_INVALID,  # order size does not conform to the market rule
    387: Code.ORDER_TYPE_UNSUPPORTED,  # not for this exchange and security type
    383: Code.VOLUME_INVALID,  # exceeds the size limit of the precautions
    388: Code.VOLUME_INVALID,  # below the minimum
    391: Code.ORDER_TYPE_UNSUPPORTED,  # time in force
    412: Code.SYMBOL_TRADING_DISABLED,  # the contract is not available for trading
    434: Code.VOLUME_INVALID,  # the order size cannot be zero
    435: Code.UNKNOWN_ACCOUNT,  # you must specify an account
    460: Code.SYMBOL_TRADING_DISABLED,  # no trading permissions
    10052: Code.ORDER_TYPE_UNSUPPORTED,  # invalid time in force
    10243: Code.VOLUME_INVALID,  # no fractions through the API
    10311: Code.REJECTED_BY_BROKER,  # the precautions take no direct routing
    10318: Code.VOLUME_INVALID,  # no fractions of this order
}
"""They end a new order: IBKR did not accept it."""

REJECTION_REASONS: tuple[tuple[tuple[str, ...], Code], ...] = (
    (("oca group is already filled",), Code.NO_POSITION),
    (("read-only", "read only"), Code.TRADING_DISABLED),
    (("account has been restricted", "account is restricted"), Code.TRADING_DISABLED),
    (("short sale",), Code.SIDE_NOT_ALLOWED),
    (("permission", "not allowed", "restricted", "no trading"), Code.SYMBOL_TRADING_DISABLED),
    (
        ("margin", "insufficient", "available funds", "equity with loan", "buying power"),
        Code.NO_MONEY,
    ),
    (("market is closed", "exchange is closed", "not open for trading"), Code.MARKET_CLOSED),
    (("order size", "minimum size", "quantity"), Code.VOLUME_INVALID),
    (("invalid account", "unknown account", "account code"), Code.UNKNOWN_ACCOUNT),
)
"""Phrases in the text of 201 and 321; the first match gives the code, else the number does. Only a
phrase that certainly concerns the whole account disables trading: permissions are per product.

The rejection of an exit whose protection has just been filled has no number of its own: it is a 201
"Order rejected - reason:OCA group is already filled." IBKR's list of message codes does not name
the reasons of 201 (interactivebrokers.github.io/tws-api/message_codes.html, read 2026-11-21); the
phrases are those that public programs quote from live and paper accounts. Match the full phrase:
a group that may not be revised, or that mixes accounts (10224), is called an OCA group too, and
states nothing about the position.
"""

NOTICES = frozenset({105, 165, 399, 404, 10167, 10349})
"""The order stays live: 399 waits for the open, 404 for shares, 10349 is a preset."""

DUPLICATE_NUMBER = 103
"""TWS has had an order with this number, or a higher one: the order itself was not looked at."""

CHANGE_LATER = frozenset({2102})
"""The order is still being processed: a change of it can be sent again."""

CANCELLED = 202
CANCEL_FAILED = frozenset({135, 161, 10147, 10148})
"""A cancel that failed: the order is unknown to TWS, or cannot be cancelled in its state."""

LINE_LOST = frozenset({1100, 2110})
LINE_RESTORED = frozenset({1101, 1102})
"""The link from TWS to IBKR's servers; our socket to TWS stays open. 1101: data were lost."""

CLIENT_ID_IN_USE = 326

NO_PRICES = frozenset({354, 10089, 10090, 10091, 10167, 10168, 10186, 10189, 10197})
"""The login has no subscription, only a delayed one, or another of its sessions uses it."""

STILL_LIVE_PRICES = frozenset({2103, 2104, 2105, 2106, 2107, 2108, 2119, 2158})
"""States of the data farms: prices pause and continue."""

PRICES_PAUSE = frozenset({2103, 2108, 2119})
"""A farm is disconnected, idle or connecting: its last quote is not the current price."""


def is_notice(number: int) -> bool:
    """Whether it is a notice that changes no order."""
    return number in NOTICES or 2100 <= number < 2200


def is_error(number: int) -> bool:
    """Whether its class is that of errors: what it is about was refused, unless it is a notice.

    By IBKR's list: 100 to 999 and from 10000 on errors, 1100 to 1300 the system, 2100 to 2199
    warnings.
    """
    return (100 <= number < 1000 or number >= 10000) and not is_notice(number)


def is_about_a_change(number: int) -> bool:
    """Whether a number of the notices refuses a change, while one is in flight."""
    return number == 105 or number in CHANGE_LATER


def rejection_code(number: int, text: str) -> Code | None:
    """Return why a new order was rejected; None if the number does not prove a rejection."""
    code = REJECTED.get(number)
    if code is Code.REJECTED_BY_BROKER:
        lowered = text.lower()
        for phrases, specific_code in REJECTION_REASONS:
            if any(phrase in lowered for phrase in phrases):
                return specific_code
    return code
