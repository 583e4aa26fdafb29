"""Prepares a new market session: deletes the last one's rows, so that each run starts alike.

Old trades would be in the future of the new session's clock. Only a database that the demo has
filled from the beginning is reset.
"""

from collections.abc import Sequence
from uuid import UUID

from django.apps import apps
from django.db import models, transaction
from django.utils import timezone

from common.sql import rows, run
from connections.models import ConnectionHealth, ExecutionConnection, HealthStatus
from demo import accounts
from ops.embedded.errors import EmbeddedError
from users.models import User

DATABASE_MARK = "Fillcast demo: everything in this database may be replaced by the next demo."
RESET_APPS = ("execution", "positions", "analytics", "prices")  # all models of these apps
RESET_MODELS = {
    "signals": ("Signal",),
    "events": ("Event", "Notification", "Delivery"),
    "connections": ("AccountSnapshot", "KillSwitch"),
    "paper": ("PaperQuote", "PaperOrder", "PaperFill", "PaperPosition", "PaperEvent"),
}


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
def begin_session() -> None:
    """Delete the last session's trades and prices; give accounts their initial balances."""
    tables = ", ".join(f'"{model._meta.db_table}"' for model in _session_models())
    run("SET CONSTRAINTS ALL IMMEDIATE")  # TRUNCATE fails with deferred checks pending
    run(f"TRUNCATE {tables} RESTART IDENTITY CASCADE")
    run(
        "INSERT INTO execution_accountsyncstate (connection_id)"
        " SELECT id FROM connections_executionconnection WHERE archived_at IS NULL ORDER BY id"
    )
    balances = {account.number: account.paper["balance"] for account in accounts.demo_accounts()}
    run(
        "UPDATE paper_account a SET balance = t.balance, orders_taken = 0"
        " FROM unnest(%s::text[], %s::numeric[]) AS t (number, balance)"
        " WHERE a.number = t.number",
        (list(balances), list(balances.values())),
    )
    _backdate()
    ConnectionHealth.objects.update(
        status=HealthStatus.UNTESTED, last_error="", last_error_at=None, last_tested_at=None,
        last_connected_at=None, last_used_at=None, last_test=[], consecutive_failures=0,
        failing_since=None, unreachable_at=None, read_after=None, circuit_open_until=None,
        reconciled_at=None, test_requested_at=timezone.now(),
    )  # fmt: skip


def _session_models() -> Sequence[type[models.Model]]:
    """Return the models whose rows belong to one session."""
    whole = [model for label in RESET_APPS for model in apps.get_app_config(label).get_models()]
    parts = [apps.get_model(label, name) for label, names in RESET_MODELS.items() for name in names]
    return [model for model in (*whole, *parts) if not model._meta.proxy]


def _backdate() -> None:
    """Keep users' changes to subscriptions and connections, dated before the session."""
    run("DELETE FROM connections_subscriptioninterval")
    run(
        "INSERT INTO connections_subscriptioninterval (subscription_id, started_at)"
        " SELECT id, %s FROM connections_subscription WHERE archived_at IS NULL",
        (accounts.SEEDED_AT,),
    )
    run("UPDATE connections_subscription SET archived_at = %s WHERE archived_at > %s",
        (accounts.SEEDED_AT, accounts.SEEDED_AT))  # fmt: skip
    run(  # least() ignores NULL, so rows that are not archived need the CASE
        "UPDATE connections_executionconnection SET created_at = least(created_at, %s),"
        " archived_at = CASE WHEN archived_at IS NOT NULL THEN least(archived_at, %s) END",
        (accounts.SEEDED_AT, accounts.SEEDED_AT),
    )


def connections_to_test() -> list[UUID]:
    """Return the ids of the connections to test now."""
    live = ExecutionConnection.objects.live().order_by("account")
    return list(live.values_list("pk", flat=True))
