"""Prepares a new market session: deletes the last one's rows, so that all runs start the same way.

Old trades would be in the future of the new session's clock. Only a database that the demo has
filled from the beginning is reset.
"""

from collections.abc import Sequence
from uuid import UUID

from django.apps import apps
from django.db import models, transaction
from django.db.models import F
from django.db.models.functions import Least
from django.utils import timezone

from brokers.paper.models import PaperAccount
from common.db.sql import rows, run
from connections.models import (
    ConnectionHealth,
    ExecutionConnection,
    HealthStatus,
    Subscription,
    SubscriptionInterval,
)
from demo import accounts
from execution.models import AccountSyncState
from ops.embedded.errors import EmbeddedError
from signals.records.sql import ANCHORS, HEADS, LINKS, STATUS
from users.models import User

DATABASE_MARK = "Fillcast demo: everything in this database may be replaced by the next demo."
RESET_APPS = ("execution", "positions", "analytics", "prices", "buses")  # all models of these apps
RESET_MODELS = {
    "signals": ("Signal",),
    "events": ("Event", "Notification", "Delivery"),
    "connections": (
        "AccountSnapshot", "AccountHistory", "CashFlow", "CashFlowRead", "KillSwitch",
        "TradingPause",
    ),
    "paper": ("PaperQuote", "PaperOrder", "PaperFill", "PaperPosition", "PaperEvent"),
}  # fmt: skip
RECORDS = (LINKS, HEADS, ANCHORS)


def claim_database() -> None:
    """Mark the database as the demo's. Raises EmbeddedError if it has other users."""
    (found,) = rows("SELECT obj_description('signals_feed'::regclass) AS mark")
    if found.mark == DATABASE_MARK:
        return
    if (
        others := User.objects.exclude(username__in=[accounts.OPERATOR, *accounts.NAMES]).count()
    ) > 0:
        raise EmbeddedError(
            f"This database belongs to another installation (users: {others}), and the demo would"
            " replace its trades. Run the demo next to it: FILLCAST_VAR=var/demo make demo"
            " (if DATABASE_URL is set, set it to another database)."
        )
    run(f"COMMENT ON TABLE signals_feed IS '{DATABASE_MARK}'")


@transaction.atomic
def begin_market_session() -> None:
    """Delete the last session's trades and prices; give accounts their initial balances."""
    tables = ", ".join(f'"{model._meta.db_table}"' for model in _session_models())
    run("SET CONSTRAINTS ALL IMMEDIATE")  # TRUNCATE fails with deferred checks pending
    run(f"TRUNCATE {tables} RESTART IDENTITY CASCADE")
    _begin_records()
    live = ExecutionConnection.objects.live().order_by("pk").values_list("pk", flat=True)
    AccountSyncState.objects.bulk_create([AccountSyncState(connection_id=pk) for pk in live])
    for account in accounts.demo_accounts():
        mine = PaperAccount.objects.filter(number=account.number)
        mine.update(balance=account.paper["balance"], orders_taken=0)
    _backdate()
    ConnectionHealth.objects.update(
        status=HealthStatus.UNTESTED, last_error="", last_error_at=None, last_tested_at=None,
        last_connected_at=None, last_used_at=None, last_test=[], consecutive_failures=0,
        failing_since=None, unreachable_at=None, read_after=None, circuit_open_until=None,
        reconciled_at=None, test_requested_at=timezone.now(),
    )  # fmt: skip


def _begin_records() -> None:
    """Start the record of each feed: each link of the old one names a signal that is gone.

    Only triggers may write into a record, so what refuses everybody else is off meanwhile.
    """
    for table in RECORDS:
        run(f"ALTER TABLE {table} DISABLE TRIGGER fillcast_guard")
    run(f"TRUNCATE {', '.join(RECORDS)}, {STATUS} RESTART IDENTITY")
    for table in RECORDS:
        run(f"ALTER TABLE {table} ENABLE TRIGGER fillcast_guard")


def _session_models() -> Sequence[type[models.Model]]:
    """Return the models whose rows belong to one session."""
    whole = [model for label in RESET_APPS for model in apps.get_app_config(label).get_models()]
    parts = [apps.get_model(label, name) for label, names in RESET_MODELS.items() for name in names]
    return [model for model in (*whole, *parts) if not model._meta.proxy]


def _backdate() -> None:
    """Keep users' changes to subscriptions and connections, dated before the session."""
    at = accounts.SEEDED_AT
    SubscriptionInterval.objects.all().delete()
    live = Subscription.objects.filter(archived_at=None)
    SubscriptionInterval.objects.bulk_create(
        [SubscriptionInterval(subscription=subscription, started_at=at) for subscription in live]
    )
    Subscription.objects.filter(archived_at__gt=at).update(archived_at=at)
    every = ExecutionConnection.objects.all()
    every.update(created_at=Least(F("created_at"), at))
    every.exclude(archived_at=None).update(archived_at=Least(F("archived_at"), at))


def connections_to_test() -> list[UUID]:
    """Return the ids of the connections to test now."""
    live = ExecutionConnection.objects.live().order_by("account")
    return list(live.values_list("pk", flat=True))
