"""Add, change and delete decision providers. Public through `connections.services`."""

from typing import Any

from django.db import transaction
from django.db.models import ProtectedError

from common.db.row_changes import change_row
from common.db.row_faults import row_errors
from common.errors import ConflictError, raise_all
from common.permissions import Right, require
from common.reason_codes import Code
from common.web.quotas import require_quota
from connections.credentials.provider_secrets import seal_secret
from connections.models import DecisionProvider, NewsCalendar
from users.joins import key_of, setter_key
from users.models import User
from users.sign_in.session_factor import require_fresh_factor

WHO_DECIDES = ("kind", "url", "entry_point")
"""The fields that name who is asked: who answers sees balances and scales entries. What an API key
sets of them, or the secret, ends with the key."""


@transaction.atomic
def add_decision_provider(
    provider: DecisionProvider, *, secret: str = "", by: User | None
) -> DecisionProvider:
    """Add a provider; presets may then use it.

    Raises NotAllowedError; InvalidInputError with all faults; ConflictError QUOTA_REACHED;
    SecondFactorNeededError unless it decides by rules. secret: signs the requests to a URL.
    """
    require(by, Right.LIMITS, owner_id=provider.user_id)
    if secret or provider.is_foreign:
        require_fresh_factor(by)
    if secret:
        provider.secret_sealed = seal_secret(secret, provider)
    provider.made_with_id = key_of(by)
    raise_all(row_errors(provider))
    owned = DecisionProvider.objects.filter(user=provider.user_id)
    require_quota("decision providers", provider.user_id, owned)
    provider.save(force_insert=True)
    return provider


@transaction.atomic
def change_decision_provider(
    provider_id: int, *, secret: str = "", by: User | None, **changes: Any
) -> DecisionProvider:
    """Change a provider from the next entry on. Raises as `add_decision_provider`.

    SecondFactorNeededError only for a secret, a change of who is asked, or to keep, by naming it
    again, whom an API key had set.
    """
    provider = DecisionProvider.objects.select_for_update(no_key=True).get(pk=provider_id)
    require(by, Right.LIMITS, owner_id=provider.user_id)
    before = [getattr(provider, name) for name in WHO_DECIDES]
    for name, value in changes.items():
        setattr(provider, name, value)
    is_changed = bool(secret) or before != [getattr(provider, name) for name in WHO_DECIDES]
    is_named = is_changed or not changes.keys().isdisjoint(WHO_DECIDES)
    if is_changed or (is_named and provider.made_with_id is not None):
        require_fresh_factor(by)
    if is_named:
        key_id = setter_key(key_of(by), provider.made_with_id, is_changed=is_changed)
        changes["made_with_id"] = provider.made_with_id = key_id
    if secret:
        changes["secret_sealed"] = provider.secret_sealed = seal_secret(secret, provider)
    raise_all(row_errors(provider))
    if "sessions" in changes:
        changes["sessions"] = provider.sessions
    return change_row(provider, changes)


@transaction.atomic
def delete_decision_provider(provider_id: int, *, by: User | None) -> None:
    """Delete a provider. Raises NotAllowedError, ConflictError while a preset uses it."""
    provider = DecisionProvider.objects.select_for_update(no_key=True).get(pk=provider_id)
    require(by, Right.LIMITS, owner_id=provider.user_id)
    try:
        provider.delete()
    except ProtectedError as error:
        detail = "Presets use it: choose another provider in them first."
        raise ConflictError(Code.STATE_CONFLICT, detail) from error


@transaction.atomic
def add_news_calendar(name: str, *, owner: User | None, by: User | None) -> NewsCalendar:
    """Add an empty calendar; `import_calendar` fills it.

    Raises NotAllowedError, ConflictError QUOTA_REACHED.
    """
    owner_id = owner.pk if owner else None
    require(by, Right.LIMITS, owner_id=owner_id)
    require_quota("news calendars", owner_id, NewsCalendar.objects.filter(user=owner_id))
    return NewsCalendar.objects.create(name=name, user=owner)


@transaction.atomic
def delete_news_calendar(calendar_id: int, *, by: User | None) -> None:
    """Delete a calendar. Raises NotAllowedError, ConflictError while a provider uses it."""
    calendar = NewsCalendar.objects.select_for_update(no_key=True).get(pk=calendar_id)
    require(by, Right.LIMITS, owner_id=calendar.user_id)
    try:
        calendar.delete()
    except ProtectedError as error:
        detail = "Decision providers use it: choose another calendar in them first."
        raise ConflictError(Code.STATE_CONFLICT, detail) from error
