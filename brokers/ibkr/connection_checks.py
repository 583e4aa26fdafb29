"""The checks of an IBKR connection test."""

from datetime import UTC, datetime

from brokers.base import ReadFailed, Rejected
from brokers.ibkr import parse, reads, what_if
from brokers.ibkr.contract_details import details_of
from brokers.ibkr.contracts import traded_symbols
from brokers.ibkr.endpoint import PORTS
from brokers.ibkr.session import Session
from brokers.ibkr.timing import MAX_MESSAGES
from brokers.types import (
    Check,
    CheckResult,
    Instrument,
    OrderRequest,
    OrderType,
    Side,
    TimeInForce,
)
from common.reason_codes import Code

OK, WARN, FAIL = CheckResult.OK, CheckResult.WARN, CheckResult.FAIL
SKEW_SECONDS = 5.0
NAMES = {
    Code.CLIENT_ID_IN_USE: "client id",
    Code.UNKNOWN_ACCOUNT: "account",
    Code.FIELD_INVALID: "settings",
    Code.FIELD_REQUIRED: "settings",
    Code.HOST_NOT_ALLOWED: "settings",
}
HINTS = {
    Code.CLIENT_ID_IN_USE: "End the other program with this client id, or set another client_id.",
    Code.UNKNOWN_ACCOUNT: "Log in as the account's user. If the number is wrong, remove this"
    " connection and add it again with the right one.",
    Code.NOT_CONNECTED: "Start TWS or IB Gateway, enable its API socket, check host and port, and"
    " add this machine to its trusted IPs.",
    Code.BROKER_UNREACHABLE: "Log TWS or IB Gateway in; it has no connection to IBKR.",
}


async def run(session: Session) -> list[Check]:
    """Run the checks; stop at the first failure without which no other check can run."""
    endpoint = session.endpoint
    where = f"{endpoint.host}:{endpoint.port}"
    try:
        await session.ready()
    except ReadFailed as error:
        return [failed_session_check(error)]
    checks = [
        Check("reach", OK, f"{where} ({PORTS.get(endpoint.port, 'own port')})"),
        Check("client id", OK, f"{endpoint.client_id}: orders can be changed by it alone"),
        _account_type(session),
        _zone(session),
        *_other_client_ids(session),
    ]
    try:
        state = await reads.account(session)
        checks.append(Check("account", OK, f"{state.currency}, equity {state.equity}"))
        checks.append(await _trading(session))
        checks.append(Check("position mode", OK, "NETTING: one position for each symbol"))
        checks.append(await _symbols(session))
        checks.append(await _skew(session))
    except ReadFailed as error:
        checks.append(Check("reads", FAIL, error.detail, error.code.hint))
    checks.append(
        Check(
            "limits", OK, f"{MAX_MESSAGES} messages a second for all of {where};"
            " executions and ended orders are listed for today only",
        )
    )  # fmt: skip
    return checks


def failed_session_check(error: ReadFailed) -> Check:
    """Return the check that states why there is no session, and what its owner can do."""
    name = NAMES.get(error.code, "reach")
    return Check(name, FAIL, error.detail, HINTS.get(error.code, error.code.hint))


def _zone(session: Session) -> Check:
    if session.wrong_zone:
        hint = "Set timezone to the one that the gateway was logged in with."
        return Check("time zone", FAIL, session.wrong_zone, hint)
    return Check("time zone", OK, f"{session.endpoint.timezone}: today ends there")


def _other_client_ids(session: Session) -> list[Check]:
    """Report our orders that another client id has placed: we cannot change or cancel them."""
    endpoint = session.endpoint
    others = {
        record.client_id
        for record in session.order_cache.of(endpoint.connection_id)
        if record.live and record.client_id not in (0, endpoint.client_id)
    }
    if not others:
        return []
    ids = ", ".join(map(str, sorted(others)))
    hint = "Set client_id back to that one, or cancel these orders in TWS itself."
    return [Check("orders of another client id", WARN, f"placed by client id {ids}", hint)]


def _account_type(session: Session) -> Check:
    account = session.endpoint.account
    if parse.is_paper(account):
        return Check("account type", OK, "paper")
    return Check("account type", WARN, "live", "Orders move real money.")


async def _trading(session: Session) -> Check:
    """Request a what-if of a smallest order: a read-only API refuses even that."""
    hint = "Switch off Read-Only API in the API settings of TWS or IB Gateway."
    instruments = await reads.instruments(session)
    if not instruments:
        return Check("trading", WARN, "no symbol to test with", "Correct the symbol map.")
    try:
        state = await what_if.order_state(session, _smallest_order(session, instruments[0]))
    except Rejected as error:
        if error.code is Code.TRADING_DISABLED:
            return Check("trading", FAIL, error.detail, hint)
        return Check("trading", WARN, error.detail, error.code.hint)
    except ReadFailed as error:
        return Check("trading", WARN, f"what-if: {error.detail}", "Run the test again.")
    warning = f"; IBKR's warning: {state.warningText}" if state.warningText else ""
    return Check("trading", OK, f"TWS answered a what-if order{warning}")


def _smallest_order(session: Session, instrument: Instrument) -> OrderRequest:
    endpoint = session.endpoint
    return OrderRequest(
        "whatif",
        endpoint.connection_id,
        endpoint.account,
        instrument.symbol,
        Side.BUY,
        OrderType.MARKET,
        TimeInForce.DAY,
        instrument.quantity_min,
    )


async def _symbols(session: Session) -> Check:
    symbols, missing = traded_symbols(session.endpoint.settings), []
    for symbol in symbols:
        try:
            await details_of(session, symbol)
        except Rejected as error:
            missing.append(f"{symbol} ({error.detail})")
    if missing:
        result = FAIL if len(missing) == len(symbols) else WARN
        hint = "Correct the symbol map in the connection's settings."
        return Check("symbols", result, "not found: " + ", ".join(missing), hint)
    return Check("symbols", OK, ", ".join(symbols))


async def _skew(session: Session) -> Check:
    theirs = await reads.clock(session)
    apart = abs((datetime.now(UTC) - theirs).total_seconds())
    if apart > SKEW_SECONDS:
        return Check("clock", WARN, f"{apart:.0f} s apart", "Synchronise both machines' clocks.")
    return Check("clock", OK, "within a few seconds")
