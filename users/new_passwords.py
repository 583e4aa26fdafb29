"""Setting a password on a page: its hash and the check of the present one come before the
transaction (users/prepared_passwords.py), and guesses of the present one are counted."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

from django.core.exceptions import ValidationError

from common.audit_trail import request_fact
from events.models import EventKind
from events.services import emit
from users.models import User
from users.prepared_passwords import Prepared, hashed, using
from users.tenancy import acting_for
from users.tries import Limit, count_try, take_back

MOST_TRIES, PAUSE = 10, timedelta(minutes=15)


@contextmanager
def prepared_for(user: User, said: Mapping[str, str], *, new: str, old: str = "") -> Iterator[None]:
    """Hash what a form says, outside of any transaction. new, old: the names of its fields.

    Raises BusyError, TooManyTriesError.
    """
    prepared = Prepared()
    typed = said.get(old, "") if old else ""
    if typed:
        prepared.checks[user.password, typed] = _is_present(user, typed)
    wanted = said.get(new, "")
    if wanted and all(prepared.checks.values()):
        prepared.hashes[wanted] = hashed(wanted)
    with using(prepared):
        yield


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
    payload = {
        "by": "owner" if is_own else "administrator",
        "address": request_fact("address") if is_own else "",
        "page": "/security/",
    }
    emit(EventKind.PASSWORD_CHANGED, user_id=user.pk, payload=payload)


def _is_present(user: User, typed: str) -> bool:
    limits = [Limit("present password", str(user.pk), MOST_TRIES, PAUSE)]
    count_try(limits)
    is_right = user.check_password(typed)
    if is_right:
        take_back(limits, forget=limits)
    return is_right
