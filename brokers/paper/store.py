"""The book's SQL: load accounts, lots, orders and prices; write what a ledger says. Set-based."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from brokers.base import CloseCause, OrderType, PositionMode, Side, TimeInForce
from brokers.paper.arrays import flags, numbers, texts, times
from brokers.paper.sessions import Session
from brokers.paper.state import Account, Exposure, Ledger, Listed, Lot, Market, Ticket
from common.codes import Code

VENUE_LOCKS = 738_101  # first key of the advisory locks on symbols
SIDE = {side.value: side for side in Side}
ACCOUNT = (
    "id, number, currency, balance, leverage, position_mode, native_stops, "
    "commission_per_million, trading_allowed, reject_code, partial_fill_max, drop_every_nth, "
    "orders_taken"
)
LOT = (
    "id, position, account_id, connection_id, client_order_id, symbol, side, quantity, price, "
    "stop_loss, take_profit, opened_at"
)
TICKET = (
    "id, account_id, connection_id, client_order_id, symbol, side, order_type, time_in_force, "
    "quantity, limit_price, stop_price, stop_loss, take_profit, reduce_only, closes, time, "
    "filled_quantity, status, reason, detail, watch, expires_at, close_cause, entry"
)


def lock_symbols(session: Session, symbols: Iterable[str], *, alone: bool) -> None:
    """Hold the symbols until the transaction ends: alone for new prices, shared for orders.

    So an order that comes to rest and a price that would have touched it cannot miss one another.
    """
    kind = "" if alone else "_shared"
    session.execute(
        f"SELECT pg_advisory_xact_lock{kind}(%s::int, key) FROM "
        "(SELECT DISTINCT hashtext(s) AS key FROM unnest(%s::text[]) s ORDER BY 1) keys",
        (VENUE_LOCKS, texts(symbols)),
    )


def lock_accounts(
    session: Session, ids: Iterable[int], *, skip_locked: bool = False
) -> dict[int, Account]:
    """Lock accounts in the order of their ids and load them. skip_locked: only the free ones."""
    found = session.execute(
        f"SELECT {ACCOUNT} FROM paper_account WHERE id = ANY(%s::bigint[]) ORDER BY id "
        f"FOR NO KEY UPDATE{' SKIP LOCKED' if skip_locked else ''}",
        (numbers(ids),),
    )
    return {row[0]: to_account(row) for row in found}


def to_account(row: Sequence[Any]) -> Account:
    """Read a row of ACCOUNT's columns."""
    return Account(*row[:5], PositionMode(row[5]), *row[6:])


def load_market(session: Session) -> Market:
    """Load every listed instrument with the price in force."""
    found = session.execute(
        "SELECT i.symbol, pair, digits, pip, quantity_min, quantity_step, quantity_max, "
        "contract_size, stops_level, margin_rate, day_ends, quote_max_age_seconds, "
        "coalesce(bid, 0), coalesce(ask, 0), q.time "
        "FROM paper_instrument i LEFT JOIN paper_quote q ON q.symbol = i.symbol"
    )
    return Market([Listed(*row) for row in found])


def load_exposures(session: Session, accounts: Mapping[int, Account]) -> None:
    """Add up what the accounts have open."""
    found = session.execute(
        "SELECT account_id, symbol, side, sum(quantity), sum(quantity * price) "
        "FROM paper_position WHERE account_id = ANY(%s::bigint[]) AND quantity > 0 "
        "GROUP BY account_id, symbol, side",
        (numbers(accounts),),
    )
    for account_id, symbol, side, quantity, cost in found:
        exposure = accounts[account_id].exposures.setdefault(symbol, Exposure())
        if side == "BUY":
            exposure.long, exposure.long_cost = quantity, cost
        else:
            exposure.short, exposure.short_cost = quantity, cost


def load_lots(
    session: Session, accounts: Mapping[int, Account], pairs: Iterable[tuple[int, str]]
) -> None:
    """Load the open lots of (account, symbol) pairs into their accounts, oldest first."""
    wanted = sorted(set(pairs))
    if not wanted:
        return
    found = session.execute(
        f"SELECT {LOT} FROM paper_position p JOIN unnest(%s::bigint[], %s::text[]) "
        "w(wanted_account, wanted_symbol) ON p.account_id = wanted_account "
        "AND p.symbol = wanted_symbol WHERE p.quantity > 0 ORDER BY p.id",
        (numbers(pair[0] for pair in wanted), texts(pair[1] for pair in wanted)),
    )
    for row in found:
        lot = to_lot(row)
        accounts[lot.account].lots.setdefault(lot.symbol, []).append(lot)


def to_lot(row: Sequence[Any]) -> Lot:
    """Read a row of LOT's columns."""
    return Lot(*row[:6], SIDE[row[6]], *row[7:])


def to_ticket(row: Sequence[Any]) -> Ticket:
    """Read a row of TICKET's columns."""
    reason, cause = row[18], row[22]
    return Ticket(
        *row[:5], SIDE[row[5]], OrderType(row[6]), TimeInForce(row[7]), *row[8:18],
        Code(reason) if reason else None, *row[19:22],
        CloseCause(cause) if cause else None, row[23],
    )  # fmt: skip


def load_tickets(session: Session, where: str, params: Sequence[Any]) -> list[Ticket]:
    """Load the journal's orders that fulfil a condition of ours, oldest first."""
    found = session.execute(
        f"SELECT {TICKET} FROM paper_order WHERE {where} ORDER BY id",  # type: ignore[arg-type]
        params,
    )
    return [to_ticket(row) for row in found]


def tickets(session: Session, expected: int) -> Iterator[int]:
    """Draw numbers from the venue's one sequence, `expected` at once and more if needed."""
    while True:
        found = session.execute(
            "SELECT nextval('paper_ticket') FROM generate_series(1, %s)", (max(expected, 1),)
        )
        yield from [row[0] for row in found.fetchall()]
        expected = 32


def write(session: Session, ledger: Ledger, accounts: Mapping[int, Account]) -> None:
    """Write everything that a ledger noted."""
    _insert_orders(session, ledger.new_orders)
    _insert_fills(session, ledger)
    _insert_lots(session, ledger.new_lots)
    _update_orders(session, list(ledger.changed_orders.values()))
    new = {lot.id for lot in ledger.new_lots}
    _update_lots(session, [lot for lot in ledger.changed_lots.values() if lot.id not in new])
    _update_balances(session, [accounts[i] for i in sorted(ledger.paid)])


def _insert_orders(session: Session, orders: list[Ticket]) -> None:
    if not orders:
        return
    session.execute(
        f"INSERT INTO paper_order ({TICKET}, trigger_price, accepted_at) "
        "SELECT *, CASE WHEN v.status <> 'REJECTED' THEN clock_timestamp() END FROM unnest("
        "%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], "
        "%s::text[], %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[], "
        "%s::bool[], %s::bigint[], %s::timestamptz[], %s::numeric[], %s::text[], %s::text[], "
        "%s::text[], %s::text[], %s::timestamptz[], %s::text[], %s::bigint[], %s::numeric[]) "
        f"v({TICKET}, trigger_price)",
        (
            numbers(o.id for o in orders),
            numbers(o.account for o in orders),
            texts(o.connection_id for o in orders),
            texts(o.client_order_id for o in orders),
            texts(o.symbol[:20] for o in orders),
            texts(o.side for o in orders),
            texts(o.order_type for o in orders),
            texts(o.time_in_force for o in orders),
            numbers(o.quantity for o in orders),
            numbers(o.limit_price for o in orders),
            numbers(o.stop_price for o in orders),
            numbers(o.stop_loss for o in orders),
            numbers(o.take_profit for o in orders),
            flags(o.reduce_only for o in orders),
            numbers(o.closes for o in orders),
            times(o.time for o in orders),
            numbers(o.filled for o in orders),
            texts(o.status for o in orders),
            texts(o.code or "" for o in orders),
            texts(o.detail[:200] for o in orders),
            texts(o.watch for o in orders),
            times(o.expires_at for o in orders),
            texts(o.cause or "" for o in orders),
            numbers(o.entry for o in orders),
            numbers(o.trigger for o in orders),
        ),
    )


def _insert_fills(session: Session, ledger: Ledger) -> None:
    deals = ledger.deals
    if not deals:
        return
    session.execute(
        "INSERT INTO paper_fill (id, order_id, account_id, lot, is_exit, side, quantity, price, "
        "commission, profit, time) SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], "
        "%s::bigint[], %s::bool[], %s::text[], %s::numeric[], %s::numeric[], %s::numeric[], "
        "%s::numeric[], %s::timestamptz[])",
        (
            numbers(d.id for d in deals),
            numbers(d.order.id for d in deals),
            numbers(d.order.account for d in deals),
            numbers(d.lot.id for d in deals),
            flags(d.is_exit for d in deals),
            texts(d.order.side for d in deals),
            numbers(d.quantity for d in deals),
            numbers(d.price for d in deals),
            numbers(d.commission for d in deals),
            numbers(d.profit for d in deals),
            times(d.time for d in deals),
        ),
    )


def _insert_lots(session: Session, lots: list[Lot]) -> None:
    if not lots:
        return
    session.execute(
        f"INSERT INTO paper_position ({LOT}) SELECT * FROM unnest(%s::bigint[], %s::bigint[], "
        "%s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[], %s::numeric[], "
        "%s::numeric[], %s::numeric[], %s::numeric[], %s::timestamptz[])",
        (
            numbers(lot.id for lot in lots),
            numbers(lot.position for lot in lots),
            numbers(lot.account for lot in lots),
            texts(lot.connection_id for lot in lots),
            texts(lot.client_order_id for lot in lots),
            texts(lot.symbol for lot in lots),
            texts(lot.side for lot in lots),
            numbers(lot.quantity for lot in lots),
            numbers(lot.price for lot in lots),
            numbers(lot.stop_loss for lot in lots),
            numbers(lot.take_profit for lot in lots),
            times(lot.opened_at for lot in lots),
        ),
    )


def _update_orders(session: Session, orders: list[Ticket]) -> None:
    if not orders:
        return
    session.execute(
        "UPDATE paper_order o SET filled_quantity = v.filled, status = v.status, "
        "reason = v.reason, detail = v.detail, watch = v.watch, trigger_price = v.trigger, "
        "stop_loss = v.stop_loss, take_profit = v.take_profit FROM unnest(%s::bigint[], "
        "%s::numeric[], %s::text[], %s::text[], %s::text[], %s::text[], %s::numeric[], "
        "%s::numeric[], %s::numeric[]) "
        "v(id, filled, status, reason, detail, watch, trigger, stop_loss, take_profit) "
        "WHERE o.id = v.id",
        (
            numbers(o.id for o in orders),
            numbers(o.filled for o in orders),
            texts(o.status for o in orders),
            texts(o.code or "" for o in orders),
            texts(o.detail[:200] for o in orders),
            texts(o.watch for o in orders),
            numbers(o.trigger for o in orders),
            numbers(o.stop_loss for o in orders),
            numbers(o.take_profit for o in orders),
        ),
    )


def _update_lots(session: Session, lots: list[Lot]) -> None:
    if not lots:
        return
    session.execute(
        "UPDATE paper_position p SET quantity = v.quantity, price = v.price, "
        "stop_loss = v.stop_loss, take_profit = v.take_profit FROM unnest(%s::bigint[], "
        "%s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[]) "
        "v(id, quantity, price, stop_loss, take_profit) WHERE p.id = v.id",
        (
            numbers(lot.id for lot in lots),
            numbers(lot.quantity for lot in lots),
            numbers(lot.price for lot in lots),
            numbers(lot.stop_loss for lot in lots),
            numbers(lot.take_profit for lot in lots),
        ),
    )


def _update_balances(session: Session, accounts: list[Account]) -> None:
    if not accounts:
        return
    session.execute(
        "UPDATE paper_account a SET balance = v.balance, orders_taken = v.taken "
        "FROM unnest(%s::bigint[], %s::numeric[], %s::int[]) v(id, balance, taken) "
        "WHERE a.id = v.id",
        (
            numbers(a.id for a in accounts),
            numbers(a.balance for a in accounts),
            numbers(a.orders_taken for a in accounts),
        ),
    )
