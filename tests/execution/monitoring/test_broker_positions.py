"""Exits of a position that shares its broker position: they wait and are sent."""

from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from django.db.models import F

from brokers.base import OutcomeUnknown
from brokers.types import ExitSafety
from common.reason_codes import Code
from connections.models import ExecutionConnection, Instrument
from execution.base.reconciliation_requests import request_reconciliation
from execution.models import AccountSyncState, Order
from execution.monitoring import broker_positions
from execution.reconciliation.reconcile import reconcile_new
from execution.recovery.stale_orders import resolve_stuck
from execution.recovery.sweeps import query_unknown_orders
from execution.runtime import trading_runtime
from execution.services import close_position
from positions.models import ExecutionPosition
from positions.selectors import with_prices
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.netting_model import NettingModel

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("account")]


@pytest.fixture
def account(
    feed: Feed, broker: FakeBroker, runtime: trading_runtime.TradingRuntime
) -> ExecutionConnection:
    """As on spot: one balance for a symbol; an exit of more than is held reads it."""
    broker.nets = NettingModel(ExitSafety.CANCEL_FIRST, netting=True)
    row = factories.account(feed, snapshot_position_mode="NETTING")
    Instrument.objects.update(close_min=D(50))  # in steps of 10
    return row


def a_while_later(seconds: float, *, is_compared: bool = True) -> None:
    """Let time pass in steps of ten seconds and do what is due meanwhile."""
    for _ in range(int(seconds // 10)):
        factories.pass_time(10)
        waiting = Order.objects.filter(waiting_since__isnull=False)
        waiting.update(waiting_since=F("waiting_since") - timedelta(seconds=10))
        if is_compared:
            reconcile_new()
        broker_positions.refresh()
        assert factories.claim_all() == []


def exit_of(position: ExecutionPosition) -> tuple[str, str, str]:
    order = Order.objects.exits().get(position=position)
    return order.status, order.reason, order.detail


WAITS = ("PENDING", "EXIT_AWAITS_COMPARISON")


def test_exit_waits_for_the_outcome_of_an_entry_in_its_symbol(
    feed: Feed, runtime: trading_runtime.TradingRuntime
) -> None:
    """A lost request may have filled: the broker's quantity may be its fill."""
    position = factories.filled(factories.signal(feed))  # 100
    factories.signal(feed)
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, OutcomeUnknown(Code.REPLY_LOST))
    Order.objects.filter(status="UNKNOWN").update(quantity=D(95))
    close_position(position.pk)
    factories.claim_all()
    a_while_later(60)
    why = "5 of 100 EURUSD belongs to this position alone; the broker's total is shared"
    assert exit_of(position) == (*WAITS, why)
    shown: Any = with_prices(ExecutionPosition.objects.all()).get()
    assert shown.exit_blocker == ""

    for _ in range(2):  # two look-ups do not find the entry
        factories.pass_time(61)
        query_unknown_orders(runtime.dispatcher)
    assert not Order.objects.filter(status="UNKNOWN").exists()
    broker_positions.refresh()
    (outgoing,) = factories.claim_all()
    assert outgoing.request.quantity == 100


def test_exit_is_not_ended_by_a_read_before_an_entry_was_known(feed: Feed) -> None:
    position = factories.filled(factories.signal(feed))
    factories.signal(feed)
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, OutcomeUnknown(Code.REPLY_LOST))
    Order.objects.filter(status="UNKNOWN").update(quantity=D(95))
    close_position(position.pk)
    factories.claim_all()
    a_while_later(60)
    Order.objects.filter(status="UNKNOWN").update(
        status="FAILED", reason="NEVER_ARRIVED", done_at=F("created_at")
    )
    factories.pass_time(1.1)
    assert factories.claim_all() == []
    assert exit_of(position)[:2] == WAITS


def test_exits_of_positions_that_share_a_balance_wait_and_are_reported(
    feed: Feed, broker: FakeBroker
) -> None:
    """The owner sold most of one of them: reconciliation cannot determine which."""
    first, second = (
        factories.filled(factories.signal(feed)),
        factories.filled(factories.signal(feed)),
    )
    assert broker.nets
    broker.nets.by_hand(broker.tickets[0], D(95))  # 105 of 200 are left
    for one in (first, second):
        close_position(one.pk)
    factories.claim_all()
    a_while_later(60)
    assert [exit_of(one)[:2] for one in (first, second)] == [WAITS, WAITS]
    assert factories.drift_items() == [("QUANTITY_DIFFERS", "OPEN")]
    resolve_stuck()
    assert factories.events("exit.delayed") == []
    a_while_later(260)
    resolve_stuck()
    codes = [event["code"] for event in factories.events("exit.delayed")]
    assert codes == ["EXIT_AWAITS_COMPARISON"] * 2

    broker.nets.held[broker.nets.key(broker.tickets[0])] = D(200)  # the owner buys it back
    factories.pass_time(40)
    broker_positions.refresh()
    assert sorted(one.request.quantity for one in factories.claim_all()) == [100, 100]


def test_exit_ends_where_the_broker_holds_only_its_own_quantity_and_too_little(
    feed: Feed, broker: FakeBroker
) -> None:
    position = factories.filled(factories.signal(feed))
    assert broker.nets
    broker.nets.by_hand(broker.tickets[0], D(70))
    close_position(position.pk)
    factories.claim_all()
    a_while_later(60)
    why = "30 of 100 EURUSD at the broker"
    assert exit_of(position) == ("CANCELLED", "EXIT_BELOW_MINIMUM", why)


def test_exit_ends_only_after_a_reconciliation_begun_while_it_waited(
    account: ExecutionConnection, feed: Feed, broker: FakeBroker
) -> None:
    """A queue of other accounts or an unreadable broker may delay that."""
    position = factories.filled(factories.signal(feed))
    assert broker.nets
    broker.nets.by_hand(broker.tickets[0], D(70))
    request_reconciliation([account.pk])
    reconcile_new()  # before the exit
    close_position(position.pk)
    factories.claim_all()
    a_while_later(120, is_compared=False)
    assert exit_of(position)[:2] == WAITS
    a_while_later(30)  # its broker is read each half minute at the latest
    assert exit_of(position)[:2] == ("CANCELLED", "EXIT_BELOW_MINIMUM")


def test_exit_requests_reconciliation_again_when_none_was_made(
    feed: Feed, broker: FakeBroker
) -> None:
    """As after an upgrade: it waits already, and no request is stored."""
    position = factories.filled(factories.signal(feed))
    assert broker.nets
    broker.nets.by_hand(broker.tickets[0], D(70))
    close_position(position.pk)
    factories.claim_all()
    a_while_later(10, is_compared=False)
    assert exit_of(position)[:2] == WAITS
    AccountSyncState.objects.update(reconcile_requested_at=None, compared_at=None)
    a_while_later(60)
    assert exit_of(position)[:2] == ("CANCELLED", "EXIT_BELOW_MINIMUM")
