"""Quotas: how many rows of a kind one owner may have, so that no script fills the database."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Q, QuerySet

from common.errors import ConflictError
from common.reason_codes import Code
from common.sql import rows

QUOTAS = {
    "accounts": 1_000,
    "alert tokens": 1_000,
    "API keys": 200,
    "cash flows entered within a day": 1_000,
    "channels": 200,
    "decision providers": 200,
    "drafts": 5_000,
    "feeds": 200,
    "invitations": 1_000,
    "loss limits": 5_000,
    "news calendars": 20,  # each holds up to 50,000 events
    "presets": 200,
    "requests for approval within a day": 50,  # each notifies all operators
    "subscriptions": 5_000,
    "versions of terms within a day": 100,
}
"""The quota of each kind. docs/api.md has them, too, with what counts."""

_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"


def require_quota(
    kind: str, owner_id: int | None, existing: QuerySet[Any], *, new: int = 1
) -> None:
    """Raise ConflictError QUOTA_REACHED if `new` rows more are too many for one owner.

    owner_id: None: the operators' shared rows. existing: the owner's rows that count. The kind
    stays locked for this owner until the caller's transaction ends, so that of two requests at once
    only one creates the last row.
    """
    rows(_LOCK, (f"quota of {kind}: {owner_id}",))
    most = QUOTAS[kind]
    count = existing[:most].count()
    if count + new > most:
        remedy = "Try again later" if "within a day" in kind else "Remove some first"
        detail = f"One owner may have at most {most:,} {kind}. {remedy}."
        raise ConflictError(Code.QUOTA_REACHED, detail, name=kind, value=count, maximum=most)


def within_a_day(field: str = "created_at") -> Q:
    """Return the condition of rows made within 24 hours.

    Of what leaves a row behind when it ends, these count, too: creating and ending are limited.
    """
    return Q(**{f"{field}__gt": datetime.now(UTC) - timedelta(days=1)})
