"""What a comparison finds at a broker that an archived order has left there."""

from decimal import Decimal as D
from pathlib import Path

import pytest

from execution.audit.counters import audit
from execution.models import ArchivedOrder, DriftItem, Order
from execution.reconciliation import decisions as drift_decisions
from execution.reconciliation.reconcile import reconcile
from positions.models import ExecutionPosition
from tests.archive.rows import archive, line_ids, table
from tests.execution.archived.conftest import Past
from tests.execution.fake_broker import FakeBroker

pytestmark = [pytest.mark.usefixtures("inline_commits", "runtime")]


@pytest.fixture
def gone(past: Past, folder: Path) -> Past:
    assert archive("orders", folder) == 3
    return past


def test_position_of_an_archived_order_names_it_and_can_be_adopted(
    gone: Past, broker: FakeBroker
) -> None:
    order = gone.rejected
    ticket = broker.receive(gone.request)
    broker.execute(ticket)
    reconcile()
    reported = DriftItem.objects.get(kind="ARCHIVED_ORDER_REPORTED")
    assert (reported.order_id, reported.state) == (order.pk, "OPEN")
    item = DriftItem.objects.get(kind="UNKNOWN_POSITION")
    assert item.evidence["archived_order"] == f"O-{order.pk} of S-{gone.signal.pk}, in the archive"
    drift_decisions.adopt(item.pk, by=None)
    adopted = ExecutionPosition.objects.get(broker_position_id=ticket.number)
    assert (adopted.quantity, adopted.side) == (D(100), "BUY")
    entry = Order.objects.get(signal=adopted.signal_id, leg="entry")
    assert entry.client_order_id != order.client_order_id  # that one is the archived order's
    assert ArchivedOrder.objects.get(client_order_id=order.client_order_id).pk == order.pk
    reconcile()
    drift_decisions.ignore(reported.pk, by=None, reason="adopted")
    assert not DriftItem.objects.filter(state="OPEN").exists()
    assert audit().examples == {}


def test_archived_order_that_still_works_is_cancelled_at_the_broker_if_decided(
    gone: Past, broker: FakeBroker
) -> None:
    ticket = broker.receive(gone.request)
    reconcile()
    item = DriftItem.objects.get(kind="ORDER_STILL_WORKING")
    assert item.order_id == gone.rejected.pk
    drift_decisions.close(item.pk, by=None)
    reconcile()
    assert ticket.status == "CANCELLED"
    item.refresh_from_db()
    assert item.state == "RESOLVED"
    assert line_ids(table("execution_order")) == gone.traded
