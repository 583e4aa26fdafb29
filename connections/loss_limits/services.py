"""Add, change and delete loss limits. Public through `connections.services`."""

from typing import Any

from django.db import transaction

from common.db.row_changes import change_row
from common.db.row_faults import row_errors
from common.errors import raise_all
from common.permissions import Right, require
from common.web.quotas import require_quota
from connections.accounts.permissions import check_owner
from connections.models import LossLimit
from connections.twin_links import follow_twin, refuse_twin
from users.models import User


@transaction.atomic
def add_loss_limit(limit: LossLimit, *, by: User | None) -> LossLimit:
    """Add a limit to a preset or a subscription; it is checked within a minute.

    Raises NotAllowedError; InvalidInputError with all faults: broken rules of the limit, and a
    maximum that is looser than that of the preset's limit of the same window and measure;
    ConflictError QUOTA_REACHED.
    """
    _check_right(limit, by)
    raise_all(row_errors(limit))
    owner_id = limit.owner_id
    require_quota("loss limits", owner_id, LossLimit.objects.owned_by(owner_id))
    limit.save(force_insert=True)
    _follow(limit)
    return limit


@transaction.atomic
def change_loss_limit(limit_id: int, *, by: User | None, **changes: Any) -> LossLimit:
    """Change a limit. A pause that it has caused stays. Raises as `add_loss_limit`."""
    limit = LossLimit.objects.select_for_update(no_key=True).get(pk=limit_id)
    _check_right(limit, by)
    for name, value in changes.items():
        setattr(limit, name, value)
    raise_all(row_errors(limit))
    changed = change_row(limit, changes)
    _follow(limit)
    return changed


@transaction.atomic
def delete_loss_limit(limit_id: int, *, by: User | None) -> None:
    """Delete a limit. A pause that it has caused stays until its end. Raises NotAllowedError."""
    limit = LossLimit.objects.select_for_update(no_key=True).get(pk=limit_id)
    _check_right(limit, by)
    subscription_id = limit.subscription_id
    limit.delete()
    if subscription_id is not None:
        follow_twin(subscription_id=subscription_id)


def _follow(limit: LossLimit) -> None:
    if limit.subscription_id is not None:
        follow_twin(subscription_id=limit.subscription_id)


def _check_right(limit: LossLimit, by: User | None) -> None:
    if limit.preset is not None:
        require(by, Right.LIMITS, owner_id=limit.preset.user_id)
    elif limit.subscription is not None:
        check_owner(limit.subscription.connection, by, Right.LIMITS)
        refuse_twin(limit.subscription.connection)
