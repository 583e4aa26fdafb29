"""Set and release halts of trading. Public through `connections.services`."""

from uuid import UUID

from django.db import transaction
from django.utils import timezone

from common.errors import ConflictError, InvalidInputError, NotAllowedError
from common.permissions import Right, require
from common.reason_codes import Code
from connections.models import Epoch, ExecutionConnection, HaltMode, KillSwitch
from events.models import Event, EventKind
from signals.models import Feed
from users.models import User

Scope = KillSwitch.Scope


@transaction.atomic
def set_kill_switch(
    *,
    scope: str,
    mode: str,
    reason: str,
    by: User | None,
    feed_id: int | None = None,
    user_id: int | None = None,
    connection_id: UUID | None = None,
) -> KillSwitch:
    """Halt trading from the commit on: with REDUCING only exits are sent, with HALTED nothing.

    Staff with the right may halt everything; other users their own feeds, connections and
    themselves. Raises InvalidInputError if the target does not match the scope; NotAllowedError.
    """
    if scope not in Scope.values or mode not in HaltMode.values:
        field = "mode" if scope in Scope.values else "scope"
        raise InvalidInputError(Code.FIELD_INVALID, field=field)
    targets = {Scope.FEED: feed_id, Scope.USER: user_id, Scope.CONNECTION: connection_id}
    for target, value in targets.items():
        if (value is not None) != (target == scope):
            raise InvalidInputError(
                Code.FIELD_INVALID,
                f"A halt of scope {scope} must name that target and no other.",
                field=f"{target.lower()}_id",
            )
    owner_id = _owner_of(feed_id, user_id, connection_id)
    require(by, Right.HALT, owner_id=owner_id)
    switch = KillSwitch.objects.create(
        scope=scope, mode=mode, reason=reason[:200], set_by=by,
        feed_id=feed_id, user_id=user_id, connection_id=connection_id,
    )  # fmt: skip
    _emit_event(switch, owner_id, "set")
    return switch


@transaction.atomic
def release_kill_switch(switch_id: int, *, by: User | None) -> bool:
    """Release a halt; other halts still apply. Return False if it was released already.

    Staff with the right may release every halt, other users only their own. Raises NotAllowedError;
    ConflictError EPOCH_OPEN for the halt of an open epoch, which ends with the epoch.
    """
    switch = KillSwitch.objects.select_for_update(no_key=True).get(pk=switch_id)
    if by is not None and not by.is_staff and switch.set_by_id != by.pk:
        raise NotAllowedError(Code.PERMISSION_DENIED, "An operator set this halt.")
    require(by, Right.RELEASE, owner_id=switch.set_by_id)
    if switch.released_at is not None:
        return False
    if Epoch.objects.filter(kill_switch=switch, released_at=None).exists():
        raise ConflictError(Code.EPOCH_OPEN)
    switch.released_at = timezone.now()
    switch.save(update_fields=["released_at"])
    owner_id = _owner_of(switch.feed_id, switch.user_id, switch.connection_id)
    _emit_event(switch, owner_id, "released")
    return True


def _owner_of(feed_id: int | None, user_id: int | None, connection_id: UUID | None) -> int | None:
    """Return the owner of the halted target; None: it concerns all users."""
    if feed_id is not None:
        return Feed.objects.values_list("owner_id", flat=True).get(pk=feed_id)
    if connection_id is not None:
        return ExecutionConnection.objects.get(pk=connection_id).owner_id
    return user_id


def _emit_event(switch: KillSwitch, owner_id: int | None, change: str) -> None:
    Event.objects.create(
        kind=EventKind.KILL_SWITCH,
        user_id=owner_id,
        connection_id=switch.connection_id,
        payload={
            "change": change,
            "scope": switch.scope,
            "mode": switch.mode,
            "reason": switch.reason,
            "feed_id": switch.feed_id,
        },
    )
