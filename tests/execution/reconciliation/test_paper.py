"""Reconciliation against the paper broker's own books: manual trades of an owner."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest

from brokers.paper import exchange
from brokers.paper.db_sessions import sessions
from brokers.paper.models import PaperPosition
from brokers.registry import adapter_for
from brokers.types import OrderRequest, OrderType, Quote, Side, TimeInForce
from common.clocks import market_now
from connections.models import ExecutionConnection, Instrument
from connections.selectors import spec_for
from execution import services
from execution.models import DriftItem, Order
from execution.reconciliation import decisions as drift_decisions
from execution.reconciliation.reconcile import reconcile
from execution.runtime import trading_runtime
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories

pytestmark = pytest.mark.usefixtures("inline_commits")


@pytest.fixture
def trading_account(
    feed: Feed, runtime: trading_runtime.TradingRuntime, transactional_db: None
) -> Iterator[ExecutionConnection]:
    """An account at the paper broker, quoted at 1.10000."""
    exchange.list_instruments()
    exchange.on_quotes([Quote("EUR/USD", D("1.10000"), D("1.10002"), market_now())])
    exchange.open_account("A1", balance=D(10_000))
    listed = Instrument.objects.get(book="double")
    Instrument.objects.create(
        book="paper", symbol="EURUSD", pair="EUR/USD", read_at=market_now(),
        digits=5, pip=listed.pip, quantity_min=D(1000), quantity_step=D(1000),
        quantity_max=D(10_000_000), contract_size=D(100_000),
    )  # fmt: skip
    connection = factories.account(
        feed, type="paper", account="A1", instrument_book="paper", preset_fixed_quantity=D(3000)
    )
    factories.quote(connection, "1.10000", "1.10002")
    yield connection
    sessions.close()


def by_hand(connection: ExecutionConnection, cid: str, **more: Any) -> None:
    """The owner trades 2,000 with another program."""
    order = OrderRequest(
        client_order_id=cid, connection_id=str(connection.pk), account="A1", symbol="EURUSD",
        side=Side.BUY, order_type=OrderType.MARKET, time_in_force=TimeInForce.GTC,
        quantity=D(2000),
    )  # fmt: skip
    order = replace(order, **more)
    call = adapter_for("paper").submit(spec_for(connection), order, lambda _: None)
    trading_runtime.get_runtime().dispatcher.run_call(call, 60)


def send() -> None:
    """Claim what is due and have the paper broker answer."""
    for outgoing in factories.claim_all():
        call = adapter_for("paper").submit(outgoing.spec, outgoing.request, lambda _: None)
        factories.answer(outgoing, trading_runtime.get_runtime().dispatcher.run_call(call, 60))


def test_both_books_agree_and_an_owners_close_is_external(
    trading_account: ExecutionConnection, feed: Feed
) -> None:
    factories.signal(feed)
    send()
    position = ExecutionPosition.objects.get()
    factories.pass_time(1)
    assert (reconcile(), position.quantity) == (0, 3000)
    paper = PaperPosition.objects.get()
    exchange.owner_closes("A1", str(paper.position))
    reconcile()
    position.refresh_from_db()
    assert (position.quantity, position.close_reason) == (0, "external_close")
    assert not DriftItem.objects.exists()


def test_manual_trade_is_adopted_and_its_close_is_booked(
    trading_account: ExecutionConnection, feed: Feed
) -> None:
    by_hand(trading_account, "mine-1", stop_loss=D("1.09000"))
    by_hand(trading_account, "mine-2", limit_price=D("1.05000"), order_type=OrderType.LIMIT)
    assert reconcile() == 1
    item = DriftItem.objects.get(kind="UNKNOWN_POSITION")
    assert DriftItem.objects.get(kind="FOREIGN_ORDER").state == "NOTED"
    drift_decisions.adopt(item.pk, by=trading_account.user)
    position = ExecutionPosition.objects.get()
    assert (position.quantity, position.sl, position.sl_guardian) == (2000, D("1.09"), "BROKER")
    factories.pass_time(1)
    assert reconcile() == 0
    services.modify_position(position.pk, stop_loss=D("1.09500"), take_profit=None)
    services.process_pending_actions()
    trading_runtime.get_runtime().dispatcher.wait_idle(30)
    assert PaperPosition.objects.get().stop_loss == D("1.095")
    services.close_position(position.pk)
    send()
    position.refresh_from_db()
    assert (position.quantity, PaperPosition.objects.get().quantity) == (0, 0)
    assert Order.objects.exclude(leg="entry").count() == 1
