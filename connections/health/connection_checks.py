"""The connection test: decrypt the credentials, query the broker, and store what to do.

It runs as a job on a trading process: the web process cannot decrypt credentials. Messages of the
broker and of exceptions are stored only after every credential in them was redacted.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from django.db import transaction
from django.utils import timezone

from brokers.base import BrokerAdapter, BrokerError
from brokers.redaction import storable, without_secrets
from brokers.registry import adapter_for
from brokers.types import AccountState, Check, CheckResult, ConnectionSpec, Instrument
from common.db.sql import database_now
from common.errors import FillcastError
from common.reason_codes import Code
from common.web.formatting import join_first, with_hint
from connections import session_lanes
from connections.account_settings.validation import check_resolved
from connections.accounts import ownership, snapshots
from connections.accounts.cash_flows import mark_flows_missing
from connections.accounts.outlying_readings import (
    LastReading,
    confirmed_state,
    count_held,
    last_readings,
)
from connections.credentials.specs import spec_for
from connections.error_messages import explain
from connections.health import status_updates
from connections.market_data.twin_lists import book_for
from connections.models import ConnectionHealth, ExecutionConnection

log = structlog.get_logger(__name__)
CallRunner = Callable[[Coroutine[Any, Any, None]], None]
UNSTORABLE_HINT = (
    "If you named them yourself, give them names of at most"
    f" {snapshots.MAX_SYMBOL_LENGTH} characters in the settings; otherwise contact the operators."
)
SECONDS = 30  # for the whole test; each adapter has shorter time-outs of its own


_runner: CallRunner = asyncio.run


def set_call_runner(run: CallRunner = asyncio.run) -> None:
    """Set how this process runs broker calls: on its event loop, where adapters keep sessions.

    Without an argument, each call runs on a new loop again.
    """
    global _runner
    _runner = run


def run_on_process_loop(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine of broker calls to its end, on the process's event loop if it has one."""
    _runner(coroutine)


@dataclass(slots=True)
class ConnectionTestResult:
    """The result of a test. again: when the account is read again if the test failed. last: the
    stored reading. held: one that was held back, as a text."""

    started_at: datetime
    checks: list[Check] = field(default_factory=list)
    account: AccountState | None = None
    instruments: list[Instrument] = field(default_factory=list)
    book: str = ""
    again: status_updates.RetryPolicy = status_updates.RetryPolicy.BACKOFF
    last: LastReading | None = None
    held: str = ""

    @property
    def failed(self) -> Check | None:
        """The first check that failed; None if all passed."""
        return next((c for c in self.checks if c.result is CheckResult.FAIL), None)


def run_test(
    connection_id: UUID,
    *,
    run: CallRunner = run_on_process_loop,
    adapter: Callable[[str], BrokerAdapter] = adapter_for,
) -> list[Check]:
    """Test a connection and store the result: checks, status, account, instruments.

    run: runs the adapter's calls; default: see `set_call_runner`. Returns the checks. A failure of
    any kind is a check with a hint, never an exception. No database transaction is open during the
    broker's calls.
    """
    # The database's clock, as for requests of tests, since hosts' clocks differ. It is read before
    # the row: a result counts from the time at which the settings were read.
    result = ConnectionTestResult(started_at=database_now())
    connection = ExecutionConnection.objects.get(pk=connection_id)
    result.last = last_readings([connection_id]).get(connection_id)
    secrets: Mapping[str, str] = {}
    try:
        session_lanes.require_lane_held(_lane_of(connection))
        spec = spec_for(connection)
        secrets = spec.credentials
        check_resolved(connection.type, spec.settings, connection.owner_name)
        # Without the stored identity: the test determines which account it is.
        run(
            _query_broker(
                adapter(connection.type),
                replace(spec, identity="", is_identity_sure=False),
                result,
            )
        )
    except session_lanes.LaneNotHeldError as error:
        return _lane_not_held_checks(connection, error)
    except Exception as error:  # any: a broker's library may raise anything; the owner gets a check
        result.checks.append(_explain(error, connection))
        result.again = _retry_policy(error)
    try:
        result.checks = [_redacted(secrets, check) for check in result.checks]
        _store(connection, result)
    except status_updates.UNUSABLE_ERRORS as error:
        result = _unusable_result(connection, result, error)
        _store(connection, result)
    return result.checks


def _lane_of(connection: ExecutionConnection) -> str:
    """Return the connection's lane; assign it first if it has none but its broker type needs one.

    A row has none if the package of its broker type was not installed when the row was made.
    """
    if connection.lane != session_lanes.GENERAL:
        return connection.lane
    with transaction.atomic():
        lane = session_lanes.assign_lane(
            connection.type, connection.pk, connection.account, connection.settings
        )
        mine = ExecutionConnection.objects.filter(pk=connection.pk, lane=session_lanes.GENERAL)
        if lane != session_lanes.GENERAL and mine.update(lane=lane):
            log.info("lane_given", connection=str(connection.pk), lane=lane)
    return lane


async def _query_broker(
    adapter: BrokerAdapter, spec: ConnectionSpec, result: ConnectionTestResult
) -> None:
    async with asyncio.timeout(SECONDS):
        result.checks += await adapter.test(spec)
        if result.failed:
            return
        confirmed = await confirmed_state(adapter, spec, result.last)
        result.account, result.held = confirmed.state, confirmed.held
        result.checks.append(_check_account(result.account))
        if not result.account.trading_allowed:
            result.again = status_updates.retry_policy_for(Code.TRADING_DISABLED)
        result.book = adapter.instrument_book(spec)
        result.instruments = await adapter.instruments(spec)
        result.checks.append(_check_instruments(result.instruments))


def _check_account(account: AccountState) -> Check:
    summary = f"{account.currency} account, leverage 1:{account.leverage.normalize():f}."
    if account.trading_allowed:
        return Check("account", CheckResult.OK, summary)
    return Check(
        "account",
        CheckResult.FAIL,
        f"{summary} The broker does not allow trading on it.",
        "Ask the broker to enable trading, or use the trading password, not the investor's.",
    )


def _check_instruments(listed: list[Instrument]) -> Check:
    tradable = len(snapshots.tradable_instruments(listed))
    unstorable = [
        i.symbol
        for i in listed
        if (pair := snapshots.pair_of(i) or i.pair) and not snapshots.is_storable(i, pair)
    ]
    names = join_first([_shortened(symbol) for symbol in unstorable])
    left_out = f" Left out because they cannot be stored: {names}." if unstorable else ""
    if tradable:
        return Check(
            "instruments",
            CheckResult.WARN if unstorable else CheckResult.OK,
            f"{tradable} symbols can be traded.{left_out}",
            UNSTORABLE_HINT if unstorable else "",
        )
    return Check(
        "instruments",
        CheckResult.FAIL,
        f"The account lists no tradable symbol.{left_out}",
        UNSTORABLE_HINT if unstorable else "Ask the broker to enable symbols for this account.",
    )


def _shortened(symbol: str) -> str:
    return repr(symbol if len(symbol) <= 60 else f"{symbol[:60]}…")


def _explain(error: Exception, connection: ExecutionConnection) -> Check:
    """Return a failed check for an error, with what the owner should do."""
    explanation = explain(error, connection.type)
    if explanation.is_ours:
        _log(connection, error)
    return explanation.as_check


def _unusable_result(
    connection: ExecutionConnection, result: ConnectionTestResult, error: Exception
) -> ConnectionTestResult:
    """Return a failed test in place of an answer that cannot be stored.

    Otherwise the test would stay due for ever and delay other tests.
    """
    _log(connection, error)
    detail = f"{status_updates.UNUSABLE_ANSWER} ({type(error).__name__})."
    check = Check("answer", CheckResult.FAIL, detail, status_updates.CONTACT_OPERATORS)
    return ConnectionTestResult(
        result.started_at, checks=[check], again=status_updates.RetryPolicy.NEXT_ROUND
    )


def _log(connection: ExecutionConnection, error: Exception) -> None:
    """Log the type and the place of an error; its text may contain anything, credentials too."""
    log.error(
        "connection_test_failed",
        connection=str(connection.pk),
        error=type(error).__name__,
        where=_location_of(error),
    )


def _retry_policy(error: Exception) -> status_updates.RetryPolicy:
    """Return when to read the account again after an error.

    If the broker did not answer, or we have a bug, the next try may succeed. Settings that the
    owner entered wrongly stay wrong.
    """
    if isinstance(error, BrokerError):
        return status_updates.retry_policy_for(error.code)
    return (
        status_updates.RetryPolicy.BACKOFF
        if isinstance(error, FillcastError)
        else status_updates.RetryPolicy.IMMEDIATE
    )


def _location_of(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""


def _redacted(secrets: Mapping[str, str], check: Check) -> Check:
    name, detail, hint = (
        storable(without_secrets(text, secrets)) for text in (check.name, check.detail, check.hint)
    )
    return Check(name, check.result, detail, hint)


def _lane_not_held_checks(
    connection: ExecutionConnection, error: session_lanes.LaneNotHeldError
) -> list[Check]:
    """Store that no process can run the test. It stays due until a worker takes the lane."""
    check = Check("worker", CheckResult.FAIL, error.detail, error.code.hint)
    stored = [{**asdict(check), "result": check.result.value}]
    mine = ConnectionHealth.objects.filter(pk=connection.pk)
    mine.exclude(last_test=stored).update(
        last_test=stored, last_error=error.detail, last_error_at=timezone.now()
    )
    return [check]


def _claim_account(connection: ExecutionConnection, result: ConnectionTestResult) -> bool:
    """Claim the tested account for the connection; return False if the connection has changed.

    An account that another connection has claimed makes the test fail.
    """
    try:
        return ownership.claim_account(connection, None if result.failed else result.account)
    except ownership.AccountClaimedError as error:
        result.checks.append(Check("owner", CheckResult.FAIL, error.detail, error.hint))
        result.again = status_updates.RetryPolicy.BACKOFF
        # So that a later answer alone cannot let it trade another connection's account.
        ConnectionHealth.objects.filter(pk=connection.pk).update(needs_test=True)
        return True


@transaction.atomic
def _store(connection: ExecutionConnection, result: ConnectionTestResult) -> None:
    if not _claim_account(connection, result):
        return
    failed = result.failed
    ConnectionHealth.objects.filter(pk=connection.pk).update(
        last_test=[{**asdict(check), "result": check.result.value} for check in result.checks],
        last_tested_at=result.started_at,
    )
    if result.book and result.instruments:
        book = book_for(connection.pk, result.book)
        snapshots.store_instruments(book, result.instruments)
        ExecutionConnection.objects.filter(pk=connection.pk).exclude(instrument_book=book).update(
            instrument_book=book
        )
    if result.account is not None:
        snapshots.store_account_state(connection.pk, result.account, read_at=result.started_at)
        mark_flows_missing(connection.pk, result.started_at)
        count_held([(connection.pk, result.held)] if result.held else [])
    if failed:
        message = with_hint(failed.detail, failed.hint)
        connection.mark_as_error(message, retry=result.again)
    else:
        connection.mark_as_active(cleared=True)
        connection.update_last_connected()
