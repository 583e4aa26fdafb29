"""What a dead process of this machine cannot have sent is due again, and nothing else is."""

import os
import threading
from pathlib import Path

import pytest
from django.core.cache import cache
from pytest_django import Settings

from common.db.sql import rows, run
from connections.models import ExecutionConnection
from execution import job_table
from execution.disaster_recovery import restore_detector
from execution.disaster_recovery.restore_detector import RestoreDetector
from execution.dispatch.journal_folder import journal_folder
from execution.dispatch.send_journal import SendJournal
from execution.models import ExecutionLog, Order
from execution.recovery import sweeps
from execution.recovery.unsent_orders import return_unsent_orders
from execution.runtime.trading_runtime import TradingRuntime
from signals.models import Feed
from tests.execution import factories
from tests.until import until

pytestmark = [pytest.mark.usefixtures("inline_commits", "alice")]


@pytest.fixture
def entry(alice: ExecutionConnection, feed: Feed, tmp_path: Path, settings: Settings) -> Order:
    """SUBMITTING under a live lease."""
    settings.FILLCAST_VAR = tmp_path
    factories.signal(feed)
    factories.live_lease()
    factories.claim_all()
    return Order.objects.get()


def died(entry: Order, *sent: tuple[int, int]) -> Path:
    """Leave the journal of the process that has claimed the entry, after these sends."""
    journal = SendJournal.open(journal_folder(), entry.worker_id)
    for record in sent:
        journal.record(*record)
    assert journal._descriptor is not None
    assert journal._pages is not None
    os.close(journal._descriptor)
    journal._pages.close()
    return journal_folder() / f"{entry.worker_id}.sends"


def state(order: Order) -> tuple[str, str, int]:
    order.refresh_from_db()
    return order.status, order.reason, order.send_retries


def test_unsent_order_is_due_again_before_the_lease_ends(entry: Order) -> None:
    died(entry)
    assert return_unsent_orders() == 1
    assert state(entry) == ("PENDING", "WORKER_LOST_UNSENT", 1)
    assert ExecutionLog.objects.filter(order_id=entry.pk, code="WORKER_LOST_UNSENT").count() == 1
    assert return_unsent_orders() == 0


def test_order_that_may_have_left_is_looked_up(entry: Order) -> None:
    died(entry, (entry.pk, entry.fence))
    assert return_unsent_orders() == 0
    assert state(entry)[0] == "SUBMITTING"
    run("DELETE FROM execution_workerlease")
    assert sweeps.mark_orphaned_unknown("another") == 1
    assert state(entry)[:2] == ("UNKNOWN", "WORKER_LOST")


def test_send_with_an_earlier_fence_is_another_one(entry: Order) -> None:
    died(entry, (entry.pk, entry.fence - 1))
    assert return_unsent_orders() == 1


def test_journal_of_another_process_proves_nothing(entry: Order) -> None:
    Order.objects.update(worker_id="another")
    died(entry)
    assert return_unsent_orders() == 0
    assert state(entry)[0] == "SUBMITTING"


def test_living_process_keeps_its_orders(entry: Order) -> None:
    journal = SendJournal.open(journal_folder(), entry.worker_id)
    assert return_unsent_orders() == 0
    assert state(entry)[0] == "SUBMITTING"
    journal.close()


def test_journal_is_kept_until_the_lease_ends(entry: Order) -> None:
    """A commit that was on its way when the process died may still come."""
    path = died(entry)
    return_unsent_orders()
    assert return_unsent_orders() == 0
    assert path.exists()
    run("DELETE FROM execution_workerlease")
    assert return_unsent_orders() == 0
    assert not path.exists()


def test_poison_order_that_kills_each_process_ends(entry: Order) -> None:
    for _ in range(2):
        died(entry)
        assert return_unsent_orders() == 1
        assert state(entry)[0] == "PENDING"
        run("UPDATE execution_order SET due_at = clock_timestamp()")
        factories.claim_all()
        entry.refresh_from_db()
    died(entry)
    assert return_unsent_orders() == 1
    assert state(entry)[:2] == ("FAILED", "SEND_RETRIES_EXHAUSTED")


def test_nothing_is_due_again_while_the_database_may_have_been_restored(
    entry: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    died(entry)
    monkeypatch.setattr("execution.job_table.restore_detector.is_suspect", lambda: True)
    job_table._return_unsent_orders()
    assert state(entry)[0] == "SUBMITTING"
    monkeypatch.setattr("execution.job_table.restore_detector.is_suspect", lambda: False)
    job_table._return_unsent_orders()
    assert state(entry)[0] == "PENDING"


def test_nothing_is_due_again_in_a_database_that_is_behind(
    entry: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    died(entry)
    rows("SELECT nextval('fillcast_mark') FROM generate_series(1, 100)")
    cache.clear()
    detector = RestoreDetector()
    monkeypatch.setattr(restore_detector, "_detector", detector)
    detector.check()
    rows("SELECT setval('fillcast_mark', last_value - 1) FROM fillcast_mark")
    job_table._return_unsent_orders()
    assert detector.is_suspect
    assert state(entry)[0] == "SUBMITTING"


@pytest.mark.django_db(transaction=True)
def test_process_that_starts_after_the_lease_reads_the_journal_first(
    entry: Order, runtime: TradingRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would have all of them looked up."""
    is_asked, returned = threading.Event(), threading.Event()
    monkeypatch.setattr(job_table, "_unsent_returned", returned)

    def wait(_: float) -> bool:
        is_asked.set()
        return threading.Event.wait(returned, 120)

    monkeypatch.setattr(returned, "wait", wait)
    died(entry)
    run("DELETE FROM execution_workerlease")
    recovery = threading.Thread(target=job_table.OrphanRecovery().run)
    recovery.start()
    until(lambda: is_asked.is_set() or not recovery.is_alive())
    assert state(entry)[0] == "SUBMITTING"
    job_table._return_unsent_before_others()
    recovery.join(60)
    assert not recovery.is_alive()
    assert state(entry)[0] == "PENDING"


@pytest.mark.django_db(transaction=True)
def test_orders_of_the_dead_do_not_wait_for_a_disk(
    entry: Order, runtime: TradingRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_table, "_unsent_returned", threading.Event())
    monkeypatch.setattr(job_table, "UNSENT_PATIENCE_SECONDS", 0.1)
    run("DELETE FROM execution_workerlease")
    job_table.OrphanRecovery().run()
    assert state(entry)[0] == "UNKNOWN"
