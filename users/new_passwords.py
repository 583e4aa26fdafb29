"""Setting a password on a page: its hash and the check of the present one come before the
transaction (users/prepared_passwords.py), and guesses of the present one are counted."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

from users.models import User
from users.prepared_passwords import Prepared, hashed, using
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


def _is_present(user: User, typed: str) -> bool:
    limits = [Limit("present password", str(user.pk), MOST_TRIES, PAUSE)]
    count_try(limits)
    is_right = user.check_password(typed)
    if is_right:
        take_back(limits, forget=limits)
    return is_right
