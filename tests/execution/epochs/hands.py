"""A database that was restored, and what is left to settle."""

from django.utils import timezone

from connections.models import Epoch
from execution.calls import runtime, sweeps
from execution.epochs.epochs import open_epoch
from execution.epochs.unsettled import unsettled
from execution.models import Order
from tests.execution import cast


def restored(**fields: object) -> Epoch:
    """An epoch, begun so long ago that nobody of the life before can still be sending."""
    epoch = open_epoch(Epoch.Cause.COMMAND, **fields)  # type: ignore[arg-type]
    Epoch.objects.filter(pk=epoch.pk).update(answer_by=timezone.now())
    epoch.refresh_from_db()
    return epoch


def state_of(order: Order) -> tuple[str, str]:
    order.refresh_from_db()
    return order.status, order.reason


def left(epoch: Epoch) -> dict[str, int]:
    epoch.refresh_from_db()
    return {one.what: one.count for one in unsettled(epoch)}


def ask_twice() -> None:
    """Both looks at the brokers, a proof's gap apart."""
    for _ in range(3):
        cast.pass_time(70)
        sweeps.ask_brokers(runtime.present().wire)
