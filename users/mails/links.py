"""Links that are sent by mail: their addresses, and how they are read.

Signed, not stored: nothing in the database opens a login. Each works once, because what it does
makes it invalid: an address is confirmed, or a password replaced.
"""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.tokens import default_token_generator
from django.core import signing
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from users.models import User

LIFE = timedelta(hours=48)
SIGN_UP_SALT, CONFIRM_SALT = "fillcast.sign-up", "fillcast.confirm-address"


def sign_up_link(email: str) -> str:
    """Return the address at which the reader of this inbox signs up."""
    return _absolute(f"/sign-up/{signing.dumps(email, salt=SIGN_UP_SALT)}/")


def read_sign_up(token: str) -> str | None:
    """Return the e-mail address of a link to sign up; None if it is too old or not ours."""
    email = _loads(token, SIGN_UP_SALT)
    return email if isinstance(email, str) else None


def confirm_link(user_id: int, email: str) -> str:
    """Return the address at which a user proves that they read this inbox."""
    return _absolute(f"/confirm-address/{signing.dumps([user_id, email], salt=CONFIRM_SALT)}/")


def read_confirm(token: str) -> tuple[int, str] | None:
    """Return the user's id and the e-mail address of a link; None if it is too old or not ours."""
    parts = _loads(token, CONFIRM_SALT)
    return (int(parts[0]), str(parts[1])) if isinstance(parts, list) and len(parts) == 2 else None


def reset_link(user: User) -> str:
    """Return the address at which a user who forgot the password sets a new one.

    It works for PASSWORD_RESET_TIMEOUT seconds, until the password changes or the user signs in.
    """
    uid = urlsafe_base64_encode(force_bytes(user.pk))
    return _absolute(f"/reset-password/{uid}/{default_token_generator.make_token(user)}/")


def page_link(path: str) -> str:
    """Return the absolute address of a page."""
    return _absolute(path)


def _absolute(path: str) -> str:
    return str(settings.FILLCAST_PUBLIC_URL).rstrip("/") + path


def _loads(token: str, salt: str) -> Any:
    try:
        return signing.loads(token, salt=salt, max_age=LIFE)
    except (signing.BadSignature, ValueError):
        return None
