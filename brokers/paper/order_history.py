"""The history of orders that reached the broker."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from brokers.paper import queries
from brokers.paper.book_state import BookOrder
from brokers.paper.db_sessions import Session
from brokers.paper.pg_arrays import numbers
from brokers.types import Execution, HeldLevels, OrderReport, ReportKind

KIND = {
    "CANCELLED": ReportKind.CANCELLED,
    "EXPIRED": ReportKind.EXPIRED,
    "REJECTED": ReportKind.REJECTED,
}


@dataclass(frozen=True, slots=True)
class EntryOutcome:
    """The position of an entry. levels: None once it is closed."""

    position: int
    levels: HeldLevels | None


def find(
    session: Session, account_id: int, client_order_id: str, currency: str
) -> list[OrderReport] | None:
    """Return all reports of an order: its state, its fills, and the exits that the broker made.

    None: no order with that id ever reached this account."""
    orders = queries.load_orders(
        session, "client_order_id = %s AND account_id = %s", (client_order_id, account_id)
    )
    if not orders:
        return None
    exits = queries.load_orders(
        session, "entry = ANY(%s::bigint[])", (numbers(order.id for order in orders),)
    )
    return reports_of(session, orders + exits, currency, {client_order_id: orders})


def executed_since(
    session: Session, account_id: int, since: datetime, currency: str
) -> list[OrderReport]:
    """Return the fills of an account's orders that were executed at or after a market time."""
    orders = queries.load_orders(
        session,
        "id IN (SELECT order_id FROM paper_fill WHERE account_id = %s AND time >= %s)",
        (account_id, since),
    )
    exits = [order.entry for order in orders if order.entry is not None]
    entries: dict[str, list[BookOrder]] = {}
    for entry in queries.load_orders(session, "id = ANY(%s::bigint[])", (numbers(exits),)):
        entries.setdefault(entry.client_order_id, []).append(entry)
    reports = reports_of(session, orders, currency, entries)
    return [report for report in reports if report.fills]


def reports_of(
    session: Session,
    orders: Sequence[BookOrder],
    currency: str,
    entries: dict[str, list[BookOrder]] | None = None,
) -> list[OrderReport]:
    """Return the reports of orders, each with all its fills so far."""
    fills = _fills(session, orders, currency)
    lots = _lots(session, orders)
    ids = {order.id: cid for cid, of_id in (entries or {}).items() for order in of_id}
    reports: list[OrderReport] = []
    for order in orders:
        cid = ids.get(order.entry or 0, order.client_order_id)
        lot = lots.get(order.entry or order.id)
        position = lot.position if lot else order.closes or 0
        levels = lot.levels if lot and order.entry is None else None
        made = tuple(fills.get(order.id, ()))
        if made:
            reports.append(
                replace(_report(ReportKind.FILLED, order, cid, position, made), levels=levels)
            )
        if order.status in KIND:
            reports.append(_report(KIND[order.status], order, cid, position, ()))
        elif not made:
            reports.append(_report(ReportKind.ACCEPTED, order, cid, position, ()))
    return reports


def _fills(
    session: Session, orders: Sequence[BookOrder], currency: str
) -> dict[int, list[Execution]]:
    fills_by_order: dict[int, list[Execution]] = {}
    rows = session.execute(
        "SELECT order_id, id, quantity, price, time, commission FROM paper_fill "
        "WHERE order_id = ANY(%s::bigint[]) ORDER BY id",
        (numbers(order.id for order in orders),),
    )
    order_id: int
    fill_id: int
    quantity: Decimal
    price: Decimal
    time: datetime
    commission: Decimal
    for order_id, fill_id, quantity, price, time, commission in rows:
        fill = Execution(f"f{fill_id}", quantity, price, time, commission, currency)
        fills_by_order.setdefault(order_id, []).append(fill)
    return fills_by_order


def _lots(session: Session, orders: Sequence[BookOrder]) -> dict[int, EntryOutcome]:
    """Return the position of each entry, with its levels while it is open."""
    rows = session.execute(
        "SELECT id, position, quantity > 0, stop_loss, take_profit FROM paper_position "
        "WHERE id = ANY(%s::bigint[])",
        (numbers(order.entry or order.id for order in orders),),
    )
    return {
        lot: EntryOutcome(position, HeldLevels(stop, target) if is_open else None)
        for lot, position, is_open, stop, target in rows
    }


def _report(
    kind: ReportKind, order: BookOrder, cid: str, position: int, fills: tuple[Execution, ...]
) -> OrderReport:
    ended = kind in KIND.values()
    return OrderReport(
        kind=kind,
        connection_id=order.connection_id,
        client_order_id=cid,
        broker_order_id=str(order.id),
        broker_position_id=str(position) if position else "",
        fills=fills,
        code=order.code if ended else None,
        detail=order.detail if ended else "",
        close_cause=order.cause,
    )
