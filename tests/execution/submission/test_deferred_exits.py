"""An exit request stays until the position is closed: an exit that cannot be sent is retried."""

import threading
from decimal import Decimal as D
from typing import Any

import pytest
from django.db import connection

from brokers.base import NotSent
from brokers.types import CloseCause, ReportKind
from common.db.sql import database_now
from common.reason_codes import Code
from connections.models import ExecutionConnection, KillSwitch
from execution.exits.orders import ExitRequest, open_exits
from execution.models import Order
from execution.monitoring.level_monitor import scan_levels
from execution.reports.apply import apply_reports
from execution.services import close_position
from execution.submission.claim import claim
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.connections import make
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("alice")]


@pytest.fixture
def bought(alice: ExecutionConnection, feed: Feed) -> ExecutionPosition:
    return factories.filled(factories.signal(feed))


def try_to_send(order: Order, fault: Exception) -> tuple[float, float]:
    """Return between which seconds lies the wait for the next attempt."""
    (outgoing,) = claim([order.pk], worker_id=factories.OWNER).outgoing
    before = database_now()
    factories.answer(outgoing, fault)
    after = database_now()
    order.refresh_from_db()
    assert order.due_at is not None
    return (order.due_at - after).total_seconds(), (order.due_at - before).total_seconds()


def test_retries_continue_when_the_retry_counter_is_full(bought: ExecutionPosition) -> None:
    close_position(bought.pk)
    exit_ = Order.objects.exits().get()
    Order.objects.filter(pk=exit_.pk).update(send_retries=32767)  # the column's maximum
    try_to_send(exit_, NotSent(Code.NOT_CONNECTED))
    assert (exit_.status, exit_.reason) == ("PENDING", "NOT_CONNECTED")


@pytest.mark.parametrize("by", ["person", "CLOSE", "stop"])
def test_exit_that_cannot_be_sent_is_retried_until_it_is_sent(
    bought: ExecutionPosition, alice: ExecutionConnection, broker: FakeBroker, by: str
) -> None:
    if by == "person":
        close_position(bought.pk)
    elif by == "CLOSE":
        factories.close_signal(bought.signal)
    else:
        factories.quote(alice, "1.09000")
        scan_levels()
    exit_ = Order.objects.exits().get()
    waits = []
    for _ in range(12):
        waits.append(try_to_send(exit_, NotSent(Code.NOT_CONNECTED)))
        assert (exit_.status, exit_.reason) == ("PENDING", "NOT_CONNECTED")
        assert scan_levels() == []  # it reserves its quantity: no second exit is created
        assert close_position(bought.pk) == []
        factories.pass_time(61)
    assert waits[0][0] < 1 < waits[4][1]
    assert waits[4][0] < 13
    assert all(most > 30 and least <= 60 for least, most in waits[8:])
    (payload,) = factories.events("exit.delayed")
    assert (payload["code"], payload["send_retries"]) == ("NOT_CONNECTED", 5)
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, broker.fill_at_once(outgoing.request))
    bought.refresh_from_db()
    assert (bought.quantity, Order.objects.exits().count()) == (0, 1)


def test_kill_switch_between_decision_and_sending_costs_no_retry(bought: ExecutionPosition) -> None:
    close_position(bought.pk)
    exit_ = Order.objects.exits().get()
    for _ in range(7):
        try_to_send(exit_, NotSent(Code.KILL_SWITCH))
        assert (exit_.status, exit_.send_retries) == ("PENDING", 0)
    make.kill_switch("HALTED", scope="ALL")
    assert factories.claim_all() == []  # it waits
    factories.pass_time(2)
    KillSwitch.objects.all().delete()
    factories.fill_all()
    bought.refresh_from_db()
    assert (bought.quantity, factories.events("exit.delayed")) == (0, [])


def test_reducing_does_not_stop_an_exit(bought: ExecutionPosition) -> None:
    close_position(bought.pk)
    make.kill_switch("REDUCING", scope="ALL")
    factories.fill_all()
    bought.refresh_from_db()
    assert bought.quantity == 0


def test_later_report_adds_the_position_id_missing_in_the_fill(feed: Feed) -> None:
    factories.signal(feed)
    factories.claim_all()
    entry = Order.objects.get()
    fill = factories.fill_report(entry, 100, "f1", broker_position_id="")
    factories.apply(fill)
    assert ExecutionPosition.objects.get().broker_position_id == ""
    factories.apply(factories.fill_report(entry, 100, "f1", broker_position_id="77"))
    assert ExecutionPosition.objects.get().broker_position_id == "77"
    factories.apply(factories.report(entry, ReportKind.ACCEPTED, broker_position_id="78"))
    assert ExecutionPosition.objects.get().broker_position_id == "77"  # it has one now


@pytest.mark.django_db(transaction=True)
def test_concurrent_flushes_of_the_same_positions_do_not_deadlock(
    feed: Feed, broker: FakeBroker
) -> None:
    positions = [factories.filled(factories.signal(feed)) for _ in range(20)]
    faults: list[BaseException] = []

    def flush(reports: list[Any], together: threading.Barrier) -> None:
        try:
            together.wait(60)
            apply_reports(reports)
        except BaseException as fault:
            faults.append(fault)
        finally:
            connection.close()

    for _ in range(5):
        open_exits([ExitRequest(position.pk, "close", D("0.1")) for position in positions])
        answers = [broker.fill_at_once(one.request) for one in factories.claim_all()]
        replies = [report for answer in answers for report in answer]
        lots = [t for t in broker.tickets if t.held > 0]
        external_closes = [broker.close_at_broker(t, CloseCause.EXTERNAL, D(10)) for t in lots]
        together = threading.Barrier(2)
        threads = [  # the stream reports the owner's own closes too, the reply only ours
            threading.Thread(target=flush, args=(batch, together))
            for batch in ([*external_closes[::-1], *replies], replies[::-1])
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
    assert faults == []
    assert set(ExecutionPosition.objects.values_list("quantity", flat=True)) == {0}
