"""What an entry's fills and position refer to stays: the entry holds it (docs/adr/0063)."""

import psycopg
import pytest
from django.db import transaction
from django.db.utils import IntegrityError

from common.db.sql import rows, run
from connections.models import ExecutionConnection
from execution.models import Fill, Order
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories

pytestmark = pytest.mark.django_db
KEY_OF_ENTRIES = """
SELECT conname AS name FROM pg_constraint
WHERE conrelid = 'execution_order'::regclass AND contype = 'f'
  AND conkey = ARRAY[(SELECT attnum FROM pg_attribute
    WHERE attrelid = 'execution_order'::regclass AND attname = %s)]
"""


@pytest.fixture
def trade(alice: ExecutionConnection, feed: Feed) -> ExecutionPosition:
    return factories.filled(factories.signal(feed))


@pytest.mark.parametrize(
    "change",
    [
        "status = 'FILLED'",
        "status = 'PARTIALLY_FILLED', filled_quantity = 1",
        "leg = 'entry-2'",
        "filled_quantity = 0",  # its account has a position all the same
    ],
)
def test_entry_that_has_traded_is_not_deleted(trade: ExecutionPosition, change: str) -> None:
    entry = factories.order(signal=trade.signal, position=None)
    factories.force(f"UPDATE execution_order SET {change} WHERE id = %s", [entry.pk])
    for role in ("fillcast_trade", "NONE"):
        run(f"SET LOCAL ROLE {role}")
        with pytest.raises(IntegrityError, match="has traded"), transaction.atomic():
            run("DELETE FROM execution_order WHERE id = %s", [entry.pk])
    assert Order.objects.filter(pk=entry.pk).exists()


@pytest.mark.parametrize("column", ["signal_id", "connection_id"])
def test_order_keeps_its_signal_and_its_account(
    trade: ExecutionPosition, feed: Feed, column: str
) -> None:
    others = {"signal_id": factories.signal(feed).pk, "connection_id": factories.account(feed).pk}
    entry = factories.order(signal=trade.signal, position=None)
    with pytest.raises(IntegrityError, match="keeps its signal and its account") as refused:
        run(f"UPDATE execution_order SET {column} = %s WHERE id = %s", [others[column], entry.pk])
    assert isinstance(refused.value.__cause__, psycopg.errors.CheckViolation)


def test_statement_that_sets_the_same_keys_is_allowed(trade: ExecutionPosition) -> None:
    entry = factories.order(signal=trade.signal, position=None)
    entry.save()  # Django sets all columns
    entry.refresh_from_db()
    assert entry.signal_id == trade.signal_id


@pytest.mark.usefixtures("alice")
def test_entry_that_never_traded_may_be(feed: Feed) -> None:
    factories.signal(feed)
    run("DELETE FROM execution_executionlog")
    assert run("DELETE FROM execution_order") == 1


@pytest.mark.parametrize(
    ("parent", "column"),
    [("signals_signal", "signal_id"), ("connections_executionconnection", "connection_id")],
)
def test_entry_holds_the_signal_and_the_account_of_its_trade(
    trade: ExecutionPosition, parent: str, column: str
) -> None:
    """The entry's own keys refuse the deletion, whatever else refers to them."""
    (constraint,) = rows(KEY_OF_ENTRIES, [column])
    with pytest.raises(IntegrityError, match=constraint.name), transaction.atomic():
        delete(parent, getattr(trade, column), constraint.name)


def delete(table: str, key: object, constraint: str) -> None:
    """Delete a row, and check one of the deferred constraints, as a commit does."""
    assert run(f"DELETE FROM {table} WHERE id = %s", [key]) == 1
    run(f'SET CONSTRAINTS "{constraint}" IMMEDIATE')


def test_fill_and_position_have_the_keys_of_their_entry(trade: ExecutionPosition) -> None:
    entry = factories.order(signal=trade.signal, leg="entry")
    fill = Fill.objects.get()
    assert (fill.order_id, fill.connection_id) == (entry.pk, entry.connection_id)
    assert (trade.signal_id, trade.connection_id) == (entry.signal_id, entry.connection_id)
