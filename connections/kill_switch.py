"""Set and release halts of trading. Public through `connections.services`."""

from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from brokers.registry import broker_types
from common.db.sql import rows
from common.errors import ConflictError, InvalidInputError, NotAllowedError, raise_all
from common.permissions import Right, require
from common.reason_codes import Code
from connections.models import Epoch, ExecutionConnection, HaltMode, KillSwitch
from events.models import Event, EventKind
from signals.models import Feed
from signals.symbols import read_pair
from users.models import User
from users.tenancy import for_all_tenants

Scope = KillSwitch.Scope
TARGET_FIELDS = {
    Scope.FEED: "feed",
    Scope.USER: "user",
    Scope.CONNECTION: "connection",
    Scope.BROKER_TYPE: "broker_type",
    Scope.SYMBOL: "pair",
}
"""The field that names the target of each scope, as callers write it."""
MAX_HALTS = 100  # of one tenant that are set at a time; trading processes read them all the time


@dataclass(frozen=True, slots=True)
class HaltTarget:
    """What a halt concerns. Only the key of its scope is neither None nor empty."""

    scope: str
    feed_id: int | None = None
    user_id: int | None = None
    connection_id: UUID | None = None
    broker_type: str = ""
    pair: str = ""


def read_target(
    *,
    scope: str,
    feed_id: int | None = None,
    user_id: int | None = None,
    connection_id: UUID | None = None,
    broker_type: str = "",
    pair: str = "",
) -> HaltTarget:
    """Return the target of a halt; its symbol may be written as in a signal.

    Raises InvalidInputError with all faults if the scope is unknown, the target does not match it,
    or no broker type or symbol has this name. Their fields are those of TARGET_FIELDS and `scope`.
    """
    target = HaltTarget(scope, feed_id, user_id, connection_id, broker_type, pair)
    raise_all(_target_errors(scope, target))
    return replace(target, pair=read_pair(pair) if pair else "")


def _target_errors(scope: str | None, target: HaltTarget) -> list[InvalidInputError]:
    """Return the faults of a target. scope: None if it could not be read."""
    errors = []
    if scope is not None and scope not in Scope.values:
        detail = f"One of {', '.join(Scope.values)}."
        errors.append(InvalidInputError(Code.FIELD_INVALID, detail, field="scope"))
        scope = None
    given = {
        Scope.FEED: target.feed_id,
        Scope.USER: target.user_id,
        Scope.CONNECTION: target.connection_id,
        Scope.BROKER_TYPE: target.broker_type,
        Scope.SYMBOL: target.pair,
    }
    for kind, value in given.items():
        is_given, field = value not in (None, ""), TARGET_FIELDS[kind]
        if scope is not None and is_given != (kind == scope):
            needed = "It names what is halted: send it." if kind == scope else "Leave it out."
            detail = f"A halt of scope {scope} names {_named_by(scope)}. {needed}"
            errors.append(InvalidInputError(Code.FIELD_INVALID, detail, field=field))
        elif is_given:
            errors += _unknown_name(kind, target)
    return errors


def _named_by(scope: str) -> str:
    field = TARGET_FIELDS.get(Scope(scope))
    return f"{field} and no other target" if field else "no target"


def _unknown_name(kind: Scope, target: HaltTarget) -> list[InvalidInputError]:
    """Return an error if no broker type or symbol has this name."""
    if kind == Scope.BROKER_TYPE and target.broker_type not in broker_types():
        known = ", ".join(sorted(broker_types()))
        detail = f"{target.broker_type[:40]!r} is not a broker type. There are: {known}."
        return [InvalidInputError(Code.FIELD_INVALID, detail, field="broker_type")]
    if kind == Scope.SYMBOL:
        try:
            read_pair(target.pair)
        except InvalidInputError as error:
            return [InvalidInputError(error.code, error.detail, field="pair")]
    return []


def halt_errors(
    *, scope: str | None, mode: str | None, flatten: bool = False, **names: Any
) -> list[InvalidInputError]:
    """Return all faults of a halt. names: as for `read_target`.

    scope, mode: None if they could not be read; then what depends on them is not judged.
    """
    errors = _target_errors(scope, HaltTarget(scope or "", **names))
    if mode is not None and mode not in HaltMode.values:
        detail = f"One of {', '.join(HaltMode.values)}."
        errors.append(InvalidInputError(Code.FIELD_INVALID, detail, field="mode"))
    if flatten and mode == HaltMode.HALTED:
        detail = "Nothing is sent while trading is halted, no exits either. Choose exits only."
        errors.append(InvalidInputError(Code.FIELD_INVALID, detail, field="flatten"))
    return errors


def halt_target(
    *,
    scope: str,
    mode: str,
    by: User | None,
    reason: str = "",
    cancel_entries: bool = False,
    flatten: bool = False,
    **names: Any,
) -> HaltTarget:
    """Return what `set_kill_switch` would halt with the same arguments; it sets nothing.

    names: as for `read_target`. Raises InvalidInputError with all faults, NotAllowedError.
    """
    raise_all(halt_errors(scope=scope, mode=mode, flatten=flatten, **names))
    target = read_target(scope=scope, **names)
    owner_id = _owner_of(target)
    require(by, Right.HALT, owner_id=owner_id)
    trades = cancel_entries or flatten
    if trades or mode == HaltMode.HALTED:
        _refuse_for_followers(by, target)
    if trades:
        require(by, Right.TRADE, owner_id=owner_id)
    return target


@transaction.atomic
def set_kill_switch(
    *,
    scope: str,
    mode: str,
    reason: str,
    by: User | None,
    cancel_entries: bool = False,
    flatten: bool = False,
    **names: Any,
) -> KillSwitch:
    """Halt trading from the commit on: with REDUCING only exits are sent, with HALTED nothing.

    Staff with the right may halt everything; other users their own connections and themselves, and
    the entries of their own feeds (REDUCING). A halt that `by` has set already is returned, with
    its reason; one that was carried out is replaced. cancel_entries, flatten: a trading process
    also cancels the entries that have not filled, and closes the open positions; enqueue pending
    actions on commit. names: as for `read_target`. Raises InvalidInputError, NotAllowedError;
    ConflictError HALT_LIMIT.
    """
    target = halt_target(
        scope=scope, mode=mode, by=by, cancel_entries=cancel_entries, flatten=flatten, **names
    )
    options = {"cancel_entries": cancel_entries, "flatten": flatten}
    halt = {"set_by": by, "mode": mode, **options, **asdict(target)}
    if by is not None and (same := _set_before(by, halt)) is not None:
        return same
    switch = KillSwitch.objects.create(reason=reason[:200], **halt)
    _emit_event(switch, "set")
    return switch


def _set_before(by: User, halt: dict[str, Any]) -> KillSwitch | None:
    """Return the halt if it is set and still does all of this; None: it is to be set.

    It is locked, so that it is neither released nor carried out meanwhile. Raises ConflictError.
    """
    rows("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"halts of user {by.pk}",))
    same = KillSwitch.objects.filter(released_at=None, **halt)
    found = same.filter(carried_out_at=None).select_for_update(no_key=True).first()
    if found is not None:
        return found
    same.update(released_at=timezone.now())  # carried out: the new one takes its place
    if not by.is_staff and halt["user_id"] != by.pk:  # one's own accounts may always be stopped
        count = KillSwitch.objects.filter(set_by=by, released_at=None).count()
        if count >= MAX_HALTS:
            raise ConflictError(
                Code.HALT_LIMIT, f"You have set {count} halts. Release some of them."
            )
    return None


def _refuse_for_followers(by: User | None, target: HaltTarget) -> None:
    """Raise NotAllowedError if only operators may hold, cancel or close what the target has open.

    The owner of a target owns the accounts that it concerns, except of a feed: those are its
    followers'. A provider decides which entries begin, and followers what becomes of what is open.
    """
    if target.scope == Scope.FEED and by is not None and not by.is_staff:
        raise NotAllowedError(Code.FOLLOWERS_ACCOUNTS)


@transaction.atomic
def release_kill_switch(switch_id: int, *, by: User | None) -> bool:
    """Release a halt; other halts still apply. Return False if it was released already.

    Staff with the right may release every halt, other users only their own. Raises NotAllowedError;
    ConflictError EPOCH_OPEN for the halt of an open epoch, which ends with the epoch.
    """
    _require_release(by, KillSwitch.objects.get(pk=switch_id))  # to be locked only by who may
    switch = KillSwitch.objects.select_for_update(no_key=True).get(pk=switch_id)
    if switch.released_at is not None:
        return False
    if Epoch.objects.filter(kill_switch=switch, released_at=None).exists():
        raise ConflictError(Code.EPOCH_OPEN)
    switch.released_at = timezone.now()
    switch.save(update_fields=["released_at"])
    _emit_event(switch, "released")
    return True


def _require_release(by: User | None, switch: KillSwitch) -> None:
    """Raise NotAllowedError, with who may, unless `by` may release this halt."""
    if by is not None and not by.is_staff and switch.set_by_id != by.pk:
        if switch.feed_id is not None and switch.set_by_id == _owner_of(switch):
            detail = "The feed's provider set this halt: its provider or an operator releases it."
        elif switch.set_by_id in earlier_providers({switch.set_by_id}):
            detail = "An earlier provider of the feed set this halt: an operator releases it."
        else:
            detail = "An operator set this halt: an operator releases it."
        raise NotAllowedError(Code.PERMISSION_DENIED, detail)
    require(by, Right.RELEASE, owner_id=switch.set_by_id)


def earlier_providers(set_by: Collection[int | None]) -> frozenset[int]:
    """Return which of the users who set halts are no staff. Of a halt that is not its owner's, that
    is who owned the feed when they set it."""
    with for_all_tenants():
        found = User.objects.filter(pk__in=set_by, is_staff=False).values_list("pk", flat=True)
        return frozenset(found)


def _owner_of(target: HaltTarget | KillSwitch) -> int | None:
    """Return the owner of the halted target; None: it concerns all users."""
    if target.feed_id is not None:
        return Feed.objects.values_list("owner_id", flat=True).get(pk=target.feed_id)
    if target.connection_id is not None:
        return ExecutionConnection.objects.get(pk=target.connection_id).owner_id
    return target.user_id


def _emit_event(switch: KillSwitch, change: str) -> None:
    Event.objects.create(
        kind=EventKind.KILL_SWITCH,
        user_id=_owner_of(switch),
        connection_id=switch.connection_id,
        payload={
            "change": change,
            "scope": switch.scope,
            "mode": switch.mode,
            "reason": switch.reason,
            "feed_id": switch.feed_id,
            "target": switch.broker_type or switch.pair,
            "cancel_entries": switch.cancel_entries,
            "flatten": switch.flatten,
        },
    )
