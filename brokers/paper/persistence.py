"""Writes a change set with a few statements for any number of orders."""

from collections.abc import Mapping

from brokers.paper.book_state import Account, BookOrder, ChangeSet, Lot
from brokers.paper.db_sessions import Session
from brokers.paper.pg_arrays import flags, numbers, texts, times
from brokers.paper.queries import LOT, ORDER


def write(session: Session, changes: ChangeSet, accounts: Mapping[int, Account]) -> None:
    """Write all changes."""
    _insert_orders(session, changes.new_orders)
    _insert_fills(session, changes)
    _insert_lots(session, changes.new_lots)
    _update_orders(session, list(changes.changed_orders.values()))
    new = {lot.id for lot in changes.new_lots}
    _update_lots(session, [lot for lot in changes.changed_lots.values() if lot.id not in new])
    _update_balances(session, [accounts[i] for i in sorted(changes.changed_accounts)])


def _insert_orders(session: Session, orders: list[BookOrder]) -> None:
    if not orders:
        return
    session.execute(
        f"INSERT INTO paper_order ({ORDER}, trigger_price, accepted_at) "
        "SELECT *, CASE WHEN v.status <> 'REJECTED' THEN clock_timestamp() END FROM unnest("
        "%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], "
        "%s::text[], %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[], "
        "%s::bool[], %s::bigint[], %s::timestamptz[], %s::numeric[], %s::text[], %s::text[], "
        "%s::text[], %s::text[], %s::timestamptz[], %s::text[], %s::bigint[], %s::numeric[]) "
        f"v({ORDER}, trigger_price)",
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


def _insert_fills(session: Session, changes: ChangeSet) -> None:
    deals = changes.deals
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


def _update_orders(session: Session, orders: list[BookOrder]) -> None:
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


def write_terms(session: Session, order: BookOrder) -> None:
    """Write the quantity and prices of a working order that was changed."""
    session.execute(
        "UPDATE paper_order SET quantity = %s, limit_price = %s, stop_price = %s WHERE id = %s",
        (order.quantity, order.limit_price, order.stop_price, order.id),
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
