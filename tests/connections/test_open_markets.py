"""Since when a market has been open, as fallbacks ask it."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from brokers.trading_hours import StoredHours
from connections.market_data.source_hours import hours_of_pairs
from connections.market_data.sources import get_or_create_broker_source
from connections.market_hours import ALWAYS, open_since
from connections.models import ExecutionConnection
from tests.connections import make

NEW_YORK = ZoneInfo("America/New_York")
SHARE = "AAPL/USD"


def at(day: int, hour: int, minute: int = 0) -> datetime:
    """In May 2026, New York. The 4th is a Monday."""
    return datetime(2026, 5, day, hour, minute, tzinfo=NEW_YORK)


def hours(*spans: tuple[datetime, datetime]) -> StoredHours:
    known = [[int(at(1, 0).timestamp()), int(at(20, 0).timestamp())]]
    return {"known": known, "open": [[int(a.timestamp()), int(b.timestamp())] for a, b in spans]}


SESSION = hours((at(4, 9, 30), at(4, 16)), (at(5, 9, 30), at(5, 16)))


@pytest.mark.parametrize(
    ("pair", "when", "expected"),
    [
        ("EUR/USD", at(8, 16, 59), at(3, 17)),
        ("EUR/USD", at(8, 17), None),
        ("EUR/USD", at(10, 16, 59), None),
        ("EUR/USD", at(10, 17), at(10, 17)),
        ("EUR/USD", at(11, 12), at(10, 17)),
        ("XAU/USD", at(5, 16, 59), at(4, 18)),
        ("XAU/USD", at(5, 17), None),
        ("XAU/USD", at(5, 17, 59), None),
        ("XAU/USD", at(5, 18), at(5, 18)),
        ("XAU/USD", at(10, 17, 30), None),
        ("BTC/USD", at(9, 12), ALWAYS),
        (SHARE, at(5, 12), None),  # no broker states its hours
    ],
)
def test_week_without_stated_hours(pair: str, when: datetime, expected: datetime | None) -> None:
    assert open_since(pair, [], when) == expected


@pytest.mark.parametrize(
    ("when", "began"),
    [
        ("2027-03-14T17:00:30", "2027-03-14T17:00"),  # the clocks went forward that morning
        ("2027-03-14T18:30", "2027-03-14T17:00"),
        ("2027-03-19T16:59", "2027-03-14T17:00"),
        ("2027-11-07T17:00", "2027-11-07T17:00"),  # and back
        ("2027-11-12T16:59", "2027-11-07T17:00"),
    ],
)
def test_week_begins_by_the_clock_where_clocks_change(when: str, began: str) -> None:
    moment, expected = (
        datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).astimezone(UTC)
        for text in (when, began)
    )
    assert open_since("EUR/USD", [], moment) == expected


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        (at(4, 9, 29), None), (at(4, 9, 30), at(4, 9, 30)), (at(4, 15, 59), at(4, 9, 30)),
        (at(4, 16), None), (at(5, 12), at(5, 9, 30)), (at(25, 12), None),
    ],
)  # fmt: skip
def test_hours_that_a_broker_states(when: datetime, expected: datetime | None) -> None:
    assert open_since(SHARE, [SESSION], when) == expected


def test_all_brokers_must_be_open() -> None:
    later = hours((at(4, 9, 35), at(4, 16)))
    assert open_since(SHARE, [SESSION, later], at(4, 9, 31)) is None
    assert open_since(SHARE, [SESSION, later], at(4, 12)) == at(4, 9, 35)


def test_currency_is_open_from_when_its_broker_opens() -> None:
    broker = hours((at(10, 17, 5), at(15, 17)))
    assert open_since("EUR/USD", [broker], at(10, 17, 1)) is None
    assert open_since("EUR/USD", [broker], at(11, 12)) == at(10, 17, 5)


@pytest.mark.django_db
def test_hours_are_those_of_the_sources_own_broker_and_of_the_accounts_that_use_it() -> None:
    account = make.connection(type="mt4")
    source = get_or_create_broker_source(account)
    ExecutionConnection.objects.filter(pk=account.pk).update(instrument_book="own")
    user = make.connection(type="paper", data_connection=source)
    ExecutionConnection.objects.filter(pk=user.pk).update(instrument_book="users")
    make.instrument("AAPL", SHARE, book="own", hours=SESSION)
    make.instrument("AAPL", SHARE, book="users", hours=SESSION)
    make.instrument("AAPL", SHARE, book="others", hours=SESSION)
    make.instrument("MSFT", "MSFT/USD", book="own", hours=SESSION)
    make.instrument("US30", "US30/USD", book="own")
    assert hours_of_pairs(source.pk, [SHARE, "US30/USD"]) == {SHARE: [SESSION, SESSION]}
    assert hours_of_pairs(source.pk, []) == {}
