"""What makes no sense is dropped, counted, and blocks nobody."""

import logging
import re
from dataclasses import replace

import pytest
from celery.signals import task_unknown

from common.codes import Code
from connections.models import ExecutionConnection
from execution import processes, tasks
from execution.calls.runtime import Runtime
from execution.intents import evaluation
from execution.models import DriftItem, Order, Tally
from signals.models import Feed
from tests.execution import cast

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def order(alice: ExecutionConnection, feed: Feed) -> Order:
    """PENDING, due."""
    cast.signal(feed)
    return Order.objects.get()


def tallied() -> dict[str, int]:
    return {name: total for name, (total, _) in cast.tallied().items()}


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
def test_a_message_that_is_no_list_of_ids_is_dropped_and_counted(
    order: Order, wire: Runtime, arguments: tuple[object, ...]
) -> None:
    assert tasks.execute_signal.apply(arguments).successful()  # so that nobody tries it again
    assert tallied() == {"message.malformed": 1}
    assert Order.objects.get().status == "PENDING"


def test_a_message_with_unknown_names_is_dropped(order: Order, wire: Runtime) -> None:
    assert tasks.execute_signal.apply(([order.pk],), {"queue": "exits"}).successful()
    assert tallied() == {"message.malformed": 1}


def test_a_message_for_a_task_that_does_not_exist_is_counted(order: Order) -> None:
    processes.connect()
    task_unknown.send(sender=None, name="execution.gone", id="1", message=None, exc=KeyError())
    assert tallied() == {"message.unknown_task": 1}
    assert Tally.objects.get().last == "execution.gone"


def test_strangers_in_a_message_are_counted_and_its_orders_are_executed(
    feed: Feed, alice: ExecutionConnection, trading: Runtime
) -> None:
    cast.signal(feed)
    cast.fill_all()
    ended = Order.objects.get()
    cast.signal(feed)
    due = Order.objects.latest("id")
    assert tasks.execute_signal.apply(([ended.pk, due.pk, 10**12, due.pk + 999],)).successful()
    assert trading.wire.wait_idle(10)
    assert trading.flusher.drain(10)
    due.refresh_from_db()
    assert due.status == "FILLED"
    assert tallied() == {"message.ended": 1, "message.unknown_ids": 2}
    assert Tally.objects.get(name="message.ended").last == f"orders {ended.pk}"


def test_counting_goes_on_and_keeps_the_last(order: Order, wire: Runtime) -> None:
    for message in ("first", "second"):
        tasks.execute_signal.apply((message,))
    assert cast.tallied()["message.malformed"] == (2, "('second',)")


def reference_in(text: str) -> str:
    found = re.search(r"reference\W+([0-9a-f]{8})", text)
    assert found, text
    return found[1]


def test_a_poisoned_orders_page_names_the_traceback_in_the_log(
    order: Order, wire: Runtime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(evaluation, "decide", lambda *_: 1 / 0)
    with caplog.at_level(logging.ERROR):
        tasks.execute_signal.apply(([order.pk],))
    order.refresh_from_db()
    assert (order.status, order.reason) == ("FAILED", "POISONED")
    assert "division by zero" in order.detail
    (line,) = [r for r in caplog.records if "breaks our own program" in r.getMessage()]
    assert reference_in(order.detail) == reference_in(str(line.msg))
    assert line.exc_info or "Traceback" in str(line.msg)
    assert cast.events("order.failed")[0]["detail"] == order.detail
    cast.pass_time(60)
    assert cast.claim_all() == []  # never again by itself


def test_a_poisoned_reports_drift_names_the_traceback_too(
    order: Order, caplog: pytest.LogCaptureFixture
) -> None:
    cast.claim_all()
    order.refresh_from_db()
    with caplog.at_level(logging.ERROR):
        cast.tell(cast.fill_report(order, 101, "too much"))
    (line,) = [r for r in caplog.records if "cannot be applied" in r.getMessage()]
    assert DriftItem.objects.get().evidence["reference"] == reference_in(str(line.msg))


def test_a_report_about_nobodys_connection_is_counted(order: Order) -> None:
    cast.claim_all()
    order.refresh_from_db()
    whose = replace(cast.fill_report(order, 100, "f1"), connection_id="nobody")
    cast.tell(replace(whose, client_order_id="x" * 18), cast.fill_report(order, 100, "f1"))
    assert Order.objects.get().status == "FILLED"
    assert tallied() == {"report.nobodys": 1}


def test_an_adapters_own_failure_is_unknown_with_a_reference(
    order: Order, caplog: pytest.LogCaptureFixture
) -> None:
    (outgoing,) = cast.claim_all()
    with caplog.at_level(logging.ERROR):
        cast.answer(outgoing, KeyError("an adapter's own"))
    order.refresh_from_db()
    assert (order.status, order.reason) == ("UNKNOWN", Code.UNEXPECTED)
    (line,) = [r for r in caplog.records if "adapter failed" in r.getMessage()]
    assert reference_in(order.detail) == reference_in(str(line.msg))
