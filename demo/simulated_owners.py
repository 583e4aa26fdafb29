"""Actions of account owners in the demo: they close positions by the API and at the broker."""

from brokers.paper.exchange import owner_closes
from demo import accounts
from demo.scenario import AlertClient
from users.models import ApiKey, User
from users.services import create_api_key

BY_API = accounts.NAMES[:2]
AT_THE_BROKER = accounts.NAMES[10:13]  # as in the broker's own terminal
KEY_NAME = "demo"


def close_by_api(client: AlertClient) -> int:
    """Close all positions of a few tenants through the API; return how many.

    Raises OSError if the API does not accept a request.
    """
    ApiKey.objects.filter(user__username__in=BY_API, name=KEY_NAME).delete()
    owners = User.objects.filter(username__in=BY_API)
    return sum(client.close_all(create_api_key(owner, KEY_NAME)[1]) for owner in owners)


def close_at_the_broker() -> int:
    """Close all positions of a few accounts at the paper broker; return how many it closed."""
    return sum(
        owner_closes(account.number)
        for account in accounts.demo_accounts()
        if account.owner in AT_THE_BROKER
    )
