"""Which orders may be archived, and that they are read back as they were."""

from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from common.archive.overview import count_removable
from common.db.sql import rows, run
from common.models import ArchiveFile
from common.operational.document import Retention
from config.retention import KINDS
from execution.audit.counters import audit
from execution.models import ArchivedOrder, DriftItem, EntryChange, Order, OrderTrigger, SlicePlan
from tests.archive.rows import archive, archived, line_ids, table
from tests.connections import make
from tests.execution import factories
from tests.execution.archived.conftest import Past, go_back
from tests.operational import set_setting

pytestmark = pytest.mark.django_db


def test_default_moves_nothing(past: Past, folder: Path, settings: Settings) -> None:
    default = Retention().order_days
    set_setting("retention.order_days", default)
    assert (default, archive("orders", folder), count_removable(KINDS["orders"])) == (None, 0, 0)
    assert Order.objects.count() == 5


def test_entries_that_never_traded_go_and_are_read_back_whole(past: Past, folder: Path) -> None:
    before = {row["id"]: row for row in table("execution_order")}
    assert [past.skipped.status, past.denied.status, past.rejected.status] == [
        "SKIPPED", "DENIED", "REJECTED",
    ]  # fmt: skip
    assert archive("orders", folder, rows_at_once=2) == 3
    assert line_ids(table("execution_order")) == past.traded
    found = archived("orders", folder)
    assert line_ids(found) == past.without_fill
    for row in found:
        whole = {**before[row["id"]], "trigger": None, "decision": None, "changes": None}
        assert row == whole
        assert {name: str(value) for name, value in row.items()} == {
            name: str(value) for name, value in whole.items()
        }
    assert archive("orders", folder) == 0  # nothing twice


def test_what_must_be_known_stays(past: Past, folder: Path) -> None:
    archive("orders", folder)
    one = ArchivedOrder.objects.get(pk=past.rejected.pk)
    names = ("signal_id", "connection_id", "leg", "status", "reason", "client_order_id",
             "broker_order_id", "quantity", "created_at", "submitted_at", "done_at")  # fmt: skip
    for name in names:
        assert getattr(one, name) == getattr(past.rejected, name), name
    file = ArchiveFile.objects.get(kind="orders", first_id__lte=one.pk, last_id__gte=one.pk)
    assert (folder / file.path).exists()
    assert ArchivedOrder.objects.get(pk=past.skipped.pk).client_order_id is None


def test_trigger_and_changes_go_with_their_order(past: Past, folder: Path) -> None:
    order = past.denied
    OrderTrigger.objects.create(
        order=order, connection=order.connection, kind="STOP", sent_as="MARKET", pair="EUR/USD",
        side="BUY", level="1.123456789012345678", active_since=timezone.now(), is_armed=False,
    )  # fmt: skip
    for quantity in ("2.500000000000000001", "3"):
        EntryChange.objects.create(
            order=order, connection=order.connection, quantity=quantity, state="DONE",
            done_at=timezone.now(),
        )  # fmt: skip
    archive("orders", folder)
    assert (OrderTrigger.objects.count(), EntryChange.objects.count()) == (0, 0)
    (row,) = archived("orders", folder, equal={"id": order.pk})
    assert row["trigger"]["level"] == "1.123456789012345678"
    assert [change["quantity"] for change in row["changes"]] == [
        "2.500000000000000001", "3.000000000000000000",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        "done_at = NULL, status = 'PENDING'",
        "status = 'UNKNOWN', done_at = NULL",
        "done_at = clock_timestamp() - interval '399 days'",
        "pending_action = 'CANCEL'",
        "lookup_after = clock_timestamp()",
        "aggregate_id = id",
        "reason = 'RESTORED_UNSENT'",
        "status = 'FAILED', route_state = 'HERE', routed_from_id = connection_id",
        "inferred_quantity = 1",
        "position_leg = 'entry-2', leg = 'entry-2'",
    ],
)
def test_order_that_something_may_still_become_of_stays(
    past: Past, folder: Path, change: str
) -> None:
    factories.force(f"UPDATE execution_order SET {change} WHERE id = %s", (past.rejected.pk,))
    assert archive("orders", folder) == 2
    assert Order.objects.filter(pk=past.rejected.pk).exists()


def test_order_with_a_trade_on_its_account_stays(past: Past, folder: Path) -> None:
    """Whatever opened it: a late fill of another attempt, or an adopted share."""
    run("UPDATE positions_executionposition SET connection_id = %s", (past.rejected.connection_id,))
    assert archive("orders", folder) == 2
    run("UPDATE positions_executionposition SET quantity = opened_quantity")
    assert archive("orders", folder) == 0
    assert Order.objects.filter(pk=past.rejected.pk).exists()


def test_order_with_what_is_not_over_stays(past: Past, folder: Path) -> None:
    DriftItem.objects.create(
        connection=past.rejected.connection, order_id=past.rejected.pk, kind="UNKNOWN_ORDER",
        key="k", state="IGNORED",
    )  # fmt: skip
    EntryChange.objects.create(
        order=past.denied, connection=past.denied.connection, quantity=1, state="WAITING"
    )
    OrderTrigger.objects.create(
        order=past.skipped, connection=past.skipped.connection, kind="STOP", sent_as="MARKET",
        pair="EUR/USD", side="BUY", level=1, active_since=timezone.now(),
    )  # fmt: skip
    assert archive("orders", folder) == 0


def test_entry_in_slices_stays(past: Past, folder: Path) -> None:
    now = timezone.now()
    SlicePlan.objects.create(
        order=past.denied, connection=past.denied.connection, style="TWAP", seed=1, quantity=1,
        quantity_step=1, quantity_min=1, offsets=[0], quantities=[1], catch_up="SKIP",
        at_end="LEAVE", arrival_price=1, starts_at=now, ends_at=now,
    )  # fmt: skip
    assert archive("orders", folder) == 2


def test_accounts_of_a_comparison_keep_their_orders(past: Past, folder: Path) -> None:
    from connections.models import Subscription, SubscriptionTwin

    live = Subscription.objects.get(connection=past.denied.connection)
    twin = Subscription.objects.get(connection=past.rejected.connection)
    SubscriptionTwin.objects.create(
        subscription=live, twin=twin, connection=twin.connection, opening_balance=1,
        currency="USD", started_at=timezone.now(),
    )  # fmt: skip
    assert archive("orders", folder) == 1
    assert line_ids(archived("orders", folder)) == [past.skipped.pk]


def test_nothing_goes_while_a_restore_is_not_settled(past: Past, folder: Path) -> None:
    run(
        "INSERT INTO connections_epoch (number, lineage, cause)"
        " SELECT 99, gen_random_uuid(), 'COMMAND'"
    )
    assert archive("orders", folder) == 0
    run("UPDATE connections_epoch SET released_at = clock_timestamp() WHERE number = 99")
    assert archive("orders", folder) == 3


def test_leg_of_a_pair_stays_while_the_other_one_counts(past: Past, folder: Path) -> None:
    other = make.signal(past.signal.feed, published_at=past.signal.published_at)
    group = "0b6f9c1e-0000-4000-8000-00000000000a"
    factories.force(
        "UPDATE execution_order SET oco_group = %s WHERE id = %s", (group, past.denied.pk)
    )
    copy = Order.objects.get(pk=past.denied.pk)
    copy.pk, copy.signal, copy.status, copy.client_order_id = None, other, "PENDING", None
    copy.done_at = None
    copy.save(force_insert=True)
    assert archive("orders", folder) == 2
    factories.force(
        "UPDATE execution_order SET status = 'CANCELLED', done_at = created_at WHERE id = %s",
        (copy.pk,),
    )
    assert archive("orders", folder) == 2  # both legs


def routed(past: Past) -> None:
    """The denied account's subscription has moved its entry to the account that was rejected."""
    for order, state in ((past.denied, "MOVED"), (past.rejected, "LAST")):
        factories.force(
            "UPDATE execution_order SET routed_from_id = %s, route_state = %s WHERE id = %s",
            (past.denied.connection_id, state, order.pk),
        )


def test_route_that_has_ended_goes_and_counts_as_before(past: Past, folder: Path) -> None:
    routed(past)
    before = audit()
    assert (before.states["denied"], before.states["rejected"]) == (0, 1)  # MOVED is in no sum
    assert archive("orders", folder, rows_at_once=1) == 3
    assert audit() == before


def test_route_stays_while_its_entry_counts(past: Past, folder: Path) -> None:
    """What it was tried on before must be known for as long as it may be tried elsewhere."""
    routed(past)
    factories.force(
        "UPDATE execution_order SET done_at = clock_timestamp() WHERE id = %s", (past.rejected.pk,)
    )
    assert archive("orders", folder) == 1
    assert line_ids(archived("orders", folder)) == [past.skipped.pk]


def test_younger_than_the_policy_stays(past: Past, folder: Path, settings: Settings) -> None:
    set_setting("retention.order_days", 501)
    assert archive("orders", folder) == 0
    go_back(2)
    assert archive("orders", folder) == 3


# What refers to orders, and what becomes of it when one is archived.
REFERENCES = {
    "execution_ordertrigger": "goes with it",
    "execution_entrychange": "goes with it",
    "execution_entrydecision": "goes with it",
    "execution_fill": "an order with one stays",
    "execution_sliceplan": "an order with one stays",
    "execution_driftitem": "an order with one that is not resolved stays; names it",
    "execution_executionlog": "has a policy of its own; names it",
    "events_event": "has a policy of its own; names it",
}


def test_each_table_that_refers_to_orders_is_decided_about() -> None:
    found = rows(
        "SELECT conrelid::regclass::text FROM pg_constraint"
        " WHERE confrelid = 'execution_order'::regclass AND contype = 'f'"
        " UNION SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
        " WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace"
        " AND a.attname = 'order_id' AND NOT a.attisdropped"
        " AND c.relname <> 'paper_fill'"  # of an order in the paper broker's own book
    )
    assert {name for (name,) in found} == set(REFERENCES)


def test_logs_of_archived_orders_may_go_too(past: Past, folder: Path) -> None:
    archive("orders", folder)
    lines = [row for row in table("execution_executionlog") if row["order_id"] == past.denied.pk]
    assert len(lines) > 0
    archive("logs", folder)
    left: list[Any] = table("execution_executionlog")
    assert past.denied.pk not in [row["order_id"] for row in left]
