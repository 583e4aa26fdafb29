"""What is asked of a terminal: an order by its id, fills, positions. All raise AwayError."""

import math
import time
from collections.abc import Sequence
from datetime import datetime

from brokers.dwx import prices
from brokers.dwx.folders import AwayError
from brokers.dwx.intents import CLOSE, Intent
from brokers.dwx.line import Line, traceable
from brokers.dwx.reports import Books
from brokers.messages import AccountState, OrderReport, PositionMode
from common.clocks import market_now
from common.codes import Code

QUIET_SECONDS = 30.0


async def find(line: Line, client_order_id: str) -> list[OrderReport] | None:
    """Tell all that is known of an order; None: it certainly is not there. In a turn.

    What was sent from here and never answered may still be on its way from the terminal to the
    broker. Its absence counts only some time later, and only while prices move: the files look the
    same whether or not the terminal has its broker.
    """
    books = await line.with_history()
    sent = [one for one in books.intents if one.client_order_id == client_order_id]
    closing = [one for one in sent if one.what == CLOSE]
    told = books.exits(client_order_id) if closing else books.entry(client_order_id)
    if told:
        return told
    open_ended = [
        one for one in sent if one.may_live and not (one.what == CLOSE and books.overtaken(one))
    ]
    if open_ended:
        await _be_certain(line, open_ended)
    if open_ended and not closing:  # what came while the history was told
        now = await line.snapshot_after(await line.terminal.mark(), line.terminal.patience.stale)
        return (await line.books(now, tuple(books.closed))).entry(client_order_id)
    return None


async def _be_certain(line: Line, sent: Sequence[Intent]) -> None:
    age = time.time() - max(one.at for one in sent)
    if age < line.terminal.patience.settle:
        raise AwayError(Code.NOT_CONNECTED, f"Sent {age:.0f} s ago: absence proves nothing yet.")
    quiet = await line.terminal.market_age()
    if quiet > QUIET_SECONDS:
        if math.isinf(quiet):
            await prices.subscribe(line, [one.symbol for one in sent])
        said = "No price has moved: whether the terminal has its broker cannot be told."
        raise AwayError(Code.NOT_CONNECTED, said)


async def fills(line: Line, since: datetime) -> list[OrderReport]:
    """Tell every fill since a time. In a turn."""
    days = math.ceil((time.time() - since.timestamp()) / 86_400) + 2
    return (await line.with_history(days)).since(since)


async def positions(line: Line) -> Books:
    """Return what is known of what is open; takes a turn only where a past must be looked up."""
    books = await line.look(await line.snapshot())
    if traceable(books):
        return line.remember(books)
    async with line.terminal.turn():
        return await line.traced(await line.snapshot())


async def account(line: Line) -> AccountState:
    """Tell the account's money. MT4 accounts are hedging ones."""
    said = (await line.snapshot()).account
    return AccountState(
        said.number, said.currency, said.balance, said.equity, said.equity - said.free_margin,
        said.free_margin, said.leverage, PositionMode.HEDGING, market_now(),
    )  # fmt: skip
