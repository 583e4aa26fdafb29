"""What an order or a poll met with former credentials is no error of those that passed a test."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db.models.functions import Now

from brokers.messages import BrokerOrder, ConnectionSpec, OrderReport, ReportKind
from common.codes import Code
from connections import testing
from connections.models import ConnectionHealth, ExecutionConnection
from execution.calls import polling, runtime
from execution.calls.health import Health
from execution.intents.claim import Outgoing
from signals.models import Feed
from tests.connections.doubles import Broker, account
from tests.execution import cast
from tests.execution.double import Double
from tests.execution.test_polling import UNUSABLE

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
    testing.run_test(connection.pk, adapter=broker)
    ConnectionHealth.objects.filter(pk=connection.pk).update(reconciled_at=Now())


def fares(of: ExecutionConnection) -> tuple[Any, ...]:
    found = ConnectionHealth.objects.get(pk=of.pk)
    return found.status, found.last_error, found.failures_in_a_row, found.reconciled_at


def meets(outgoing: Outgoing, how: str) -> None:
    kind, code = MET[how]
    request = outgoing.request
    report = OrderReport(
        kind, request.connection_id, request.client_order_id, code=code, fence=request.fence
    )
    cast.answer(outgoing, [report])
    health = Health()
    health.note([report])
    health.write()


@pytest.mark.parametrize("how", MET)
def test_of_an_order_that_left_before_the_test(
    mine: ExecutionConnection, feed: Feed, how: str
) -> None:
    cast.signal(feed)
    (outgoing,) = cast.claim_all()
    passes_its_test(mine)
    before = fares(mine)
    assert before[:3] == ("ACTIVE", "", 0)
    meets(outgoing, how)
    assert fares(mine) == before


@pytest.mark.parametrize("how", MET)
def test_an_order_that_left_after_the_test_counts(
    mine: ExecutionConnection, feed: Feed, how: str
) -> None:
    passes_its_test(mine)
    cast.signal(feed)
    (outgoing,) = cast.claim_all()
    meets(outgoing, how)
    assert fares(mine)[2] == 1


@pytest.fixture
def silent(broker: Double, wire: runtime.Runtime) -> Iterator[Double]:
    broker.event_stream = False
    polling.kinds_without_events.cache_clear()
    yield broker
    polling.kinds_without_events.cache_clear()


def test_of_a_poll_that_was_asked_before_the_test(
    mine: ExecutionConnection, feed: Feed, silent: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    cast.filled(cast.signal(feed))
    asked = []

    async def garbled(spec: ConnectionSpec) -> list[BrokerOrder]:
        asked.append(spec)
        return [UNUSABLE]

    monkeypatch.setattr(silent, "open_orders", garbled)
    write = polling.write_or_halve

    def after_a_test(group: polling.Told) -> None:
        passes_its_test(mine)
        write(group)

    with monkeypatch.context() as late:
        late.setattr(polling, "write_or_halve", after_a_test)
        polling.poll()
    assert (len(asked), *fares(mine)[:3]) == (1, "ACTIVE", "", 0)
