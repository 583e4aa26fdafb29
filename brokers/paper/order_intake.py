"""Places new orders in the book, any number of them in one transaction."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg

from brokers.base import Guard, NotSent, Rejected
from brokers.paper import queries
from brokers.paper.book import place
from brokers.paper.book_state import Account, BookOrder, ChangeSet, Deal, Market
from brokers.paper.db_sessions import IDLE_MS, Session, sessions
from brokers.paper.persistence import write
from brokers.paper.reports import answer
from brokers.paper.request_validation import malformed
from brokers.types import OrderReport, OrderRequest, PositionMode, TimeInForce
from common.clocks import machine_time, market_now
from common.failpoints import failpoint
from common.reason_codes import Code

log = logging.getLogger(__name__)
MAX_ROUNDS = 40  # every second round waits up to LOCK_MS; the guard usually ends it sooner
Answer = list[OrderReport] | Rejected | NotSent
LATE = Code.SEND_DEADLINE  # the order counts as lost on its way


@dataclass(frozen=True, slots=True)
class IncomingOrder:
    """An order on its way into the book. account_id: of the paper account, in the database."""

    account_id: int
    request: OrderRequest


@dataclass(frozen=True, slots=True)
class Reply:
    """The book's answer to an order. is_lost: it does not reach the client, as configured by the
    account's `drop_every_nth`."""

    answer: Answer
    is_lost: bool = False


class _DeadlinePassedError(Exception):
    """The process stalled in the transaction, which is rolled back and tried again.

    The guard then refuses the orders that are past their deadline.
    """


def take_orders(incoming_orders: Sequence[IncomingOrder], guard: Guard) -> list[Reply | None]:
    """Place orders in the book; return a reply for each, None for one that was not placed in time.

    guard runs for each order while its account is locked; it raises NotSent for an order that must
    not be placed any more, which then leaves no trace. Past its deadline it is like one that never
    arrived; of any other (the kill switch was set on its way) the reply is that NotSent. An account
    that another session has locked delays only its own orders. Raises psycopg.Error if the outcome
    is not known.
    """
    replies: list[Reply | None] = [None] * len(incoming_orders)
    waiting = []  # indexes of the orders without an outcome
    for index, incoming in enumerate(incoming_orders):
        if rejection := malformed(incoming.request):
            replies[index] = Reply(rejection)
        else:
            waiting.append(index)
    skip_locked = False
    for _ in range(MAX_ROUNDS):
        if not waiting:
            break
        try:
            waiting = _place_batch(
                incoming_orders, waiting, guard, replies, skip_locked=skip_locked
            )
            skip_locked = False
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            skip_locked = True  # next those whose account is free, then wait for the others
        except _DeadlinePassedError:
            log.warning("paper: the process stalled while %d orders arrived", len(waiting))
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            _place_one_by_one(incoming_orders, waiting, guard, replies, error)
            break
    return replies


def _place_one_by_one(
    incoming_orders: Sequence[IncomingOrder],
    waiting: list[int],
    guard: Guard,
    replies: list[Reply | None],
    error: psycopg.Error,
) -> None:
    """Place orders one by one: the batch was rolled back, since one of them cannot be stored."""
    if len(waiting) > 1:
        for index in waiting:
            replies[index] = take_orders([incoming_orders[index]], guard)[0]
        return
    log.error("paper: an order cannot be stored: %s", error)
    replies[waiting[0]] = Reply(Rejected(Code.REJECTED_BY_BROKER, "the order cannot be stored"))


def _place_batch(
    incoming_orders: Sequence[IncomingOrder],
    waiting: list[int],
    guard: Guard,
    replies: list[Reply | None],
    *,
    skip_locked: bool,
) -> list[int]:
    """Place orders in one transaction and fill `replies`; return the indexes of those that wait
    for an account that is locked (only with skip_locked)."""
    started = machine_time()
    replies_by_index: dict[int, Reply] = {}
    with sessions.transaction() as session:
        queries.lock_symbols(
            session, {incoming_orders[i].request.symbol for i in waiting}, exclusive=False
        )
        ids = {incoming_orders[i].account_id for i in waiting}
        accounts = queries.lock_accounts(session, ids, skip_locked=skip_locked)
        free = [i for i in waiting if incoming_orders[i].account_id in accounts]
        refused = {i: _refusal(incoming_orders[i].request, guard) for i in free}
        in_time = [i for i in free if refused[i] is None]
        if in_time:
            placed = _place_all(session, accounts, [incoming_orders[i] for i in in_time])
            replies_by_index = dict(zip(in_time, placed, strict=True))
            failpoint("broker.received")
        if machine_time() - started > IDLE_MS / 1000:
            raise _DeadlinePassedError
    if replies_by_index:
        failpoint("broker.accepted")
    replies_by_index |= {
        i: Reply(error) for i, error in refused.items() if error and error.code != LATE
    }
    for index, reply in replies_by_index.items():
        replies[index] = reply
    return (
        [i for i in waiting if incoming_orders[i].account_id not in accounts] if skip_locked else []
    )


def _refusal(request: OrderRequest, guard: Guard) -> NotSent | None:
    """Return why an order must not be placed any more; None: it may be."""
    try:
        guard(request)
    except NotSent as error:
        return error
    return None


def _place_all(
    session: Session, accounts: dict[int, Account], incoming_orders: Sequence[IncomingOrder]
) -> list[Reply]:
    """Place orders, first come first served, and write the changes; return their replies."""
    market = queries.load_market(session)
    queries.load_exposures(session, accounts)
    queries.load_lots(session, accounts, _lots_to_load(accounts, incoming_orders))
    changes = ChangeSet(queries.tickets(session, 2 * len(incoming_orders)))
    now = market_now()
    placed = [_place_one(accounts[p.account_id], p, market, changes, now) for p in incoming_orders]
    with session.pipeline():  # the server writes while we build the answers
        write(session, changes, accounts)
        return [
            Reply(answer(order, deals, accounts[order.account].currency), is_lost=is_lost)
            for order, deals, is_lost in placed
        ]


def _lots_to_load(
    accounts: dict[int, Account], incoming_orders: Sequence[IncomingOrder]
) -> list[tuple[int, str]]:
    """Return the (account, symbol) whose lots are needed; a hedging account's entry needs none."""
    return [
        (p.account_id, p.request.symbol)
        for p in incoming_orders
        if p.request.reduce_only
        or p.request.broker_position_id
        or accounts[p.account_id].mode is PositionMode.NETTING
    ]


def _place_one(
    account: Account, incoming: IncomingOrder, market: Market, changes: ChangeSet, now: datetime
) -> tuple[BookOrder, list[Deal], bool]:
    """Place one order; return it, its executions, and whether its reply is lost."""
    order = to_book_order(incoming, next(changes.tickets), now)
    deals = place(account, order, market, changes)
    is_lost = False
    if account.drop_every_nth:
        account.orders_taken += 1
        changes.changed_accounts.add(account.id)
        is_lost = account.orders_taken % account.drop_every_nth == 0
    return order, deals, is_lost


def to_book_order(incoming: IncomingOrder, ticket: int, now: datetime) -> BookOrder:
    """Return the book's order for a request. ticket: its number.

    A position id makes it reduce-only; an invalid id matches no position."""
    request, position_id = incoming.request, incoming.request.broker_position_id
    closes = None
    if position_id:
        is_number = position_id.isascii() and position_id.isdigit() and len(position_id) < 19
        closes = int(position_id) if is_number else 0
    return BookOrder(
        ticket, incoming.account_id, request.connection_id, request.client_order_id, request.symbol,
        request.side, request.order_type, request.time_in_force, request.quantity,
        request.limit_price, request.stop_price, request.stop_loss, request.take_profit,
        request.reduce_only or bool(position_id), closes, now,
        expires_at=request.expires_at if request.time_in_force is TimeInForce.GTD else None,
    )  # fmt: skip
