"""`manage.py reconcile`: requests reconciliation, waits, and shows the differences."""

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
    """The row is the job: a process finds it without a queue message."""
    monkeypatch.setattr(tasks, "_enqueue_reconciliation", lambda: None)


def asked(*args: str) -> tuple[int, str]:
    out = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("reconcile", *args, stdout=out, stderr=out)
    return int(ended.value.code or 0), out.getvalue()


def test_command_waits_for_a_trading_process_and_prints_the_differences(
    alice: ExecutionConnection,
    feed: Feed,
    runtime: trading_runtime.TradingRuntime,
    broker: FakeBroker,
) -> None:
    factories.filled(factories.signal(feed))
    factories.pass_time(1)
    broker.tickets[0].held *= 2
    code, output = asked("--wait", "0")
    assert (code, "not compared" in output) == (2, True)
    done = threading.Event()

    def process() -> None:
        while not done.wait(0.1):
            reconcile_new()
        connection.close()

    worker = threading.Thread(target=process)
    worker.start()
    try:
        code, output = asked("--connection", alice.name)
    finally:
        done.set()
        worker.join()
    assert code == 1
    assert "The broker holds another quantity than we do." in output
    assert "1 compared, 1 open differences" in output


def test_unknown_connection_is_an_error(alice: ExecutionConnection) -> None:
    with pytest.raises(CommandError, match="no connection 'unknown'"):
        call_command("reconcile", "--connection", "unknown")
