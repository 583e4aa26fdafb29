"""Users and their API keys."""

import hmac
import secrets
from collections.abc import Collection
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from django.contrib.auth.models import Group
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from common.db.audit_trail import changed_by
from common.db.prepared_lookup import PreparedLookup
from common.errors import ConflictError, InvalidInputError
from common.permissions import Right, Role, Scope, require
from common.reason_codes import Code
from common.spellings import stored_address
from common.web.quotas import lock_quota, require_quota, within_a_day
from users.keys import channels as key_channels
from users.keys.notices import notify_made
from users.keys.rules import (
    expiry_of,
    ordered,
    require_may_make_keys,
    require_no_more,
)
from users.keys.setups import with_its_keys
from users.models import ApiKey, User
from users.privileges import require_above, require_givable, require_superuser, roles_of
from users.sign_in.session_factor import require_fresh_factor
from users.signals import rights_changed
from users.tenancy import for_all_tenants

_BRAND = "fc"  # lets secret scanners and people recognise a key
_PREFIX_BYTES, _SECRET_BYTES = 6, 32
_USE_INTERVAL = timedelta(minutes=1)
PROFILE_FIELDS = frozenset(
    {"username", "first_name", "last_name", "full_name", "email", "time_zone"}
)
_DUMMY_HASH = sha256(b"no such key").hexdigest()
_KEY_BY_PREFIX = PreparedLookup(lambda: ApiKey.objects.select_related("user").filter(prefix="p"))


@transaction.atomic
def create_api_key(
    user: User,
    name: str,
    *,
    expires_at: datetime | None = None,
    scopes: Collection[str] = tuple(Scope),
    by: User | None = None,
) -> tuple[ApiKey, str]:
    """Return a new key and its secret, which is not stored: show it once.

    expires_at: by default in 90 days. by: the acting user (None: the system); one who called with a
    key can give no more than that key has, and the new key is revoked with it. The owner is
    notified unless the system made it. Raises InvalidInputError (an end in the past or too far
    away, no scope or an unknown one), NotAllowedError, ConflictError QUOTA_REACHED.
    """
    now = timezone.now()
    ends = expiry_of(expires_at, now=now, at_most=by.key_ends_at if by else None)
    allowed = ordered(scopes)
    if by is not None and by.pk != user.pk:
        require_above(user, by, Right.API_KEYS)
    lock_quota("API keys", user.pk)
    parent = None
    if by is not None:
        require_no_more(by, allowed, ends)
        parent = _parent(by)
    counted = Q(revoked_at=None, expires_at__gt=now) | within_a_day()
    require_quota("API keys", user.pk, ApiKey.objects.filter(counted, user=user))
    prefix = secrets.token_hex(_PREFIX_BYTES)
    secret = f"{_BRAND}_{prefix}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    key = ApiKey.objects.create(
        user=user,
        name=name[:100],
        prefix=prefix,
        secret_hash=_hash(secret),
        expires_at=ends,
        scopes=allowed,
        made_with=parent,
    )
    if by is not None:
        notify_made(key, by)
    return key, secret


def _parent(by: User) -> ApiKey | None:
    """Return the key that `by` called with; it stays locked, so that a revocation of it that comes
    at the same time finds the key that is made with it. None: they are signed in."""
    if by.key_id is None:
        return None
    key = ApiKey.objects.select_for_update(no_key=True).get(pk=by.key_id)
    require_may_make_keys(key)
    return key


@transaction.atomic(savepoint=False)  # for_all_tenants() opens one
def user_for_key(secret: str) -> User | None:
    """Return the owner of a key; None if it is unknown, wrong, expired or revoked, or the owner is
    inactive. All of these take the same steps, so that a caller learns no difference."""
    brand, _, rest = secret.partition("_")
    prefix = rest.partition("_")[0]
    if not (prefix.isascii() and prefix.isalnum()):
        prefix = ""  # no key has it; PostgreSQL refuses some characters
    with for_all_tenants():  # the owner is not known yet
        key = _KEY_BY_PREFIX.first(prefix)
        expected = key.secret_hash if key else _DUMMY_HASH
        matches = hmac.compare_digest(_hash(secret), expected)
        if key is None or not matches or brand != _BRAND or not _is_usable(key):
            return None
        _record_use(key)
    key.user.key_scopes = frozenset(Scope(scope) for scope in key.scopes)
    key.user.key_ends_at = key.expires_at
    key.user.key_id = key.pk
    return key.user


@transaction.atomic
def revoke_api_key(key_id: int, *, by: User | None = None, and_its_channels: bool = False) -> bool:
    """Revoke a key for good, and those that were made with it. Returns False if it was before.

    `key_setups.set_up_with` lists what else it set up. and_its_channels: switch off the channels
    that it added; that needs a fresh second factor, as everything that silences alarms.
    Raises NotAllowedError for another user's key unless `by` may manage it (None: the system);
    SecondFactorNeededError.
    """
    if and_its_channels:
        require_fresh_factor(by)
    # Locked: a key that is being made with it is stored before, or is refused.
    keys = ApiKey.objects.select_for_update(of=("self",), no_key=True).select_related("user")
    key = keys.get(pk=key_id)
    if by is not None and by.pk != key.user_id:
        require_above(key.user, by, Right.API_KEYS)
    with_it = Q(pk=key_id) | Q(made_with=key_id)
    ApiKey.objects.filter(with_it, revoked_at=None).update(revoked_at=timezone.now())
    if and_its_channels:
        key_channels.switch_off(with_its_keys(key_id))
    return key.revoked_at is None


def create_user(
    username: str, password: str, *, email: str = "", roles: Collection[Role] = (),
    by: User | None = None,
) -> User:  # fmt: skip
    """Return a new tenant, or with roles a member of staff. by: the acting user (None: system).

    The password is hashed before the transaction begins, which would idle meanwhile. Raises
    InvalidInputError for a weak password (the rules of AUTH_PASSWORD_VALIDATORS), ConflictError if
    the name is taken, NotAllowedError, also for a role with a right that `by` does not have.
    """
    require(by, Right.USERS)
    return _store(_new_user(username, password, email), roles, by=by)


def create_operator(username: str, password: str, *, email: str = "", role: Role) -> User:
    """Return a new user of the console with this role. Only for commands on the machine itself.

    The first administrator becomes a superuser, since only a superuser can make another one.
    Raises as `create_user` does.
    """
    new_user = _new_user(username, password, email)
    with transaction.atomic():
        user = _store(new_user, [role], by=None)
        is_first = not User.objects.filter(is_superuser=True).exists()
        if role is Role.ADMINISTRATOR and is_first:
            change_rights(user.pk, by=None, is_superuser=True)
            user.refresh_from_db()
    return user


def _new_user(username: str, password: str, email: str) -> User:
    """Return a user that is not stored yet, with a checked and hashed password."""
    user = User(username=User.normalize_username(username))
    user.email = stored_address(email)
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise InvalidInputError(
            Code.FIELD_INVALID, " ".join(error.messages), field="password"
        ) from error
    user.set_password(password)
    return user


@transaction.atomic
def _store(user: User, roles: Collection[Role], *, by: User | None) -> User:
    try:
        with transaction.atomic():
            user.save(force_insert=True)
    except IntegrityError as error:
        detail = f"The name {user.username!r} is taken."
        raise ConflictError(Code.STATE_CONFLICT, detail) from error
    if roles:
        change_rights(user.pk, by=by, roles=roles)
        user.refresh_from_db()
    return user


def has_operator() -> bool:
    """Whether any active user can use the console: a superuser, or staff with a role."""
    may_use = Q(is_superuser=True) | Q(groups__name__in=[role.value for role in Role])
    return User.objects.filter(may_use, is_staff=True, is_active=True).exists()


@transaction.atomic
def change_rights(
    user_id: int, *, by: User | None, roles: Collection[Role] | None = None,
    is_superuser: bool | None = None, is_active: bool | None = None,
) -> bool:  # fmt: skip
    """Change a user's rights; no other function does. None: leave that unchanged.

    Users with a role and superusers are staff; others are not. Returns whether anything changed.
    Raises NotAllowedError if `by` (None: the system) lacks the right, if the user is `by` or has
    more rights (`require_above`), if a new role has a right that `by` does not have, or if
    `is_superuser` would change and `by` is no superuser.
    """
    user = User.objects.select_for_update(no_key=True).get(pk=user_id)
    require_above(user, by, Right.USERS)
    given = {Role(name) for name in roles} if roles is not None else roles_of(user)
    require_givable(given - roles_of(user), by)
    if is_superuser is not None and is_superuser != user.is_superuser:
        require_superuser(by)
        user.is_superuser = is_superuser
    user.is_active = user.is_active if is_active is None else is_active
    user.is_staff = bool(given) or user.is_superuser
    with changed_by(by.pk if by else None):
        if not _write_rights(user, given):
            return False
        rights_changed.send(sender=User, user=User.objects.get(pk=user.pk))
    return True


def _write_rights(user: User, roles: Collection[Role]) -> bool:
    columns = {name: getattr(user, name) for name in ("is_active", "is_staff", "is_superuser")}
    changed = User.objects.filter(pk=user.pk).exclude(**columns).update(**columns)
    if roles_of(user) == set(roles):
        return changed == 1
    others = user.groups.exclude(name__in=[role.value for role in Role])
    user.groups.set([*others, *Group.objects.filter(name__in=[role.value for role in roles])])
    return True


@transaction.atomic
def update_profile(user_id: int, *, by: User | None, **changes: Any) -> bool:
    """Change a user's name, e-mail address or time zone. Returns whether anything changed.

    Raises NotAllowedError as `change_rights` does, except that users may change their own;
    InvalidInputError for another field.
    """
    if unknown := sorted(set(changes) - PROFILE_FIELDS):
        raise InvalidInputError(
            Code.FIELD_UNKNOWN, f"{unknown[0]!r} cannot be changed here.", field=unknown[0]
        )
    user = User.objects.select_for_update(no_key=True).get(pk=user_id)
    if by is not None and by.pk != user.pk:
        require_above(user, by, Right.USERS)
    changed = {name: value for name, value in changes.items() if getattr(user, name) != value}
    if not changed:
        return False
    with changed_by(by.pk if by else None):
        return User.objects.filter(pk=user_id).update(**changed) == 1


@transaction.atomic
def hide_first_steps(user: User, *, hidden: bool) -> bool:
    """Hide the first steps on a user's own overview, or show them again. Return False if so."""
    with changed_by(user.pk):
        mine = User.objects.filter(pk=user.pk).exclude(hides_first_steps=hidden)
        return mine.update(hides_first_steps=hidden) == 1


def record_preflight(user_id: int) -> None:
    """Note that a preflight of the user's account was computed: one of their first steps."""
    User.objects.filter(pk=user_id, ran_preflight=False).update(ran_preflight=True)


def _is_usable(key: ApiKey) -> bool:
    return key.is_open and key.user.is_active


def _record_use(key: ApiKey) -> None:
    """Store that the key was used, at most once a minute: a busy key is still one row."""
    now = timezone.now()
    if key.last_used_at is None or now - key.last_used_at > _USE_INTERVAL:
        ApiKey.objects.filter(pk=key.pk, last_used_at=key.last_used_at).update(last_used_at=now)


def _hash(secret: str) -> str:
    # No salt and no slow hash: the secret has 256 random bits and cannot be guessed.
    return sha256(secret.encode("utf-8", "replace")).hexdigest()
