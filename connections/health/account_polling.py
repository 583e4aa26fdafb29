"""Reading the accounts of many connections at once, without one of them holding up the others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from django.db import transaction

from brokers.base import BrokerAdapter, BrokerError
from brokers.call_runner import BrokerCallRunner, HostSkipped
from brokers.registry import adapter_for
from brokers.types import AccountState
from common.bisection import process_with_bisection
from common.reason_codes import Code
from common.sql import rows
from connections.accounts import broker_identity, snapshots
from connections.credentials.sealing import credentials_digest
from connections.credentials.specs import READ_COLUMNS, spec_from_row
from connections.exposure import is_monitored_sql
from connections.health import status_updates
from connections.health.connection_checks import CallRunner, run_on_process_loop
from connections.health.host_circuit_breaker import close_answering_circuits
from connections.session_lanes import (
    IN_HELD_LANES_SQL,
    held_lanes_parameters,
    idle_parameters,
    not_idle_sql,
)

log = structlog.get_logger(__name__)

AT_ONCE, AT_ONE_HOST, LEAST_AT_ONE_HOST = 200, 25, 4
SECONDS = 8  # for one account
BATCH = 500
AccountSyncState = tuple[UUID, AccountState, datetime]


@dataclass(slots=True)
class PollResult:
    """What came back."""

    accounts: list[AccountSyncState] = field(default_factory=list)
    digests: dict[UUID, str] = field(default_factory=dict)  # of whose identity is news
    failures: list[tuple[UUID, str]] = field(default_factory=list)
    errors: dict[status_updates.RetryPolicy, list[tuple[UUID, str]]] = field(
        default_factory=dict
    )  # sure ones
    refused: list[UUID] = field(default_factory=list)  # yet the broker spoke: its host is well
    began: dict[UUID, datetime] = field(default_factory=dict)  # when their rows were read

    @property
    def healthy(self) -> set[UUID]:
        """Those that answered and of which nothing is surely wrong."""
        wrong = {connection_id for errors in self.errors.values() for connection_id, _ in errors}
        return {connection_id for connection_id, *_ in self.accounts} - wrong

    def add_error(
        self, connection_id: UUID, sentence: str, retry: status_updates.RetryPolicy
    ) -> None:
        """Note what is surely wrong with an account."""
        self.errors.setdefault(retry, []).append((connection_id, sentence))


def refresh_due_accounts(
    *,
    older_than_seconds: float = 45,
    run: CallRunner = run_on_process_loop,
    adapter: Callable[[str], BrokerAdapter] = adapter_for,
) -> tuple[int, int]:
    """Read the accounts whose last reading is older than this, at most 500 of them.

    Returns how many answered and how many failed.
    """
    due = accounts_due(BATCH, older_than_seconds=older_than_seconds)
    return read_accounts(due, run=run, adapter=adapter)


def read_accounts(
    due: Sequence[Any], *, run: CallRunner, adapter: Callable[[str], BrokerAdapter]
) -> tuple[int, int]:
    """Read accounts given by rows of READ_COLUMNS, and write down what comes of it as it comes.

    An answer ends an error; a refused login is one, a lost answer only if it is not the first;
    after five failures in a row a connection rests (`status_updates.mark_errors`). What is our own
    program's fault is raised when all the others are written.
    """
    answers: BrokerCallRunner[AccountState] = BrokerCallRunner(
        run, in_all=AT_ONCE, per_host=AT_ONE_HOST, seconds=SECONDS, least=LEAST_AT_ONE_HOST
    )
    answers.start([(row, partial(_read_account, row, adapter)) for row in due])
    answered = failed = 0
    fault: Exception | None = None
    for group in answers.groups():
        read = PollResult()
        for row, answer in group:
            _record_result(row, answer, read)
        try:
            _write(read)
        except status_updates.OWN_FAULTS as error:
            fault = error
        answered += len(read.healthy)
        failed += len(read.failures) + sum(map(len, read.errors.values()))
    if fault is not None:
        raise fault
    return answered, failed


def _write(read: PollResult) -> None:
    try:
        unusable = _store_with_bisection(read) if read.accounts else {}
    except status_updates.OWN_FAULTS:
        read.accounts.clear()  # nothing is known to be written of them, and nothing is their fault
        _write_health(read)
        raise
    read.accounts = [one for one in read.accounts if one[0] not in unusable]
    for connection_id, sentence in unusable.items():
        read.add_error(connection_id, sentence, status_updates.RetryPolicy.NEXT_ROUND)
    _write_health(read)


def _write_health(read: PollResult) -> None:
    status_updates.mark_active(read.healthy)
    status_updates.mark_connected([connection_id for connection_id, *_ in read.accounts])
    close_answering_circuits(read.refused)
    for retry, errors in read.errors.items():
        status_updates.mark_errors(errors, retry=retry, began=read.began)
    status_updates.mark_failures(read.failures, began=read.began)


def _store_with_bisection(read: PollResult) -> dict[UUID, str]:
    """Store what accounts told; return those whose answer cannot be, with a sentence for each."""
    unusable: dict[UUID, str] = {}

    @transaction.atomic
    def store(accounts: Sequence[AccountSyncState]) -> None:
        """Connections' rows first, as by whoever tests or edits them."""
        broker_identity.store_identities(
            [(one, state.identity, read.digests[one]) for one, state, _ in accounts
             if one in read.digests]
        )  # fmt: skip
        snapshots.store_account_states(accounts)

    def leave(account: AccountSyncState, fault: Exception) -> None:
        connection_id, *_ = account
        log.error(
            "an account's answer cannot be stored", connection=str(connection_id), exc_info=fault
        )
        unusable[connection_id] = (
            f"{status_updates.UNUSABLE_ANSWER} ({type(fault).__name__}). "
            f"{status_updates.CONTACT_OPERATORS}"
        )

    process_with_bisection(
        read.accounts,
        store,
        leave,
        faults=status_updates.UNUSABLE_ERRORS,
        ours=status_updates.OWN_FAULTS,
    )
    return unusable


async def _read_account(row: Any, adapter: Callable[[str], BrokerAdapter]) -> AccountState:
    return await adapter(row.type).account(spec_from_row(row))


def _record_result(row: Any, answer: AccountState | Exception, read: PollResult) -> None:
    """One account's trouble is never its neighbour's."""
    connection_id = row.connection_id
    read.began[connection_id] = row.began
    if isinstance(answer, AccountState):
        read.accounts.append((connection_id, answer, row.began))
        if broker_identity.uses_owner_given_name(row.type):
            mark = credentials_digest(row.sealed_credentials)
            if broker_identity.has_changed(row, answer.identity, mark):
                read.digests[connection_id] = mark
        if not answer.trading_allowed:  # else each signal would be refused, and forgotten here
            disabled = Code.TRADING_DISABLED
            sentence = f"{disabled.sentence} {disabled.hint}"
            read.add_error(connection_id, sentence, status_updates.retry_policy_for(disabled))
            read.refused.append(connection_id)
    elif isinstance(answer, ImportError | HostSkipped):
        return  # another process has this kind's library and reads it; the next round asks
    elif isinstance(answer, BrokerError):
        sentence = f"{answer.code.sentence} {answer.code.hint}"
        if (
            retry := status_updates.retry_policy_for(answer.code)
        ) is status_updates.RetryPolicy.IMMEDIATE:
            read.failures.append((connection_id, sentence))
        else:
            read.add_error(connection_id, sentence, retry)
            if answer.code is not Code.NO_CREDENTIALS:
                read.refused.append(connection_id)
    else:
        sentence = f"The account could not be read ({type(answer).__name__}). Run the test."
        read.failures.append((connection_id, sentence))


def accounts_due(limit: int, *, older_than_seconds: float) -> Sequence[Any]:
    """Return rows for `read_accounts` of accounts to read again, the oldest reading of each host
    first: many of one host crowd out nobody else.

    Who does not answer is left to `connections.health.probes`, who rests is left alone, and so is
    a host whose circuit is open. Who is in error is asked when its time has come
    (`status_updates.RetryPolicy`). Who is switched off is read for as long as something is open
    there.
    """
    due = {
        "older": older_than_seconds,
        "limit": limit,
        **held_lanes_parameters(),
        **idle_parameters(),
    }
    return rows(accounts_due_sql(), due)


def accounts_due_sql() -> str:
    """The statement of `accounts_due`."""
    return f"""
        SELECT {READ_COLUMNS}
        FROM connections_executionconnection c
        JOIN connections_connectionhealth h ON h.connection_id = c.id
        LEFT JOIN connections_accountsnapshot a ON a.connection_id = c.id
        WHERE {is_monitored_sql()} AND h.status <> 'UNTESTED' AND {IN_HELD_LANES_SQL} AND
          {not_idle_sql()}
          AND h.unreachable_at IS NULL
          AND (h.circuit_open_until IS NULL OR h.circuit_open_until <= clock_timestamp())
          AND c.broker_host NOT IN (
            SELECT host FROM connections_hostcircuit WHERE opened_at IS NOT NULL)
          AND CASE WHEN h.status = 'ERROR'
            THEN h.read_after IS NULL OR h.read_after <= clock_timestamp()
            ELSE a.read_at IS NULL
            OR a.read_at < clock_timestamp() - make_interval(secs => %(older)s) END
        ORDER BY row_number() OVER (
          PARTITION BY c.broker_host ORDER BY a.read_at NULLS FIRST), a.read_at NULLS FIRST
        LIMIT %(limit)s
    """
