"""Who may trade on which account: asked by what people do with orders and positions."""

from collections.abc import Collection
from uuid import UUID

from common.permissions import Right, require
from connections.models import ExecutionConnection
from users.models import User


def require_on_accounts(
    connection_ids: Collection[UUID], by: User | None, right: Right = Right.TRADE
) -> None:
    """Raise NotAllowedError unless `by` has the right or owns all of these connections.

    None is the system itself. Staff go by their roles, without a look at whose they are.
    """
    if by is None or by.is_staff:
        require(by, right)
        return
    rows = ExecutionConnection.objects.filter(pk__in=connection_ids)
    for owner_id in rows.order_by().values_list("user_id", flat=True).distinct():
        require(by, right, owner_id=owner_id)
