"""Invitations: links with which one person each may sign up. Operators make and revoke them."""

import secrets
from datetime import timedelta
from hashlib import sha256

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from common.errors import ConflictError, InvalidInputError
from common.operational.current import settings_now
from common.permissions import Right, require
from common.reason_codes import Code
from common.web.quotas import require_quota, within_a_day
from users.mails.links import page_link
from users.models import Invitation, User
from users.tenancy import for_all_tenants

DEFAULT_DAYS, MAX_DAYS = 7, 60
_SECRET_BYTES = 24


@transaction.atomic
def invite(note: str, *, days: int = DEFAULT_DAYS, by: User | None) -> tuple[Invitation, str]:
    """Return a new invitation and its link, which is not stored: show it once.

    note: for whom it is. by: the acting user (None: the system). Raises NotAllowedError;
    ConflictError SIGN_UP_OFF, QUOTA_REACHED; InvalidInputError for a life of no day or more than
    MAX_DAYS.
    """
    require(by, Right.USERS)
    if settings_now().users.sign_up == "off":
        raise ConflictError(Code.SIGN_UP_OFF)
    if not 1 <= days <= MAX_DAYS:
        raise InvalidInputError(Code.FIELD_INVALID, f"Enter 1 to {MAX_DAYS} days.", field="days")
    now, owner_id = timezone.now(), by.pk if by else None
    usable = Q(used_at=None, revoked_at=None, expires_at__gt=now)
    counted = Invitation.objects.filter(usable | within_a_day(), created_by=owner_id)
    require_quota("invitations", owner_id, counted)
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    invitation = Invitation.objects.create(
        secret_hash=_hash(secret),
        note=note[:200],
        created_by=by,
        expires_at=now + timedelta(days=days),
    )
    return invitation, page_link(f"/invitation/{secret}/")


@transaction.atomic
def revoke_invitation(invitation_id: int, *, by: User | None) -> bool:
    """Revoke an invitation. Returns False if it was revoked before.

    Raises NotAllowedError; ConflictError LINK_INVALID if it was used.
    """
    require(by, Right.USERS)
    row = Invitation.objects.select_for_update().get(pk=invitation_id)
    if row.used_at is not None:
        raise ConflictError(
            Code.LINK_INVALID, "The invitation was used: deactivate the user instead."
        )
    unrevoked = Invitation.objects.filter(pk=row.pk, revoked_at=None)
    return unrevoked.update(revoked_at=timezone.now()) == 1


def find_invitation(secret: str) -> Invitation | None:
    """Return the invitation of a link, whatever its state."""
    with transaction.atomic(), for_all_tenants():  # a visitor has no rows
        return Invitation.objects.filter(secret_hash=_hash(secret)).first()


def why_unusable(invitation: Invitation | None) -> str:
    """Return a sentence that says why it cannot be used; '' if it can."""
    if invitation is None:
        return "This invitation does not exist. Perhaps the link was not copied completely."
    if invitation.used_at is not None:
        return "This invitation was used: it works once. If it was you, sign in."
    if invitation.revoked_at is not None:
        return "This invitation was withdrawn."
    if invitation.expires_at <= timezone.now():
        return f"This invitation ended on {invitation.expires_at:%-d %b %Y}."
    return ""


def use_invitation(invitation: Invitation, user: User) -> None:
    """Use it up for a new user, in the transaction that adds them.

    Raises ConflictError LINK_INVALID if another request was first, or it has ended.
    """
    with for_all_tenants():
        usable = Invitation.objects.filter(
            pk=invitation.pk, used_at=None, revoked_at=None, expires_at__gt=timezone.now()
        )
        if usable.update(used_at=timezone.now(), used_by=user) != 1:
            raise ConflictError(Code.LINK_INVALID)


def _hash(secret: str) -> str:
    # No salt and no slow hash: the secret has 192 random bits and cannot be guessed.
    return sha256(secret.encode("utf-8", "replace")).hexdigest()
