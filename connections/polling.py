"""Reading the accounts of many connections at once, without one of them holding up the others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from django.utils import timezone

from brokers.answers import Answers, NotAsked
from brokers.base import BrokerAdapter, BrokerError
from brokers.messages import AccountState
from brokers.registry import adapter_for
from connections import health, told
from connections.selectors import accounts_due, spec_from_row
from connections.testing import Run, on_loop

AT_ONCE, AT_ONE_HOST = 200, 25
SECONDS = 8  # for one account
BATCH = 500
Reading = tuple[AccountState, datetime]


@dataclass(slots=True)
class Read:
    """What came back."""

    accounts: list[tuple[UUID, AccountState, datetime]] = field(default_factory=list)
    failures: list[tuple[UUID, str]] = field(default_factory=list)
    refusals: list[tuple[UUID, str]] = field(default_factory=list)  # of the account itself


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
    """Read accounts given by rows for `spec_from_row`, and write down what comes of it as it comes.

    An answer ends an error; a refused login is one, a lost answer only if it is not the first;
    after five failures in a row a connection rests (`health.mark_errors`).
    """
    answers: Answers[Reading] = Answers(run, in_all=AT_ONCE, per_host=AT_ONE_HOST, seconds=SECONDS)
    answers.start([(row, partial(_account, row, adapter)) for row in due])
    answered = failed = 0
    for group in answers.groups():
        read = Read()
        for row, answer in group:
            _sort(row.connection_id, answer, read)
        _write(read)
        answered += len(read.accounts)
        failed += len(read.failures) + len(read.refusals)
    return answered, failed


def _write(read: Read) -> None:
    told.refresh_accounts(read.accounts)
    answered = [connection_id for connection_id, *_ in read.accounts]
    health.mark_active(answered)
    health.mark_connected(answered)
    health.mark_errors(read.refusals)
    health.mark_failures(read.failures)


async def _account(row: Any, adapter: Callable[[str], BrokerAdapter]) -> Reading:
    started = timezone.now()
    return await adapter(row.type).account(spec_from_row(row)), started


def _sort(connection_id: UUID, answer: Reading | Exception, read: Read) -> None:
    """One account's trouble is never its neighbour's."""
    if isinstance(answer, tuple):
        read.accounts.append((connection_id, *answer))
    elif isinstance(answer, ImportError | NotAsked):
        return  # another process has this kind's library and reads it; the next round asks
    elif isinstance(answer, BrokerError):
        to = read.refusals if answer.code in health.ACCOUNT_REFUSED else read.failures
        to.append((connection_id, f"{answer.code.sentence} {answer.code.hint}"))
    else:
        sentence = f"The account could not be read ({type(answer).__name__}). Run the test."
        read.failures.append((connection_id, sentence))
