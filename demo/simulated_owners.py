"""What account owners do themselves in the demo: close by the API, and at the broker behind us."""

from brokers.paper.exchange import owner_closes
from demo import accounts
from demo.scenario import AlertClient
from users.models import ApiKey, User
from users.services import create_api_key

BY_API = accounts.NAMES[:2]
AT_THE_BROKER = accounts.NAMES[10:13]  # in the broker's own terminal
KEY_NAME = "demo"


def close_by_api(door: AlertClient) -> int:
    """Have a few tenants close all that they hold through the API; return how many exits it made.

    Raises OSError if the API does not take it.
    """
    ApiKey.objects.filter(user__username__in=BY_API, name=KEY_NAME).delete()
    owners = User.objects.filter(username__in=BY_API)
    return sum(door.close_all(create_api_key(owner, KEY_NAME)[1]) for owner in owners)


def close_at_the_broker() -> int:
    """Close everything of a few accounts at the paper broker; return how many entries it ended."""
    return sum(
        owner_closes(one.number) for one in accounts.demo_accounts() if one.owner in AT_THE_BROKER
    )
