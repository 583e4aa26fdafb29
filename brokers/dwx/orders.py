"""Place, close, cancel and modify: one command each, with the outcome by what is open.

The orders file is the truth. A message only gives the reason of a rejection, and counts only if an
orders file written after the command shows no effect; there may be no message at all.
"""

import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import partial

from brokers.base import (
    BrokerError,
    Guard,
    NotSent,
    OutcomeUnknown,
    Rejected,
    check_deadline,
)
from brokers.dwx import codes, parse
from brokers.dwx.client import DwxClient
from brokers.dwx.folders import TerminalUnavailableError
from brokers.dwx.mt4_reports import Mt4Reports
from brokers.dwx.mt5_reports import Mt5Reports
from brokers.dwx.parse import Snapshot
from brokers.dwx.preflight import (
    as_not_sent,
    check_account_mode,
    check_levels,
    check_worst_price,
    current_ticket,
    expiration,
    is_part_filled,
    named_price,
    order_type_word,
    position_name,
    waiting_ticket,
)
from brokers.dwx.raw_text import unknown_outcome
from brokers.dwx.sent_commands import (
    CLOSE,
    IN_PART,
    OPEN,
    REFUSED,
    UNSENT,
    SentCommand,
    exits_with_effect,
)
from brokers.dwx.terminal_state import HistoryNeededError
from brokers.dwx.timeouts import SentMark
from brokers.types import (
    CancelRequest,
    ModifyRequest,
    OrderReport,
    OrderRequest,
    OrderType,
    ReportKind,
)
from common.reason_codes import Code

NO_POSITION_TICKET = "-1"
"""Lots for a cancel. The command that deletes a waiting order closes it if it has been filled
meanwhile; with lots below zero the terminal refuses that, and a deletion does not look at them."""

MIN_SECONDS = 0.1  # for the last look
REWRITTEN_SECONDS = 1.0  # within which a file that is being written is whole again
DEALS_SECONDS = 1.0  # that the terminal has to write deals of earlier exits before an exit is sent
Effect = Callable[[Snapshot], Awaitable[list[OrderReport] | None]]
Last = Callable[[], Awaitable[list[OrderReport] | None]]


async def place(client: DwxClient, request: OrderRequest, guard: Guard) -> list[OrderReport]:
    """Place an entry, in a turn. Raises NotSent, Rejected or OutcomeUnknown."""
    lots, kind, at = client.lots(request.symbol), order_type_word(request), named_price(request)
    magic, expires = parse.magic_of(request.client_order_id), expiration(client, request)
    check_account_mode(client)
    lots_requested = client.in_lots(request.symbol, request.quantity)
    with as_not_sent():
        if found := await _entry_effect(client, request.client_order_id, await client.snapshot()):
            return found  # a resend of what is there after all
        levels = (request.stop_loss, request.take_profit)
        await check_levels(client, request.symbol, request.side, at, *levels)
        await check_worst_price(client, request)
    content = ",".join(
        (
            request.symbol,
            kind,
            f"{lots_requested:f}",
            lots.price(at, request.side, request.order_type),
            lots.level(request.stop_loss, request.side),
            lots.level(request.take_profit, request.side),
            str(magic),
            request.client_order_id,
            str(expires),
        )
    )
    number = client.terminal.next_number()
    command = SentCommand(
        number, time.time(), OPEN, request.client_order_id, magic, request.symbol, lots_requested,
        account=client.spec.account, expires=expires,
    )  # fmt: skip
    sent = await client.terminal.send(
        number, "OPEN_ORDER", content, partial(guard, request), command
    )  # fmt: skip
    effect = partial(_entry_effect, client, request.client_order_id)
    if request.order_type is OrderType.MARKET and not client.by_deals:
        effect = partial(_market_order_effect, client, command)
    last = partial(_executed, client, request.client_order_id) if client.by_deals else None
    return await wait_for_outcome(client, sent, codes.OPENING, effect, command, last)


async def close(client: DwxClient, request: OrderRequest, guard: Guard) -> list[OrderReport]:
    """Close a position or a part of it, in a turn. Raises NotSent, Rejected or OutcomeUnknown.

    The command names the position's present ticket. A ticket closes once, so a repetition of the
    same close can only be refused.
    """
    if request.order_type is not OrderType.MARKET or expiration(client, request):
        raise Rejected(Code.ORDER_TYPE_UNSUPPORTED, "an exit is at market")
    lots_requested = client.in_lots(request.symbol, request.quantity, is_exit=True)
    position = position_name(request.broker_position_id, request.closes)
    with as_not_sent():
        await client.require_deals()  # so that deals of before are not taken for this exit's
        books = await client.traced(await client.snapshot(), request.client_order_id)
        earlier = [one for one in books.commands if one.client_order_id == request.client_order_id]
        if any(one.may_take_effect for one in earlier):
            books = await client.with_history()
            if reports := books.exits(request.client_order_id):
                return reports
        else:
            books = await _with_known_deals(client, books, request.symbol)
        client.require_settled(books.snapshot, position)
    ticket = current_ticket(books, request.broker_position_id, request.closes)
    if not ticket.is_position or ticket.side is request.side or lots_requested > ticket.lots:
        raise Rejected(Code.VOLUME_INVALID, "more than is open, or on its own side")
    number, root = client.terminal.next_number(), books.roots_now[ticket.number]
    command = SentCommand(
        number,
        time.time(),
        CLOSE,
        request.client_order_id,
        ticket.magic,
        request.symbol,
        lots_requested,
        ticket.number,
        root,
        account=client.spec.account,
        after=client.last_deal,
    )
    sent = await client.terminal.send(
        number,
        "CLOSE_ORDER",
        f"{ticket.number},{lots_requested:f}",
        partial(guard, request),
        command,
    )
    effect = partial(_close_effect, client, sent, command, ticket.lots)
    try:
        return await wait_for_outcome(client, sent, codes.CLOSING, effect, command)
    except Rejected as error:
        if error.code is Code.NO_POSITION and client.by_deals:
            with as_not_sent():
                client.require_settled((await client.with_history()).snapshot, position)
        raise


async def _with_known_deals(client: DwxClient, books: Mt4Reports, symbol: str) -> Mt4Reports:
    """Return the state before an exit; with the history if deals of an earlier exit may be in it,
    which are not known yet, so that they are not taken for this exit's.

    The exit does not wait for a terminal that takes long, or cannot write its history: which deals
    are whose matters less than that it closes."""
    exits = exits_with_effect(books.commands) if client.by_deals else []
    if all(one.deals or one.symbol != symbol for one in exits):
        return books
    if client.terminal.history_seconds > DEALS_SECONDS:
        return books
    try:
        return await client.with_history(within=DEALS_SECONDS)
    except (TerminalUnavailableError, HistoryNeededError):
        return books


async def cancel(client: DwxClient, request: CancelRequest) -> list[OrderReport]:
    """Delete a waiting order, in a turn. Raises NotSent, Rejected or OutcomeUnknown."""
    with as_not_sent():
        snapshot = await client.snapshot()
        ticket = waiting_ticket(snapshot, request)
        if ticket is None or ticket.is_position:
            return await _too_late(client, request)
        if is_part_filled(snapshot, ticket.number):
            return await _remainder_not_cancellable(client, request)
    sent = await client.terminal.send(
        client.terminal.next_number(), "CLOSE_ORDER", f"{ticket.number},{NO_POSITION_TICKET}",
        partial(check_deadline, request),
    )  # fmt: skip
    effect = partial(_cancel_effect, client, request, ticket.number)
    try:
        return await wait_for_outcome(client, sent, codes.CLOSING, effect)
    except Rejected as error:
        return [_refused(client, request, error.detail, error.code)]


async def modify(client: DwxClient, request: ModifyRequest) -> list[OrderReport]:
    """Set both levels of a position or of a waiting order, in a turn.

    Raises NotSent, Rejected or OutcomeUnknown.
    """
    lots = client.lots(request.symbol)
    with as_not_sent():
        books = await client.traced(await client.snapshot())
        position = position_name(request.broker_position_id, request.client_order_id)
        client.require_settled(books.snapshot, position)
        ticket = current_ticket(books, request.broker_position_id, request.client_order_id)
        levels = (request.stop_loss, request.take_profit)
        at = None if ticket.is_position else ticket.price
        # A position is closed at the other price than the one that it was opened at.
        await check_levels(client, request.symbol, ticket.side, at, *levels)
    stop, target = (lots.level(one, ticket.side) for one in levels)
    # The command writes the expiry of a waiting order too: 0 would remove it.
    expires = 0 if ticket.is_position else expiry_of(books, ticket.magic)
    sent = await client.terminal.send(
        client.terminal.next_number(), "MODIFY_ORDER",
        f"{ticket.number},0,{stop},{target},{expires}",
        partial(check_deadline, request),
    )  # fmt: skip

    async def effect(snapshot: Snapshot) -> list[OrderReport] | None:
        now = next((one for one in snapshot.tickets if one.number == ticket.number), None)
        if now is None:
            raise Rejected(Code.NO_POSITION, f"ticket {ticket.number} is no longer open")
        is_done = parse.is_same_price(now.stop_loss, Decimal(stop) or None) and parse.is_same_price(
            now.take_profit, Decimal(target) or None
        )
        return [books.levels(now, request.client_order_id)] if is_done else None

    async def instead() -> list[OrderReport] | None:
        """The expert advisor has taken it, and the terminal still shows something else."""
        _, snapshot = await client.snapshot_with_mark()
        now = next((one for one in snapshot.tickets if one.number == ticket.number), None)
        return [books.levels(now, request.client_order_id)] if now is not None else None

    reports = await wait_for_outcome(client, sent, codes.MODIFYING, effect, at_end=instead)
    for report in reports:
        if report.levels is not None:
            client.set_levels(client, books.roots_now[ticket.number], report.levels)
    return reports


def expiry_of(books: Mt4Reports, magic: int) -> int:
    """The expiry with which a waiting order was placed, as sent; 0: none."""
    placed = [one for one in books.commands if one.action == OPEN and one.magic == magic]
    return placed[-1].expires if placed else 0


# ---- the outcome ----------------------------------------------------------------------------
async def wait_for_outcome(
    client: DwxClient, sent: SentMark, kinds: frozenset[str], effect: Effect,
    command: SentCommand | None = None, last: Last | None = None, at_end: Last | None = None,
) -> list[OrderReport]:  # fmt: skip
    """Wait until what is open, or a message, shows what a command did.

    last: a read for when a message confirms the command but nothing shows it, and for the end of
    the wait; at_end: a read for the end only."""
    try:
        taken = await client.terminal.taken(sent)
        reports = await _watch_effect(client, sent, kinds, effect, taken, last, at_end or last)
    except TerminalUnavailableError as error:
        raise unknown_outcome(client.spec.credentials, error.detail, error.raw) from error
    except HistoryNeededError as error:
        raise unknown_outcome(client.spec.credentials, str(error)) from error
    except BrokerError as error:
        if isinstance(error, NotSent | Rejected):
            client.terminal.settled()
            if error.code is Code.TRADING_DISABLED:
                client.terminal.blocked = error.detail
            if command:
                outcome = UNSENT if isinstance(error, NotSent) else REFUSED
                await client.terminal.ended(sent.number, outcome)
        raise
    client.terminal.settled()
    client.terminal.blocked = ""
    return reports


async def _watch_effect(
    client: DwxClient,
    sent: SentMark,
    kinds: frozenset[str],
    effect: Effect,
    taken: bool,
    last: Last | None,
    at_end: Last | None,
) -> list[OrderReport]:
    until = time.monotonic() + client.terminal.timeouts.answer
    mark, snapshot = await client.snapshot_with_mark()
    if reports := await effect(snapshot):
        return reports
    while (left := until - time.monotonic()) > 0:
        mark, snapshot = await client.snapshot_with_mark_after(mark, max(left, MIN_SECONDS))
        message = codes.newest_message(await client.terminal.news(sent), kinds)
        # A file that came while the messages were read may be the first to show the effect.
        if reports := await effect(snapshot):
            return reports
        if not taken:
            raise NotSent(Code.NOT_CONNECTED, "The expert advisor did not take the command.")
        if message is not None and message.kind:
            raise codes.outcome_of(message)
        if message is not None and last and (reports := await last()):
            return reports
    if at_end and (reports := await at_end()):
        return reports
    text = "; ".join(one.text for one in await client.terminal.news(sent))
    detail = f"No effect was seen. {text}".strip()[:500]
    raise unknown_outcome(client.spec.credentials, detail, client.terminal.unreadable)


async def _entry_effect(
    client: DwxClient, client_order_id: str, snapshot: Snapshot
) -> list[OrderReport] | None:
    if not any(parse.is_order(one, client_order_id) for one in snapshot.tickets):
        return None
    if not client.by_deals:
        return (await client.traced(snapshot)).entry(client_order_id)
    return await _executed(client, client_order_id)


async def _market_order_effect(
    client: DwxClient, command: SentCommand, snapshot: Snapshot
) -> list[OrderReport] | None:
    """Return what a market order did that was sent just now to MetaTrader 4.

    If its ticket has less than was sent when it is first seen, the server has filled a part of it,
    which is noted. Later a smaller ticket may be what a close has left."""
    for ticket in snapshot.tickets:
        is_own = parse.is_order(ticket, command.client_order_id) and ticket.origin is None
        if is_own and ticket.lots < command.lots:
            await client.terminal.ended(command.number, IN_PART)
    return await _entry_effect(client, command.client_order_id, snapshot)


async def _executed(client: DwxClient, client_order_id: str) -> list[OrderReport] | None:
    try:
        return (await client.with_history()).entry(client_order_id)
    except HistoryNeededError:
        return None  # its execution is not in the history yet


async def _close_effect(
    client: DwxClient, sent: SentMark, command: SentCommand, lots: Decimal, snapshot: Snapshot
) -> list[OrderReport] | None:
    """lots: what the ticket had before."""
    for one in snapshot.tickets:
        if one.number == command.ticket and one.is_position and one.lots >= lots:
            return None
    books = await client.with_history()
    if client.by_deals:
        # A deal names no command. If this one was not carried out, the reason is written by now;
        # the answer to the read of the history may be being written beside it.
        news = await client.terminal.news(sent, REWRITTEN_SECONDS)
        message = codes.newest_message(news, codes.CLOSING)
        if message is not None and message.kind == codes.TICKET_NOT_FOUND:
            raise codes.outcome_of(message)
    if reports := books.exits(command.client_order_id):
        return reports
    if books.overtaken(command):
        raise Rejected(Code.NO_POSITION, f"ticket {command.ticket} was closed by something else")
    return None


async def _cancel_effect(
    client: DwxClient, request: CancelRequest, number: int, snapshot: Snapshot
) -> list[OrderReport] | None:
    if is_part_filled(snapshot, number):
        return await _remainder_not_cancellable(client, request)
    if any(one.number == number and not one.is_position for one in snapshot.tickets):
        return None
    return await _too_late(client, request, has_waited=True)


async def _remainder_not_cancellable(
    client: DwxClient, request: CancelRequest
) -> list[OrderReport]:
    """Report that the rest of an order still works: its ticket also means the position."""
    reports = (await client.with_history()).entry(request.client_order_id) or []
    text = "Delete it in MetaTrader; once the position is closed it can be cancelled here as well."
    return [*reports, _refused(client, request, text, Code.REMAINDER_NOT_CANCELLABLE)]


async def _too_late(
    client: DwxClient, request: CancelRequest, has_waited: bool = False
) -> list[OrderReport]:
    """Return the reports of an order that no longer works. Raises Rejected, OutcomeUnknown."""
    books = await client.with_history(awaited=request.client_order_id if has_waited else "")
    reports = books.entry(request.client_order_id)
    if reports is None and has_waited and isinstance(books, Mt5Reports):
        return [books.cancelled(request.client_order_id)]
    if reports is None:
        raise OutcomeUnknown(Code.REPLY_LOST, "The order is not open and not in the history.")
    if any(one.fills for one in reports) and reports[-1].kind is not ReportKind.CANCELLED:
        return [*reports, _refused(client, request, "It had been filled.")]
    return reports


def _refused(
    client: DwxClient, request: CancelRequest, detail: str, code: Code | None = None
) -> OrderReport:
    return OrderReport(
        ReportKind.CANCEL_REFUSED, client.spec.connection_id, request.client_order_id,
        request.broker_order_id, code=code, detail=detail,
    )  # fmt: skip
