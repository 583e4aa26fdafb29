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
from execution.submission.claim import Outgoing
from signals.models import Feed
from tests.connections.fake_brokers import Broker, account
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.recovery.test_order_polling import UNUSABLE

pytestmark = pytest.mark.django_db(transaction=True)
MET = {
    "refused": (ReportKind.REJECTED, Code.CREDENTIALS_REFUSED),
    "not let in": (ReportKind.NOT_SENT, Code.CREDENTIALS_REFUSED),
    "no trading": (ReportKind.REJECTED, Code.TRADING_DISABLED),
    "silent": (ReportKind.UNKNOWN, Code.REPLY_LOST),
}


@pytest.fixture
def mine(alice: ExecutionConnection) -> ExecutionConnection:
    ConnectionHealth.objects.filter(pk=alice.pk).update(reconciled_at=Now())
    return alice


def passes_its_test(connection: ExecutionConnection) -> None:
    broker = Broker()
    broker.state = account()
    connection_checks.run_test(connection.pk, adapter=broker)
    ConnectionHealth.objects.filter(pk=connection.pk).update(reconciled_at=Now())


def health_of(of: ExecutionConnection) -> tuple[Any, ...]:
    found = ConnectionHealth.objects.get(pk=of.pk)
    return found.status, found.last_error, found.consecutive_failures, found.reconciled_at


def meets(outgoing: Outgoing, how: str) -> None:
    kind, code = MET[how]
    request = outgoing.request
    report = OrderReport(
        kind, request.connection_id, request.client_order_id, code=code, fence=request.fence
    )
    factories.answer(outgoing, [report])
    health = HealthRecorder()
    health.record([report])
    health.write()


@pytest.mark.parametrize("how", MET)
def test_rejection_of_an_order_sent_before_the_test_is_ignored(
    mine: ExecutionConnection, feed: Feed, how: str
) -> None:
    factories.signal(feed)
    (outgoing,) = factories.claim_all()
    passes_its_test(mine)
    before = health_of(mine)
    assert before[:3] == ("ACTIVE", "", 0)
    meets(outgoing, how)
    assert health_of(mine) == before


@pytest.mark.parametrize("how", MET)
def test_rejection_of_an_order_sent_after_the_test_counts(
    mine: ExecutionConnection, feed: Feed, how: str
) -> None:
    passes_its_test(mine)
    factories.signal(feed)
    (outgoing,) = factories.claim_all()
    meets(outgoing, how)
    assert health_of(mine)[2] == 1


@pytest.fixture
def polled_broker(
    broker: FakeBroker, runtime: trading_runtime.TradingRuntime
) -> Iterator[FakeBroker]:
    broker.event_stream = False
    order_polling.polled_broker_types.cache_clear()
    yield broker
    order_polling.polled_broker_types.cache_clear()


def test_rejection_of_a_poll_begun_before_the_test_is_ignored(
    mine: ExecutionConnection,
    feed: Feed,
    polled_broker: FakeBroker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    factories.filled(factories.signal(feed))
    asked = []

    async def garbled(spec: ConnectionSpec) -> list[BrokerOrder]:
        asked.append(spec)
        return [UNUSABLE]

    monkeypatch.setattr(polled_broker, "open_orders", garbled)
    write = order_polling.write_with_bisection

    def after_a_test(group: order_polling.PollResults) -> None:
        passes_its_test(mine)
        write(group)

    with monkeypatch.context() as late:
        late.setattr(order_polling, "write_with_bisection", after_a_test)
        order_polling.poll()
    assert (len(asked), *health_of(mine)[:3]) == (1, "ACTIVE", "", 0)
