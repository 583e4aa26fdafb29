"""Deciding about a difference: adopt, relink, close or ignore it. Each is one transaction.

Who decided what and when stays on the item and in the execution log. Whatever is sent to a broker
because of it goes the normal way of an exit, a cancel or a moved level: never a second one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal

from django.db import transaction
from django.utils import timezone

from brokers.base import OrderReport, ReportKind
from common.codes import Code
from common.errors import ConflictError, InvalidInputError
from common.money import divide
from common.shown import sentence
from common.sql import array, rows, run
from connections.rights import check_owner
from execution import correcting, reconcile
from execution.adopting import Found, Levels, found_in, measure, proven_fill, take_over
from execution.exits import ExitWish, open_exits
from execution.ids import all_attempts
from execution.missing import closed_outside
from execution.models import AT_BROKER, IN_FLIGHT, Decision, DriftItem, Order, Status, Wish
from execution.reports import apply_reports
from positions.models import ExecutionPosition
from users.models import User
from users.tenancy import for_all_tenants

ADOPT, RELINK, CLOSE, IGNORE = Decision.ADOPT, Decision.RELINK, Decision.CLOSE, Decision.IGNORE

FITTING: dict[str, tuple[Decision, ...]] = {
    Code.UNKNOWN_POSITION: (ADOPT, RELINK, CLOSE, IGNORE),
    Code.UNKNOWN_ORDER: (ADOPT, RELINK, CLOSE, IGNORE),
    Code.POSITION_MISSING: (CLOSE, IGNORE),
    Code.QUANTITY_DIFFERS: (ADOPT, CLOSE, IGNORE),
    Code.LEVELS_DIFFER: (ADOPT, RELINK, IGNORE),
    Code.PRICE_DIFFERS: (ADOPT, IGNORE),
    Code.ORDER_MISSING: (CLOSE, IGNORE),
    Code.ORDER_RESTS: (CLOSE, IGNORE),
    Code.BEYOND_LOOKUP: (CLOSE, IGNORE),
}


ABOUT_THEIRS = (
    Code.UNKNOWN_POSITION,
    Code.UNKNOWN_ORDER,
    Code.QUANTITY_DIFFERS,
    Code.LEVELS_DIFFER,
    Code.PRICE_DIFFERS,
)


@dataclass(slots=True)
class Decided:
    """What a decision started. Ids are to be rung on commit, wishes and comparisons too."""

    item: DriftItem
    order_ids: list[int] = field(default_factory=list)
    wishes: bool = False
    comparison: bool = False


def actions_of(item: DriftItem) -> tuple[Decision, ...]:
    """Return what can be decided about an item now; nothing of one that is settled."""
    if item.state not in (DriftItem.State.OPEN, DriftItem.State.IGNORED):
        return ()
    fitting = FITTING.get(item.kind, (IGNORE,))
    if item.kind in ABOUT_THEIRS and not isinstance(item.evidence.get("theirs"), dict):
        fitting = (IGNORE,)  # a report came about it, and the broker's books do not show it
    elif item.kind == Code.QUANTITY_DIFFERS and not _broker_has_more(item):
        fitting = (ADOPT, IGNORE)
    if item.state == DriftItem.State.IGNORED:
        return tuple(one for one in fitting if one is not IGNORE)
    return fitting


def _broker_has_more(item: DriftItem) -> bool:
    return correcting.surplus(item.evidence) < 0


def adopt(item_id: int, *, by: User | None, levels: Levels | None = None) -> Decided:
    """Take the broker's side over: what it holds becomes ours, and is guarded like ours.

    An unknown position or order becomes a trade of the owner's private feed, with the levels that
    the broker holds unless others are given; a quantity, levels or an entry price become the
    broker's. Raises ConflictError STATE_CONFLICT, DRIFT_ACTION_UNFIT and what `adopting` raises.
    """
    with _deciding(item_id, ADOPT, by) as decided:
        item = decided.item
        match item.kind:
            case Code.UNKNOWN_POSITION | Code.UNKNOWN_ORDER:
                _refuse_known(item)
                take_over(item, found_in(item.evidence), levels or Levels(), by=by)
            case Code.QUANTITY_DIFFERS:
                _adopt_quantity(decided, levels or Levels(), by)
            case Code.LEVELS_DIFFER:
                _take_levels(decided, theirs=True)
            case _:
                _adopt_price(item)
        return decided


def relink(
    item_id: int,
    *,
    by: User | None,
    order_id: int | None = None,
    position_id: int | None = None,
) -> Decided:
    """Say that an unknown position or order is really that of an order or position of ours.

    Ours gets the broker's ids, and what filled there. Of levels that differ: ours hold, and the
    broker is told them again. Raises InvalidInputError FIELD_REQUIRED without a target;
    ConflictError DRIFT_TARGET_UNFIT for one that does not fit, STATE_CONFLICT,
    DRIFT_ACTION_UNFIT.
    """
    with _deciding(item_id, RELINK, by) as decided:
        if decided.item.kind == Code.LEVELS_DIFFER:
            _take_levels(decided, theirs=False)
        elif order_id is not None:
            _relink_order(decided, order_id)
        elif position_id is not None and decided.item.kind == Code.UNKNOWN_POSITION:
            _relink_position(decided, position_id)
        else:
            detail = "Name the order or position that it really is."
            raise InvalidInputError(Code.FIELD_REQUIRED, detail, field="order")
        return decided


def close(item_id: int, *, by: User | None) -> Decided:
    """End it: what the broker holds and we do not want is closed or cancelled there; what only we
    hold is closed here. Raises as `adopt` does."""
    with _deciding(item_id, CLOSE, by) as decided:
        item = decided.item
        match item.kind:
            case Code.UNKNOWN_POSITION | Code.UNKNOWN_ORDER:
                _refuse_known(item)
                _close_there(decided, found_in(item.evidence), by)
            case Code.QUANTITY_DIFFERS:
                _close_there(decided, _surplus_of(item), by)
            case Code.POSITION_MISSING:
                _close_here(item)
            case Code.ORDER_RESTS:
                reconcile.ask_for([item.connection_id])  # which then asks to cancel it
                decided.comparison = True
            case _:
                _end_order(item, by)
        return decided


def ignore(item_id: int, *, by: User | None, reason: str) -> Decided:
    """Leave a difference as it is, until it changes. Raises InvalidInputError FIELD_REQUIRED
    without a reason; ConflictError STATE_CONFLICT."""
    if not reason.strip():
        raise InvalidInputError(Code.FIELD_REQUIRED, "Say why it is left.", field="reason")
    with _deciding(item_id, IGNORE, by, reason.strip()) as decided:
        return decided


@contextmanager
def _deciding(
    item_id: int, decision: Decision, by: User | None, reason: str = ""
) -> Iterator[Decided]:
    """Lock an item, let it be dealt with, and write down who decided what."""
    with transaction.atomic():
        found = DriftItem.objects.select_related("connection")
        item = found.select_for_update(no_key=True, of=("self",)).get(pk=item_id)
        check_owner(item.connection, by)
        if item.state not in (DriftItem.State.OPEN, DriftItem.State.IGNORED):
            raise ConflictError(Code.STATE_CONFLICT, f"The difference is {item.state} already.")
        if decision not in actions_of(item):
            detail = f"{decision.label}: not for this one. {sentence(item.kind)}"
            raise ConflictError(Code.DRIFT_ACTION_UNFIT, detail)
        with for_all_tenants():  # fills are written by what works for everybody
            yield Decided(item)
        _write_down(item, decision, by, reason)


def _write_down(item: DriftItem, decision: Decision, by: User | None, reason: str) -> None:
    name = by.get_username() if by else "the system"
    item.decision, item.decided_by, item.decided_at = decision, by, timezone.now()
    item.resolution = f"{decision.label}, decided by {name}." + (f" {reason}" if reason else "")
    item.resolution = item.resolution[:300]
    if decision is IGNORE:
        item.state = DriftItem.State.IGNORED
    elif item.kind != Code.ORDER_RESTS:  # that one stays until the broker has cancelled it
        item.state, item.resolved_at = DriftItem.State.RESOLVED, item.decided_at
    item.save(
        update_fields=[
            "decision", "decided_by", "decided_at", "resolution", "state", "resolved_at",
        ]
    )  # fmt: skip
    run(
        "INSERT INTO execution_executionlog (order_id, connection_id, code, detail)"
        " VALUES (%s, %s, %s, left(%s, 300))",
        (
            item.order_id,
            item.connection_id,
            Code.DRIFT_DECIDED.value,
            f"drift {item.pk}, {item.kind} {item.key}: {item.resolution}",
        ),
    )


def _refuse_known(item: DriftItem) -> None:
    """It may have become ours since it was seen: by another decision, or a report that came."""
    ticket = item.evidence.get("broker_position_id")
    held = ExecutionPosition.objects.open().filter(connection_id=item.connection_id)
    if ticket and held.filter(broker_position_id=ticket).exists():
        raise ConflictError(Code.STATE_CONFLICT, "We hold this position by now.")


# ---- quantities, levels, prices ----------------------------------------------------------------
def _adopt_quantity(decided: Decided, levels: Levels, by: User | None) -> None:
    item = decided.item
    if _broker_has_more(item):
        take_over(item, _surplus_of(item), levels, by=by)
    elif not correcting.shrink(str(item.connection_id), item.evidence):
        raise ConflictError(Code.STATE_CONFLICT, "What we hold of it has changed meanwhile.")


def _surplus_of(item: DriftItem) -> Found:
    """What the broker holds beyond ours, at the price that makes its average what it says."""
    ours, theirs = item.evidence["ours"], item.evidence["theirs"]
    held = ExecutionPosition.objects.open().filter(
        connection_id=item.connection_id, broker_position_id=item.evidence["broker_position_id"]
    )
    now = sum((p.quantity for p in held.select_for_update(no_key=True).order_by("id")), Decimal(0))
    if now != Decimal(ours["quantity"]) or ours["side"] != theirs["side"]:
        raise ConflictError(Code.STATE_CONFLICT, "What we hold of it has changed meanwhile.")
    found = found_in(item.evidence, quantity=-correcting.surplus(item.evidence))
    found = replace(found, client_order_id="")  # that is the id of our part
    if ours.get("entry_price") is None or found.price is None:
        return found
    total = Decimal(theirs["quantity"]) * found.price
    extra = divide(total - now * Decimal(ours["entry_price"]), found.quantity)
    return replace(found, price=extra) if extra > 0 else found


def _take_levels(decided: Decided, *, theirs: bool) -> None:
    item = decided.item
    held = item.evidence["theirs"]
    if item.position_id is None or not correcting.take_levels(
        item.position_id, held, stop=theirs, target=theirs
    ):
        raise ConflictError(Code.STATE_CONFLICT, "The position is closed.")
    decided.wishes = not theirs


def _adopt_price(item: DriftItem) -> None:
    price = Decimal(item.evidence["theirs"]["entry_price"])
    mine = ExecutionPosition.objects.open().filter(pk=item.position_id or 0)
    if not mine.update(entry_price=price, touched_at=timezone.now()):
        raise ConflictError(Code.STATE_CONFLICT, "The position is closed.")


# ---- linking -----------------------------------------------------------------------------------
LINKABLE = (
    *IN_FLIGHT, *AT_BROKER, Status.FAILED, Status.REJECTED, Status.CANCELLED, Status.EXPIRED,
)  # fmt: skip


def _relink_order(decided: Decided, order_id: int) -> None:
    """Give an order the id that the broker knows it by, or the fill that its position proves."""
    item, found = decided.item, found_in(decided.item.evidence)
    mine = Order.objects.select_for_update(no_key=True).filter(connection=item.connection_id)
    order = mine.filter(pk=order_id).first()
    resting = item.kind == Code.UNKNOWN_ORDER
    if order is not None and order.reason == Code.RESTORED_UNSENT and order.quantity is None:
        measure(order, found)
    fits = (
        order is not None
        and order.is_entry
        and order.symbol == found.symbol
        and order.side == found.side
        and order.filled_quantity == 0
        and order.quantity is not None
        and order.quantity >= found.quantity
        and order.status in ((*IN_FLIGHT, *AT_BROKER) if resting else LINKABLE)
    )
    if order is None or not fits:
        raise ConflictError(Code.DRIFT_TARGET_UNFIT, f"Order {order_id} does not fit.")
    if found.is_ours:
        same = Order.objects.filter(client_order_id__in=all_attempts(found.client_order_id))
        if same.exclude(pk=order.pk).exists():
            raise ConflictError(Code.STATE_CONFLICT, "We have an order of this id by now.")
        run(
            "UPDATE execution_order SET client_order_id = %s, attempt = right(%s, 1)::int,"
            " broker_order_id = %s, lookup_after = clock_timestamp(), proofs = 0,"
            " fence = fence + 1 WHERE id = %s",  # what was asked about the other id proves nothing
            (found.client_order_id, found.client_order_id, found.broker_order_id, order.pk),
        )
    elif resting:
        Order.objects.filter(pk=order.pk).update(broker_order_id=found.broker_order_id)
    else:
        fill = proven_fill(item, found, order.client_order_id or "", how="linked")
        apply_reports([fill])
    item.order_id = order.pk


def _relink_position(decided: Decided, position_id: int) -> None:
    """Give a position of ours the broker's number; it must not have one that is there as well."""
    item, found = decided.item, found_in(decided.item.evidence)
    position = ExecutionPosition.objects.select_for_update(no_key=True).filter(pk=position_id)
    mine = position.open().filter(connection_id=item.connection_id, symbol=found.symbol).first()
    if mine is None or mine.side != found.side:
        raise ConflictError(Code.DRIFT_TARGET_UNFIT, f"Position {position_id} does not fit.")
    if mine.broker_position_id and mine.missing_since is None:
        detail = f"Position {position_id} is linked with {mine.broker_position_id}, which is there."
        raise ConflictError(Code.DRIFT_TARGET_UNFIT, detail)
    ExecutionPosition.objects.filter(pk=mine.pk).update(
        broker_position_id=found.broker_position_id,
        missing_since=None,
        touched_at=timezone.now(),
    )
    item.position_id = mine.pk


# ---- closing -----------------------------------------------------------------------------------
def _close_there(decided: Decided, found: Found, by: User | None) -> None:
    """Take it over, and close it as anything of ours is closed."""
    position_id = take_over(decided.item, found, Levels(), by=by, wish=Wish.CLOSE.value)
    if position_id is None:
        decided.wishes = True
        return
    detail = f"drift {decided.item.pk}" + (f", by {by.get_username()}" if by else "")
    exits = open_exits([ExitWish(position_id, "close", detail=detail)])
    decided.order_ids += [exit_.order_id for exit_ in exits]


UNDER_WAY = """
SELECT id FROM execution_order WHERE position_id = %s AND status = ANY(%s::text[])
"""


def _close_here(item: DriftItem) -> None:
    """Close ours where the broker has none; an exit that is under way answers first."""
    position = ExecutionPosition.objects.get(pk=item.position_id or 0)
    if not position.is_open:
        raise ConflictError(Code.STATE_CONFLICT, "The position is closed.")
    if rows(UNDER_WAY, (position.pk, array([*IN_FLIGHT, *AT_BROKER]))):
        raise ConflictError(Code.STATE_CONFLICT, "An exit of it is under way; it answers first.")
    apply_reports(closed_outside({position.pk: None}))


def _end_order(item: DriftItem, by: User | None) -> None:
    """End an order of ours that the broker does not have, by somebody's word."""
    order = Order.objects.filter(pk=item.order_id or 0).first()
    if order is None or order.status not in (*IN_FLIGHT, *AT_BROKER):
        raise ConflictError(Code.STATE_CONFLICT, "The order has ended.")
    name = by.get_username() if by else "the system"
    apply_reports(
        [
            OrderReport(
                kind=ReportKind.CANCELLED,
                connection_id=str(item.connection_id),
                client_order_id=order.client_order_id or "",
                broker_order_id=order.broker_order_id,
                code=Code.DRIFT_DECIDED,
                detail=f"Not at the broker, says {name}.",
            )
        ]
    )
