"""Effects of drift decisions on our rows. Each runs in the decision's transaction."""

from dataclasses import dataclass, field, replace
from decimal import Decimal

from django.utils import timezone

from brokers.types import OrderReport, ReportKind
from common.db.sql import array, rows, run
from common.errors import ConflictError
from common.money import divide
from common.reason_codes import Code
from execution.exits.legs import closers
from execution.exits.orders import ExitRequest, open_exits
from execution.ids import all_attempts
from execution.models import AT_BROKER, IN_FLIGHT, DriftItem, Order, PendingAction, Status
from execution.reconciliation import auto_correction
from execution.reconciliation.adopt import (
    Levels,
    adopt_position,
    confirmed_fill,
    has_own_id,
    size_from_evidence,
)
from execution.reconciliation.evidence import BrokerEvidence, parse_evidence
from execution.reconciliation.missing_positions import external_close_report
from execution.reports.apply import apply_reports
from positions.models import ExecutionPosition
from users.models import User

LINKABLE = (
    *IN_FLIGHT, *AT_BROKER, Status.FAILED, Status.REJECTED, Status.CANCELLED, Status.EXPIRED,
)  # fmt: skip

ACTIVE_EXITS = """
SELECT id FROM execution_order WHERE position_id = %s AND status = ANY(%s::text[])
"""


@dataclass(slots=True)
class Decided:
    """What a decision started. The caller enqueues orders, actions and comparisons on commit."""

    item: DriftItem
    order_ids: list[int] = field(default_factory=list)
    has_pending_actions: bool = False
    needs_comparison: bool = False


def broker_has_more(item: DriftItem) -> bool:
    """Return whether the broker holds more than we do, or the other side."""
    return auto_correction.surplus(item.evidence) < 0


def reject_known(item: DriftItem) -> None:
    """Raise ConflictError STATE_CONFLICT if we hold the position by now.

    Another decision or a late report may have created it since the difference was found.
    """
    ticket = item.evidence.get("broker_position_id")
    held = ExecutionPosition.objects.open().filter(connection_id=item.connection_id)
    if ticket and held.filter(broker_position_id=ticket).exists():
        raise ConflictError(Code.STATE_CONFLICT, "We hold this position now.")


# ---- quantities, levels, prices ----------------------------------------------------------------
def adopt_quantity(decided: Decided, levels: Levels, by: User | None) -> None:
    """Set our quantity to the broker's: adopt its surplus, or close ours as closed outside."""
    item = decided.item
    if broker_has_more(item):
        adopt_position(item, surplus_of(item), levels, by=by)
    elif not auto_correction.shrink(str(item.connection_id), item.evidence):
        raise ConflictError(Code.STATE_CONFLICT, "What we hold of it has changed meanwhile.")


def surplus_of(item: DriftItem) -> BrokerEvidence:
    """Return what the broker holds beyond ours, at the price that explains its average price."""
    ours, theirs = item.evidence["ours"], item.evidence["theirs"]
    held = ExecutionPosition.objects.open().filter(
        connection_id=item.connection_id, broker_position_id=item.evidence["broker_position_id"]
    )
    now = sum((p.quantity for p in held.select_for_update(no_key=True).order_by("id")), Decimal(0))
    if now != Decimal(ours["quantity"]) or ours["side"] != theirs["side"]:
        raise ConflictError(Code.STATE_CONFLICT, "What we hold of it has changed meanwhile.")
    evidence = parse_evidence(item.evidence, quantity=-auto_correction.surplus(item.evidence))
    evidence = replace(evidence, client_order_id="")  # the id belongs to our part
    if ours.get("entry_price") is None or evidence.price is None:
        return evidence
    total = Decimal(theirs["quantity"]) * evidence.price
    extra = divide(total - now * Decimal(ours["entry_price"]), evidence.quantity)
    return replace(evidence, price=extra) if extra > 0 else evidence


def take_levels(decided: Decided, *, theirs: bool) -> None:
    """Take over the broker's levels (theirs), or have ours sent to the broker."""
    item = decided.item
    held = item.evidence["theirs"]
    if item.position_id is None or not auto_correction.take_levels(
        item.position_id, held, stop=theirs, target=theirs
    ):
        raise ConflictError(
            Code.STATE_CONFLICT,
            "The position is closed, or the broker now holds a level that was missing. Compare the"
            " account again and decide on the new difference.",
        )
    decided.has_pending_actions = not theirs


def adopt_price(item: DriftItem) -> None:
    """Set our entry price to the broker's."""
    price = Decimal(item.evidence["theirs"]["entry_price"])
    mine = ExecutionPosition.objects.open().filter(pk=item.position_id or 0)
    if not mine.update(entry_price=price, last_activity_at=timezone.now()):
        raise ConflictError(Code.STATE_CONFLICT, "The position is closed.")


def relink_order(decided: Decided, order_id: int) -> None:
    """Give our order the broker's id for it, or the fill that the broker's position proves."""
    item, evidence = decided.item, parse_evidence(decided.item.evidence)
    mine = Order.objects.select_for_update(no_key=True).filter(connection=item.connection_id)
    order = mine.filter(pk=order_id).first()
    is_working = item.kind == Code.UNKNOWN_ORDER
    if order is not None and order.reason == Code.RESTORED_UNSENT and order.quantity is None:
        size_from_evidence(order, evidence)
    matches = (
        order is not None
        and order.is_entry
        and order.aggregate_id is None
        and order.symbol == evidence.symbol
        and order.side == evidence.side
        and order.filled_quantity == 0
        and order.quantity is not None
        and order.quantity >= evidence.quantity
        and order.status in ((*IN_FLIGHT, *AT_BROKER) if is_working else LINKABLE)
    )
    if order is None or not matches:
        raise ConflictError(Code.DRIFT_TARGET_NOT_APPLICABLE, f"Order {order_id} does not match.")
    if has_own_id(evidence):
        same = Order.objects.filter(client_order_id__in=all_attempts(evidence.client_order_id))
        if same.exclude(pk=order.pk).exists():
            raise ConflictError(Code.STATE_CONFLICT, "An order with this id exists now.")
        run(  # absence confirmations of the previous id prove nothing
            "UPDATE execution_order SET client_order_id = %s, attempt = right(%s, 1)::int,"
            " broker_order_id = %s, lookup_after = clock_timestamp(), absence_confirmations = 0,"
            " lookup_claimed_until = NULL, fence = fence + 1 WHERE id = %s",
            (
                evidence.client_order_id,
                evidence.client_order_id,
                evidence.broker_order_id,
                order.pk,
            ),
        )
    elif is_working:
        Order.objects.filter(pk=order.pk).update(broker_order_id=evidence.broker_order_id)
    else:
        fill = confirmed_fill(item, evidence, order.client_order_id or "", how="linked")
        apply_reports([fill])
    item.order_id = order.pk


def relink_position(decided: Decided, position_id: int) -> None:
    """Give our position the broker's id, unless its present id still exists at the broker."""
    item, evidence = decided.item, parse_evidence(decided.item.evidence)
    position = ExecutionPosition.objects.select_for_update(no_key=True).filter(pk=position_id)
    mine = position.open().filter(connection_id=item.connection_id, symbol=evidence.symbol).first()
    if mine is None or mine.side != evidence.side:
        raise ConflictError(
            Code.DRIFT_TARGET_NOT_APPLICABLE, f"Position {position_id} does not match."
        )
    if mine.broker_position_id and mine.missing_since is None:
        detail = (
            f"Position {position_id} is linked to {mine.broker_position_id}, which still exists."
        )
        raise ConflictError(Code.DRIFT_TARGET_NOT_APPLICABLE, detail)
    ExecutionPosition.objects.filter(pk=mine.pk).update(
        broker_position_id=evidence.broker_position_id,
        missing_since=None,
        last_activity_at=timezone.now(),
    )
    item.position_id = mine.pk


# ---- closing -----------------------------------------------------------------------------------
def close_there(decided: Decided, evidence: BrokerEvidence, by: User | None) -> None:
    """Adopt it, then close it like any trade of ours."""
    position_id = adopt_position(
        decided.item, evidence, Levels(), by=by, pending_action=PendingAction.CLOSE.value
    )
    if position_id is None:
        decided.has_pending_actions = True
        return
    detail = f"drift {decided.item.pk}" + (f", by {by.get_username()}" if by else "")
    closer = closers([position_id], by)[position_id]
    exits = open_exits([ExitRequest(position_id, closer, detail=detail)])
    decided.order_ids += [exit_.order_id for exit_ in exits]


def close_here(item: DriftItem) -> None:
    """Close our position that the broker lacks.

    Raises ConflictError STATE_CONFLICT if it is closed, or while an exit of it is active.
    """
    position = ExecutionPosition.objects.get(pk=item.position_id or 0)
    if not position.is_open:
        raise ConflictError(Code.STATE_CONFLICT, "The position is closed.")
    if rows(ACTIVE_EXITS, (position.pk, array([*IN_FLIGHT, *AT_BROKER]))):
        raise ConflictError(Code.STATE_CONFLICT, "An exit of it is active; wait for its result.")
    apply_reports(external_close_report({position.pk: None}))


def end_order(item: DriftItem, by: User | None) -> None:
    """Cancel our order that the broker does not have, as decided.

    Raises ConflictError STATE_CONFLICT if it has ended.
    """
    order = Order.objects.filter(pk=item.order_id or 0).first()
    if order is None or order.status not in (*IN_FLIGHT, *AT_BROKER):
        raise ConflictError(Code.STATE_CONFLICT, "The order has ended.")
    name = by.get_username() if by else "the system"
    apply_reports(
        [
            OrderReport(
                kind=ReportKind.CANCELLED,
                connection_id=str(item.connection_id),
                client_order_id=order.sent_as,
                broker_order_id=order.broker_order_id,
                code=Code.DRIFT_DECIDED,
                detail=f"Not at the broker, confirmed by {name}.",
            )
        ]
    )
