"""The connection test: opens the credentials, asks the broker, and writes down what to do.

Runs on a trading process only, as a job: the web process cannot open credentials. Nothing that the
broker or an exception says is stored before every credential in it is blacked out.
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
from common.errors import FillcastError
from common.formatting import join_first, with_hint
from common.reason_codes import Code
from common.sql import array, rows
from connections import session_lanes
from connections.account_settings.validation import check_resolved
from connections.accounts import ownership, snapshots
from connections.credentials.specs import spec_for
from connections.error_messages import explain
from connections.health import status_updates
from connections.models import ConnectionHealth, ExecutionConnection
from connections.session_lanes import IN_HELD_LANES_SQL, held_lanes_parameters

log = structlog.get_logger(__name__)
CallRunner = Callable[[Coroutine[Any, Any, None]], None]
UNSTORABLE_HINT = (
    f"Where you named them yourself, give them names of at most {snapshots.MAX_SYMBOL_LENGTH} "
    f"characters"
    " in the settings; else tell the operators."
)
SECONDS = 30  # for all of it; each adapter has shorter time-outs of its own


_runner: CallRunner = asyncio.run


def set_call_runner(run: CallRunner = asyncio.run) -> None:
    """Let this process's broker calls run on its own event loop: adapters keep sessions there.
    Without one each call has a loop of its own again."""
    global _runner
    _runner = run


def run_on_process_loop(coroutine: Coroutine[Any, Any, None]) -> None:
    """Drive broker calls to their end, on the process's event loop if it has one."""
    _runner(coroutine)


@dataclass(slots=True)
class ConnectionTestResult:
    """What a test found out."""

    started_at: datetime
    checks: list[Check] = field(default_factory=list)
    account: AccountState | None = None
    instruments: list[Instrument] = field(default_factory=list)
    book: str = ""
    again: status_updates.RetryPolicy = status_updates.RetryPolicy.BACKOFF  # if it failed

    @property
    def failed(self) -> Check | None:
        """The first check that failed."""
        return next((c for c in self.checks if c.result is CheckResult.FAIL), None)


def run_test(
    connection_id: UUID,
    *,
    run: CallRunner = run_on_process_loop,
    adapter: Callable[[str], BrokerAdapter] = adapter_for,
) -> list[Check]:
    """Test a connection and store what came of it: checks, status, account, instruments.

    run: drives the adapter's calls; by default what `set_call_runner` set, else a loop for this
    call. Returns the checks. A failure of any kind is a check with a hint, never an exception. No
    database transaction is open while the broker is asked.
    """
    # The database's clock, as the times at which tests are asked for: hosts' clocks differ. Before
    # the row: what is told of an account counts from when its settings were read.
    result = ConnectionTestResult(started_at=rows("SELECT clock_timestamp() AS now")[0].now)
    connection = ExecutionConnection.objects.get(pk=connection_id)
    secrets: Mapping[str, str] = {}
    try:
        session_lanes.require_lane_held(_lane_of(connection))
        spec = spec_for(connection)
        secrets = spec.credentials
        check_resolved(connection.type, spec.settings, connection.owner_name)
        # Which account it is, is what the test finds out.
        run(
            _query_broker(
                adapter(connection.type),
                replace(spec, identity="", is_identity_sure=False),
                result,
            )
        )
    except session_lanes.LaneNotHeldError as error:
        return _lane_not_held_checks(connection, error)
    except Exception as error:  # whatever it is, the owner gets a sentence
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
    """Where it has no lane but its kind says one now, it has that from here on: rows from before
    there were lanes have none, if their kind's package was not asked when lanes came."""
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
        result.account = await adapter.account(spec)
        result.checks.append(_check_account(result.account))
        if not result.account.trading_allowed:
            result.again = status_updates.retry_policy_for(Code.TRADING_DISABLED)
        result.book = adapter.instrument_book(spec)
        result.instruments = await adapter.instruments(spec)
        result.checks.append(_check_instruments(result.instruments))


def _check_account(account: AccountState) -> Check:
    shown = f"{account.currency} account, leverage 1:{account.leverage.normalize():f}."
    if account.trading_allowed:
        return Check("account", CheckResult.OK, shown)
    return Check(
        "account", CheckResult.FAIL, f"{shown} The broker does not allow trading on it.",
        "Ask the broker to enable trading, or use the trading password, not the investor's.",
    )  # fmt: skip


def _check_instruments(listed: list[Instrument]) -> Check:
    usable = len(snapshots.tradable_instruments(listed))
    unstorable = [
        i.symbol
        for i in listed
        if (pair := snapshots.pair_of(i) or i.pair) and not snapshots.is_storable(i, pair)
    ]
    named = join_first([_shortened(one) for one in unstorable])
    left_out = f" Left out, for they cannot be kept: {named}." if unstorable else ""
    if usable:
        return Check(
            "instruments", CheckResult.WARN if unstorable else CheckResult.OK,
            f"{usable} symbols can be traded.{left_out}", UNSTORABLE_HINT if unstorable else "",
        )  # fmt: skip
    return Check(
        "instruments", CheckResult.FAIL,
        f"The account lists no symbol that can be traded.{left_out}",
        UNSTORABLE_HINT if unstorable else "Ask the broker to enable symbols for this account.",
    )  # fmt: skip


def _shortened(symbol: str) -> str:
    return repr(symbol if len(symbol) <= 60 else f"{symbol[:60]}…")


def _explain(error: Exception, connection: ExecutionConnection) -> Check:
    """Turn any error into a line that says what its owner should do."""
    found = explain(error, connection.type)
    if found.is_ours:
        _log(connection, error)
    return found.as_check


def _unusable_result(
    connection: ExecutionConnection, result: ConnectionTestResult, error: Exception
) -> ConnectionTestResult:
    """Turn an answer that cannot be stored into a test that failed: it must not stay due for ever,
    nor keep others' from being made. Nothing else of it is kept."""
    _log(connection, error)
    detail = f"{status_updates.UNUSABLE_ANSWER} ({type(error).__name__})."
    check = Check("answer", CheckResult.FAIL, detail, status_updates.CONTACT_OPERATORS)
    return ConnectionTestResult(
        result.started_at, checks=[check], again=status_updates.RetryPolicy.NEXT_ROUND
    )


def _log(connection: ExecutionConnection, error: Exception) -> None:
    """An error's text may hold anything, so only its kind is kept; the operators find the place."""
    log.error(
        "connection_test_failed", connection=str(connection.pk), error=type(error).__name__,
        where=_location_of(error),
    )  # fmt: skip


def _retry_policy(error: Exception) -> status_updates.RetryPolicy:
    """Where the broker has said nothing of the account, and be it for our own fault, the next try
    may tell; what its owner has entered wrongly stays wrong."""
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
    """Say that no process can test it. Its test stays due: whoever takes the lane makes it."""
    check = Check("worker", CheckResult.FAIL, error.detail, error.code.hint)
    told = [{**asdict(check), "result": check.result.value}]
    mine = ConnectionHealth.objects.filter(pk=connection.pk)
    mine.exclude(last_test=told).update(
        last_test=told, last_error=error.detail, last_error_at=timezone.now()
    )
    return [check]


def _claim_account(connection: ExecutionConnection, result: ConnectionTestResult) -> bool:
    """Whether what was tested is still what the connection is."""
    try:
        return ownership.claim_account(connection, None if result.failed else result.account)
    except ownership.AccountClaimedError as error:
        result.checks.append(Check("owner", CheckResult.FAIL, error.detail, error.hint))
        result.again = status_updates.RetryPolicy.BACKOFF
        # No mere answer, half an hour later, may let it trade what is another's.
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
        snapshots.store_instruments(result.book, result.instruments)
        ExecutionConnection.objects.filter(pk=connection.pk).exclude(
            instrument_book=result.book
        ).update(instrument_book=result.book)
    if result.account is not None:
        snapshots.store_account_state(connection.pk, result.account, read_at=result.started_at)
    if failed:
        message = with_hint(failed.detail, failed.hint)
        connection.mark_as_error(message, retry=result.again)
    else:
        connection.mark_as_active(cleared=True)
        connection.update_last_connected()


def due_tests(limit: int) -> list[UUID]:
    """Return connections whose test was asked for and not done since, the longest waiting first:
    those of this process's lanes, and to general workers those whose lane nobody holds: these last,
    for they stay due until somebody does."""
    found = rows(
        f"""
        SELECT h.connection_id FROM connections_connectionhealth h
        JOIN connections_executionconnection c ON c.id = h.connection_id
        WHERE h.test_requested_at IS NOT NULL AND c.archived_at IS NULL
          AND (h.last_tested_at IS NULL OR h.last_tested_at < h.test_requested_at)
          AND ({IN_HELD_LANES_SQL} OR '' = ANY(%(lanes)s::text[]) AND c.lane =
            ANY(%(unheld)s::text[]))
        ORDER BY NOT {IN_HELD_LANES_SQL}, h.test_requested_at LIMIT %(limit)s
        """,
        {
            "limit": limit,
            "unheld": array(session_lanes.lanes_without_worker(session_lanes.HANDOVER_SECONDS)),
            **held_lanes_parameters(),
        },
    )
    return [row.connection_id for row in found]
