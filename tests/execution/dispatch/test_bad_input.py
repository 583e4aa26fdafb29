"""Invalid input is dropped and counted, and it blocks nothing."""

import logging
import re
from dataclasses import replace

import pytest
from celery.signals import task_unknown

from brokers.types import HeldLevels, OrderReport, ReportKind
from common.reason_codes import Code
from connections.models import ExecutionConnection
from execution import startup, tasks
from execution.dispatch import report_writer
from execution.models import DriftItem, DroppedMessageCount, Order
from execution.runtime.trading_runtime import TradingRuntime
from execution.submission import bundle_evaluation
from signals.models import Feed
from tests.execution import factories

pytestmark = pytest.mark.usefixtures("inline_commits")


@pytest.fixture
def order(alice: ExecutionConnection, feed: Feed) -> Order:
    """PENDING, due."""
    factories.signal(feed)
    return Order.objects.get()


def tallied() -> dict[str, int]:
    return {name: total for name, (total, _) in factories.dropped_counts().items()}


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        (None,),
        ("17",),
        (17,),
        ({"id": 17},),
        (["17"],),
        ([1.5],),
        ([True],),
        ([-1],),
        ([10**30],),
        ([[1]],),
        ([1] * 5001,),
        ([1], "more"),
    ],
)
def test_message_without_a_list_of_ids_is_dropped_and_counted(
    order: Order, runtime: TradingRuntime, arguments: tuple[object, ...]
) -> None:
    assert tasks.execute_signal.apply(arguments).successful()  # so that it is not retried
    assert tallied() == {"message.malformed": 1}
    assert Order.objects.get().status == "PENDING"


def test_a_message_with_unknown_names_is_dropped(order: Order, runtime: TradingRuntime) -> None:
    assert tasks.execute_signal.apply(([order.pk],), {"queue": "exits"}).successful()
    assert tallied() == {"message.malformed": 1}


def test_a_message_for_a_task_that_does_not_exist_is_counted(order: Order) -> None:
    startup.connect()
    task_unknown.send(sender=None, name="execution.gone", id="1", message=None, exc=KeyError())
    assert tallied() == {"message.unknown_task": 1}
    assert DroppedMessageCount.objects.get().sample == "execution.gone"


def test_unknown_ids_in_a_message_are_counted_and_its_orders_executed(
    feed: Feed, alice: ExecutionConnection, trading: TradingRuntime
) -> None:
    factories.signal(feed)
    factories.fill_all()
    ended = Order.objects.get()
    factories.signal(feed)
    due = Order.objects.latest("id")
    assert tasks.execute_signal.apply(([ended.pk, due.pk, 10**12, due.pk + 999],)).successful()
    assert trading.dispatcher.wait_idle(60)
    assert trading.report_writer.drain(60)
    due.refresh_from_db()
    assert due.status == "FILLED"
    assert tallied() == {"message.ended": 1, "message.unknown_ids": 2}
    assert DroppedMessageCount.objects.get(name="message.ended").sample == f"orders {ended.pk}"


def test_counts_continue_and_keep_the_last_sample(order: Order, runtime: TradingRuntime) -> None:
    for message in ("first", "second"):
        tasks.execute_signal.apply((message,))
    assert factories.dropped_counts()["message.malformed"] == (2, "('second',)")


def reference_in(text: str) -> str:
    found = re.search(r"reference\W+([0-9a-f]{8})", text)
    assert found, text
    return found[1]


def test_page_of_a_quarantined_order_names_the_traceback_in_the_log(
    order: Order,
    runtime: TradingRuntime,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(bundle_evaluation, "decide", lambda *_: 1 / 0)
    with caplog.at_level(logging.ERROR):
        tasks.execute_signal.apply(([order.pk],))
    order.refresh_from_db()
    assert (order.status, order.reason) == ("FAILED", "ORDER_PROCESSING_FAILED")
    assert "division by zero" in order.detail
    (line,) = [r for r in caplog.records if "breaks our own program" in r.getMessage()]
    assert reference_in(order.detail) == reference_in(str(line.msg))
    assert line.exc_info or "Traceback" in str(line.msg)
    assert factories.events("order.failed")[0]["detail"] == order.detail
    factories.pass_time(60)
    assert factories.claim_all() == []  # never again automatically


def test_drift_of_a_quarantined_report_names_the_traceback_too(
    order: Order, caplog: pytest.LogCaptureFixture
) -> None:
    factories.claim_all()
    order.refresh_from_db()
    with caplog.at_level(logging.ERROR):
        factories.apply(factories.fill_report(order, 101, "too much"))
    (line,) = [r for r in caplog.records if "cannot be applied" in r.getMessage()]
    assert DriftItem.objects.get().evidence["reference"] == reference_in(str(line.msg))


def test_report_of_an_unknown_connection_is_counted(order: Order) -> None:
    factories.claim_all()
    order.refresh_from_db()
    unknown = replace(factories.fill_report(order, 100, "f1"), connection_id="unknown")
    factories.apply(
        replace(unknown, client_order_id="x" * 18), factories.fill_report(order, 100, "f1")
    )
    assert Order.objects.get().status == "FILLED"
    assert tallied() == {"report.unknown_connection": 1}


@pytest.mark.django_db(transaction=True)
def test_late_levels_of_an_unknown_connection_are_written_once(
    order: Order, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Their account cannot be compared. The others of their batch are not written again."""
    factories.claim_all()
    order.refresh_from_db()
    levels = OrderReport(
        ReportKind.LEVELS, "unknown", "x" * 18, levels=HeldLevels(stop_loss=None, take_profit=None)
    )
    monkeypatch.setattr(report_writer, "LATE_LEVELS_SECONDS", -1.0)
    with caplog.at_level(logging.ERROR):
        report_writer.apply_or_defer([levels, factories.fill_report(order, 100, "f1")])
    assert Order.objects.get().status == "FILLED"
    assert len([r for r in caplog.records if "comparison of accounts" in r.getMessage()]) == 1


def test_failure_inside_an_adapter_is_unknown_with_a_reference(
    order: Order, caplog: pytest.LogCaptureFixture
) -> None:
    (outgoing,) = factories.claim_all()
    with caplog.at_level(logging.ERROR):
        factories.answer(outgoing, KeyError("an adapter's own"))
    order.refresh_from_db()
    assert (order.status, order.reason) == ("UNKNOWN", Code.UNEXPECTED)
    (line,) = [r for r in caplog.records if "adapter failed" in r.getMessage()]
    assert reference_in(order.detail) == reference_in(str(line.msg))
