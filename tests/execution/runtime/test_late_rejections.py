"""Rejections of former credentials do not count against credentials that passed a test."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db.models.functions import Now

from brokers.types import BrokerOrder, ConnectionSpec, OrderReport, ReportKind
from common.reason_codes import Code
from connections.health import connection_checks
from connections.models import ConnectionHealth, ExecutionConnection
from execution.recovery import order_polling
from execution.runtime import trading_runtime
from execution.runtime.health_recorder import HealthRecorder
from execution.submission.outgoing import Outgoing
from signals.models import Feed
from tests.connections.fake_brokers import Broker, account
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.recovery.test_order_polling import UNUSABLE

pytestmark = pytest.mark.usefixtures("inline_commits")
ANSWERS = {
    "refused": (ReportKind.REJECTED, Code.CREDENTIALS_REFUSED),
    "refused before sending": (ReportKind.NOT_SENT, Code.CREDENTIALS_REFUSED),
    "trading disabled": (ReportKind.REJECTED, Code.TRADING_DISABLED),
    "reply lost": (ReportKind.UNKNOWN, Code.REPLY_LOST),
}


@pytest.fixture
def connection(alice: ExecutionConnection) -> ExecutionConnection:
    ConnectionHealth.objects.filter(pk=alice.pk).update(reconciled_at=Now())
    return alice


def pass_connection_test(connection: ExecutionConnection) -> None:
    broker = Broker()
    broker.state = account()
    connection_checks.run_test(connection.pk, adapter=broker)
    ConnectionHealth.objects.filter(pk=connection.pk).update(reconciled_at=Now())


def health_of(connection: ExecutionConnection) -> tuple[Any, ...]:
    health = ConnectionHealth.objects.get(pk=connection.pk)
    return health.status, health.last_error, health.consecutive_failures, health.reconciled_at


def answer_order(outgoing: Outgoing, answer: str) -> None:
    """Answer an order and record what the answer shows about the account's health."""
    kind, code = ANSWERS[answer]
    request = outgoing.request
    report = OrderReport(
        kind, request.connection_id, request.client_order_id, code=code, fence=request.fence
    )
    factories.answer(outgoing, [report])
    recorder = HealthRecorder()
    recorder.record([report])
    recorder.write()


@pytest.mark.parametrize("answer", ANSWERS)
def test_rejection_of_an_order_sent_before_the_test_is_ignored(
    connection: ExecutionConnection, feed: Feed, answer: str
) -> None:
    factories.signal(feed)
    (outgoing,) = factories.claim_all()
    pass_connection_test(connection)
    before = health_of(connection)
    assert before[:3] == ("ACTIVE", "", 0)
    answer_order(outgoing, answer)
    assert health_of(connection) == before


@pytest.mark.parametrize("answer", ANSWERS)
def test_rejection_of_an_order_sent_after_the_test_counts(
    connection: ExecutionConnection, feed: Feed, answer: str
) -> None:
    pass_connection_test(connection)
    factories.signal(feed)
    (outgoing,) = factories.claim_all()
    answer_order(outgoing, answer)
    assert health_of(connection)[2] == 1


@pytest.fixture
def polled_broker(
    broker: FakeBroker, runtime: trading_runtime.TradingRuntime
) -> Iterator[FakeBroker]:
    broker.event_stream = False
    order_polling.polled_broker_types.cache_clear()
    yield broker
    order_polling.polled_broker_types.cache_clear()


def test_rejection_of_a_poll_begun_before_the_test_is_ignored(
    connection: ExecutionConnection,
    feed: Feed,
    polled_broker: FakeBroker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    factories.filled(factories.signal(feed))
    calls = []

    async def unusable_orders(spec: ConnectionSpec) -> list[BrokerOrder]:
        calls.append(spec)
        return [UNUSABLE]

    monkeypatch.setattr(polled_broker, "open_orders", unusable_orders)
    write = order_polling.write_with_bisection

    def write_after_a_test(group: order_polling.PollResults) -> None:
        pass_connection_test(connection)
        write(group)

    with monkeypatch.context() as patched:
        patched.setattr(order_polling, "write_with_bisection", write_after_a_test)
        order_polling.poll()
    assert (len(calls), *health_of(connection)[:3]) == (1, "ACTIVE", "", 0)
