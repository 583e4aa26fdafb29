"""An owner connects an account, as the pages do: `python -m tests.faults.mt5_owner LOGIN`.

Feed `bench-1` has only this subscriber. Prints the connection's id.
"""

import sys

import django


def connect(login: str) -> str:
    """Create account, password and subscription; the terminal's worker tests it automatically."""
    from connections.accounts.services import create_connection, set_credentials
    from connections.models import DataConnection, TradingPreset
    from connections.subscriptions.services import subscribe
    from signals.models import Feed
    from users.models import User

    owner, _ = User.objects.get_or_create(username="mt5-owner")
    feed, _ = Feed.objects.get_or_create(
        slug="bench-1",
        name="one account",
        is_approved=True,
        owner=Feed.objects.earliest("pk").owner,
    )
    connection = create_connection(
        by=owner, user=owner, name=f"MT5 {login}", type="mt5", account=login,
        preset=TradingPreset.objects.first(),
        data_connection=DataConnection.objects.get(name="static"),
        settings={
            "server": "Double-Demo", "terminal": "alpha", "server_timezone": "UTC",
            "settle_seconds": 0,
        },
    )  # fmt: skip
    set_credentials(connection.pk, by=owner, values={"password": "secret"})
    subscribe(connection_id=connection.pk, feed_id=feed.pk, by=None)
    return str(connection.pk)


if __name__ == "__main__":
    django.setup()
    print(connect(sys.argv[1]))
