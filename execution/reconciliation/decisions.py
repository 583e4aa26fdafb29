"""Deciding about a difference: adopt, relink, close or ignore it. Each is one transaction.

Who decided what and when stays on the item and in the execution log. Whatever is sent to a broker
because of it goes the normal way of an exit, a cancel or a moved level: never a second one.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction
from django.utils import timezone

from common.errors import ConflictError, InvalidInputError
from common.formatting import sentence
from common.permissions import Right
from common.reason_codes import Code
from common.sql import run
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


ABOUT_THEIRS = (
    Code.UNKNOWN_POSITION,
    Code.UNKNOWN_ORDER,
    Code.QUANTITY_DIFFERS,
    Code.LEVELS_DIFFER,
    Code.PRICE_DIFFERS,
)


def actions_of(item: DriftItem) -> tuple[Decision, ...]:
    """Return what can be decided about an item now; nothing of one that is settled."""
    if item.state not in (DriftItem.State.OPEN, DriftItem.State.IGNORED):
        return ()
    fitting = ALLOWED_DECISIONS.get(item.kind, (IGNORE,))
    if item.kind in ABOUT_THEIRS and not isinstance(item.evidence.get("theirs"), dict):
        fitting = (IGNORE,)  # a report came about it, and the broker's books do not show it
    elif item.kind == Code.QUANTITY_DIFFERS and not broker_has_more(item):
        fitting = (ADOPT, IGNORE)
    if item.state == DriftItem.State.IGNORED:
        return tuple(one for one in fitting if one is not IGNORE)
    return fitting


def adopt(item_id: int, *, by: User | None, levels: Levels | None = None) -> Decided:
    """Take the broker's side over: what it holds becomes ours, and is guarded like ours.

    An unknown position or order becomes a trade of the owner's private feed, with the levels that
    the broker holds unless others are given; a quantity, levels or an entry price become the
    broker's. Raises ConflictError STATE_CONFLICT, DRIFT_ACTION_NOT_APPLICABLE and what `adopting`
    raises.
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
    """Say that an unknown position or order is really that of an order or position of ours.

    Ours gets the broker's ids, and what filled there. Of levels that differ: ours hold, and the
    broker is told them again. Raises InvalidInputError FIELD_REQUIRED without a target;
    ConflictError DRIFT_TARGET_NOT_APPLICABLE for one that does not fit, STATE_CONFLICT,
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
            detail = "Name the order or position that it really is."
            raise InvalidInputError(Code.FIELD_REQUIRED, detail, field="order")
        return decided


def close(item_id: int, *, by: User | None) -> Decided:
    """End it: what the broker holds and we do not want is closed or cancelled there; what only we
    hold is closed here. Raises as `adopt` does."""
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
                reconciliation_requests.request_reconciliation(
                    [item.connection_id]
                )  # which then asks to cancel it
                decided.needs_comparison = True
            case _:
                end_order(item, by)
        return decided


def ignore(item_id: int, *, by: User | None, reason: str) -> Decided:
    """Leave a difference as it is, until it changes. Raises InvalidInputError FIELD_REQUIRED
    without a reason; ConflictError STATE_CONFLICT."""
    if not reason.strip():
        raise InvalidInputError(Code.FIELD_REQUIRED, "Say why it is left.", field="reason")
    with _decision(item_id, IGNORE, by, reason.strip()) as decided:
        return decided


@contextmanager
def _decision(
    item_id: int, decision: Decision, by: User | None, reason: str = ""
) -> Iterator[Decided]:
    """Lock an item, let it be dealt with, and write down who decided what."""
    with transaction.atomic():
        found = DriftItem.objects.select_related("connection")
        item = found.select_for_update(no_key=True, of=("self",)).get(pk=item_id)
        check_owner(item.connection, by, Right.RECONCILE)
        if item.state not in (DriftItem.State.OPEN, DriftItem.State.IGNORED):
            raise ConflictError(Code.STATE_CONFLICT, f"The difference is {item.state} already.")
        if decision not in actions_of(item):
            detail = f"{decision.label}: not for this one. {sentence(item.kind)}"
            raise ConflictError(Code.DRIFT_ACTION_NOT_APPLICABLE, detail)
        with for_all_tenants():  # fills are written by what works for everybody
            yield Decided(item)
        _record_decision(item, decision, by, reason)


def _record_decision(item: DriftItem, decision: Decision, by: User | None, reason: str) -> None:
    name = by.get_username() if by else "the system"
    item.decision, item.decided_by, item.decided_at = decision, by, timezone.now()
    item.resolution = f"{decision.label}, decided by {name}." + (f" {reason}" if reason else "")
    item.resolution = item.resolution[:300]
    if decision is IGNORE:
        item.state = DriftItem.State.IGNORED
    elif item.kind != Code.ORDER_STILL_WORKING:  # that one stays until the broker has cancelled it
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
