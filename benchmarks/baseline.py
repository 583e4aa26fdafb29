"""The baseline of a fan-out: one Celery task and plain ORM writes for each connection.

This is how a careful developer writes it at first: select the needed rows, save the order before
the call and its outcome after it, each in one transaction. The database connection is kept between
tasks (CELERY_DB_REUSE_MAX); workers and paper broker are the same as ours.
"""

from datetime import timedelta
from decimal import Decimal
from uuid import UUID

from celery import shared_task
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from brokers.types import ConnectionSpec, OrderReport, OrderRequest, OrderType, Side, TimeInForce
from common.clocks import machine_time
from connections.models import AccountSnapshot, ExecutionConnection, Instrument, Subscription
from events.models import Event
from execution.ids import new_client_order_id
from execution.models import ExecutionLog, Fill, Order, Status
from execution.runtime import trading_runtime
from positions.models import ExecutionPosition
from prices.models import LatestQuote
from signals.models import Signal


@shared_task(name="benchmarks.noop", ignore_result=True)
def noop(order_ids: list[int]) -> None:
    """Do nothing, by a message like those of trading: the least that a Celery message costs."""


@shared_task(name="benchmarks.fill_one", ignore_result=True)
def fill_one(signal_id: int, connection_id: str) -> None:
    runtime = trading_runtime.get_runtime()
    order, connection = save_intent(signal_id, connection_id, worker_id=runtime.id)
    reports = runtime.dispatcher.run_call(_call(order, connection), 60)
    save_outcome(order, reports, connection)


def save_intent(
    signal_id: int, connection_id: str | UUID, *, worker_id: str
) -> tuple[Order, ExecutionConnection]:
    """Size and save the order of a connection before it is sent."""
    signal = Signal.objects.get(pk=signal_id)
    connection = ExecutionConnection.objects.select_related("preset").get(pk=connection_id)
    subscription = Subscription.objects.get(connection=connection, feed_id=signal.feed_id)
    account = AccountSnapshot.objects.get(connection=connection)
    instrument = Instrument.objects.get(
        book=connection.instrument_book, pair=signal.currency_pair, is_preferred=True
    )
    quote = LatestQuote.objects.get(
        data_connection_id=connection.data_connection_id, symbol=signal.currency_pair
    )
    assert connection.preset is not None
    assert signal.sl is not None
    risk = account.equity * (connection.preset.risk_percent or 1) / 100 * subscription.multiplier
    quantity, step = risk / (quote.ask - signal.sl), instrument.quantity_step
    quantity = min(quantity // step * step, instrument.quantity_max)
    order = _save_order(signal, connection, instrument, quote, quantity, worker_id)
    return order, connection


def _save_order(
    signal: Signal, connection: ExecutionConnection, instrument: Instrument, quote: LatestQuote,
    quantity: Decimal, worker_id: str,
) -> Order:  # fmt: skip
    now = timezone.now()
    return Order.objects.create(
        signal=signal, connection=connection, leg="entry",
        client_order_id=new_client_order_id(settings.FILLCAST_INSTALLATION_TAG),
        pair=signal.currency_pair, symbol=instrument.symbol, side=signal.direction,
        order_type=signal.order_type, time_in_force=signal.time_in_force, quantity=quantity,
        stop_loss=signal.sl, take_profit=signal.tp, expected_price=quote.ask, pip=instrument.pip,
        conversion_rate=Decimal(1), status=Status.SUBMITTING, worker_id=worker_id,
        answer_by=now + timedelta(seconds=30), submitted_at=now,
    )  # fmt: skip


def request_of(order: Order, connection: ExecutionConnection) -> OrderRequest:
    return OrderRequest(
        client_order_id=order.client_order_id or "", connection_id=str(connection.pk),
        account=connection.account, symbol=order.symbol, side=Side(order.side),
        order_type=OrderType(order.order_type), time_in_force=TimeInForce(order.time_in_force),
        quantity=order.quantity or Decimal(0), stop_loss=order.stop_loss,
        take_profit=order.take_profit, order_id=order.pk, send_by=machine_time() + 30,
    )  # fmt: skip


async def _call(order: Order, connection: ExecutionConnection) -> list[OrderReport]:
    request = request_of(order, connection)
    spec = ConnectionSpec(request.connection_id, request.account, settings=connection.settings)
    adapter = trading_runtime.get_runtime().dispatcher.adapter(connection.type)
    return await adapter.submit(spec, request, lambda _: None)


@transaction.atomic
def save_outcome(order: Order, reports: list[OrderReport], connection: ExecutionConnection) -> None:
    """Save an order's outcome: its fill, its position, its log line and its event."""
    assert order.signal_id is not None
    (report,) = reports
    (fill,) = report.fills
    Fill.objects.create(
        connection=connection, broker_fill_id=fill.broker_fill_id, order=order, side=order.side,
        quantity=fill.quantity, price=fill.price, commission=fill.commission,
        commission_currency=fill.commission_currency, time=fill.time,
    )  # fmt: skip
    ExecutionPosition.objects.create(
        connection=connection, signal_id=order.signal_id, pair=order.pair, symbol=order.symbol,
        side=order.side, quantity=fill.quantity, opened_quantity=fill.quantity,
        entry_price=fill.price, sl=order.stop_loss, tp=order.take_profit, sl_guardian="BROKER",
        tp_guardian="BROKER", broker_position_id=report.broker_position_id,
        price_source_id=connection.data_connection_id, pip=order.pip,
        conversion_rate=order.conversion_rate, opened_at=fill.time,
    )  # fmt: skip
    order.status, order.broker_order_id = Status.FILLED, report.broker_order_id
    order.filled_quantity, order.avg_fill_price = fill.quantity, fill.price
    order.filled_at = order.done_at = order.acknowledged_at = timezone.now()
    order.save()
    ExecutionLog.objects.create(
        order_id=order.pk, signal_id=order.signal_id, connection_id=connection.pk, code="FILL",
        status=order.status, numbers={"quantity": str(fill.quantity), "price": str(fill.price)},
    )  # fmt: skip
    Event.objects.create(
        kind="order.filled", user_id=connection.owner_id, connection_id=connection.pk,
        signal_id=order.signal_id, order_id=order.pk, payload={"quantity": str(fill.quantity)},
    )  # fmt: skip


def fan_out(signal_id: int, connection_ids: list[UUID], queue: str) -> None:
    """Publish as the baseline does: update the signal, then enqueue one task per connection."""
    Signal.objects.filter(pk=signal_id).update(published_at=timezone.now())
    for connection_id in connection_ids:
        fill_one.apply_async((signal_id, str(connection_id)), queue=queue)
