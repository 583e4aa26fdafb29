"""The second factor: an authenticator app and recovery codes.

An app's secret is sealed with a key from FILLCAST_SECRET_KEY: the web process can open it, a copy
of the database alone cannot. Recovery codes are stored as hashes. A code works once: the time step
that was used is written by compare-and-set, so of two concurrent uses one is refused.
"""

import os
import time
from collections.abc import Sequence
from datetime import timedelta

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from common.db.audit_trail import changed_by
from common.errors import InvalidInputError, NotAllowedError
from common.operational.current import settings_now
from common.permissions import Right
from common.reason_codes import Code
from users.models import RecoveryCode, SecondFactor, User
from users.privileges import require_above
from users.sign_in import one_time_codes as codes
from users.sign_in.attempt_limits import Limit, count_attempt, undo_attempt
from users.tenancy import for_all_tenants, on_behalf_of

log = structlog.get_logger(__name__)
MAX_ATTEMPTS, LIMIT_WINDOW = 10, timedelta(minutes=15)
_NONCE = 12


def is_required(user: User) -> bool:
    """Whether this user may not work without a second factor."""
    chosen = settings_now().users.staff_second_factor
    applies = settings.FILLCAST_ENV == "production" if chosen is None else chosen
    return bool(applies and user.is_staff)


def factor_of(user: User) -> SecondFactor | None:
    """Return a user's second factor, if one is enrolled."""
    factor: SecondFactor | None = getattr(user, "second_factor", None)
    return factor


def seal_secret(user: User, secret: bytes) -> bytes:
    """Encrypt an app's secret for the database or a session; it opens for this user only."""
    nonce = os.urandom(_NONCE)
    return nonce + _cipher().encrypt(nonce, secret, str(user.pk).encode())


def open_secret(user: User, box: bytes | memoryview) -> bytes | None:
    """Return the secret; None if it was sealed with another FILLCAST_SECRET_KEY."""
    sealed = bytes(box)
    try:
        return _cipher().decrypt(sealed[:_NONCE], sealed[_NONCE:], str(user.pk).encode())
    except InvalidTag:
        log.exception("second_factor_does_not_open", user_id=user.pk)
        return None


def count_enrolment(user: User) -> list[Limit]:
    """Count an attempt to enrol before its password is checked, because a hash takes long.

    Returns what `enrol` takes back. Raises TooManyAttemptsError.
    """
    limits = [Limit("enrolment", str(user.pk), MAX_ATTEMPTS, LIMIT_WINDOW)]
    count_attempt(limits)
    return limits


def enrol(user: User, secret: bytes, typed: str, *, counted: Sequence[Limit] = ()) -> list[str]:
    """Make an app the user's second factor, replacing an earlier one; return recovery codes.

    typed: the app's current code, which proves that it has the secret. counted: the result of
    `count_enrolment`. Raises InvalidInputError SECOND_FACTOR_WRONG, TooManyAttemptsError.
    """
    limits = _count_attempt(user)
    step = codes.matching_step(secret, codes.cleaned(typed), now=time.time(), after=0)
    if step is None:
        raise InvalidInputError(Code.SECOND_FACTOR_WRONG, field="code")
    undo_attempt(limits)
    with on_behalf_of(user), changed_by(user.pk):
        undo_attempt(counted)
        SecondFactor.objects.filter(user=user).delete()
        SecondFactor.objects.create(
            user=user, sealed_secret=seal_secret(user, secret), last_step=step
        )
        return _replace_recovery_codes(user)


def check(user: User, typed: str) -> None:
    """Accept a code of the app or a recovery code; each works once.

    Each attempt is counted before the code is checked. Raises InvalidInputError
    SECOND_FACTOR_WRONG, TooManyAttemptsError.
    """
    limits = _count_attempt(user)
    text = codes.cleaned(typed)
    with on_behalf_of(user), changed_by(user.pk):
        is_time = codes.is_time_code(text)
        is_right = _use_time_code(user, text) if is_time else _use_recovery_code(user, text)
    if not is_right:
        log.warning("second_factor_wrong", user_id=user.pk)
        raise InvalidInputError(Code.SECOND_FACTOR_WRONG, field="code")
    undo_attempt(limits, forget=limits)


def renew_recovery_codes(user: User) -> list[str]:
    """Return new recovery codes; the earlier ones stop working."""
    with on_behalf_of(user), changed_by(user.pk):
        return _replace_recovery_codes(user)


def recovery_codes_left(user: User) -> int:
    """Return how many recovery codes are unused."""
    with on_behalf_of(user):
        return RecoveryCode.objects.filter(user=user, used_at=None).count()


def turn_off(user: User) -> None:
    """Remove the user's own second factor. Raises NotAllowedError if one is required."""
    if is_required(user):
        raise NotAllowedError(Code.SECOND_FACTOR_REQUIRED)
    with on_behalf_of(user):
        _remove(user, by=user)


def reset(user_id: int, *, by: User | None) -> bool:
    """Remove the second factor of a user who lost it. by: an administrator; None: the system.

    Returns False if there was none. Raises NotAllowedError if the user is `by`, or has a right that
    `by` does not have (users/privileges.py).
    """
    user = User.objects.get(pk=user_id)
    require_above(user, by, Right.USERS)
    with transaction.atomic(), for_all_tenants():
        return _remove(user, by=by)


def _remove(user: User, *, by: User | None) -> bool:
    with changed_by(by.pk if by else None):
        RecoveryCode.objects.filter(user=user).delete()
        removed, _ = SecondFactor.objects.filter(user=user).delete()
    return removed > 0


def _count_attempt(user: User) -> list[Limit]:
    limits = [Limit("second factor", str(user.pk), MAX_ATTEMPTS, LIMIT_WINDOW)]
    count_attempt(limits)
    return limits


def _use_time_code(user: User, text: str) -> bool:
    factor = SecondFactor.objects.filter(user=user).first()
    secret = open_secret(user, factor.sealed_secret) if factor else None
    if factor is None or secret is None:
        return False
    step = codes.matching_step(secret, text, now=time.time(), after=factor.last_step)
    unused = SecondFactor.objects.filter(user=user, last_step=factor.last_step)
    return step is not None and unused.update(last_step=step) == 1


def _use_recovery_code(user: User, text: str) -> bool:
    if not text or not SecondFactor.objects.filter(user=user).exists():
        return False
    hashed = codes.recovery_hash(user.pk, text)
    unused = RecoveryCode.objects.filter(user=user, code_hash=hashed, used_at=None)
    return unused.update(used_at=timezone.now()) == 1


def _replace_recovery_codes(user: User) -> list[str]:
    new_codes = codes.new_recovery_codes()
    RecoveryCode.objects.filter(user=user).delete()
    RecoveryCode.objects.bulk_create(
        RecoveryCode(user=user, code_hash=codes.recovery_hash(user.pk, code)) for code in new_codes
    )
    return new_codes


def _cipher() -> ChaCha20Poly1305:
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"fillcast second factor v1")
    return ChaCha20Poly1305(key.derive(settings.SECRET_KEY.encode()))
