"""The paper broker's OrderReports, and their form in the event stream."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from brokers.base import Rejected
from brokers.paper.book_state import BookOrder, Deal
from brokers.paper.matching import OrderOutcome
from brokers.types import CloseCause, Execution, HeldLevels, OrderReport, ReportKind
from common.reason_codes import Code

ENDED = {
    "CANCELLED": ReportKind.CANCELLED,
    "EXPIRED": ReportKind.EXPIRED,
    "REJECTED": ReportKind.REJECTED,
}


def execution(deal: Deal, currency: str) -> Execution:
    return Execution(f"f{deal.id}", deal.quantity, deal.price, deal.time, deal.commission, currency)


def answer(order: BookOrder, deals: Sequence[Deal], currency: str) -> list[OrderReport] | Rejected:
    """Return the reply to a new order: its executions, its end, or that it is working."""
    if order.status == "REJECTED":
        return Rejected(order.code or Code.REJECTED_BY_BROKER, order.detail)
    reports = []
    if deals:
        reports.append(_report(ReportKind.FILLED, order, deals, currency))
    if order.status in ENDED:
        reports.append(_report(ENDED[order.status], order, (), currency))
    return reports or [_report(ReportKind.ACCEPTED, order, (), currency)]


def outcome_report(happening: OrderOutcome, currency: str) -> list[OrderReport]:
    """Return the reports of a working order's outcome, or of an exit that the broker made."""
    order, reports = happening.order, []
    if happening.deals:
        reports.append(_report(ReportKind.FILLED, order, happening.deals, currency))
    if happening.ended and order.status in ENDED:
        reports.append(_report(ENDED[order.status], order, (), currency))
    return reports


def _report(
    kind: ReportKind, order: BookOrder, deals: Sequence[Deal], currency: str
) -> OrderReport:
    lot = deals[-1].lot if deals else None
    ended = kind not in (ReportKind.FILLED, ReportKind.ACCEPTED)
    entered = lot if deals and not deals[-1].is_exit else None
    return OrderReport(
        kind=kind,
        connection_id=order.connection_id,
        client_order_id=lot.client_order_id if order.cause and lot else order.client_order_id,
        broker_order_id=str(order.id),
        broker_position_id=str(lot.position) if lot else str(order.closes or ""),
        fills=tuple([execution(deal, currency) for deal in deals]),
        code=order.code if ended else None,
        detail=order.detail if ended else "",
        close_cause=order.cause,
        levels=HeldLevels(entered.stop_loss, entered.take_profit) if entered else None,
    )


def to_json(report: OrderReport) -> dict[str, Any]:
    """Write a report for the event stream; what is empty is left out."""
    fills = [
        {
            "id": fill.broker_fill_id,
            "quantity": str(fill.quantity),
            "price": str(fill.price),
            "time": fill.time.isoformat(),
            "commission": str(fill.commission),
            "currency": fill.commission_currency,
        }
        for fill in report.fills
    ]
    written = {
        "kind": report.kind.value,
        "connection_id": report.connection_id,
        "client_order_id": report.client_order_id,
        "broker_order_id": report.broker_order_id,
        "broker_position_id": report.broker_position_id,
        "fills": fills,
        "code": report.code.value if report.code else None,
        "detail": report.detail,
        "close_cause": report.close_cause.value if report.close_cause else None,
        "levels": _levels_to_json(report.levels),
    }
    return {name: value for name, value in written.items() if value}


def _levels_to_json(levels: HeldLevels | None) -> dict[str, str | None] | None:
    """Return levels as JSON. None: not reported; null for a price: there is no such level."""
    if levels is None:
        return None
    pair = {"stop_loss": levels.stop_loss, "take_profit": levels.take_profit}
    return {name: None if price is None else str(price) for name, price in pair.items()}


def _levels_from_json(written: Mapping[str, str | None] | None) -> HeldLevels | None:
    if written is None:
        return None
    stop, target = written["stop_loss"], written["take_profit"]
    return HeldLevels(Decimal(stop) if stop else None, Decimal(target) if target else None)


def from_json(written: Mapping[str, Any], event_id: str) -> OrderReport:
    """Read what `to_json` wrote."""
    fills = tuple(
        Execution(
            fill["id"],
            Decimal(fill["quantity"]),
            Decimal(fill["price"]),
            datetime.fromisoformat(fill["time"]),
            Decimal(fill["commission"]),
            fill["currency"],
        )
        for fill in written.get("fills", ())
    )
    return OrderReport(
        kind=ReportKind(written["kind"]),
        connection_id=written.get("connection_id", ""),
        client_order_id=written.get("client_order_id", ""),
        broker_order_id=written.get("broker_order_id", ""),
        broker_position_id=written.get("broker_position_id", ""),
        fills=fills,
        code=Code(written["code"]) if written.get("code") else None,
        detail=written.get("detail", ""),
        close_cause=CloseCause(written["close_cause"]) if written.get("close_cause") else None,
        levels=_levels_from_json(written.get("levels")),
        event_id=event_id,
    )
