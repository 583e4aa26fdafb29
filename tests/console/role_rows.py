"""The rows that the pages of the console are about, by their names in role_matrix.py."""

from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.urls import reverse

from common.models import SettingsVersion
from connections.models import KillSwitch, Subscription
from execution.disaster_recovery.epochs import current_epoch
from execution.models import DriftItem, ScopedAction, Status
from signals.feeds.services import create_feed_token
from signals.models import Approval, ApprovalRequest
from tests.console import seed
from tests.console.role_matrix import Page
from tests.loss_limits import pause_of
from users.models import User
from users.people.invitations import invite
from users.services import create_api_key

COUNTS = {("PENDING", ""): 1, ("FAILED", "NEVER_ARRIVED"): 1, ("FILLED", ""): 1}
OUR_SIDE = {"side": "SELL", "quantity": "40000", "entry_price": "1.38254", "stop_loss": None,
        "take_profit": None}  # fmt: skip
EVIDENCE = {"symbol": "EURUSD", "ours": OUR_SIDE, "theirs": None, "differs": "",
            "broker_position_id": "k", "client_order_id": ""}  # fmt: skip


def rows_of_pages(small: dict[str, Any]) -> dict[str, Any]:
    """Write the rows that the pages are about; return them by their names in the matrix.

    small: the rows of the fixture of this name.
    """
    feed, provider, connection = small["feed"], small["provider"], small["connections"][0]
    published = seed.signal(feed, provider, candidate_count=3)
    orders = seed.orders(published, small["connections"], COUNTS)
    by_status = {order.status: order for order in orders}
    position = seed.position(by_status[Status.FILLED])
    key, _ = create_api_key(provider, "k")
    token, _ = create_feed_token(feed)
    return {
        "": None, "app": ["signals"], "code": ["NO_PRESET"], "month": [2026, 3],
        "kind": ["order.filled"],
        "type": [ContentType.objects.get_for_model(KillSwitch).pk, 1],
        "waiting": small["waiting"], "signal": published,
        "unapproved": seed.signal(feed, approval=Approval.PENDING),
        "pending": by_status[Status.PENDING], "failed": by_status[Status.FAILED],
        "position": position, "connection": connection,
        "drift": DriftItem.objects.create(
            kind="POSITION_MISSING", connection=connection, key="k",
            position_id=position.pk, evidence=EVIDENCE,
        ),
        "subscription": Subscription.objects.filter(connection=connection).get(),
        "switch": KillSwitch.objects.create(
            scope="FEED", mode="REDUCING", feed=feed, reason="r", set_by=small["operator"]
        ),
        "scoped": ScopedAction.objects.create(
            cancels_entries=True, closes_positions=False, scope={}, scope_name="everything"
        ),
        "pause": pause_of(connection),
        "request": ApprovalRequest.objects.create(feed=feed, requested_by=provider),
        "version": SettingsVersion.objects.create(
            id=1, document={}, origin="console", why="The first."
        ),
        "epoch": current_epoch(), "feed": feed, "token": token, "key": key,
        "invitation": invite("for Zoe", by=None)[0],
        "tenant": User.objects.get(username="tenant-01"),
    }  # fmt: skip


def address(name: str, page: Page, rows: dict[str, Any]) -> str:
    """Return the address of a page, with the row that it is about."""
    row = rows[page.on]
    args = row if isinstance(row, list) else [row.pk] if row is not None else []
    return reverse(f"admin:{name}", args=args) + page.query
