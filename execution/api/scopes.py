"""The scope that the body of cancel-all and close-all names."""

from typing import Any

from brokers.registry import broker_types
from common.errors import InvalidInputError
from common.reason_codes import Code
from connections.models import KillSwitch
from connections.services import HaltTarget
from execution.models import Order
from execution.scoped_actions import ActionScope
from positions.models import ExecutionPosition
from signals.models import Feed
from signals.selectors import feeds_for
from signals.symbols import read_pair
from users.models import User

Scope = KillSwitch.Scope
CHOICES = ("connection", "signal", "feed", "symbol", "broker_type", "user")


def read_scope(data: dict[str, Any], user: User) -> ActionScope:
    """Return the scope of a valid body. Raises InvalidInputError.

    Operators must choose explicitly, since they reach every account.
    """
    chosen = {name: data[name] for name in CHOICES if name in data}
    if user.is_operator and not (data["all"] or chosen):
        detail = f"As an operator, send {', '.join(CHOICES)} or all: true."
        raise InvalidInputError(Code.FIELD_REQUIRED, detail, field="all")
    signal_id = chosen.pop("signal", None)
    return ActionScope(
        tuple(_target(name, value, user) for name, value in chosen.items()), signal_id
    )


def _target(name: str, value: Any, user: User) -> HaltTarget:
    if name == "connection":
        return HaltTarget(Scope.CONNECTION, connection_id=value)
    if name == "user":
        if value != user.pk and not user.is_operator:
            raise InvalidInputError(Code.FIELD_INVALID, "This is not you.", field="user")
        return HaltTarget(Scope.USER, user_id=value)
    if name == "feed":
        return HaltTarget(Scope.FEED, feed_id=_feed_id(value, user))
    if name == "symbol":
        try:
            return HaltTarget(Scope.SYMBOL, pair=read_pair(value))
        except InvalidInputError as error:
            raise InvalidInputError(error.code, error.detail, field="symbol") from error
    if value not in broker_types():
        detail = f"There are: {', '.join(sorted(broker_types()))}."
        raise InvalidInputError(Code.FIELD_INVALID, detail, field="broker_type")
    return HaltTarget(Scope.BROKER_TYPE, broker_type=value)


def _feed_id(slug: str, user: User) -> int:
    """Return the id of a feed that the user sees, or whose signals their accounts took."""
    feed = Feed.objects.filter(slug=slug).first()
    if feed is not None and (
        feeds_for(user).filter(pk=feed.pk).exists()
        or Order.objects.filter(signal__feed=feed, connection__user=user).exists()
        or ExecutionPosition.objects.filter(signal__feed=feed, connection__user=user).exists()
    ):
        return int(feed.pk)
    detail = "You see no feed with this slug; GET /feeds/ lists them."
    raise InvalidInputError(Code.FIELD_INVALID, detail, field="feed")
