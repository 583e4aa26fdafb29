"""Records sign-ins, under row-level security."""

from typing import Any

from django.contrib.auth.models import update_last_login
from django.contrib.auth.signals import user_logged_in
from django.http import HttpRequest

from users.models import User
from users.sign_in.login_sessions import record_sign_in
from users.tenancy import on_behalf_of


def record_login(
    sender: type[User], user: User, request: HttpRequest | None = None, **_: Any
) -> None:
    """Store the time of the sign-in on behalf of the user: the request began without one."""
    if request is not None:
        record_sign_in(request)
    with on_behalf_of(user):
        update_last_login(sender, user)


def connect() -> None:
    """Replace Django's own receiver, which could not see the row to update."""
    user_logged_in.disconnect(dispatch_uid="update_last_login")
    user_logged_in.connect(record_login, dispatch_uid="update_last_login")
