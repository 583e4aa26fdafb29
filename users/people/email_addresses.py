"""A user's own e-mail address: changing it, and proving that they read it."""

from datetime import timedelta

from django.db import IntegrityError, transaction
from django.utils import timezone

from common.errors import ConflictError, InvalidInputError
from common.reason_codes import Code
from common.spellings import stored_address
from users.mails.account_mails import ask_for_mail
from users.models import AccountMail, User
from users.people.sign_up import require_mail
from users.sign_in.attempt_limits import Limit, TooManyAttemptsError, count_attempt
from users.tenancy import on_behalf_of

RESEND_LIMIT = 10  # links that one user has sent within a day, so that no inbox is flooded


def change_own_email(user: User, address: str) -> bool:
    """As `change_email`, in a transaction of the user."""
    with on_behalf_of(user):
        return change_email(user, address)


@transaction.atomic
def change_email(user: User, address: str) -> bool:
    """Store another address, unproven, and have a link sent there; notify the old one.

    Returns whether anything changed. An empty address is stored and gets no mail. Raises
    ConflictError MAIL_MISSING if no mail can be sent to a new address, CONFIRMATION_LIMIT.
    """
    stored = User.objects.select_for_update(no_key=True).get(pk=user.pk)
    address = stored_address(address)
    if address == stored.email:
        return False
    if address:
        require_mail()
        _count_link(user)
    User.objects.filter(pk=user.pk).update(email=address, email_confirmed_at=None)
    if stored.email_confirmed_at is not None:
        ask_for_mail(
            AccountMail.Kind.ADDRESS_CHANGED,
            stored.email,
            user_id=user.pk,
            name=stored.get_username(),
        )
    if address:
        ask_for_mail(AccountMail.Kind.CONFIRM, address, user_id=user.pk)
    return True


@transaction.atomic
def ask_for_confirmation(user: User) -> None:
    """Have the link sent again.

    Raises ConflictError MAIL_MISSING, CONFIRMATION_LIMIT, STATE_CONFLICT if it is confirmed;
    InvalidInputError without an address.
    """
    require_mail()
    if not user.email:
        raise InvalidInputError(Code.FIELD_REQUIRED, "Enter an address first.", field="email")
    if user.email_confirmed_at is not None:
        raise ConflictError(Code.STATE_CONFLICT, "Your address is confirmed already.")
    _count_link(user)
    ask_for_mail(AccountMail.Kind.CONFIRM, user.email, user_id=user.pk)


def confirm_email(user_id: int, address: str) -> bool:
    """Record that the user reads this address, which the link proves.

    Returns False if that was recorded before. Raises ConflictError LINK_INVALID if the user has
    another address now, or another user has confirmed this one.
    """
    user = User.objects.filter(pk=user_id, is_active=True, email=address).first()
    if user is None:
        raise ConflictError(Code.LINK_INVALID, "Your login has another address now.")
    if user.email_confirmed_at is not None:
        return False
    try:
        with on_behalf_of(user):
            mine = User.objects.filter(pk=user.pk, email=address, email_confirmed_at=None)
            return mine.update(email_confirmed_at=timezone.now()) == 1
    except IntegrityError as error:
        raise ConflictError(
            Code.LINK_INVALID, "This address belongs to another login, so it was not confirmed."
        ) from error


def _count_link(user: User) -> None:
    limit = Limit("links of", str(user.pk), RESEND_LIMIT, timedelta(days=1))
    try:
        count_attempt([limit])
    except TooManyAttemptsError as error:
        raise ConflictError(Code.CONFIRMATION_LIMIT) from error
