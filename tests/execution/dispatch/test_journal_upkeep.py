"""A journal that fills up asks the database which of its orders are settled."""

from pathlib import Path

import pytest

from connections.models import ExecutionConnection
from execution.dispatch import send_journal
from execution.dispatch.journal_upkeep import JournalUpkeep
from execution.dispatch.send_journal import SendJournal
from execution.models import Order
from signals.models import Feed
from tests.execution import factories

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("alice")]


def test_space_is_made_up_to_the_first_order_without_an_outcome(
    alice: ExecutionConnection, feed: Feed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(send_journal, "RECORDS", 8)
    factories.signal(feed)
    factories.claim_all()
    order = Order.objects.get()
    journal = SendJournal.open(tmp_path, order.worker_id)
    other = order.pk + 1  # and those after it: no order has them
    for record in [(other, 1), (other + 1, 1), (order.pk, order.fence), (other + 2, 1)]:
        journal.record(*record)
    journal.record(other + 3, 1)
    upkeep = JournalUpkeep(journal, order.worker_id)
    upkeep.run()
    assert journal._settled == 2
    Order.objects.update(status="UNKNOWN")
    upkeep.run()
    assert journal._settled == 2  # there is space enough
    journal.record(other + 4, 1)
    journal.record(other + 5, 1)
    upkeep.run()
    assert journal._settled == 7
    journal.close()


def test_orders_of_other_processes_are_none_of_its_own(
    alice: ExecutionConnection, feed: Feed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(send_journal, "RECORDS", 2)
    factories.signal(feed)
    factories.claim_all()
    order = Order.objects.get()
    journal = SendJournal.open(tmp_path, "another")
    journal.record(order.pk, order.fence)
    journal.record(1, 1)
    JournalUpkeep(journal, "another").run()
    assert journal._settled == 2
    journal.close()
