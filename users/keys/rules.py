"""Rules of API keys: scopes, end, and no more rights than their maker has."""

from collections.abc import Collection
from datetime import datetime, timedelta

from common.errors import InvalidInputError, NotAllowedError
from common.permissions import Scope
from common.reason_codes import Code
from users.models import ApiKey, User
from users.sign_in.second_factor import factor_of, is_required

DEFAULT_LIFE, LONGEST_LIFE, ENDS_SOON = timedelta(days=90), timedelta(days=366), timedelta(days=14)
LIVES = [("7", "7 days"), ("30", "30 days"), ("90", "90 days"), ("365", "A year")]
"""The lifetimes that forms offer, in days."""
SCOPES = {
    Scope.READ: "Read: your accounts, orders, positions, signals and results.",
    Scope.TRADE: "Trade: cancel orders, move stops and targets, close positions.",
    Scope.PUBLISH: "Publish: write, publish and cancel signals; change feeds.",
    Scope.OPERATE: "Operate: accounts and their credentials, subscriptions, presets, kill switch, "
    "notifications.",
    Scope.PRICES: "Prices: push quotes to price sources of your own, and nothing else.",
}


def expiry_of(
    requested: datetime | None, *, now: datetime, at_most: datetime | None = None
) -> datetime:
    """Return when a new key ends: `requested`, or by default in 90 days.

    at_most: the end of the API key that the new one is made with; the default is not later.
    Raises InvalidInputError for an end in the past or later than LONGEST_LIFE.
    """
    if requested is None:
        return min(now + DEFAULT_LIFE, at_most or now + DEFAULT_LIFE)
    if requested <= now:
        raise InvalidInputError(Code.FIELD_INVALID, "The end is in the past.", field="expires_at")
    if requested > now + LONGEST_LIFE:
        detail = f"A key lasts {LONGEST_LIFE.days} days at most; make a new one before it ends."
        raise InvalidInputError(Code.FIELD_INVALID, detail, field="expires_at")
    return requested


def ordered(scopes: Collection[str]) -> list[str]:
    """Return the scopes in the order of `Scope`, each once. Raises InvalidInputError."""
    known = {scope.value for scope in Scope}
    if unknown := sorted({str(scope) for scope in scopes} - known):
        detail = f"There is no scope {unknown[0]!r}; there are {', '.join(Scope)}."
        raise InvalidInputError(Code.FIELD_INVALID, detail, field="scopes")
    if not scopes:
        raise InvalidInputError(Code.FIELD_REQUIRED, "A key needs a scope.", field="scopes")
    return [scope.value for scope in Scope if scope.value in scopes]


def require_no_more(by: User, scopes: Collection[str], end: datetime) -> None:
    """Raise NotAllowedError if a key made with a key had more scopes than that one or ended later.

    Users with a second factor make keys in the portal or the console, which ask for it.
    """
    if by.key_scopes is None:
        return
    if factor_of(by) is not None or is_required(by):
        detail = (
            "You have a second factor: make keys in the portal or the console, which ask for it."
        )
        raise NotAllowedError(Code.SECOND_FACTOR_NEEDED, detail)
    if missing := [scope for scope in scopes if scope not in by.key_scopes]:
        detail = f"The key that you sent lacks the scope {missing[0]!r}, so it cannot give it."
        raise NotAllowedError(Code.PERMISSION_DENIED, detail)
    if by.key_ends_at is not None and end > by.key_ends_at:
        detail = (
            f"The key that you sent ends at {by.key_ends_at.isoformat()}; a new one must not end"
            " later."
        )
        raise NotAllowedError(Code.PERMISSION_DENIED, detail)


def require_may_make_keys(key: ApiKey) -> None:
    """Raise NotAllowedError if no key can be made with this one: it is revoked, or was itself made
    with a key. So to revoke a key ends all that came of it."""
    if key.revoked_at is not None:
        raise NotAllowedError(Code.PERMISSION_DENIED, "The key that you sent was revoked.")
    if key.made_with_id is not None:
        raise NotAllowedError(Code.API_KEY_MADE_WITH_KEY)


def ends_soon(key: ApiKey, *, now: datetime) -> bool:
    """Whether an open key ends within two weeks, so that it is time to make another."""
    return key.revoked_at is None and now < key.expires_at <= now + ENDS_SOON


def has_ended(key: ApiKey, *, now: datetime) -> bool:
    return key.expires_at <= now
