"""What an API key may be: its scopes, its end, and never more than whoever makes it has."""

from collections.abc import Collection
from datetime import datetime, timedelta

from common.errors import InvalidInputError, NotAllowedError
from common.permissions import Scope
from common.reason_codes import Code
from users.models import ApiKey, User
from users.second_factor import factor_of, is_required

DEFAULT_LIFE, LONGEST_LIFE, ENDS_SOON = timedelta(days=90), timedelta(days=366), timedelta(days=14)
LIVES = [("7", "7 days"), ("30", "30 days"), ("90", "90 days"), ("365", "A year")]
"""What forms offer, in days."""
SCOPES = {
    Scope.READ: "Read: your accounts, orders, positions, signals and results.",
    Scope.TRADE: "Trade: cancel orders, move stops and targets, close positions.",
    Scope.PUBLISH: "Publish: write, publish and cancel signals; change feeds.",
    Scope.OPERATE: "Operate: accounts and their credentials, subscriptions, presets, kill switch, "
    "notifications.",
}


def end_of(wanted: datetime | None, *, now: datetime, at_most: datetime | None = None) -> datetime:
    """Return when a new key ends: 90 days from now unless it is said, or when the key ends that it
    is made with (`at_most`), if that is sooner. Raises InvalidInputError."""
    if wanted is None:
        return min(now + DEFAULT_LIFE, at_most or now + DEFAULT_LIFE)
    if wanted <= now:
        raise InvalidInputError(Code.FIELD_INVALID, "The end lies in the past.", field="expires_at")
    if wanted > now + LONGEST_LIFE:
        detail = f"A key lives for {LONGEST_LIFE.days} days at most; make a new one before it ends."
        raise InvalidInputError(Code.FIELD_INVALID, detail, field="expires_at")
    return wanted


def ordered(scopes: Collection[str]) -> list[str]:
    """Return scopes in the table's order, each once. Raises InvalidInputError: none, or unknown."""
    known = {scope.value for scope in Scope}
    if unknown := sorted({str(scope) for scope in scopes} - known):
        detail = f"There is no scope {unknown[0]!r}; there are {', '.join(Scope)}."
        raise InvalidInputError(Code.FIELD_INVALID, detail, field="scopes")
    if not scopes:
        raise InvalidInputError(Code.FIELD_REQUIRED, "A key needs a scope.", field="scopes")
    return [scope.value for scope in Scope if scope.value in scopes]


def require_no_more(by: User, scopes: Collection[str], end: datetime) -> None:
    """A key that is made with a key has no more than that one, and ends no later.

    Who has a second factor makes keys in the portal, where it is asked for. Raises NotAllowedError.
    """
    if by.key_scopes is None:
        return
    if factor_of(by) is not None or is_required(by):
        detail = "Keys of who has a second factor are made in the portal or the console, with it."
        raise NotAllowedError(Code.SECOND_FACTOR_NEEDED, detail)
    if more := [scope for scope in scopes if scope not in by.key_scopes]:
        detail = f"The key that you sent lacks the scope {more[0]!r}, so it cannot give it."
        raise NotAllowedError(Code.PERMISSION_DENIED, detail)
    if by.key_ends_at is not None and end > by.key_ends_at:
        detail = f"The key that you sent ends at {by.key_ends_at.isoformat()}; so must this one."
        raise NotAllowedError(Code.PERMISSION_DENIED, detail)


def ends_soon(key: ApiKey, *, now: datetime) -> bool:
    """Whether an open key ends within two weeks: time to make another."""
    return key.revoked_at is None and now < key.expires_at <= now + ENDS_SOON


def has_ended(key: ApiKey, *, now: datetime) -> bool:
    """Whether a key's time is over."""
    return key.expires_at <= now
