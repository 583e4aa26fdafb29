"""`manage.py reconcile`: asks the trading processes, waits, and shows what differs."""

import threading
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from connections.models import ExecutionConnection
from execution import tasks
from execution.reconciliation.reconcile import reconcile_new
from execution.runtime import trading_runtime
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def no_celery(monkeypatch: pytest.MonkeyPatch) -> None:
    """The row is the job: a process finds it without its bell."""
    monkeypatch.setattr(tasks, "_enqueue_reconciliation", lambda: None)


def asked(*args: str) -> tuple[int, str]:
    out = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("reconcile", *args, stdout=out, stderr=out)
    return int(ended.value.code or 0), out.getvalue()


def test_it_waits_for_a_trading_process_and_tells_the_differences(
    alice: ExecutionConnection,
    feed: Feed,
    runtime: trading_runtime.TradingRuntime,
    broker: FakeBroker,
) -> None:
    factories.filled(factories.signal(feed))
    factories.pass_time(1)
    broker.tickets[0].held *= 2
    code, said = asked("--wait", "0")
    assert (code, "not compared" in said) == (2, True)
    done = threading.Event()

    def process() -> None:
        while not done.wait(0.1):
            reconcile_new()
        connection.close()

    worker = threading.Thread(target=process)
    worker.start()
    try:
        code, said = asked("--connection", alice.name)
    finally:
        done.set()
        worker.join()
    assert code == 1
    assert "The broker holds another quantity than we do." in said
    assert "1 compared, 1 open differences" in said


def test_a_name_that_is_none_is_refused(alice: ExecutionConnection) -> None:
    with pytest.raises(CommandError, match="no connection 'nobody'"):
        call_command("reconcile", "--connection", "nobody")
