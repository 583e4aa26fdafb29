"""Publishing a signal locks its candidates before it locks its feed.

The other order could deadlock with a change of candidates that writes the feed.
"""

import json
from collections.abc import Callable
from threading import Thread
from typing import Any

import pytest
from django.db import connection as database
from django.db import transaction
from django.test import Client

from common.clocks import market_now
from common.db.sql import rows
from signals.feeds.services import create_feed_token
from signals.locks import candidates_exclusive
from signals.models import Feed, Signal
from signals.publishing.batch import Publisher, entries_of
from tests.alert_inbox import answer_of
from tests.api.factories import World
from tests.lock_waits import until_one_waits

OPEN = {"symbol": "EURUSD", "direction": "BUY", "action": "OPEN", "sl": "1.08"}


def _alert(**fields: Any) -> Callable[[Feed], int]:
    def post(feed: Feed) -> int:
        secret = create_feed_token(feed)[1]
        path = f"/hooks/tradingview/{feed.slug}/{secret}/"
        response = Client().post(path, json.dumps(fields), content_type="text/plain")
        return int(answer_of(response).status_code)

    return post


def _file(feed: Feed) -> int:
    (entry,) = Publisher(default_feed=feed.slug, by=feed.owner).publish(
        entries_of(json.dumps(OPEN).encode())
    )
    return 201 if entry.signal is not None else 400


def _strategy() -> dict[str, Any]:
    now = market_now().isoformat()
    position = {"prev_market_position": "flat", "market_position": "long"}
    return {"ticker": "EURUSD", "action": "buy", "timenow": now, **position}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("entry_point", ["alert", "strategy", "api", "file"])
def test_candidates_are_locked_before_the_feed(world: World, entry_point: str) -> None:
    client = world.client("paula")

    def api(feed: Feed) -> int:
        path = "/api/v1/signals/?publish=true"
        return int(client.post(path, OPEN | {"feed": feed.slug}, format="json").status_code)

    send = {"alert": _alert(**OPEN), "strategy": _alert(**_strategy()), "api": api, "file": _file}
    feed = world.public
    statuses: list[int] = []
    thread = Thread(target=lambda: statuses.append(_closing(lambda: send[entry_point](feed))))
    with transaction.atomic():
        candidates_exclusive(feed.pk)
        thread.start()
        until_one_waits(lock="advisory")
        rows("SELECT 1 FROM signals_feed WHERE id = %s FOR UPDATE NOWAIT", (feed.pk,))
    thread.join(60)
    assert statuses == [201]
    assert Signal.objects.get(feed=feed).is_published


def _closing(work: Callable[[], int]) -> int:
    """Do some work on a thread's own database connection."""
    try:
        return work()
    finally:
        database.close()
