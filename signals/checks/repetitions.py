"""Entries of a feed that repeat an earlier one by the fields that the installation compares.

The operational settings name the fields (`idempotency.dedupe_by`) and for how long. All of them
must be equal, and stated: two entries without a plan have no plan in common. It comes on top of
what the database refuses for good: the same external id, and a second entry of a signal on an
account.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from common.db.sql import rows
from common.errors import ConflictError
from common.operational.current import settings_now
from common.reason_codes import Code
from signals.models import Action, Approval, Feed, Signal

COLUMNS = {
    "symbol": ("currency_pair",), "direction": ("direction",), "order_type": ("order_type",),
    "price": ("open_price", "stop_price"),
    "strategy_id": ("strategy_id",), "trade_plan_id": ("trade_plan_id",),
}  # fmt: skip
OWN_ID = "signal_id"
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"


def require_new(feed: Feed, values: Mapping[str, Any]) -> None:
    """Raise ConflictError SIGNAL_REPEATED if an entry of the feed has the same values.

    values: the columns of the entry that is to be stored in this transaction. Of two at once the
    second waits here for the first.
    """
    terms = settings_now().idempotency
    names = [name for name in terms.dedupe_by if name in COLUMNS]
    if not terms.enabled or not names or values["action"] != Action.OPEN:
        return
    if OWN_ID in terms.dedupe_by:
        return  # entries with the same id are refused by the database, others differ by it
    if any(all(values[one] in ("", None) for one in COLUMNS[name]) for name in names):
        return  # what is not stated equals nothing
    rows(_LOCK, (f"entries of feed {feed.pk}",))
    since = datetime.now(UTC) - timedelta(hours=terms.check_window_hours)
    same = Signal.objects.filter(
        feed=feed, action=Action.OPEN, created_at__gt=since, cancelled_at=None
    ).exclude(approval=Approval.REJECTED)
    for column in (column for name in names for column in COLUMNS[name]):
        value = values[column]
        same = same.filter(**({f"{column}__isnull": True} if value is None else {column: value}))
    if (first := same.order_by("-pk").first()) is not None:
        raise ConflictError(
            Code.SIGNAL_REPEATED,
            f"{first.number} of the last {terms.check_window_hours} h has the same"
            f" {', '.join(names)}.",
        )
