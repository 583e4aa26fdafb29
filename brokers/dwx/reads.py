"""Reads from a terminal: an order by its id, fills, positions, the account. All raise
TerminalUnavailableError."""

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from brokers.dwx import prices
from brokers.dwx.client import DwxClient, traceable
from brokers.dwx.folders import TerminalUnavailableError
from brokers.dwx.mt4_reports import Mt4Reports
from brokers.dwx.sent_commands import CLOSE, SentCommand
from brokers.types import AccountState, OrderReport, PositionMode
from common.clocks import market_now
from common.reason_codes import Code

QUIET_SECONDS = 30.0


async def find(client: DwxClient, client_order_id: str) -> list[OrderReport] | None:
    """Return all reports of an order; None if it certainly does not exist. In a turn.

    A command without an answer may still be on its way from the terminal to the broker. Its absence
    counts only after some time, and only while prices change: the files look the same if the
    terminal has lost its broker. A close of a ticket that is open counts as absent at once: the
    terminal has answered a later command, and a repetition cannot close the ticket again.
    """
    books = await client.with_history()
    sent = [one for one in books.commands if one.client_order_id == client_order_id]
    closing = [one for one in sent if one.action == CLOSE]
    reports = books.exits(client_order_id) if closing else books.entry(client_order_id)
    if reports:
        return reports
    open_ended = [
        one
        for one in sent
        if one.may_take_effect and not (one.action == CLOSE and books.overtaken(one))
    ]
    for one in open_ended:
        books.check_absent(one)
    if open_ended and not (closing and books.closes_once(open_ended)):
        await _require_absence(client, open_ended)
    if open_ended and not closing:  # it may have arrived while the history was read
        now = await client.snapshot_after(
            await client.terminal.mark(), client.terminal.timeouts.stale
        )
        return replace(books, snapshot=now).entry(client_order_id)
    return None


async def _require_absence(client: DwxClient, sent: Sequence[SentCommand]) -> None:
    age = time.time() - max(one.at for one in sent)
    if age < client.terminal.timeouts.settle:
        raise TerminalUnavailableError(
            Code.NOT_CONNECTED, f"Sent {age:.0f} s ago: absence proves nothing yet."
        )
    quiet = await client.terminal.market_age()
    if quiet > QUIET_SECONDS:
        if math.isinf(quiet):
            await prices.subscribe(client, [one.symbol for one in sent])
        detail = "No price has changed: the terminal may have lost its broker."
        raise TerminalUnavailableError(Code.NOT_CONNECTED, detail)


async def fills_since(client: DwxClient, since: datetime) -> list[OrderReport]:
    """Return all fills since a time. In a turn."""
    days = math.ceil((time.time() - since.timestamp()) / 86_400) + 2
    return (await client.with_history(days)).since(since)


async def positions(client: DwxClient) -> Mt4Reports:
    """Return the state of what is open. It takes a turn only if it needs the history.

    While the server may open a position again, its absence proves nothing."""
    books = await client.open_books(await client.snapshot())
    if traceable(books):
        await client.note_tickets(client.remember(books))
    else:
        async with client.terminal.turn():
            books = await client.traced(await client.snapshot())
    client.require_settled(books.snapshot)
    return books


async def account(client: DwxClient) -> AccountState:
    """Return the account's balance, equity and margins. MT4 accounts are hedging accounts."""
    state = (await client.snapshot()).account
    return AccountState(
        state.number, state.currency, state.balance, state.equity, state.equity - state.free_margin,
        state.free_margin, state.leverage, PositionMode.HEDGING, market_now(),
    )  # fmt: skip
