"""A new password for a user who forgot theirs, by a link that is sent to the confirmed address.

Django's token generator makes and checks the link. The second factor stays: a person who only reads
the inbox cannot sign in where there is one.
"""

import structlog
from django.contrib.auth.password_validation import validate_password
from django.contrib.auth.tokens import default_token_generator
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.http import urlsafe_base64_decode

from common.errors import ConflictError, InvalidInputError
from common.reason_codes import Code
from common.spellings import stored_address
from users.mails.account_mails import ask_for_mail
from users.models import AccountMail, User
from users.people.sign_up import require_mail
from users.sign_in.new_passwords import store_password
from users.tenancy import on_behalf_of

log = structlog.get_logger(__name__)


def ask_for_reset(address: str) -> None:
    """Have a link sent to this address if a user has confirmed it. Raises ConflictError."""
    require_mail()
    with transaction.atomic():
        ask_for_mail(AccountMail.Kind.RESET, stored_address(address))


def user_of_link(uid: str, token: str) -> User | None:
    """Return the user of a link that works; None if it was used, is too old or is not ours."""
    try:
        pk = int(urlsafe_base64_decode(uid).decode("ascii"))
    except ValueError:  # also for what is no base64 or no ASCII
        return None
    user = User.objects.filter(pk=pk, is_active=True).first() if 0 < pk < 2**63 else None
    return user if user is not None and default_token_generator.check_token(user, token) else None


def set_forgotten_password(uid: str, token: str, password: str) -> User:
    """Store the new password, end all sessions of the user, and notify them by mail.

    Call it outside a transaction: the password is hashed first. Raises ConflictError LINK_INVALID,
    InvalidInputError for a weak password.
    """
    user = user_of_link(uid, token)
    if user is None:
        raise ConflictError(Code.LINK_INVALID)
    try:
        validate_password(password, user)
    except ValidationError as error:
        detail = " ".join(error.messages)
        raise InvalidInputError(Code.FIELD_INVALID, detail, field="new_password1") from error
    before = user.password
    user.set_password(password)
    with on_behalf_of(user):
        locked = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        if locked.password != before:  # the link was opened twice, and the other was first
            raise ConflictError(Code.LINK_INVALID)
        store_password(user)
        ask_for_mail(
            AccountMail.Kind.PASSWORD_RESET,
            user.email,
            user_id=user.pk,
            name=user.get_username(),
        )
    log.info("password_reset_by_link", user_id=user.pk)
    return user
