"""Reading the accounts of many connections at once, without one of them holding up the others."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.utils import timezone

from brokers.base import BrokerAdapter, BrokerError
from brokers.messages import AccountState
from brokers.places import Places
from brokers.registry import adapter_for
from connections import health, told
from connections.selectors import accounts_due, spec_from_row
from connections.testing import Run, on_loop

AT_ONCE, AT_ONE_HOST = 100, 25
SECONDS = 8  # for one account
BATCH = 500


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
    """Read accounts given by rows for `spec_from_row`, and write down what came of it.

    An answer ends an error; a refused login is one, a lost answer only if it is not the first;
    after five failures in a row a connection rests (`health.mark_errors`).
    """
    read = Read()
    if due:
        run(_read_all(due, read, adapter))
    told.refresh_accounts(read.accounts)
    answered = [connection_id for connection_id, *_ in read.accounts]
    health.mark_active(answered)
    health.mark_connected(answered)
    health.mark_errors(read.refusals)
    health.mark_failures(read.failures)
    return len(read.accounts), len(read.failures) + len(read.refusals)


async def _read_all(
    due: Sequence[Any], read: Read, adapter: Callable[[str], BrokerAdapter]
) -> None:
    places = Places(in_all=AT_ONCE, per_host=AT_ONE_HOST)

    async def one(row: Any) -> None:
        async with places.of(row.broker_host):
            await _read_one(row, read, adapter)

    await asyncio.gather(*(one(row) for row in due))


async def _read_one(row: Any, read: Read, adapter: Callable[[str], BrokerAdapter]) -> None:
    started = timezone.now()
    try:
        async with asyncio.timeout(SECONDS):
            state = await adapter(row.type).account(spec_from_row(row))
    except ImportError:
        return  # another process has this kind's library and reads it
    except BrokerError as error:
        to = read.refusals if error.code in health.ACCOUNT_REFUSED else read.failures
        to.append((row.connection_id, f"{error.code.sentence} {error.code.hint}"))
    except Exception as error:  # one account's trouble is never its neighbour's
        sentence = f"The account could not be read ({type(error).__name__}). Run the test."
        read.failures.append((row.connection_id, sentence))
    else:
        read.accounts.append((row.connection_id, state, started))
