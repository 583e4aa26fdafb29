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
from brokers.masking import storable, without_secrets
from brokers.messages import AccountState, Check, CheckResult, ConnectionSpec, Instrument
from brokers.registry import adapter_for
from common.codes import Code
from common.errors import FillcastError
from common.shown import first_of, with_remedy
from common.sql import rows
from connections import claims, health, lanes, told
from connections.account_settings import check_resolved
from connections.explained import explain
from connections.models import ConnectionHealth, ExecutionConnection
from connections.selectors import spec_for

log = structlog.get_logger(__name__)
Run = Callable[[Coroutine[Any, Any, None]], None]
UNFIT = (
    f"Where you named them yourself, give them names of at most {told.LONGEST_SYMBOL} characters"
    " in the settings; else tell the operators."
)
SECONDS = 30  # for all of it; each adapter has shorter time-outs of its own


_runner: Run = asyncio.run


def use_runner(run: Run = asyncio.run) -> None:
    """Let this process's broker calls run on its own event loop: adapters keep sessions there.
    Without one each call has a loop of its own again."""
    global _runner
    _runner = run


def on_loop(coroutine: Coroutine[Any, Any, None]) -> None:
    """Drive broker calls to their end, on the process's event loop if it has one."""
    _runner(coroutine)


@dataclass(slots=True)
class Findings:
    """What a test found out."""

    started_at: datetime
    checks: list[Check] = field(default_factory=list)
    account: AccountState | None = None
    instruments: list[Instrument] = field(default_factory=list)
    book: str = ""
    again: health.Again = health.Again.RARELY  # if it failed

    @property
    def failed(self) -> Check | None:
        """The first check that failed."""
        return next((c for c in self.checks if c.result is CheckResult.FAIL), None)


def run_test(
    connection_id: UUID,
    *,
    run: Run = on_loop,
    adapter: Callable[[str], BrokerAdapter] = adapter_for,
) -> list[Check]:
    """Test a connection and store what came of it: checks, status, account, instruments.

    run: drives the adapter's calls; by default what `use_runner` set, else a loop for this call.
    Returns the checks. A failure of any kind is a check with a hint, never an exception. No
    database transaction is open while the broker is asked.
    """
    # The database's clock, as the times at which tests are asked for: hosts' clocks differ. Before
    # the row: what is told of an account counts from when its settings were read.
    findings = Findings(started_at=rows("SELECT clock_timestamp() AS now")[0].now)
    connection = ExecutionConnection.objects.get(pk=connection_id)
    secrets: Mapping[str, str] = {}
    try:
        lanes.refuse_unheld(_lane_of(connection))
        spec = spec_for(connection)
        secrets = spec.credentials
        check_resolved(connection.type, spec.settings, connection.owner_name)
        # Which account it is, is what the test finds out.
        run(
            _ask(
                adapter(connection.type),
                replace(spec, identity="", is_identity_sure=False),
                findings,
            )
        )
    except lanes.UnheldError as error:
        return _told_unheld(connection, error)
    except Exception as error:  # whatever it is, the owner gets a sentence
        findings.checks.append(_explain(error, connection))
        findings.again = _again(error)
    try:
        findings.checks = [_without(secrets, check) for check in findings.checks]
        _store(connection, findings)
    except health.UNUSABLE as error:
        findings = _unusable(connection, findings, error)
        _store(connection, findings)
    return findings.checks


def _lane_of(connection: ExecutionConnection) -> str:
    """Where it has no lane but its kind says one now, it has that from here on: rows from before
    there were lanes have none, if their kind's package was not asked when lanes came."""
    if connection.lane != lanes.GENERAL:
        return connection.lane
    with transaction.atomic():
        lane = lanes.settled_lane_for(
            connection.type, connection.pk, connection.account, connection.settings
        )
        mine = ExecutionConnection.objects.filter(pk=connection.pk, lane=lanes.GENERAL)
        if lane != lanes.GENERAL and mine.update(lane=lane):
            log.info("lane_given", connection=str(connection.pk), lane=lane)
    return lane


async def _ask(adapter: BrokerAdapter, spec: ConnectionSpec, findings: Findings) -> None:
    async with asyncio.timeout(SECONDS):
        findings.checks += await adapter.test(spec)
        if findings.failed:
            return
        findings.account = await adapter.account(spec)
        findings.checks.append(_judge_account(findings.account))
        if not findings.account.trading_allowed:
            findings.again = health.again_of(Code.TRADING_DISABLED)
        findings.book = adapter.instrument_book(spec)
        findings.instruments = await adapter.instruments(spec)
        findings.checks.append(_judge_instruments(findings.instruments))


def _judge_account(account: AccountState) -> Check:
    shown = f"{account.currency} account, leverage 1:{account.leverage.normalize():f}."
    if account.trading_allowed:
        return Check("account", CheckResult.OK, shown)
    return Check(
        "account", CheckResult.FAIL, f"{shown} The broker does not allow trading on it.",
        "Ask the broker to enable trading, or use the trading password, not the investor's.",
    )  # fmt: skip


def _judge_instruments(listed: list[Instrument]) -> Check:
    usable = len(told.usable_of(listed))
    unfit = [
        i.symbol for i in listed if (pair := told.pair_of(i) or i.pair) and not told.fits(i, pair)
    ]
    named = first_of([_short(one) for one in unfit])
    left_out = f" Left out, for they cannot be kept: {named}." if unfit else ""
    if usable:
        return Check(
            "instruments", CheckResult.WARN if unfit else CheckResult.OK,
            f"{usable} symbols can be traded.{left_out}", UNFIT if unfit else "",
        )  # fmt: skip
    return Check(
        "instruments", CheckResult.FAIL,
        f"The account lists no symbol that can be traded.{left_out}",
        UNFIT if unfit else "Ask the broker to enable symbols for this account.",
    )  # fmt: skip


def _short(symbol: str) -> str:
    return repr(symbol if len(symbol) <= 60 else f"{symbol[:60]}…")


def _explain(error: Exception, connection: ExecutionConnection) -> Check:
    """Turn any error into a line that says what its owner should do."""
    found = explain(error, connection.type)
    if found.is_ours:
        _log(connection, error)
    return found.as_check


def _unusable(connection: ExecutionConnection, findings: Findings, error: Exception) -> Findings:
    """Turn an answer that cannot be stored into a test that failed: it must not stay due for ever,
    nor keep others' from being made. Nothing else of it is kept."""
    _log(connection, error)
    detail = f"{health.UNUSABLE_ANSWER} ({type(error).__name__})."
    check = Check("answer", CheckResult.FAIL, detail, health.TELL)
    return Findings(findings.started_at, checks=[check], again=health.Again.SOON)


def _log(connection: ExecutionConnection, error: Exception) -> None:
    """An error's text may hold anything, so only its kind is kept; the operators find the place."""
    log.error(
        "connection_test_failed", connection=str(connection.pk), error=type(error).__name__,
        where=_place_of(error),
    )  # fmt: skip


def _again(error: Exception) -> health.Again:
    """Where the broker has said nothing of the account, and be it for our own fault, the next try
    may tell; what its owner has entered wrongly stays wrong."""
    if isinstance(error, BrokerError):
        return health.again_of(error.code)
    return health.Again.RARELY if isinstance(error, FillcastError) else health.Again.LOOK


def _place_of(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""


def _without(secrets: Mapping[str, str], check: Check) -> Check:
    name, detail, hint = (
        storable(without_secrets(text, secrets)) for text in (check.name, check.detail, check.hint)
    )
    return Check(name, check.result, detail, hint)


def _told_unheld(connection: ExecutionConnection, error: lanes.UnheldError) -> list[Check]:
    """Say that no process can test it. Its test stays due: whoever takes the lane makes it."""
    check = Check("worker", CheckResult.FAIL, error.detail, error.code.hint)
    told = [{**asdict(check), "result": check.result.value}]
    mine = ConnectionHealth.objects.filter(pk=connection.pk)
    mine.exclude(last_test=told).update(
        last_test=told, last_error=error.detail, last_error_at=timezone.now()
    )
    return [check]


def _claim(connection: ExecutionConnection, findings: Findings) -> bool:
    """Whether what was tested is still what the connection is."""
    try:
        return claims.take(connection, None if findings.failed else findings.account)
    except claims.ClaimedError as error:
        findings.checks.append(Check("owner", CheckResult.FAIL, error.detail, error.hint))
        findings.again = health.Again.RARELY
        # No mere answer, half an hour later, may let it trade what is another's.
        ConnectionHealth.objects.filter(pk=connection.pk).update(needs_test=True)
        return True


@transaction.atomic
def _store(connection: ExecutionConnection, findings: Findings) -> None:
    if not _claim(connection, findings):
        return
    failed = findings.failed
    ConnectionHealth.objects.filter(pk=connection.pk).update(
        last_test=[{**asdict(check), "result": check.result.value} for check in findings.checks],
        last_tested_at=findings.started_at,
    )
    if findings.book and findings.instruments:
        told.refresh_instruments(findings.book, findings.instruments)
        ExecutionConnection.objects.filter(pk=connection.pk).exclude(
            instrument_book=findings.book
        ).update(instrument_book=findings.book)
    if findings.account is not None:
        told.refresh_account(connection.pk, findings.account, read_at=findings.started_at)
    if failed:
        told_owner = with_remedy(failed.detail, failed.hint)
        connection.mark_as_error(told_owner, again=findings.again)
    else:
        connection.mark_as_active(cleared=True)
        connection.update_last_connected()
