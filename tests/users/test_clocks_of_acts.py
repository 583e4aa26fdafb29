"""Of which clock each time is that an act stores: the market's, or the machine's.

In a replay they are years apart. Here market time stands in 2014, and each time that an act writes
must be of the clock that MARKET_TIMES states for its column.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction

from common.clocks import set_market_clock
from common.db.sql import rows
from common.permissions import Role
from connections import services
from signals.feeds.services import archive_feed, create_feed_token, revoke_feed_token
from tests.analytics.trading_days import stop_clock
from tests.operational import set_setting
from tests.roles import staff
from tests.users.rights_table import ACTS, Act, Rows
from users.people.invitations import invite, revoke_invitation

pytestmark = pytest.mark.django_db
MARKET = datetime(2014, 5, 2, 12, tzinfo=UTC)

MARKET_TIMES = {
    "connections_cashflow.at",
    "connections_executionconnection.archived_at",
    "connections_subscription.archived_at",
    "connections_subscriptioninterval.ended_at",
    "connections_subscriptioninterval.started_at",
    "connections_tradingpause.ended_at",
    "signals_feed.archived_at",
    "signals_signal.approved_at",
    "signals_signal.cancelled_at",
    "signals_signal.published_at",
}
"""The columns of market time. All other times that these acts write are the machine's."""
FURTHER_ACTS: dict[str, Act] = {
    "archive a feed": lambda rows, by: archive_feed(rows.private.pk, by=by),
    "archive an account": lambda rows, by: services.archive_connection(
        rows.account.pk, by=by, although_open=True
    ),
    "switch an account on": lambda rows, by: (
        services.deactivate(rows.account.pk, by=by),
        services.activate(rows.account.pk, by=by),
    ),
    "ask for a test": lambda rows, by: services.request_test(rows.account.pk, by=by),
    "subscribe again": lambda rows, by: (
        services.unsubscribe(rows.subscription.pk, by=by),
        services.subscribe(connection_id=rows.account.pk, feed_id=rows.private.pk, by=None),
    ),
    "revoke an alert address": lambda rows, by: revoke_feed_token(
        create_feed_token(rows.private, by=by)[0].pk
    ),
    "revoke an invitation": lambda rows, by: revoke_invitation(
        invite("Zoe", by=None)[0].pk, by=None
    ),
}

COLUMNS = """
SELECT table_name::text AS of, column_name::text AS name FROM information_schema.columns
WHERE table_schema = 'public' AND data_type = 'timestamp with time zone'
  AND table_name ~ '^(signals|connections|users|events|analytics|execution)_'
ORDER BY 1, 2
"""


@pytest.fixture(autouse=True)
def clock(settings: Any) -> Iterator[None]:
    set_setting("users.sign_up", "open")
    stop_clock(MARKET)
    yield
    set_market_clock(None)


def times_stored() -> set[tuple[str, str]]:
    """Return the times that are stored, each with its column."""
    union = " UNION ALL ".join(
        f"SELECT '{one.of}.{one.name}' AS name, {one.name}::text AS at"
        f" FROM {one.of} WHERE {one.name} IS NOT NULL"
        for one in rows(COLUMNS)
    )
    return {(one.name, one.at) for one in rows(union)}


def times_written(act: Callable[[], object]) -> dict[str, set[str]]:
    """Return of which clocks the times are that an act writes, by column; undo the act."""
    before = times_stored()
    savepoint = transaction.savepoint()
    act()
    found: dict[str, set[str]] = {}
    for column, at in times_stored() - before:
        found.setdefault(column, set()).add("market" if at < "2016" else "machine")
    transaction.savepoint_rollback(savepoint)
    return found


def test_each_time_that_an_act_stores_is_of_its_clock() -> None:
    world, administrator = Rows(), staff(Role.ADMINISTRATOR)
    stop_clock(MARKET + timedelta(hours=1))
    wrong, seen = list[str](), set[str]()
    for name, act in {**ACTS, **FURTHER_ACTS}.items():
        for column, clocks in times_written(lambda: act(world, administrator)).items():  # noqa: B023
            seen.add(column)
            expected = {"market"} if column in MARKET_TIMES else {"machine"}
            if clocks != expected:
                wrong.append(f"{name}: {column} is of {clocks}, expected {expected}")
    wrong += [f"no act writes {column}" for column in sorted(MARKET_TIMES - seen)]
    assert not wrong, "\n".join([f"{len(wrong)} wrong:", *wrong])
