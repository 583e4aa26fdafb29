"""May the checks of docs/conformance.md be made on a connection's account now?"""

from connections.models import ExecutionConnection
from execution.models import Order
from positions.models import ExecutionPosition


def refusal(connection: ExecutionConnection) -> str:
    """Return why not, and what to do; '' if they may.

    They place orders that no row of ours knows, so nobody else of ours may trade there meanwhile.
    """
    if connection.is_active:
        return (
            f"{connection.name} is switched on: workers trade on it and compare it. Switch it off,"
            " run this, and switch it on again; it is compared before it trades."
        )
    if ExecutionPosition.objects.filter(connection=connection, quantity__gt=0).exists():
        return f"{connection.name} has open positions of ours. Close them first."
    if Order.objects.filter(connection=connection, done_at=None).exists():
        return f"{connection.name} has orders of ours that have not ended. Cancel them first."
    return ""
