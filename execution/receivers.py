"""What this room does when a room below tells it something."""

from typing import Any
from uuid import UUID

from django.dispatch import receiver

from connections.open import Open, asked
from execution import tasks
from execution.fan_out import fan_out, withdraw
from execution.models import AT_BROKER, IN_FLIGHT, Order
from positions.models import ExecutionPosition
from signals.models import Signal
from signals.signals import signal_cancelled, signal_published


@receiver(signal_published, dispatch_uid="execution.fan_out")
def on_signal_published(*, signal: Signal, **_: Any) -> None:
    """Write the candidates' orders in the publish transaction; ring when it is committed."""
    result = fan_out(signal)
    exits = signal.action != "OPEN"
    queue = tasks.EXITS if exits else tasks.ENTRIES
    tasks.ring_on_commit(result.order_ids, queue=queue, lanes=result.lanes)
    if result.cancel_ids or result.position_ids:
        tasks.ring_wishes_on_commit()


@receiver(signal_cancelled, dispatch_uid="execution.withdraw")
def on_signal_cancelled(*, signal: Signal, **_: Any) -> None:
    """Withdraw what is not yet filled of a published signal."""
    if withdraw(signal):
        tasks.ring_wishes_on_commit()


@receiver(asked, dispatch_uid="execution.open")
def on_asked_what_is_open(*, connection_id: UUID, **_: Any) -> list[Open]:
    """Tell an account's open positions, and its orders that are at the broker or may be."""
    held = ExecutionPosition.objects.open().filter(connection_id=connection_id)
    sent = Order.objects.filter(connection_id=connection_id, status__in=(*IN_FLIGHT, *AT_BROKER))
    orders = sent.values_list("symbol", "status")
    return [
        *(Open(symbol, "an open position") for symbol in held.values_list("symbol", flat=True)),
        *(Open(symbol, f"an order that is {status}") for symbol, status in orders),
    ]
