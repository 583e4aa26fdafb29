"""Setting a password on a page: its hash and the check of the present one come before the
transaction (users/prepared_passwords.py). Each change of one's own is counted before its password
is looked at, and taken back with the change, or when the answer is a failure of ours: guesses are
limited, and so is what one user hashes.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError

from common.audit_trail import request_fact
from events.models import EventKind
from events.services import emit
from users.attempt_limits import Limit, count_attempt, undo_attempt
from users.models import User
from users.password_slots import SlotsBusyError, slots
from users.prepared_passwords import Prepared, hashed, using
from users.tenancy import acting_for

MOST_TRIES, PAUSE = 10, timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class PasswordFields:
    """The fields of a page that sets a password. present: empty where it is not asked for."""

    new: str
    again: str
    present: str = ""


@contextmanager
def prepared_for(user: User, said: Mapping[str, str], fields: PasswordFields) -> Iterator[None]:
    """Hash what a form says, outside of any transaction. user: who sends it.

    Nothing is hashed that the form refuses: without the present password, where it is asked for,
    or with a new one that is not typed twice, or too simple. Raises BusyError, TooManyTriesError.
    """
    prepared = Prepared()
    if not fields.present:
        _hash_new(prepared, said, fields)
    elif said.get(fields.present):
        limits = [_own_changes(user)]
        count_attempt(limits)
        try:
            with slots.slot():
                _check_and_hash(prepared, user, said, fields)
        except SlotsBusyError:  # nothing was looked at
            undo_attempt(limits)
            raise
    with using(prepared):
        yield


def was_not_answered(user: User, said: Mapping[str, str], fields: PasswordFields) -> None:
    """The answer failed for our own reasons: its try does not count."""
    if fields.present and said.get(fields.present):
        undo_attempt([_own_changes(user)])


def require_unchanged(user: User) -> None:
    """Lock the user's row and compare its password with the one that was checked.

    Between the check and the transaction another request may have replaced it: who knows only the
    old password does not overwrite that. Raises ValidationError.
    """
    locked = User.objects.select_for_update(no_key=True).filter(pk=user.pk)
    if locked.values_list("password", flat=True).first() != user.password:
        raise ValidationError(
            "Your password was changed elsewhere a moment ago. Sign in again with the new one."
        )


def store_password(user: User) -> None:
    """Write the password that `user.set_password` hashed, nothing else of the row, and notify its
    owner. In the caller's transaction; the session's own hash ends all other sessions."""
    user.save(update_fields=["password"])
    is_own = acting_for() == user.pk
    if is_own:
        undo_attempt(
            [_own_changes(user)]
        )  # of what was counted only the tries before this one stay
    payload = {
        "by": "owner" if is_own else "administrator",
        "address": request_fact("address") if is_own else "",
        "page": "/security/",
    }
    emit(EventKind.PASSWORD_CHANGED, user_id=user.pk, payload=payload)


def _own_changes(user: User) -> Limit:
    return Limit("present password", str(user.pk), MOST_TRIES, PAUSE)


def _check_and_hash(
    prepared: Prepared, user: User, said: Mapping[str, str], fields: PasswordFields
) -> None:
    typed = said[fields.present]
    is_right = user.check_password(typed)
    prepared.checks[user.password, typed] = is_right
    if is_right:
        _hash_new(prepared, said, fields, user)


def _hash_new(
    prepared: Prepared, said: Mapping[str, str], fields: PasswordFields, user: User | None = None
) -> None:
    """Hash the new password if no form refuses it. user: whose it is, if known."""
    new = said.get(fields.new, "")
    if not new or new != said.get(fields.again) or new == said.get(fields.present):
        return
    try:
        validate_password(new, user)
    except ValidationError:
        return
    prepared.hashes[new] = hashed(new)
