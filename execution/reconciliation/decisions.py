"""Decisions on drift items: adopt, relink, close or ignore. Each is one transaction.

The item and the execution log keep who decided what and when. A decision sends nothing to a broker
on a path of its own: it creates an exit, a cancel or a level change like any other.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction
from django.utils import timezone

from common.db.sql import run
from common.errors import ConflictError, InvalidInputError
from common.permissions import Right
from common.reason_codes import Code
from common.web.formatting import sentence
from connections.services import check_owner
from execution.base import reconciliation_requests
from execution.models import Decision, DriftItem
from execution.reconciliation.adopt import Levels, adopt_position
from execution.reconciliation.effects import (
    Decided,
    adopt_price,
    adopt_quantity,
    broker_has_more,
    close_here,
    close_there,
    end_order,
    reject_known,
    relink_order,
    relink_position,
    surplus_of,
    take_levels,
)
from execution.reconciliation.evidence import parse_evidence
from users.models import User
from users.tenancy import for_all_tenants

ADOPT, RELINK, CLOSE, IGNORE = Decision.ADOPT, Decision.RELINK, Decision.CLOSE, Decision.IGNORE

ALLOWED_DECISIONS: dict[str, tuple[Decision, ...]] = {
    Code.UNKNOWN_POSITION: (ADOPT, RELINK, CLOSE, IGNORE),
    Code.UNKNOWN_ORDER: (ADOPT, RELINK, CLOSE, IGNORE),
    Code.POSITION_MISSING: (CLOSE, IGNORE),
    Code.QUANTITY_DIFFERS: (ADOPT, CLOSE, IGNORE),
    Code.LEVELS_DIFFER: (ADOPT, RELINK, IGNORE),
    Code.PRICE_DIFFERS: (ADOPT, IGNORE),
    Code.ORDER_MISSING: (CLOSE, IGNORE),
    Code.ORDER_STILL_WORKING: (CLOSE, IGNORE),
    Code.LOOKUP_WINDOW_EXCEEDED: (CLOSE, IGNORE),
}

NEEDS_BROKER_STATE = (
    Code.UNKNOWN_POSITION,
    Code.UNKNOWN_ORDER,
    Code.QUANTITY_DIFFERS,
    Code.LEVELS_DIFFER,
    Code.PRICE_DIFFERS,
)


def actions_of(item: DriftItem) -> tuple[Decision, ...]:
    """Return the decisions that are possible now; none for a resolved item."""
    if item.state not in (DriftItem.State.OPEN, DriftItem.State.IGNORED):
        return ()
    allowed = ALLOWED_DECISIONS.get(item.kind, (IGNORE,))
    if item.kind in NEEDS_BROKER_STATE and not isinstance(item.evidence.get("theirs"), dict):
        allowed = (IGNORE,)  # known from a report only; no read has shown it
    elif item.kind == Code.QUANTITY_DIFFERS and not broker_has_more(item):
        allowed = (ADOPT, IGNORE)
    if item.state == DriftItem.State.IGNORED:
        return tuple(decision for decision in allowed if decision is not IGNORE)
    return allowed


def adopt(item_id: int, *, by: User | None, levels: Levels | None = None) -> Decided:
    """Take over the broker's state.

    An unknown position or order becomes a trade of the owner's private feed, with the broker's
    levels unless others are given. A quantity, levels or an entry price are set to the broker's.
    Raises ConflictError STATE_CONFLICT or DRIFT_ACTION_NOT_APPLICABLE, and as `adopt_position`.
    """
    with _decision(item_id, ADOPT, by) as decided:
        item = decided.item
        match item.kind:
            case Code.UNKNOWN_POSITION | Code.UNKNOWN_ORDER:
                reject_known(item)
                adopt_position(item, parse_evidence(item.evidence), levels or Levels(), by=by)
            case Code.QUANTITY_DIFFERS:
                adopt_quantity(decided, levels or Levels(), by)
            case Code.LEVELS_DIFFER:
                take_levels(decided, theirs=True)
            case _:
                adopt_price(item)
        return decided


def relink(
    item_id: int,
    *,
    by: User | None,
    order_id: int | None = None,
    position_id: int | None = None,
) -> Decided:
    """Attach an unknown position or order to an order or position of ours.

    Ours gets the broker's ids and fills. If levels differ, ours are kept and sent to the broker
    again. Raises InvalidInputError FIELD_REQUIRED without a target; ConflictError
    DRIFT_TARGET_NOT_APPLICABLE for a target that does not match, STATE_CONFLICT or
    DRIFT_ACTION_NOT_APPLICABLE.
    """
    with _decision(item_id, RELINK, by) as decided:
        if decided.item.kind == Code.LEVELS_DIFFER:
            take_levels(decided, theirs=False)
        elif order_id is not None:
            relink_order(decided, order_id)
        elif position_id is not None and decided.item.kind == Code.UNKNOWN_POSITION:
            relink_position(decided, position_id)
        else:
            detail = "Enter the order or position of ours that it belongs to."
            raise InvalidInputError(Code.FIELD_REQUIRED, detail, field="order")
        return decided


def close(item_id: int, *, by: User | None) -> Decided:
    """Close or cancel at the broker what only the broker holds; close here what only we hold.

    Raises as `adopt` does.
    """
    with _decision(item_id, CLOSE, by) as decided:
        item = decided.item
        match item.kind:
            case Code.UNKNOWN_POSITION | Code.UNKNOWN_ORDER:
                reject_known(item)
                close_there(decided, parse_evidence(item.evidence), by)
            case Code.QUANTITY_DIFFERS:
                close_there(decided, surplus_of(item), by)
            case Code.POSITION_MISSING:
                close_here(item)
            case Code.ORDER_STILL_WORKING:
                # The comparison then cancels it at the broker.
                reconciliation_requests.request_reconciliation([item.connection_id])
                decided.needs_comparison = True
            case _:
                end_order(item, by)
        return decided


def ignore(item_id: int, *, by: User | None, reason: str) -> Decided:
    """Ignore a difference until it changes.

    Raises InvalidInputError FIELD_REQUIRED without a reason; ConflictError STATE_CONFLICT.
    """
    if not reason.strip():
        raise InvalidInputError(Code.FIELD_REQUIRED, "Enter a reason.", field="reason")
    with _decision(item_id, IGNORE, by, reason.strip()) as decided:
        return decided


@contextmanager
def _decision(
    item_id: int, decision: Decision, by: User | None, reason: str = ""
) -> Iterator[Decided]:
    """Lock an item, yield it for the decision's effects, then record the decision."""
    with transaction.atomic():
        items = DriftItem.objects.select_related("connection")
        item = items.select_for_update(no_key=True, of=("self",)).get(pk=item_id)
        check_owner(item.connection, by, Right.RECONCILE)
        if item.state not in (DriftItem.State.OPEN, DriftItem.State.IGNORED):
            raise ConflictError(Code.STATE_CONFLICT, f"The difference is already {item.state}.")
        if decision not in actions_of(item):
            detail = f"{decision.label} is not possible here. {sentence(item.kind)}"
            raise ConflictError(Code.DRIFT_ACTION_NOT_APPLICABLE, detail)
        with for_all_tenants():  # reports are applied with access to all tenants
            yield Decided(item)
        _record_decision(item, decision, by, reason)


def _record_decision(item: DriftItem, decision: Decision, by: User | None, reason: str) -> None:
    name = by.get_username() if by else "the system"
    item.decision, item.decided_by, item.decided_at = decision, by, timezone.now()
    item.resolution = f"{decision.label}, decided by {name}." + (f" {reason}" if reason else "")
    item.resolution = item.resolution[:300]
    if decision is IGNORE:
        item.state = DriftItem.State.IGNORED
    elif item.kind != Code.ORDER_STILL_WORKING:  # stays open until the broker has cancelled it
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
