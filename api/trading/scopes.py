"""The scope that the body of cancel-all and close-all names."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from common.errors import CollectedErrors, InvalidInputError, raise_all
from common.reason_codes import Code
from connections.models import ExecutionConnection, KillSwitch
from connections.services import HaltTarget, read_target
from execution.models import Order
from execution.scoped.actions import ActionScope
from positions.models import ExecutionPosition
from signals.models import Feed, Signal
from signals.selectors import feeds_for
from signals.symbols import read_pair
from users.models import User

Scope = KillSwitch.Scope
CHOICES = ("connection", "signal", "feed", "symbol", "broker_type", "user")


def read_scope(data: dict[str, Any], user: User) -> ActionScope:
    """Return the scope of a valid body. Raises InvalidInputError with all faults: NOT_FOUND for
    an account, signal or user that there is not.

    Operators must choose explicitly, since they reach every account.
    """
    targets, errors = _targets(data, user)
    if user.is_operator and not (data["all"] or any(name in data for name in CHOICES)):
        detail = f"As an operator, send {', '.join(CHOICES)} or all: true."
        errors.append(InvalidInputError(Code.FIELD_REQUIRED, detail, field="all"))
    raise_all(errors)
    raise_all(_missing(data, user))
    return ActionScope(tuple(targets), data.get("signal"))


def _missing(data: dict[str, Any], user: User) -> list[InvalidInputError]:
    """Return an error for each named account, signal or user that there is not for this user.

    A mistyped number must not look as if nothing had been open.
    """
    accounts = ExecutionConnection.objects.all()
    known: dict[str, tuple[str, Any]] = {
        "connection": ("account", accounts if user.is_operator else accounts.filter(user=user)),
        "signal": ("signal", Signal.objects.all()),
        "user": ("user", User.objects.all()),
    }
    return [
        InvalidInputError(
            Code.NOT_FOUND, f"There is no {word} {data[name]}, or it is not yours.", field=name
        )
        for name, (word, rows) in known.items()
        if name in data and not rows.filter(pk=data[name]).exists()
    ]


def scope_errors(data: Mapping[str, Any], user: User) -> list[InvalidInputError]:
    """Return the faults of what a body names; a field that could not be read is missing."""
    return _targets(data, user)[1]


def _targets(
    data: Mapping[str, Any], user: User
) -> tuple[list[HaltTarget], list[InvalidInputError]]:
    faults = CollectedErrors()
    named = [name for name in CHOICES if name in data and name != "signal"]
    read = [faults.attempt(partial(_target, name, data[name], user)) for name in named]
    return [target for target in read if target is not None], faults.errors


def _target(name: str, value: Any, user: User) -> HaltTarget:
    if name == "connection":
        return HaltTarget(Scope.CONNECTION, connection_id=value)
    if name == "user":
        if value != user.pk and not user.is_operator:
            detail = "This is not you. Leave it out: only your accounts are concerned."
            raise InvalidInputError(Code.FIELD_INVALID, detail, field="user")
        return HaltTarget(Scope.USER, user_id=value)
    if name == "feed":
        return HaltTarget(Scope.FEED, feed_id=_feed_id(value, user))
    if name == "symbol":
        try:
            return HaltTarget(Scope.SYMBOL, pair=read_pair(value))
        except InvalidInputError as error:
            raise InvalidInputError(error.code, error.detail, field="symbol") from error
    return read_target(scope=Scope.BROKER_TYPE, broker_type=value)


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
