"""A committed intent, with all that the dispatcher needs to send it."""

from dataclasses import dataclass
from typing import Any

from brokers.account_capabilities import Capabilities
from brokers.registry import adapter_for
from brokers.types import ConnectionSpec, ExitSafety, OrderRequest
from brokers.worst_price import with_worst_price
from common.clocks import machine_seconds_until, machine_time
from common.money import plain, plain_or_none
from connections.session_lanes import GENERAL
from execution.ids import base_of
from execution.submission import times_in_force
from execution.submission.bundle_evaluation import halted_pairs
from execution.submission.outcomes import ORDER_TYPES, SIDES, EvaluationContext, Intent
from execution.submission.rows import IntentRow, OrderRow


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A committed intent with all that the dispatcher needs to send it.

    pairs: whose halt concerns it. other_feeds: of the orders that are sent with it as one.
    """

    broker_type: str
    spec: ConnectionSpec
    request: OrderRequest
    is_entry: bool
    feed_id: int | None
    owner_id: int
    pairs: tuple[str, ...]
    lane: str = GENERAL
    other_feeds: tuple[int | None, ...] = ()
    trade_plan_id: str = ""
    signal_id: int | None = None


def outgoing_of(
    row: OrderRow,
    intent: Intent,
    written: IntentRow,
    spec: ConnectionSpec,
    context: EvaluationContext,
    send_by: float,
) -> Outgoing:
    """Return what is sent for an intent that was written. send_by: machine time."""
    is_entry = row.position_id is None
    signal = context.signal_of(row) if row.signal_id else None
    if is_entry and signal and signal.valid_until:  # it may end between this decision and sending
        send_by = min(send_by, machine_time() + machine_seconds_until(signal.valid_until))
    capabilities = adapter_for(row.type).capabilities(spec)
    request = _request(row, intent, written, capabilities, context, send_by)
    request = with_worst_price(request, capabilities)
    return Outgoing(
        row.type, spec, request, is_entry, signal and signal.feed_id, row.owner_id,
        halted_pairs(row), row.lane, trade_plan_id=signal.trade_plan_id if signal else "",
        signal_id=row.signal_id,
    )  # fmt: skip


def line_fields(outgoing: Outgoing) -> dict[str, Any]:
    """Return what the line "order placement initiated" states. All limits were checked before."""
    request = outgoing.request
    price = request.stop_price if request.limit_price is None else request.limit_price
    return {
        "order_id": request.order_id, "client_order_id": request.client_order_id,
        "connection": request.connection_id, "symbol": request.symbol,
        "side": request.side.value, "order_type": request.order_type.value,
        "quantity": plain(request.quantity), "price": plain_or_none(price),
        "trade_plan_id": outgoing.trade_plan_id, "risk_check_passed": True,
    }  # fmt: skip


def _request(
    row: OrderRow,
    intent: Intent,
    written: IntentRow,
    capabilities: Capabilities,
    context: EvaluationContext,
    send_by: float,
) -> OrderRequest:
    closed = None if row.position_id is None else context.exits[row.id]
    entry_id = closed.entry_client_order_id if closed else ""  # its own, of several
    return OrderRequest(
        client_order_id=written.client_order_id,
        connection_id=row.connection_id,
        account=row.account,
        symbol=intent.symbol,
        side=SIDES[row.side],
        order_type=ORDER_TYPES[intent.order_type or row.order_type],
        time_in_force=times_in_force.sent(row.time_in_force, intent.expires_at),
        quantity=intent.quantity,
        limit_price=intent.limit_price,
        stop_price=intent.stop_price,
        trail_distance=intent.trail_distance,
        stop_loss=intent.stop_loss,
        take_profit=intent.take_profit,
        reduce_only=closed is not None,
        broker_position_id=closed.broker_position_id if closed else "",
        closes=closed.entry_sent_as if closed else "",
        oca_group=_oca_group(capabilities, entry_id or written.client_order_id),
        worst_price=intent.worst_price,
        expires_at=intent.expires_at,
        order_id=row.id,
        fence=written.fence,
        send_by=send_by,
    )


def _oca_group(capabilities: Capabilities, entry_client_order_id: str) -> str:
    """Return the OCA group that an entry's levels and exits share: the entry's base id."""
    if capabilities.exit_safety is not ExitSafety.OCA:
        return ""
    return base_of(entry_client_order_id)
