"""An exit that the broker refuses because its position is closed there: the account is compared."""

from decimal import Decimal as D

import pytest

from brokers.base import Rejected
from brokers.types import ReportKind
from common.reason_codes import Code
from common.sql import rows
from execution.models import Order
from execution.reconciliation.reconcile import reconcile_new
from execution.runtime.trading_runtime import TradingRuntime
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker

pytestmark = pytest.mark.django_db


def asked() -> int:
    wanted = "reconcile_requested_at <= clock_timestamp()"
    return len(rows(f"SELECT connection_id FROM execution_accountsyncstate WHERE {wanted}"))


@pytest.fixture
def position(feed: Feed, broker: FakeBroker, runtime: TradingRuntime) -> ExecutionPosition:
    factories.account(feed)
    return factories.filled(factories.signal(feed))


@pytest.mark.parametrize("code", [Code.NO_POSITION, Code.VOLUME_INVALID])
def test_an_exit_of_what_is_closed_there_has_the_account_compared(
    position: ExecutionPosition, broker: FakeBroker, code: Code
) -> None:
    assert asked() == 0
    broker.tickets[0].held = D(0)  # somebody closed it, and nobody has told
    broker.tickets[0].fills.clear()
    factories.close_signal(position.signal)
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, Rejected(code, "position closed"))
    assert Order.objects.get(position=position).status == "REJECTED"
    assert asked() == 1
    reconcile_new()
    assert factories.drift_items() == [("POSITION_MISSING", "OPEN")]


def test_an_exit_that_ends_unfilled_since_nothing_is_open_has_it_compared_too(
    position: ExecutionPosition,
) -> None:
    factories.close_signal(position.signal)
    factories.claim_all()
    exit_ = Order.objects.get(position=position)
    factories.apply(factories.report(exit_, ReportKind.CANCELLED, code=Code.NO_POSITION))
    assert asked() == 1


def test_other_refusals_ask_for_nothing(position: ExecutionPosition, feed: Feed) -> None:
    factories.close_signal(position.signal)
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, Rejected(Code.MARKET_CLOSED))
    factories.signal(feed)
    (entry,) = factories.claim_all()
    factories.answer(entry, Rejected(Code.VOLUME_INVALID))
    assert asked() == 0
