"""Setting a password on a page.

The new password is hashed, and the current one checked, before the request's transaction begins
(users/prepared_passwords.py). A change of your own password is counted before the current one is
checked, which limits guesses, and how many hashes one user can cause. The count is taken back if
the change succeeds, or if the request fails through a server error.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError

from common.db.audit_trail import request_fact
from events.models import EventKind
from events.services import emit
from users.models import User
from users.password_slots import SlotsBusyError, slots
from users.prepared_passwords import Prepared, hashed, using
from users.sign_in.attempt_limits import Limit, count_attempt, undo_attempt
from users.tenancy import acting_for

MAX_ATTEMPTS, LIMIT_WINDOW = 10, timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class PasswordFields:
    """The form fields of a page that sets a password. current: empty if it is not required."""

    new: str
    again: str
    current: str = ""


@contextmanager
def prepared_for(user: User, form: Mapping[str, str], fields: PasswordFields) -> Iterator[None]:
    """Hash the new password of a submitted form outside of any transaction. user: its sender.

    Nothing is hashed that the form will refuse: without the current password where it is required,
    if the two new ones differ, or if it is too simple. Raises SlotsBusyError,
    TooManyAttemptsError.
    """
    prepared = Prepared()
    if not fields.current:
        _hash_new(prepared, form, fields)
    elif form.get(fields.current):
        limits = [_change_limit(user)]
        count_attempt(limits)
        try:
            with slots.slot():
                _check_and_hash(prepared, user, form, fields)
        except SlotsBusyError:  # no password was checked
            undo_attempt(limits)
            raise
    with using(prepared):
        yield


def undo_password_attempt(user: User, form: Mapping[str, str], fields: PasswordFields) -> None:
    """Take back the attempt that `prepared_for` counted, because the server failed."""
    if fields.current and form.get(fields.current):
        undo_attempt([_change_limit(user)])


def require_unchanged(user: User) -> None:
    """Lock the user's row; raise ValidationError if its password is not the one that was checked.

    Another request may have replaced it between the check and this transaction. A user who only
    knows the old password must not overwrite the new one.
    """
    locked = User.objects.select_for_update(no_key=True).filter(pk=user.pk)
    if locked.values_list("password", flat=True).first() != user.password:
        raise ValidationError(
            "Your password was changed elsewhere a moment ago. Sign in again with the new one."
        )


def store_password(user: User) -> None:
    """Write the password that `user.set_password` hashed, and notify its owner.

    In the caller's transaction. Writes nothing else of the row. All other sessions of the user end,
    because a session holds a digest of the password.
    """
    user.save(update_fields=["password"])
    is_own = acting_for() == user.pk
    if is_own:
        undo_attempt([_change_limit(user)])  # earlier attempts still count
    payload = {
        "by": "owner" if is_own else "administrator",
        "address": request_fact("address") if is_own else "",
        "page": "/security/",
    }
    emit(EventKind.PASSWORD_CHANGED, user_id=user.pk, payload=payload)


def _change_limit(user: User) -> Limit:
    return Limit("present password", str(user.pk), MAX_ATTEMPTS, LIMIT_WINDOW)


def _check_and_hash(
    prepared: Prepared, user: User, form: Mapping[str, str], fields: PasswordFields
) -> None:
    typed = form[fields.current]
    is_right = user.check_password(typed)
    prepared.checks[user.password, typed] = is_right
    if is_right:
        _hash_new(prepared, form, fields, user)


def _hash_new(
    prepared: Prepared, form: Mapping[str, str], fields: PasswordFields, user: User | None = None
) -> None:
    """Hash the new password unless the form will refuse it. user: its owner, if known."""
    new = form.get(fields.new, "")
    if not new or new != form.get(fields.again) or new == form.get(fields.current):
        return
    try:
        validate_password(new, user)
    except ValidationError:
        return
    prepared.hashes[new] = hashed(new)
