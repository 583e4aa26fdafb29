"""Quotas: how many rows of a kind one owner may have, so that no script fills the database."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet

from common.db.sql import rows
from common.errors import ConflictError
from common.operational.current import settings_now
from common.quota_kinds import QUOTAS
from common.reason_codes import Code

_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"


def lock_quota(kind: str, owner_id: int | None) -> None:
    """Let no other transaction create a row of this kind for this owner until the caller's ends.

    A service that locks rows or candidates takes this lock first: then a request that waits for it
    holds up nothing, and no two requests wait for each other. owner_id: None: the operators' shared
    rows.
    """
    if not transaction.get_connection().in_atomic_block:
        raise transaction.TransactionManagementError(
            "A quota is counted in the transaction that creates, and none is open."
        )
    rows(_LOCK, (f"quota of {kind}: {owner_id}",))


def require_quota(
    kind: str, owner_id: int | None, existing: QuerySet[Any], *, new: int = 1
) -> None:
    """Raise ConflictError QUOTA_REACHED if `new` rows more are too many for one owner.

    existing: the owner's rows that count. They are counted under `lock_quota`, so that of two
    requests at once only one creates the last row.
    """
    if new == 0:
        return
    lock_quota(kind, owner_id)
    most = settings_now().users.quotas.get(kind, QUOTAS[kind])
    count = existing.count()
    if count + new > most:
        remedy = "Try again later" if "within a day" in kind else "Remove some first"
        detail = (
            f"The quota is {most:,} {kind}; this owner has {count:,}, and {new:,} more would exceed"
            f" it. {remedy}, or ask the operators of this installation for a higher quota."
        )
        raise ConflictError(Code.QUOTA_REACHED, detail, name=kind, value=count, maximum=most)


def within_a_day(field: str = "created_at") -> Q:
    """Return the condition of rows made within 24 hours.

    Of what leaves a row behind when it ends, these count, too: creating and ending are limited.
    """
    return Q(**{f"{field}__gt": datetime.now(UTC) - timedelta(days=1)})
