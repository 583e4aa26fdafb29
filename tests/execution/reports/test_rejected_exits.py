"""An exit rejected because its position is closed at the broker: the account is reconciled."""

from decimal import Decimal as D

import pytest

from brokers.base import Rejected
from brokers.types import ReportKind
from common.db.sql import rows
from common.reason_codes import Code
from execution.models import Order
from execution.reconciliation.reconcile import reconcile_new
from execution.runtime.trading_runtime import TradingRuntime
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker

pytestmark = pytest.mark.django_db


def asked() -> int:
    is_due = "reconcile_requested_at <= clock_timestamp()"
    return len(rows(f"SELECT connection_id FROM execution_accountsyncstate WHERE {is_due}"))


@pytest.fixture
def position(feed: Feed, broker: FakeBroker, runtime: TradingRuntime) -> ExecutionPosition:
    factories.account(feed)
    return factories.filled(factories.signal(feed))


@pytest.mark.parametrize(
    ("code", "status"),
    [(Code.NO_POSITION, "REJECTED"), (Code.VOLUME_INVALID, "PENDING")],  # it is computed again
)
def test_rejected_exit_of_a_closed_position_requests_reconciliation(
    position: ExecutionPosition, broker: FakeBroker, code: Code, status: str
) -> None:
    assert asked() == 0
    broker.tickets[0].held = D(0)  # it was closed there, and no report reached us
    broker.tickets[0].fills.clear()
    factories.close_signal(position.signal)
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, Rejected(code, "position closed"))
    assert Order.objects.get(position=position).status == status
    assert asked() == 1
    reconcile_new()
    assert factories.drift_items() == [("POSITION_MISSING", "OPEN")]


def test_exit_ended_unfilled_with_nothing_open_requests_reconciliation(
    position: ExecutionPosition,
) -> None:
    factories.close_signal(position.signal)
    factories.claim_all()
    exit_ = Order.objects.get(position=position)
    factories.apply(factories.report(exit_, ReportKind.CANCELLED, code=Code.NO_POSITION))
    assert asked() == 1


def test_other_rejections_request_nothing(position: ExecutionPosition, feed: Feed) -> None:
    factories.close_signal(position.signal)
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, Rejected(Code.MARKET_CLOSED))
    factories.signal(feed)
    (entry,) = factories.claim_all()
    factories.answer(entry, Rejected(Code.VOLUME_INVALID))
    assert asked() == 0
