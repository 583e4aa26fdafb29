"""Check who may act on the orders and positions of an account."""

from collections.abc import Collection
from uuid import UUID

from common.permissions import Right, require
from connections.models import ExecutionConnection
from users.models import User


def require_on_accounts(
    connection_ids: Collection[UUID], by: User | None, right: Right = Right.TRADE
) -> None:
    """Raise NotAllowedError unless `by` has the right or owns all of these connections.

    by: None is the system itself. The role of staff decides for all connections.
    """
    if by is None or by.is_staff:
        require(by, right)
        return
    rows = ExecutionConnection.objects.filter(pk__in=connection_ids)
    for owner_id in rows.order_by().values_list("user_id", flat=True).distinct():
        require(by, right, owner_id=owner_id)


def require_on_account(connection: ExecutionConnection, by: User | None) -> None:
    """Raise NotAllowedError unless `by` may trade on this connection, which was read already."""
    if by is None or by.is_staff:
        require(by, Right.TRADE)
    else:
        require(by, Right.TRADE, owner_id=connection.user_id)
