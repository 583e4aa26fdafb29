"""What a PATCH of an order changes: its entry, or the levels of the position that it opened."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from common.db.trials import trial_errors
from common.errors import ConflictError, InvalidInputError, raise_all
from common.reason_codes import Code
from execution import services
from execution.changes.changeable_orders import may_be_changed, obstacle
from execution.changes.order_changes import change_order
from execution.models import Order
from execution.submission.change_terms import WantedTerms
from positions.models import ExecutionPosition
from users.models import User

TERMS = frozenset({"quantity", "limit_price", "stop_price", "valid_until"})
LEVELS = frozenset({"stop_loss", "take_profit"})


def apply_change(order: Order, data: Mapping[str, Any], *, by: User) -> None:
    """Change an entry, or levels of its position. Enqueue pending actions on commit.

    Raises as `change_order` and `modify_position` do.
    """
    if not _is_of_entry(order, data):
        change_levels(_position_of(order), data, by=by)
        return
    wanted = {name: value for name, value in data.items() if value is not None}

    def change() -> object:
        return change_order(order.pk, WantedTerms(**wanted), by=by)

    if removed := [name for name, value in data.items() if value is None]:
        detail = "It can be removed when the position is open."
        errors = [InvalidInputError(Code.FIELD_INVALID, detail, field=name) for name in removed]
        raise_all([*errors, *(trial_errors(change) if wanted else ())])
    change()


def _is_of_entry(order: Order, data: Mapping[str, Any]) -> bool:
    """Return whether a change is one of the entry.

    Levels of a position that is open are its own, unless its entry still works.
    """
    is_unfilled = order.is_entry and order.done_at is None and not order.filled_quantity
    if data.keys() <= LEVELS and not is_unfilled:
        return may_be_changed(order) and None not in data.values() and obstacle(order) is None
    return True


def _position_of(order: Order) -> ExecutionPosition:
    position = order.position or order.opened_position
    if position is None or not position.is_open:
        detail = "It has no open position whose levels could be changed."
        raise ConflictError(Code.STATE_CONFLICT, detail)
    return position


def change_levels(position: ExecutionPosition, levels: Mapping[str, Any], *, by: User) -> None:
    """Change levels of a position; those that are not sent stay. Raises as `modify_position`."""
    with transaction.atomic():
        rows = ExecutionPosition.objects.select_for_update(no_key=True)
        current = rows.get(pk=position.pk)  # a level that is not sent stays
        services.modify_position(
            position.pk,
            stop_loss=levels.get("stop_loss", current.sl),
            take_profit=levels.get("take_profit", current.tp),
            by=by,
        )
