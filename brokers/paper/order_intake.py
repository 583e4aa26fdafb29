"""New orders reach the book: any number of them in one transaction."""

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
MAX_ROUNDS = 40  # every other one waits up to LOCK_MS; the guard ends it sooner
Answer = list[OrderReport] | Rejected


@dataclass(frozen=True, slots=True)
class Packet:
    """An order on its way to an account."""

    account_id: int
    request: OrderRequest


@dataclass(frozen=True, slots=True)
class Reply:
    """What the book says to a packet. dropped: the answer is lost on the way back."""

    answer: Answer
    dropped: bool = False


class _DeadlinePassedError(Exception):  # no error: the network lost it
    """The process stood still in the middle of the transaction; nothing of it may stay."""


def take_orders(packets: Sequence[Packet], guard: Guard) -> list[Reply | None]:
    """Take orders into the book; one reply for each, None for one that never arrived.

    guard runs again for each order while its account is locked: a packet past its deadline is
    lost on the way, and leaves no trace. An account that another session has locked delays only its
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
            skip_locked = True  # first those whose account is free
        except _DeadlinePassedError:
            log.warning("paper: stood still while %d orders arrived", len(waiting))
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
    """Take orders each on its own, since one of them cannot be kept and nothing of any was."""
    if len(waiting) > 1:
        for index in waiting:
            replies[index] = take_orders([packets[index]], guard)[0]
        return
    log.error("paper: an order cannot be kept: %s", error)
    replies[waiting[0]] = Reply(Rejected(Code.REJECTED_BY_BROKER, "the book cannot keep it"))


def _take_some(
    packets: Sequence[Packet],
    waiting: list[int],
    guard: Guard,
    replies: list[Reply | None],
    *,
    skip_locked: bool,
) -> list[int]:
    """Take what can be taken in one transaction; return what has to wait for its account."""
    entered = machine_time()
    done: dict[int, Reply] = {}
    with sessions.transaction() as session:
        queries.lock_symbols(session, {packets[i].request.symbol for i in waiting}, alone=False)
        ids = {packets[i].account_id for i in waiting}
        accounts = queries.lock_accounts(session, ids, skip_locked=skip_locked)
        free = [i for i in waiting if packets[i].account_id in accounts]
        arrived = [i for i in free if _check_guard(packets[i].request, guard)]
        if arrived:
            requests = [packets[i] for i in arrived]
            done = dict(zip(arrived, _decide(session, accounts, requests), strict=True))
            failpoint("broker.received")
        if machine_time() - entered > IDLE_MS / 1000:
            raise _DeadlinePassedError
    if done:
        failpoint("broker.accepted")
    for index, reply in done.items():
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
    """Decide about each order in the order of arrival and write it all."""
    market = queries.load_market(session)
    queries.load_exposures(session, accounts)
    queries.load_lots(session, accounts, _lots_to_load(accounts, packets))
    ledger = ChangeSet(queries.tickets(session, 2 * len(packets)))
    now = market_now()
    taken = [_place_one(accounts[p.account_id], p, market, ledger, now) for p in packets]
    with session.pipeline():  # the server writes while we put the answers into words
        write(session, ledger, accounts)
        return [
            Reply(answer(order, deals, accounts[order.account].currency), dropped)
            for order, deals, dropped in taken
        ]


def _lots_to_load(accounts: dict[int, Account], packets: Sequence[Packet]) -> list[tuple[int, str]]:
    """Whose lots must be known one by one: a hedging account's entry needs none of them."""
    return [
        (p.account_id, p.request.symbol)
        for p in packets
        if p.request.reduce_only
        or p.request.broker_position_id
        or accounts[p.account_id].mode is PositionMode.NETTING
    ]


def _place_one(
    account: Account, packet: Packet, market: Market, ledger: ChangeSet, now: datetime
) -> tuple[Ticket, list[Deal], bool]:
    """Place one order. Returns it, its executions, and whether the answer gets lost."""
    order = to_ticket(packet, next(ledger.tickets), now)
    deals = place(account, order, market, ledger)
    dropped = False
    if account.drop_every_nth:
        account.orders_taken += 1
        ledger.paid.add(account.id)
        dropped = account.orders_taken % account.drop_every_nth == 0
    return order, deals, dropped


def to_ticket(packet: Packet, ticket: int, now: datetime) -> Ticket:
    """Read a request. What names a position can only close it; an id that is none finds none."""
    request, named = packet.request, packet.request.broker_position_id
    closes = None
    if named:
        closes = int(named) if named.isascii() and named.isdigit() and len(named) < 19 else 0
    return Ticket(
        ticket, packet.account_id, request.connection_id, request.client_order_id, request.symbol,
        request.side, request.order_type, request.time_in_force, request.quantity,
        request.limit_price, request.stop_price, request.stop_loss, request.take_profit,
        request.reduce_only or bool(named), closes, now,
    )  # fmt: skip
