"""Sentences and hints for orders that ended while they waited. Pure.

An entry whose signal gets too old while it waits ends with the code of what it waited for. The
code's own sentence and hint promise that it will be sent; these do not.
"""

from dataclasses import dataclass

from common.reason_codes import Code


@dataclass(frozen=True, slots=True)
class EndedWait:
    """Why an order ended unsent, and what its owner can do now."""

    sentence: str
    hint: str


NEVER_SENT = frozenset({"DENIED", "EXPIRED"})
"""The states in which an order ends that was never sent, because of what it waited for."""

ENDED_WAITS: dict[Code, EndedWait] = {
    Code.CONNECTION_ERROR: EndedWait(
        "The connection was in error until the signal was too old.",
        "The next signal is taken once the connection works: read its last error, fix it, and run"
        " the connection test.",
    ),
    Code.ACCOUNT_TRADING_DISABLED: EndedWait(
        "The broker did not allow trading on this account until the signal was too old.",
        "The next signal is taken when the broker allows it. If it lasts, switch trading on where"
        " the account is logged in, use the trading password, or ask the broker.",
    ),
    Code.CONNECTION_UNTESTED: EndedWait(
        "The connection had not passed its test when the signal became too old.",
        "Run the connection test once; the next signal is taken when it has passed.",
    ),
    Code.CONNECTION_TEST_PENDING: EndedWait(
        "The requested connection test had not passed when the signal became too old.",
        "The next signal is taken when it has passed and the account has been reconciled. See its"
        " result on the account's page.",
    ),
    Code.ACCOUNT_ANSWER_UNUSABLE: EndedWait(
        "The broker's answer about the account could not be used until the signal was too old.",
        "The account is read again automatically, and the next signal is taken when its answer can"
        " be used. If it lasts, report it to the operators: the log shows where it fails.",
    ),
    Code.CONNECTION_UNREACHABLE: EndedWait(
        "The account's broker did not answer until the signal was too old.",
        "The next signal is taken when the broker answers again and the account has been"
        " reconciled. If it lasts, read the last error on the account's page.",
    ),
    Code.BROKER_UNREACHABLE: EndedWait(
        "The broker could not be reached until the signal was too old.",
        "The next signal is taken when the broker can be reached again. If it lasts, check host and"
        " network.",
    ),
    Code.NOT_CONNECTED: EndedWait(
        "There was no connection to the broker until the signal was too old.",
        "The next signal is taken when the connection is back. If it lasts, read the last error on"
        " the account's page.",
    ),
    Code.CLIENT_ID_IN_USE: EndedWait(
        "Another session used this connection's client id until the signal was too old.",
        "End the other program, or give the connection a client id of its own; the next signal is"
        " taken then.",
    ),
    Code.TRADING_DISABLED: EndedWait(
        "The broker did not allow trading on this account until the signal was too old.",
        "Switch trading on where the account is logged in, or ask the broker to, then run the"
        " connection test; the next signal is taken then.",
    ),
    Code.CIRCUIT_OPEN: EndedWait(
        "The connection backed off after too many failed calls until the signal was too old.",
        "It is tried again automatically, and the next signal is taken when it works. If it lasts,"
        " read the last error on the account's page.",
    ),
    Code.CONNECTION_NOT_RECONCILED: EndedWait(
        "The account had not been compared with its broker when the signal became too old.",
        "The next signal is taken after the comparison. If it lasts, run the connection test.",
    ),
    Code.BROKER_HOST_DOWN: EndedWait(
        "The broker's host could not be reached until the signal was too old.",
        "The next signal is taken when the host answers again: it is probed automatically.",
    ),
    Code.NO_SESSION_WORKER: EndedWait(
        "No session worker was running for this account until the signal was too old.",
        "The next signal is taken when that worker runs: ask the operators to start the session"
        " worker that the doctor names.",
    ),
    Code.BROKER_MAINTENANCE: EndedWait(
        "The broker was in a maintenance window until the signal was too old.",
        "The next signal is taken after the window.",
    ),
    Code.OPPOSITE_CLOSING: EndedWait(
        "The opposite position of this symbol was still being closed when the signal became too"
        " old.",
        "The next signal is taken when that position is closed: see what its exit waits for.",
    ),
    Code.PRICE_AWAITED: EndedWait(
        "The first price of this symbol did not come before the signal was too old.",
        "Open the account's price source: it lists the pairs that its broker does not quote.",
    ),
    Code.DECISION_AWAITED: EndedWait(
        "The preset's decision provider had not answered in time when the signal was too old.",
        "The order's page has its last answer. Check the provider, or let the preset go without.",
    ),
    Code.AGGREGATION_AWAITED: EndedWait(
        "The entry waited to be sent with others until the signal was too old.",
        "The next signal is taken. If it happens again, shorten the account's window, or allow"
        " older signals in its preset.",
    ),
    Code.EARLIER_COMMAND: EndedWait(
        "The terminal had not answered an earlier command when the signal became too old.",
        "The next signal is sent when the terminal answers. If it lasts, check whether the"
        " terminal is running.",
    ),
    Code.BROKER_SLOW: EndedWait(
        "The account's broker was so slow that the signal became too old.",
        "The next signal is sent when the broker answers faster.",
    ),
    Code.RESTORE_CHECK: EndedWait(
        "Orders waited for the check of the restored database until the signal was too old.",
        "The next signal is taken when the check is done. If it lasts, the operators see the"
        " reason under Recovery.",
    ),
    Code.MARKET_CLOSED: EndedWait(
        "The market was closed until the signal was too old.",
        "The next signal is taken when the market is open.",
    ),
}

# States in which the broker's answer is final. The code's own hint promises another try, which has
# been made or is not made.
FINAL = frozenset({"REJECTED", "FAILED"})
FINAL_HINTS: dict[Code, str] = {
    Code.REQUOTE: "It was tried once more, and the price had changed again. If this is an exit, the"
    " position is still open: close it yourself if its stop, target or CLOSE does not do so within"
    " two minutes.",
    Code.RATE_LIMITED: "It is not tried again. Fewer programs on the same account or address help.",
    Code.BROKER_CLOCK: "It is not tried again. Operators: set this machine's clock by NTP.",
    Code.BROKER_UNREACHABLE: "It is not tried again. Check host and network.",
}

NOT_SENT_IN_TIME = frozenset({*ENDED_WAITS, Code.SIGNAL_TOO_OLD, Code.SIGNAL_EXPIRED})
"""The codes of DENIED and EXPIRED orders that waited until their signal was too old."""


def is_ended_wait(reason: str, status: str) -> bool:
    """Whether an order ended unsent because of what it waited for."""
    return status in NEVER_SENT and reason in ENDED_WAITS


def was_not_sent_in_time(reason: str, status: str) -> bool:
    """Whether an order ended unsent because its signal became too old or invalid meanwhile."""
    return status in NEVER_SENT and reason in NOT_SENT_IN_TIME
