"""Reading the accounts of many connections at once, without one of them holding up the others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from django.db import transaction

from brokers.answers import Answers, NotAsked
from brokers.base import BrokerAdapter, BrokerError
from brokers.messages import AccountState
from brokers.registry import adapter_for
from common.codes import Code
from common.halving import all_or_halves
from connections import health, identity, told
from connections.host_circuits import close_where_some_answer
from connections.selectors import accounts_due, spec_from_row
from connections.testing import Run, on_loop

log = structlog.get_logger(__name__)

AT_ONCE, AT_ONE_HOST, LEAST_AT_ONE_HOST = 200, 25, 4
SECONDS = 8  # for one account
BATCH = 500
Account = tuple[UUID, AccountState, datetime]


@dataclass(slots=True)
class Read:
    """What came back."""

    accounts: list[Account] = field(default_factory=list)
    marks: dict[UUID, str] = field(default_factory=dict)  # of whose identity is news
    failures: list[tuple[UUID, str]] = field(default_factory=list)
    errors: dict[health.Again, list[tuple[UUID, str]]] = field(default_factory=dict)  # sure ones
    refused: list[UUID] = field(default_factory=list)  # yet the broker spoke: its host is well
    began: dict[UUID, datetime] = field(default_factory=dict)  # when their rows were read

    @property
    def well(self) -> set[UUID]:
        """Those that answered and of which nothing is surely wrong."""
        wrong = {connection_id for errors in self.errors.values() for connection_id, _ in errors}
        return {connection_id for connection_id, *_ in self.accounts} - wrong

    def blame(self, connection_id: UUID, sentence: str, again: health.Again) -> None:
        """Note what is surely wrong with an account."""
        self.errors.setdefault(again, []).append((connection_id, sentence))


def refresh_due_accounts(
    *,
    older_than_seconds: float = 45,
    run: Run = on_loop,
    adapter: Callable[[str], BrokerAdapter] = adapter_for,
) -> tuple[int, int]:
    """Read the accounts whose last reading is older than this, at most 500 of them.

    Returns how many answered and how many failed.
    """
    due = accounts_due(BATCH, older_than_seconds=older_than_seconds)
    return read_accounts(due, run=run, adapter=adapter)


def read_accounts(
    due: Sequence[Any], *, run: Run, adapter: Callable[[str], BrokerAdapter]
) -> tuple[int, int]:
    """Read accounts given by rows of READ_COLUMNS, and write down what comes of it as it comes.

    An answer ends an error; a refused login is one, a lost answer only if it is not the first;
    after five failures in a row a connection rests (`health.mark_errors`). What is our own
    program's fault is raised when all the others are written.
    """
    answers: Answers[AccountState] = Answers(
        run, in_all=AT_ONCE, per_host=AT_ONE_HOST, seconds=SECONDS, least=LEAST_AT_ONE_HOST
    )
    answers.start([(row, partial(_account, row, adapter)) for row in due])
    answered = failed = 0
    fault: Exception | None = None
    for group in answers.groups():
        read = Read()
        for row, answer in group:
            _sort(row, answer, read)
        try:
            _write(read)
        except health.OURS as error:
            fault = error
        answered += len(read.well)
        failed += len(read.failures) + sum(map(len, read.errors.values()))
    if fault is not None:
        raise fault
    return answered, failed


def _write(read: Read) -> None:
    try:
        unusable = _store_or_halve(read) if read.accounts else {}
    except health.OURS:
        read.accounts.clear()  # nothing is known to be written of them, and nothing is their fault
        _write_health(read)
        raise
    read.accounts = [one for one in read.accounts if one[0] not in unusable]
    for connection_id, sentence in unusable.items():
        read.blame(connection_id, sentence, health.Again.SOON)
    _write_health(read)


def _write_health(read: Read) -> None:
    health.mark_active(read.well)
    health.mark_connected([connection_id for connection_id, *_ in read.accounts])
    close_where_some_answer(read.refused)
    for again, errors in read.errors.items():
        health.mark_errors(errors, again=again, began=read.began)
    health.mark_failures(read.failures, began=read.began)


def _store_or_halve(read: Read) -> dict[UUID, str]:
    """Store what accounts told; return those whose answer cannot be, with a sentence for each."""
    unusable: dict[UUID, str] = {}

    @transaction.atomic
    def store(accounts: Sequence[Account]) -> None:
        """Connections' rows first, as by whoever tests or edits them."""
        identity.hear(
            [(one, state.identity, read.marks[one]) for one, state, _ in accounts
             if one in read.marks]
        )  # fmt: skip
        told.refresh_accounts(accounts)

    def leave(account: Account, fault: Exception) -> None:
        connection_id, *_ = account
        log.error(
            "an account's answer cannot be stored", connection=str(connection_id), exc_info=fault
        )
        unusable[connection_id] = (
            f"{health.UNUSABLE_ANSWER} ({type(fault).__name__}). {health.TELL}"
        )

    all_or_halves(read.accounts, store, leave, faults=health.UNUSABLE, ours=health.OURS)
    return unusable


async def _account(row: Any, adapter: Callable[[str], BrokerAdapter]) -> AccountState:
    return await adapter(row.type).account(spec_from_row(row))


def _sort(row: Any, answer: AccountState | Exception, read: Read) -> None:
    """One account's trouble is never its neighbour's."""
    connection_id = row.connection_id
    read.began[connection_id] = row.began
    if isinstance(answer, AccountState):
        read.accounts.append((connection_id, answer, row.began))
        if identity.is_named_by_owner(row.type):
            mark = identity.mark_of(row.sealed_credentials)
            if identity.is_news(row, answer.identity, mark):
                read.marks[connection_id] = mark
        if not answer.trading_allowed:  # else each signal would be refused, and forgotten here
            disabled = Code.TRADING_DISABLED
            sentence = f"{disabled.sentence} {disabled.hint}"
            read.blame(connection_id, sentence, health.again_of(disabled))
            read.refused.append(connection_id)
    elif isinstance(answer, ImportError | NotAsked):
        return  # another process has this kind's library and reads it; the next round asks
    elif isinstance(answer, BrokerError):
        sentence = f"{answer.code.sentence} {answer.code.hint}"
        if (again := health.again_of(answer.code)) is health.Again.LOOK:
            read.failures.append((connection_id, sentence))
        else:
            read.blame(connection_id, sentence, again)
            if answer.code is not Code.NO_CREDENTIALS:
                read.refused.append(connection_id)
    else:
        sentence = f"The account could not be read ({type(answer).__name__}). Run the test."
        read.failures.append((connection_id, sentence))
