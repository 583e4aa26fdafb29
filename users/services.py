"""Users and their API keys."""

import hmac
import secrets
from collections.abc import Collection
from datetime import datetime, timedelta
from hashlib import sha256

from django.contrib.auth.models import Group
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from common.audit_trail import changed_by
from common.codes import Code
from common.errors import ConflictError, InvalidInputError, NotAllowedError
from common.permissions import Role, Scope
from users.api_keys import end_of, has_ended, ordered, require_no_more
from users.models import ApiKey, User
from users.tenancy import for_all_tenants

_BRAND = "fc"  # secret scanners and people tell by it what they have found
_PREFIX_BYTES, _SECRET_BYTES = 6, 32
_NOTE_USE_EVERY = timedelta(minutes=1)
_NO_HASH = sha256(b"no such key").hexdigest()


@transaction.atomic
def create_api_key(
    user: User,
    name: str,
    *,
    expires_at: datetime | None = None,
    scopes: Collection[str] = tuple(Scope),
    by: User | None = None,
) -> tuple[ApiKey, str]:
    """Return a new key and its secret, which is stored nowhere: show it once.

    expires_at: 90 days from now unless it is said. by: who makes it; who came with a key gives no
    more than that key has. Raises InvalidInputError (an end in the past or too far away, an
    unknown scope, none), NotAllowedError.
    """
    ends = end_of(expires_at, now=timezone.now(), at_most=by.key_ends_at if by else None)
    allowed = ordered(scopes)
    if by is not None:
        require_no_more(by, allowed, ends)
    prefix = secrets.token_hex(_PREFIX_BYTES)
    secret = f"{_BRAND}_{prefix}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    key = ApiKey.objects.create(
        user=user,
        name=name[:100],
        prefix=prefix,
        secret_hash=_hash(secret),
        expires_at=ends,
        scopes=allowed,
    )
    return key, secret


@transaction.atomic
def user_for_key(secret: str) -> User | None:
    """Return whose key this is; None if it is unknown, wrong, expired, revoked, or its user is
    deactivated. All of these take the same way and tell the caller nothing of the difference."""
    brand, _, rest = secret.partition("_")
    prefix = rest.partition("_")[0]
    if not (prefix.isascii() and prefix.isalnum()):
        prefix = ""  # no key has it; what PostgreSQL cannot store must not reach it
    with for_all_tenants():  # whose it is, is what we are about to learn
        found = ApiKey.objects.select_related("user").filter(prefix=prefix).first()
        expected = found.secret_hash if found else _NO_HASH
        is_right = hmac.compare_digest(_hash(secret), expected)
        if found is None or not is_right or brand != _BRAND or not _is_open(found):
            return None
        _note_use(found)
    found.user.key_scopes = frozenset(Scope(scope) for scope in found.scopes)
    found.user.key_ends_at = found.expires_at
    return found.user


@transaction.atomic
def revoke_api_key(key_id: int, *, by: User | None = None) -> bool:
    """Make a key useless for good. Returns False if it was revoked before."""
    key = ApiKey.objects.get(pk=key_id)
    if by is not None and not by.is_operator and by.pk != key.user_id:
        raise NotAllowedError(Code.PERMISSION_DENIED)
    unrevoked = ApiKey.objects.filter(pk=key_id, revoked_at=None)
    return unrevoked.update(revoked_at=timezone.now()) == 1


@transaction.atomic
def create_user(
    username: str, password: str, *, email: str = "", is_operator: bool = False,
    by: User | None = None,
) -> User:  # fmt: skip
    """Return a new tenant, or an operator. Only operators (None: the system) may.

    Raises InvalidInputError for a weak password (the rules of AUTH_PASSWORD_VALIDATORS),
    ConflictError if the name is taken.
    """
    if by is not None and not by.is_operator:
        raise NotAllowedError(Code.PERMISSION_DENIED)
    draft = User(username=username, email=email, is_staff=is_operator)
    try:
        validate_password(password, draft)
    except ValidationError as error:
        raise InvalidInputError(
            Code.FIELD_INVALID, " ".join(error.messages), field="password"
        ) from error
    try:
        with transaction.atomic():
            return User.objects.create_user(username, email, password, is_staff=is_operator)
    except IntegrityError as error:
        raise ConflictError(Code.STATE_CONFLICT, f"The name {username!r} is taken.") from error


@transaction.atomic
def create_operator(username: str, password: str, *, email: str = "", role: Role) -> User:
    """Return a new person for the console with this role. For the system itself: on the machine.

    The first administrator is a superuser, since only a superuser can make another one.
    Raises as `create_user` does.
    """
    user = create_user(username, password, email=email, is_operator=True)
    user.groups.add(Group.objects.get(name=role.value))
    if role is Role.ADMINISTRATOR and not User.objects.filter(is_superuser=True).exists():
        user.is_superuser = True
        user.save(update_fields=["is_superuser"])
    return user


def has_operator() -> bool:
    """Tell whether somebody can use the console."""
    return User.objects.filter(is_staff=True, is_active=True).exists()


@transaction.atomic
def set_role(user_id: int, *, is_operator: bool, by: User | None) -> bool:
    """Make a tenant an operator, or an operator a tenant. False: it was so already.

    Only operators may (None: the system), and nobody for themselves: no one locks everybody out.
    """
    if by is not None and (not by.is_operator or by.pk == user_id):
        raise NotAllowedError(Code.PERMISSION_DENIED)
    with changed_by(by.pk if by else None):
        others = User.objects.filter(pk=user_id).exclude(is_staff=is_operator)
        return others.update(is_staff=is_operator) == 1


def _is_open(key: ApiKey) -> bool:
    return not has_ended(key, now=timezone.now()) and key.revoked_at is None and key.user.is_active


def _note_use(key: ApiKey) -> None:
    """Not on every call: a key that is used a thousand times a second is still one row."""
    now = timezone.now()
    if key.last_used_at is None or now - key.last_used_at > _NOTE_USE_EVERY:
        ApiKey.objects.filter(pk=key.pk, last_used_at=key.last_used_at).update(last_used_at=now)


def _hash(secret: str) -> str:
    # No salt and no slow hash: the secret has 256 random bits, there is nothing to guess.
    return sha256(secret.encode("utf-8", "replace")).hexdigest()
