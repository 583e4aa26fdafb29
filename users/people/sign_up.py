"""Signing up: a visitor becomes a tenant, by a confirmed address or by an invitation."""

from dataclasses import dataclass
from datetime import timedelta

import structlog
from django.contrib.auth.password_validation import validate_password
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.http import HttpRequest
from django.utils import timezone

from common.errors import ConflictError, FillcastError, InvalidInputError, raise_all
from common.operational.current import settings_now
from common.reason_codes import Code
from common.spellings import one_spelling, stored_address
from common.time_zones import is_time_zone
from users.mails.account_mails import ask_for_mail, mail_status
from users.models import AccountMail, Invitation, User
from users.people.invitations import use_invitation
from users.sign_in.attempt_limits import Limit, client_address, count_attempt
from users.tenancy import act_as

log = structlog.get_logger(__name__)
LIMIT_WINDOW = timedelta(hours=1)
MAILS_FROM_ONE_ADDRESS, MAILS_TO_ONE_ADDRESS, FORMS_FROM_ONE_ADDRESS = 20, 5, 60
DELETED_PREFIX = "deleted-"  # names of users who deleted their login (users/people/deletion.py)


@dataclass(frozen=True, slots=True)
class NewLogin:
    """What a person chooses when they sign up."""

    username: str
    password: str
    full_name: str = ""
    time_zone: str = "UTC"
    email: str = ""


def is_open() -> bool:
    """Whether everybody with an e-mail address may sign up."""
    return bool(settings_now().users.sign_up == "open")


def count_mail(request: HttpRequest, address: str, kind: str) -> None:
    """Count a request for a mail, by its sender and by the inbox. Raises TooManyAttemptsError.

    kind: "sign-up" or "reset"; they count apart, so that a stranger cannot use up one's resets.
    """
    inbox = one_spelling(address).lower()
    count_attempt(
        [
            Limit("mails of", client_address(request), MAILS_FROM_ONE_ADDRESS, LIMIT_WINDOW),
            Limit(f"{kind} mails to", inbox, MAILS_TO_ONE_ADDRESS, LIMIT_WINDOW),
        ]
    )


def count_form(request: HttpRequest) -> None:
    """Count a form of a visitor, before a password is hashed. Raises TooManyAttemptsError."""
    sender = client_address(request)
    count_attempt([Limit("sign-ups of", sender, FORMS_FROM_ONE_ADDRESS, LIMIT_WINDOW)])


def ask_to_sign_up(email: str) -> None:
    """Have a link to sign up sent to this address; to one that has a login, that it has one.

    Raises ConflictError SIGN_UP_OFF, MAIL_MISSING.
    """
    if not is_open():
        raise ConflictError(Code.SIGN_UP_OFF)
    require_mail()
    with transaction.atomic():
        ask_for_mail(AccountMail.Kind.SIGN_UP, stored_address(email))


def require_mail() -> None:
    """Raise ConflictError MAIL_MISSING if no mail can be sent, naming what is missing."""
    if missing := mail_status().missing:
        raise ConflictError(Code.MAIL_MISSING, f"This installation lacks {' and '.join(missing)}.")


def sign_up_by_address(new: NewLogin) -> User:
    """Add a tenant whose address is proven by the link they opened.

    Call it outside a transaction: the password is hashed first. Raises InvalidInputError for each
    wrong field; ConflictError SIGN_UP_OFF, LINK_INVALID if the address has a login.
    """
    if not is_open():
        raise ConflictError(Code.SIGN_UP_OFF)
    user = _checked(new)
    user.email_confirmed_at = timezone.now()
    return _stored(user, None)


def sign_up_by_invitation(new: NewLogin, invitation: Invitation) -> User:
    """Add a tenant who was invited. Their address is unproven until they open the link sent there.

    As `sign_up_by_address`. Raises ConflictError LINK_INVALID if the invitation was used meanwhile.
    """
    if settings_now().users.sign_up == "off":
        raise ConflictError(Code.SIGN_UP_OFF)
    return _stored(_checked(new), invitation)


NAME_WITHOUT_AT = (  # it could be another user's address, with which that user signs in
    "A user name has no @. You can also sign in with your confirmed e-mail address."
)


def name_fault(username: str) -> str:
    """Return why a visitor cannot have this user name; '' if they can."""
    normalized = User.normalize_username(username)
    if len(normalized) > 150:
        return "A user name has at most 150 characters. Your full name may be longer."
    try:
        UnicodeUsernameValidator()(normalized)
    except ValidationError as error:
        return str(error.messages[0])
    if "@" in normalized:
        return NAME_WITHOUT_AT
    owners = {owner.username.casefold() for owner in settings_now().networks.gateway_owners}
    reserved = normalized.casefold() in owners or normalized.startswith(DELETED_PREFIX)
    if reserved or User.objects.filter(username__iexact=normalized).exists():
        return "This user name is taken. Choose another one."
    return ""


def _checked(new: NewLogin) -> User:
    """Return a user that is not stored yet, with a hashed password. Raises InvalidInputError."""
    user = User(
        username=User.normalize_username(new.username),
        email=stored_address(new.email),
        full_name=new.full_name.strip(),
        time_zone=new.time_zone,
    )
    faults = []
    if fault := name_fault(new.username):
        faults.append(("username", fault))
    if len(user.full_name) > 255:
        faults.append(("full_name", "At most 255 characters."))
    if not is_time_zone(new.time_zone):
        faults.append(("time_zone", "Choose a time zone of the list."))
    try:
        validate_password(new.password, user)
    except ValidationError as error:
        faults.append(("password", " ".join(error.messages)))
    raise_all([InvalidInputError(Code.FIELD_INVALID, text, field=name) for name, text in faults])
    user.set_password(new.password)
    return user


@transaction.atomic
def _stored(user: User, invitation: Invitation | None) -> User:
    act_as(None)  # the database lets a visitor add a user without rights, and no one else
    try:
        with transaction.atomic():
            user.save(force_insert=True)
    except IntegrityError as error:
        raise _refusal(user, error) from error
    if invitation is not None:
        use_invitation(invitation, user)
        if user.email and mail_status().works:
            ask_for_mail(AccountMail.Kind.CONFIRM, user.email, user_id=user.pk)
    log.info("signed_up", user_id=user.pk, invited=invitation is not None)
    return user


def _refusal(user: User, error: IntegrityError) -> FillcastError:
    if "one_user_of_a_confirmed_address" in str(error):
        return ConflictError(Code.LINK_INVALID, "This address has a login already: sign in.")
    return InvalidInputError(
        Code.FIELD_INVALID, "This user name is taken. Choose another one.", field="username"
    )
