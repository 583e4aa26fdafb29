"""Read the accounts of many connections concurrently; a slow one does not delay the others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from uuid import UUID

import structlog
from django.db import transaction

from brokers.base import BrokerAdapter, BrokerError
from brokers.call_runner import BrokerCallRunner, HostSkipped
from brokers.registry import adapter_for
from common.bisection import process_with_bisection
from common.clocks import market_at
from common.db.sql import Query, periodic_rows
from common.reason_codes import Code
from connections.accounts import (
    broker_identity,
    cash_flows,
    funding,
    outlying_readings,
    snapshots,
)
from connections.accounts.cash_flows import FlowRequest
from connections.accounts.funding import FundingRequest
from connections.accounts.outlying_readings import LastReading
from connections.credentials.specs import READ_COLUMNS, ReadRow, spec_from_row
from connections.exposure import is_monitored_sql
from connections.health import status_updates
from connections.health.account_reads import AccountRead, read_account
from connections.health.connection_checks import CallRunner, run_on_process_loop
from connections.health.host_circuit_breaker import close_answering_circuits
from connections.sealing import credentials_digest
from connections.session_lanes import (
    IN_HELD_LANES_SQL,
    held_lanes_parameters,
    idle_parameters,
    not_idle_sql,
)

log = structlog.get_logger(__name__)

MAX_CONCURRENT, AT_ONE_HOST, LEAST_AT_ONE_HOST = 200, 25, 4
SECONDS = 8  # for one account
BATCH = 500
AccountSyncState = tuple[UUID, AccountRead, datetime]


@dataclass(slots=True)
class PollResult:
    """The results of a batch, by what has to be stored.

    digests: credentials digests of connections whose account identity has changed. failures: no
    answer. errors: definite ones. refused: in error, but the broker answered, so its host works.
    began: when the connections' rows were read.
    """

    accounts: list[AccountSyncState] = field(default_factory=list)
    digests: dict[UUID, str] = field(default_factory=dict)
    failures: list[tuple[UUID, str]] = field(default_factory=list)
    errors: dict[status_updates.RetryPolicy, list[tuple[UUID, str]]] = field(default_factory=dict)
    refused: list[UUID] = field(default_factory=list)
    began: dict[UUID, datetime] = field(default_factory=dict)

    @property
    def healthy(self) -> set[UUID]:
        """The connections that answered and have no definite error."""
        in_error = {connection_id for errors in self.errors.values() for connection_id, _ in errors}
        return {connection_id for connection_id, *_ in self.accounts} - in_error

    def add_error(
        self, connection_id: UUID, sentence: str, retry: status_updates.RetryPolicy
    ) -> None:
        """Add a definite error of a connection."""
        self.errors.setdefault(retry, []).append((connection_id, sentence))


def refresh_due_accounts(
    *,
    older_than_seconds: float = 45,
    run: CallRunner = run_on_process_loop,
    adapter: Callable[[str], BrokerAdapter] = adapter_for,
) -> tuple[int, int]:
    """Read the accounts whose snapshot is older than this, at most 500 of them.

    Returns how many answered and how many failed.
    """
    due = accounts_due(BATCH, older_than_seconds=older_than_seconds)
    return read_accounts(due, run=run, adapter=adapter)


def read_accounts(
    due: Sequence[ReadRow], *, run: CallRunner, adapter: Callable[[str], BrokerAdapter]
) -> tuple[int, int]:
    """Read accounts and store the results as they come.

    Returns how many answered and how many failed. An answer ends an error; a refused login is one,
    a lost answer only if it is not the first; after five failures in a row the connection's circuit
    opens (`status_updates.mark_errors`). A bug of ours (`OWN_FAULTS`) is raised after all other
    results are stored.
    """
    answers: BrokerCallRunner[AccountRead] = BrokerCallRunner(
        run,
        max_calls=MAX_CONCURRENT,
        max_per_host=AT_ONE_HOST,
        seconds=lambda: SECONDS,
        min_per_host=LEAST_AT_ONE_HOST,
    )
    ids = [row.connection_id for row in due]
    flows, fundings = cash_flows.flow_requests(ids), funding.funding_requests(ids)
    last = outlying_readings.last_readings(ids)
    answers.start([
        (row, partial(_read_account, row, flows.get(row.connection_id),
                      fundings.get(row.connection_id), last.get(row.connection_id), adapter))
        for row in due
    ])  # fmt: skip
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
        read.accounts.clear()  # they may not be stored, and it is not their fault
        _write_health(read)
        raise
    read.accounts = [account for account in read.accounts if account[0] not in unusable]
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
    """Store account states; return those that cannot be stored, with a sentence for each."""
    unusable: dict[UUID, str] = {}

    @transaction.atomic
    def store(accounts: Sequence[AccountSyncState]) -> None:
        """Write the connections' rows first, in the same order as tests and edits do."""
        changed = [
            (pk, answer.state.identity, read.digests[pk])
            for pk, answer, _ in accounts
            if pk in read.digests
        ]
        broker_identity.store_identities(changed)
        store_reads(accounts)

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
        item_errors=status_updates.UNUSABLE_ERRORS,
        bug_errors=status_updates.OWN_FAULTS,
    )
    return unusable


@transaction.atomic
def store_reads(reads: Sequence[AccountSyncState]) -> None:
    """Store states with their flows at once: no limit is judged by a state without its flows.

    The flows come first, since the history begins a period at each.
    """
    with_flows = [(pk, answer, answer.flows, began) for pk, answer, began in reads if answer.flows]
    cash_flows.store_cash_flows(
        [
            (pk, at, flow)
            for pk, answer, flows, began in with_flows
            for flow, at in cash_flows.effective_times(
                flows, equity=answer.state.equity, state_at=market_at(began)
            )
        ]
    )
    snapshots.store_account_states([(pk, answer.state, began) for pk, answer, began in reads])
    outlying_readings.count_held([(pk, answer.held) for pk, answer, _ in reads if answer.held])
    funding.store_funding([
        (pk, began, answer.funding) for pk, answer, began in reads if answer.funding is not None
    ])  # fmt: skip
    cash_flows.mark_flows_read([(pk, began, flows) for pk, _, flows, began in with_flows])


async def _read_account(
    row: ReadRow,
    request: FlowRequest | None,
    funding_request: FundingRequest | None,
    last: LastReading | None,
    adapter: Callable[[str], BrokerAdapter],
) -> AccountRead:
    return await read_account(
        adapter(row.type), spec_from_row(row), request, seconds=SECONDS, funding=funding_request,
        last=last,
    )  # fmt: skip


def _record_result(row: ReadRow, answer: AccountRead | Exception, read: PollResult) -> None:
    """Add one answer to the results of its batch."""
    connection_id = row.connection_id
    read.began[connection_id] = row.began
    if isinstance(answer, AccountRead):
        state = answer.state
        read.accounts.append((connection_id, answer, row.began))
        if broker_identity.uses_owner_given_name(row.type):
            digest = credentials_digest(row.sealed_credentials)
            if broker_identity.has_changed(row, state.identity, digest):
                read.digests[connection_id] = digest
        if not state.trading_allowed:  # in error, so that entries wait instead of being rejected
            disabled = Code.TRADING_DISABLED
            sentence = f"{disabled.sentence} {disabled.hint}"
            read.add_error(connection_id, sentence, status_updates.retry_policy_for(disabled))
            read.refused.append(connection_id)
    elif isinstance(answer, ImportError | HostSkipped):
        return  # a process with this broker type's library reads it, or the next round does
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


def accounts_due(limit: int, *, older_than_seconds: float) -> list[ReadRow]:
    """Return rows for `read_accounts` of accounts to read again.

    The oldest snapshot of each host comes first, so that a host with many accounts does not delay
    the others. Not included: accounts that do not answer (`connections.health.probes` reads them),
    idle ones, and those with an open circuit of their own or of their host. Accounts in error are
    due by their `status_updates.RetryPolicy`. Switched-off ones are read while anything is open
    there.
    """
    due = {
        "older": older_than_seconds,
        "limit": limit,
        **held_lanes_parameters(),
        **idle_parameters(),
    }
    return periodic_rows(accounts_due_sql(), due)


def accounts_due_sql() -> Query[ReadRow]:
    """Return the statement of `accounts_due`."""
    return Query(
        ReadRow,
        f"""
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
    """,
    )
