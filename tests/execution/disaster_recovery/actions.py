"""Actions for tests of a restored database."""

from django.utils import timezone

from connections.models import Epoch
from execution.disaster_recovery.epochs import open_epoch
from execution.disaster_recovery.open_issues import list_open_issues
from execution.models import Order
from execution.recovery import sweeps
from execution.runtime import trading_runtime
from tests.execution import factories


def restored(**fields: object) -> Epoch:
    """Open an epoch, begun so long ago that no earlier process can still be sending."""
    epoch = open_epoch(Epoch.Cause.COMMAND, **fields)  # type: ignore[arg-type]
    Epoch.objects.filter(pk=epoch.pk).update(answer_by=timezone.now())
    epoch.refresh_from_db()
    return epoch


def state_of(order: Order) -> tuple[str, str]:
    order.refresh_from_db()
    return order.status, order.reason


def issue_counts(epoch: Epoch) -> dict[str, int]:
    epoch.refresh_from_db()
    return {issue.code: issue.count for issue in list_open_issues(epoch)}


def query_twice() -> None:
    """Check the brokers twice, an absence gap apart."""
    for _ in range(3):
        factories.pass_time(70)
        sweeps.query_unknown_orders(trading_runtime.get_runtime().dispatcher)
