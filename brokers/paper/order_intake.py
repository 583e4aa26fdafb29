"""Places new orders in the book, any number of them in one transaction."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg

from brokers.base import Guard, NotSent, Rejected
from brokers.paper import queries
from brokers.paper.book import place
from brokers.paper.book_state import Account, ChangeSet, Deal, Market, Ticket
from brokers.paper.db_sessions import IDLE_MS, Session, sessions
from brokers.paper.persistence import write
from brokers.paper.reports import answer
from brokers.paper.request_validation import malformed
from brokers.types import OrderReport, OrderRequest, PositionMode
from common.clocks import machine_time, market_now
from common.failpoints import failpoint
from common.reason_codes import Code

log = logging.getLogger(__name__)
MAX_ROUNDS = 40  # every second one waits up to LOCK_MS; the guard ends it sooner
Answer = list[OrderReport] | Rejected


@dataclass(frozen=True, slots=True)
class Packet:
    """An order that is delivered to an account."""

    account_id: int
    request: OrderRequest


@dataclass(frozen=True, slots=True)
class Reply:
    """The book's answer to a packet. dropped: the answer is lost on its way back."""

    answer: Answer
    dropped: bool = False


class _DeadlinePassedError(Exception):
    """The process stalled in the transaction, which is rolled back and tried again.

    The guard drops orders that are past their deadline by then.
    """


def take_orders(packets: Sequence[Packet], guard: Guard) -> list[Reply | None]:
    """Place orders in the book; return a reply for each, None for one that was lost.

    guard runs again for each order while its account is locked: a packet past its deadline is
    lost and leaves no trace. An account that another session has locked delays only its
    own orders. Raises psycopg.Error if the outcome is not known.
    """
    replies: list[Reply | None] = [None] * len(packets)
    waiting = []
    for index, packet in enumerate(packets):
        if wrong := malformed(packet.request):
            replies[index] = Reply(wrong)
        else:
            waiting.append(index)
    skip_locked = False
    for _ in range(MAX_ROUNDS):
        if not waiting:
            break
        try:
            waiting = _take_some(packets, waiting, guard, replies, skip_locked=skip_locked)
            skip_locked = False
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            skip_locked = True  # first those with a free account
        except _DeadlinePassedError:
            log.warning("paper: the process stalled while %d orders arrived", len(waiting))
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            _one_by_one(packets, waiting, guard, replies, error)
            break
    return replies


def _one_by_one(
    packets: Sequence[Packet],
    waiting: list[int],
    guard: Guard,
    replies: list[Reply | None],
    error: psycopg.Error,
) -> None:
    """Place orders one by one, since one of them cannot be stored and the batch was rolled back."""
    if len(waiting) > 1:
        for index in waiting:
            replies[index] = take_orders([packets[index]], guard)[0]
        return
    log.error("paper: an order cannot be stored: %s", error)
    replies[waiting[0]] = Reply(Rejected(Code.REJECTED_BY_BROKER, "the order cannot be stored"))


def _take_some(
    packets: Sequence[Packet],
    waiting: list[int],
    guard: Guard,
    replies: list[Reply | None],
    *,
    skip_locked: bool,
) -> list[int]:
    """Place what is possible in one transaction; return the indexes that wait for an account."""
    started = machine_time()
    replies_by_index: dict[int, Reply] = {}
    with sessions.transaction() as session:
        queries.lock_symbols(session, {packets[i].request.symbol for i in waiting}, alone=False)
        ids = {packets[i].account_id for i in waiting}
        accounts = queries.lock_accounts(session, ids, skip_locked=skip_locked)
        free = [i for i in waiting if packets[i].account_id in accounts]
        arrived = [i for i in free if _check_guard(packets[i].request, guard)]
        if arrived:
            requests = [packets[i] for i in arrived]
            replies_by_index = dict(zip(arrived, _decide(session, accounts, requests), strict=True))
            failpoint("broker.received")
        if machine_time() - started > IDLE_MS / 1000:
            raise _DeadlinePassedError
    if replies_by_index:
        failpoint("broker.accepted")
    for index, reply in replies_by_index.items():
        replies[index] = reply
    return [i for i in waiting if packets[i].account_id not in accounts] if skip_locked else []


def _check_guard(request: OrderRequest, guard: Guard) -> bool:
    try:
        guard(request)
    except NotSent:
        return False
    return True


def _decide(
    session: Session, accounts: dict[int, Account], packets: Sequence[Packet]
) -> list[Reply]:
    """Place the orders in their order of arrival and write the changes."""
    market = queries.load_market(session)
    queries.load_exposures(session, accounts)
    queries.load_lots(session, accounts, _lots_to_load(accounts, packets))
    changes = ChangeSet(queries.tickets(session, 2 * len(packets)))
    now = market_now()
    placed = [_place_one(accounts[p.account_id], p, market, changes, now) for p in packets]
    with session.pipeline():  # the server writes while we build the answers
        write(session, changes, accounts)
        return [
            Reply(answer(order, deals, accounts[order.account].currency), dropped)
            for order, deals, dropped in placed
        ]


def _lots_to_load(accounts: dict[int, Account], packets: Sequence[Packet]) -> list[tuple[int, str]]:
    """Return the lots to load; a hedging account's entry needs none."""
    return [
        (p.account_id, p.request.symbol)
        for p in packets
        if p.request.reduce_only
        or p.request.broker_position_id
        or accounts[p.account_id].mode is PositionMode.NETTING
    ]


def _place_one(
    account: Account, packet: Packet, market: Market, changes: ChangeSet, now: datetime
) -> tuple[Ticket, list[Deal], bool]:
    """Place one order; return it, its executions, and whether its answer is lost."""
    order = to_ticket(packet, next(changes.tickets), now)
    deals = place(account, order, market, changes)
    dropped = False
    if account.drop_every_nth:
        account.orders_taken += 1
        changes.paid.add(account.id)
        dropped = account.orders_taken % account.drop_every_nth == 0
    return order, deals, dropped


def to_ticket(packet: Packet, ticket: int, now: datetime) -> Ticket:
    """Convert a request. A position id makes it reduce-only; an invalid id matches no position."""
    request, position_id = packet.request, packet.request.broker_position_id
    closes = None
    if position_id:
        is_number = position_id.isascii() and position_id.isdigit() and len(position_id) < 19
        closes = int(position_id) if is_number else 0
    return Ticket(
        ticket, packet.account_id, request.connection_id, request.client_order_id, request.symbol,
        request.side, request.order_type, request.time_in_force, request.quantity,
        request.limit_price, request.stop_price, request.stop_loss, request.take_profit,
        request.reduce_only or bool(position_id), closes, now,
    )  # fmt: skip
