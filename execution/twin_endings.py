"""Wind up paper twins that have ended: close what they hold, then archive their accounts.

A sweep: each run does what is possible now, so a process that dies leaves nothing half done.
"""

from django.db import transaction

from connections.exposure import open_items
from connections.models import KillSwitch, SubscriptionTwin
from connections.services import (
    HaltTarget,
    archive_connection,
    end_twins_of_archived_feeds,
    follow_twin,
)
from execution.scoped.actions import (
    ActionRequest,
    as_scope,
    carry_out,
    entry_ids,
    position_ids,
)


def wind_up_twins() -> list[int]:
    """Return the exits to enqueue. Pending actions are to be enqueued, too.

    Twins whose feed is archived end, running ones get their live subscription's terms, and of
    those that have ended entries are cancelled, positions closed, and accounts without anything
    open archived.
    """
    end_twins_of_archived_feeds()
    with transaction.atomic():
        follow_twin()
    over = SubscriptionTwin.objects.filter(
        ended_at__isnull=False, connection__archived_at=None
    ).order_by("pk")  # fmt: skip
    exits: list[int] = []
    for link in over:
        exits += _wind_up(link)
    return exits


def _wind_up(link: SubscriptionTwin) -> list[int]:
    target = HaltTarget(KillSwitch.Scope.CONNECTION, connection_id=link.connection_id)
    exits: list[int] = []
    with transaction.atomic():
        if entry_ids(target, by=None, closes=True) or position_ids(target, by=None):
            request = ActionRequest(as_scope(target), cancels_entries=True, closes_positions=True)
            exits = list(carry_out(request, by=None).exits)
        elif not open_items(link.connection_id):
            archive_connection(link.connection_id, by=None)
    return exits
