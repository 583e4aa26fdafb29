"""An account that cannot trade a feed is refused at subscribing, with all that it lacks."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from common.clocks import market_now
from common.errors import ConflictError
from common.reason_codes import Code
from connections import services
from connections.models import ConnectionHealth, ExecutionConnection, Instrument
from connections.selectors import readiness_of
from signals.models import Feed
from tests.connections import make

pytestmark = pytest.mark.django_db
Change = Callable[[ExecutionConnection], Any]


def fields(**changed: Any) -> Change:
    return lambda row: ExecutionConnection.objects.filter(pk=row.pk).update(**changed)


def health(**changed: Any) -> Change:
    return lambda row: ConnectionHealth.objects.filter(connection=row).update(**changed)


@pytest.fixture
def feed(db: None) -> Feed:
    feed = make.feed()
    make.signal(feed, published_at=market_now() - timedelta(hours=25))
    return feed


@pytest.fixture
def account(feed: Feed) -> ExecutionConnection:
    return make.ready(make.connection(type="mt5"))


def codes(account: ExecutionConnection, feed: Feed, **fields: Any) -> list[str]:
    """Try to subscribe; return the codes that the message names."""
    try:
        services.subscribe(connection_id=account.pk, feed_id=feed.pk, by=account.user, **fields)
    except ConflictError as error:
        if error.code != Code.CANNOT_SUBSCRIBE:
            raise
        parts = str(error.detail).split("(")[1:]
        return [part.split(")")[0] for part in parts if part.split(")")[0].isupper()]
    return []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (fields(is_active=False), "CONNECTION_INACTIVE"),
        (fields(sealed_credentials=None), "NO_CREDENTIALS"),
        (fields(preset=None), "NO_PRESET"),
        (fields(data_connection=None), "NO_DATA_CONNECTION"),
        (health(status="UNTESTED"), "CONNECTION_UNTESTED"),
        (health(status="ERROR"), "CONNECTION_ERROR"),
        (lambda row: row.snapshot.delete(), "ACCOUNT_NOT_SYNCED"),
        (fields(instrument_book=""), "INSTRUMENTS_NOT_READ"),
        (lambda row: Instrument.objects.update(pair="GBP/USD"), "SYMBOL_NOT_AT_BROKER"),
        (
            lambda row: make.kill_switch("HALTED", scope="CONNECTION", connection=row),
            "TRADING_HALTED",
        ),
    ],
)  # fmt: skip
def test_each_obstacle_is_refused(
    account: ExecutionConnection, feed: Feed, change: Change, code: str
) -> None:
    change(account)
    assert codes(account, feed) == [code]


@pytest.mark.parametrize(
    "change",
    [
        fields(is_paused=True),
        health(status="ERROR", unreachable_at=market_now()),
        health(reconciled_at=None),
        lambda row: make.kill_switch("REDUCING", scope="CONNECTION", connection=row),
    ],
)
def test_what_passes_or_was_chosen_is_only_a_warning(
    account: ExecutionConnection, feed: Feed, change: Change
) -> None:
    change(account)
    found = readiness_of(account, feed)
    assert (len(found.missing), len(found.warnings)) == (0, 1)
    assert codes(account, feed) == []


def test_all_that_is_missing_is_named_in_one_message(
    account: ExecutionConnection, feed: Feed
) -> None:
    fields(preset=None, sealed_credentials=None)(account)
    health(status="UNTESTED")(account)
    assert codes(account, feed) == ["NO_CREDENTIALS", "NO_PRESET", "CONNECTION_UNTESTED"]


def test_mapped_symbol_makes_a_feed_tradable(account: ExecutionConnection, feed: Feed) -> None:
    Instrument.objects.update(pair="GBP/USD", symbol="EURUSD.m")
    assert codes(account, feed) == ["SYMBOL_NOT_AT_BROKER"]
    assert codes(account, feed, symbol_map={"EUR/USD": "EURUSD.m"}) == []


def test_pairs_of_the_last_day_are_withheld_until_one_takes_the_feed(
    account: ExecutionConnection, feed: Feed
) -> None:
    """Its signals are for subscribers: what refuses others names none of the last 24 hours."""
    make.signal(feed, currency_pair="USD/JPY", published_at=market_now())
    Instrument.objects.update(pair="GBP/USD", symbol="GBPUSD")
    (missing,) = readiness_of(account, feed).missing
    assert missing.detail == "The feed trades EUR/USD"
    assert codes(account, feed, symbol_map={"USD/JPY": "GBPUSD"}) == ["SYMBOL_NOT_AT_BROKER"]
    make.subscription(make.connection(account.user, type="mt5", account="2"), feed)
    (missing,) = readiness_of(account, feed).missing
    assert missing.detail == "The feed trades EUR/USD, USD/JPY"


def test_account_that_takes_the_feed_already_gets_that_reason(
    account: ExecutionConnection, feed: Feed
) -> None:
    assert codes(account, feed) == []
    fields(preset=None)(account)
    with pytest.raises(ConflictError, match="already"):
        services.subscribe(connection_id=account.pk, feed_id=feed.pk, by=account.user)
