"""What account owners do themselves in the demo: close through us, and at the broker behind us."""

from brokers.paper.venue import owner_closes
from config.demo import cast
from execution import services, tasks
from positions.models import ExecutionPosition
from users.models import User

BY_HAND = cast.NAMES[:2]  # close through us
AT_THE_BROKER = cast.NAMES[10:13]  # close in the broker's own terminal
MARKET = "EUR/USD"


def close_through_us() -> int:
    """Close the open positions of a few tenants, as their owners; return how many."""
    owners = {user.username: user for user in User.objects.filter(username__in=BY_HAND)}
    held = ExecutionPosition.objects.open().filter(
        pair=MARKET, connection__user__in=owners.values()
    )
    written = [
        services.close_position(position.pk, by=position.connection.user)
        for position in held.select_related("connection__user")
    ]
    ids = [order_id for order_id in written if order_id is not None]
    tasks.ring(ids, queue=tasks.EXITS)
    return len(ids)


def close_at_the_broker() -> int:
    """Close everything of a few accounts at the paper broker; return how many entries it ended."""
    return sum(owner_closes(one.number) for one in cast.accounts() if one.owner in AT_THE_BROKER)
