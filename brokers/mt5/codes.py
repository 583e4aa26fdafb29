"""MetaTrader 5's return codes, mapped to ours. After a code in no table the terminal's lists
decide (`unlisted_refusals.py`).

Source: mql5.com/en/docs/constants/errorswarnings/enum_trade_return_codes (10046 is only there, not
in the package) and .../python_metatrader5/mt5lasterror_py, read 2026-11-20. The sources do not
state which codes prove that the server accepted nothing; our choice is the cautious one.
"""

from brokers.base import BrokerError, NotSent, OutcomeUnknown, Rejected
from brokers.mt5.constants import AUTH_FAILED, BAD_ARGUMENTS, NOT_FOUND, OK
from brokers.unlisted_refusals import UnlistedRefusal
from common.reason_codes import Code


class FillingRefused(Rejected):
    """The server takes another filling type, which the symbol's data do not always show."""


FILLING = 10030
CHECKED = 0  # `order_check` has no objection
TRADE_DISABLED = 10017
PLACED, DONE, DONE_PARTIAL, NO_CHANGES = 10008, 10009, 10010, 10025
ACCEPTED = frozenset({PLACED, DONE, DONE_PARTIAL})

REJECTED: dict[int, Code] = {
    10004: Code.REQUOTE,
    10006: Code.REJECTED_BY_BROKER,
    10013: Code.REJECTED_BY_BROKER,  # invalid request
    10014: Code.VOLUME_INVALID,
    10015: Code.PRICE_INVALID,
    10016: Code.STOPS_INVALID,
    TRADE_DISABLED: Code.SYMBOL_TRADING_DISABLED,  # or the account, if its own state shows it
    10018: Code.MARKET_CLOSED,
    10019: Code.NO_MONEY,
    10020: Code.REQUOTE,  # prices changed
    10021: Code.PRICE_INVALID,  # there are no quotes to process the request
    10022: Code.ORDER_TYPE_UNSUPPORTED,  # expiration
    10026: Code.TRADING_DISABLED,  # the server allows this account no automated trading
    10029: Code.LEVELS_FROZEN,
    FILLING: Code.ORDER_TYPE_UNSUPPORTED,
    10032: Code.REJECTED_BY_BROKER,  # this operation only for real accounts
    10033: Code.REJECTED_BY_BROKER,  # as many pending orders as it allows
    10034: Code.VOLUME_INVALID,  # as much volume of the symbol as it allows
    10035: Code.ORDER_TYPE_UNSUPPORTED,
    10036: Code.NO_POSITION,
    10038: Code.VOLUME_INVALID,  # more than the position holds
    10039: Code.REJECTED_BY_BROKER,  # an order that closes the position is there already
    10040: Code.REJECTED_BY_BROKER,  # as many positions as it allows
    10042: Code.SIDE_NOT_ALLOWED,  # long only
    10043: Code.SIDE_NOT_ALLOWED,  # short only
    10044: Code.SYMBOL_TRADING_DISABLED,  # close only
    10045: Code.REJECTED_BY_BROKER,  # first in, first out
    10046: Code.REJECTED_BY_BROKER,  # no opposite positions
}
"""The final rejection of the server (or, before it, the terminal)."""

NOT_SENT: dict[int, Code] = {
    10024: Code.NOT_CONNECTED,  # too many requests: it accepted none, and may later
    10027: Code.TRADING_DISABLED,  # the terminal's own button: nothing left this machine
}
"""Proof that nothing was accepted."""

AMBIGUOUS = frozenset({10007, 10011, 10012, 10023, 10028, 10031, 10041})
"""Known codes that do not exclude a live order: it is looked up as one without an answer. 10012:
cancelled by a time-out, without stating on which side. 10031: no connection, perhaps lost after the
send."""

ERRORS_BEFORE_SENDING: dict[int, Code] = {
    BAD_ARGUMENTS: Code.UNEXPECTED,  # the package could not read our request: our own fault
    -8: Code.TRADING_DISABLED,  # RES_E_AUTO_TRADING_DISABLED
}
"""`last_error` after an `order_send` that returned None and cannot have sent anything. -10001 to
-10005 are not among them: the link to the terminal broke, before or after the request."""


def verdict(retcode: int, comment: str) -> BrokerError | None:
    """Return the outcome of a request; None if the server accepted it."""
    detail = f"{retcode} {comment}".strip()
    if retcode in ACCEPTED:
        return None
    if code := REJECTED.get(retcode):
        return _rejection(retcode, code, detail)
    if code := NOT_SENT.get(retcode):
        return NotSent(code, detail)
    error_class = OutcomeUnknown if retcode in AMBIGUOUS else UnlistedRefusal
    return error_class(Code.REPLY_LOST, detail)


def verdict_without_answer(error: tuple[int, str]) -> BrokerError:
    """Return the outcome of an `order_send` that returned None."""
    detail = f"no answer: {error[0]} {error[1]}"
    if code := ERRORS_BEFORE_SENDING.get(error[0]):
        return NotSent(code, detail)
    return OutcomeUnknown(Code.REPLY_LOST, detail)


def check_verdict(retcode: int, comment: str) -> BrokerError | None:
    """Return the rejection of a request by `order_check`, which sends nothing; None: no objection.

    Its other codes mean that it could not check, which does not prevent the order.
    """
    if retcode != CHECKED and (code := REJECTED.get(retcode)):
        return _rejection(retcode, code, f"{retcode} {comment}".strip())
    return None


def _rejection(retcode: int, code: Code, detail: str) -> Rejected:
    return (FillingRefused if retcode == FILLING else Rejected)(code, detail)


def login_verdict(error: tuple[int, str]) -> Code:
    """Return why `initialize` or `login` failed."""
    return Code.CREDENTIALS_REFUSED if error[0] == AUTH_FAILED else Code.BROKER_UNREACHABLE


def is_success(error: tuple[int, str]) -> bool:
    """Whether the call before this `last_error` succeeded."""
    return error[0] == OK


def is_not_found(error: tuple[int, str]) -> bool:
    """Whether the requested object does not exist."""
    return error[0] == NOT_FOUND
