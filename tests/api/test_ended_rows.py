"""What each operation does with a subscription that has ended, an archived account and feed.

None makes it trade, ask its broker or take signals again; what it did can still be read.
"""

from collections.abc import Callable

import pytest

from connections import services
from signals.feeds.services import archive_feed
from tests.api.calls import KEYED, call, outcome
from tests.api.cases import CASES
from tests.api.factories import World
from tests.matrix import Walk

CONFLICT, READ = "409 STATE_CONFLICT", "200"
Outcomes = dict[str, str]

OF_SUBSCRIPTION: Outcomes = {
    "GET {}": READ,
    "PATCH {}": CONFLICT,
    "DELETE {}": "204",  # it has ended already
    "POST {}pause/": CONFLICT,
    "POST {}resume/": CONFLICT,
    "GET {}rounding-debt/": READ,
    "GET {}route/": "404 NOT_FOUND",
    "GET {}comparison/": READ,
    "POST {}twin/": CONFLICT,
    "POST {}stop-twin/": READ,
}
OF_ACCOUNT: Outcomes = {
    "GET {}": READ,
    "GET {}instruments/": READ,
    "PATCH {}": CONFLICT,
    "DELETE {}": "204",
    "PUT {}credentials/": CONFLICT,
    "POST {}pause/": CONFLICT,
    "POST {}resume/": CONFLICT,
    "POST {}test/": CONFLICT,
    "GET {}sample-order/": "404 NOT_FOUND",  # it never had one
    "POST {}sample-order/": CONFLICT,
    "POST {}sample-order/close/": "409 SAMPLE_NOT_OPEN",
}
OF_FEED: Outcomes = {
    "POST {}archive/": READ,
    "POST {}close-trades/": "404 FEED_UNKNOWN",
    "POST {}request-approval/": CONFLICT,
    "POST {}withdraw-request/": READ,
    "POST {}approve/": CONFLICT,
    "POST {}refuse/": CONFLICT,
    "POST {}tokens/": CONFLICT,
    "POST {}tokens/{token_id}/rotate/": CONFLICT,
    "POST {}tokens/{token_id}/revoke/": READ,
    "POST {}telegram-bot/": CONFLICT,
    "POST {}telegram-bot/remove/": "204",
}
"""Beside these, everything of an archived feed can be read, and its texts and drafts be changed."""


def end_subscription(world: World) -> None:
    services.unsubscribe(world.subscription.pk, by=None)


def archive_account(world: World) -> None:
    services.archive_connection(world.connection.pk, by=None, although_open=True)


ENDS: dict[str, tuple[str, Callable[[World], object], Outcomes]] = {
    "an ended subscription": ("/api/v1/subscriptions/{id}/", end_subscription, OF_SUBSCRIPTION),
    "an archived account": ("/api/v1/connections/{id}/", archive_account, OF_ACCOUNT),
    "an archived feed": ("/api/v1/feeds/{slug}/", lambda w: archive_feed(w.feed.pk), OF_FEED),
}


@pytest.mark.django_db
def test_what_has_ended_is_not_used_again(world: World) -> None:
    with Walk() as walk:
        for what, (path, end, outcomes) in walk.each(ENDS.items()):
            for name in walk.each(one for one in KEYED if path in one):
                short = name.replace(path, "{}", 1)
                if outcomes is OF_FEED and short not in outcomes:
                    continue
                caller = "olga" if CASES[name].kind == "operator" else "alice"
                with walk.cell(name, what) as cell:
                    end(world)
                    found = outcome(call(world, caller, name, CASES[name]))
                    cell.expect(outcomes.get(short, "an entry in the table"), found)


@pytest.mark.parametrize("what", ENDS)
def test_table_has_no_operation_that_does_not_exist(what: str) -> None:
    path, _, outcomes = ENDS[what]
    assert {name.replace("{}", path, 1) for name in outcomes} <= set(KEYED)
