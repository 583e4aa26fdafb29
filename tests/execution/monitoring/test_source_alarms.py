"""A broker's price source that stops while something open needs it raises one alarm."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils.timezone import now as machine_clock

from common.db.sql import rows
from connections.market_data.source_alarms import (
    FALLBACK_SECONDS,
    SILENT_SECONDS,
    alarm_silent_sources,
)
from connections.metrics import GAUGES
from connections.models import DataConnection, ExecutionConnection, SourceHealth
from events.models import Event
from prices.models import LatestQuote
from signals.models import Feed
from tests.execution import factories

pytestmark = pytest.mark.django_db


def kinds() -> list[str]:
    found = Event.objects.filter(kind__startswith="prices.").order_by("id")
    return list(found.values_list("kind", flat=True))


def silent_for(source: DataConnection, seconds: float, **fields: Any) -> None:
    at = machine_clock() - timedelta(seconds=seconds)
    SourceHealth.objects.update_or_create(source=source, defaults={"last_contact_at": at, **fields})


@pytest.fixture
def source(alice: ExecutionConnection) -> DataConnection:
    """Alice's own source; nothing is open."""
    return DataConnection.objects.create(
        name="Alice's broker", kind="broker", broker_connection=alice, user=alice.user
    )


@pytest.fixture
def priced(source: DataConnection, alice: ExecutionConnection, feed: Feed) -> DataConnection:
    """The same with an open position that needs it."""
    position = factories.filled(factories.signal(feed))
    type(position).objects.filter(pk=position.pk).update(price_source=source)
    return source


def test_silent_source_raises_one_alarm_and_one_end(priced: DataConnection) -> None:
    silent_for(priced, SILENT_SECONDS - 5)
    alarm_silent_sources()
    assert kinds() == []
    silent_for(priced, SILENT_SECONDS + 5, error_code="BROKER_UNREACHABLE", error="No answer.")
    for _ in range(3):
        alarm_silent_sources()
    assert kinds() == ["prices.lost"]
    lost = Event.objects.get(kind="prices.lost")
    assert lost.user_id == priced.user_id
    assert lost.payload["name"] == priced.name
    assert lost.payload["message"] == "No answer."
    assert SILENT_SECONDS <= lost.payload["seconds"] < SILENT_SECONDS + 100
    silent_for(priced, -1)
    for _ in range(2):
        alarm_silent_sources()
    assert kinds() == ["prices.lost", "prices.back"]
    silent_for(priced, SILENT_SECONDS + 5)
    alarm_silent_sources()
    assert kinds()[2:] == ["prices.lost"], "it stops again"


def test_closed_market_raises_no_alarm(priced: DataConnection) -> None:
    silent_for(priced, 100_000, error_code="MARKET_CLOSED")
    alarm_silent_sources()
    assert kinds() == []


def test_source_that_nothing_open_needs_raises_no_alarm(source: DataConnection) -> None:
    silent_for(source, 100_000)
    alarm_silent_sources()
    assert kinds() == []


def test_source_that_never_delivered_raises_an_alarm(priced: DataConnection) -> None:
    failing = machine_clock() - timedelta(seconds=SILENT_SECONDS + 5)
    SourceHealth.objects.create(
        source=priced, failing_since=failing, error_code="CREDENTIALS_REFUSED"
    )
    alarm_silent_sources()
    assert kinds() == ["prices.lost"]
    assert Event.objects.get(kind="prices.lost").payload["seconds"] is None


def test_source_that_is_switched_off_ends_its_alarm_silently(priced: DataConnection) -> None:
    silent_for(priced, SILENT_SECONDS + 5)
    alarm_silent_sources()
    DataConnection.objects.filter(pk=priced.pk).update(is_active=False)
    alarm_silent_sources()
    assert kinds() == ["prices.lost"]
    assert SourceHealth.objects.get().alarmed_at is None


@pytest.fixture
def backed(priced: DataConnection) -> DataConnection:
    """The same, with a fallback; it is silent itself."""
    backup = DataConnection.objects.create(name="Backup", kind="push", user=priced.user)
    DataConnection.objects.filter(pk=priced.pk).update(fallback=backup)
    silent_for(priced, FALLBACK_SECONDS + 5, pairs=["EUR/USD"])
    return priced


def priced_ago(source: DataConnection, seconds: float, pair: str = "EUR/USD") -> None:
    at = machine_clock() - timedelta(seconds=seconds)
    defaults = {"bid": 1, "ask": 1, "time": at, "received_at": at, "from_fallback": True}
    LatestQuote.objects.update_or_create(data_connection=source, symbol=pair, defaults=defaults)


def test_fallback_that_stands_in_ends_the_alarm_and_its_end_raises_one(
    backed: DataConnection,
) -> None:
    priced_ago(backed, 5)
    alarm_silent_sources()
    assert (kinds(), stopped()) == ([], 0)
    priced_ago(backed, FALLBACK_SECONDS + 5)
    alarm_silent_sources()
    assert (kinds(), stopped()) == (["prices.lost"], 1)
    priced_ago(backed, 5)
    alarm_silent_sources()
    assert (kinds(), stopped()) == (["prices.lost"], 0), "its own prices are not back"
    priced_ago(backed, FALLBACK_SECONDS + 5)
    alarm_silent_sources()
    assert (kinds(), stopped()) == (["prices.lost"] * 2, 1)


def test_fallback_of_some_pairs_ends_no_alarm(backed: DataConnection) -> None:
    priced_ago(backed, 5)
    silent_for(backed, FALLBACK_SECONDS + 5, pairs=["EUR/USD", "USD/JPY"])
    alarm_silent_sources()
    assert (kinds(), stopped()) == (["prices.lost"], 1)


def test_source_with_a_fallback_has_time_to_switch(backed: DataConnection) -> None:
    silent_for(backed, FALLBACK_SECONDS - 5)
    alarm_silent_sources()
    assert (kinds(), stopped()) == ([], 0)


def test_price_of_a_source_without_a_fallback_ends_no_alarm(priced: DataConnection) -> None:
    silent_for(priced, SILENT_SECONDS + 5, pairs=["EUR/USD"])
    priced_ago(priced, 5)
    alarm_silent_sources()
    assert (kinds(), stopped()) == (["prices.lost"], 1)


def stopped() -> int:
    (gauge,) = (one for one in GAUGES if one.name == "price_sources_alarmed")
    return int(rows(gauge.statement())[0].value)
