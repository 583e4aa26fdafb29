"""The server's wall clock in UTC, over changes of summer time, configured and measured."""

from datetime import UTC, datetime, timedelta

import pytest

from brokers.base import ReadFailed
from brokers.mt5.adapter import Mt5Adapter
from brokers.mt5.server_time import ServerTime, read_zone
from brokers.types import CloseCause
from tests.fakes.mt5.fake_terminal import FakeTerminal
from tests.mt5.factories import CID, bought, run, spec

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def server_seconds(text: str) -> float:
    """The server's wall clock as it counts it."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("zone", "server", "utc"),
    [
        ("UTC", "2026-07-01T12:00", "2026-07-01T12:00"),
        ("gmt", "2026-07-01T12:00", "2026-07-01T12:00"),
        ("UTC+2", "2026-07-01T12:00", "2026-07-01T10:00"),
        ("+05:30", "2026-07-01T12:00", "2026-07-01T06:30"),
        ("-3", "2026-07-01T12:00", "2026-07-01T15:00"),
        ("Etc/GMT+2", "2026-07-01T12:00", "2026-07-01T14:00"),  # POSIX counts the other way
        # New York's summer time begins on 8 March and ends on 1 November, Europe's later and before
        ("America/New_York+7", "2026-03-06T12:00", "2026-03-06T10:00"),
        ("America/New_York+7", "2026-03-09T12:00", "2026-03-09T09:00"),
        ("Europe/Athens", "2026-03-09T12:00", "2026-03-09T10:00"),
        ("America/New_York+7", "2026-10-26T12:00", "2026-10-26T09:00"),
        ("Europe/Athens", "2026-10-26T12:00", "2026-10-26T10:00"),
        ("America/New_York+7", "2026-11-02T00:00", "2026-11-01T22:00"),
        ("America/New_York-1", "2026-07-01T12:00", "2026-07-01T17:00"),
    ],
)
def test_zone_both_ways(zone: str, server: str, utc: str) -> None:
    clock = ServerTime(read_zone(zone))
    moment = datetime.fromisoformat(utc).replace(tzinfo=UTC)
    assert clock.utc(server_seconds(server)) == moment
    assert clock.seconds(moment) == server_seconds(server)


@pytest.mark.parametrize("text", ["Mars/Olympus", "Mars/Olympus+7", "two hours", "../etc/passwd"])
def test_no_zone(text: str) -> None:
    with pytest.raises(ValueError):
        read_zone(text)


class Clock:
    def __init__(self) -> None:
        self.at = NOW

    def __call__(self) -> datetime:
        return self.at


def ticks(
    clock: Clock, server_clock: ServerTime, *, ahead: timedelta, symbol: str = "EURUSD"
) -> None:
    """Two looks a second apart, each with a tick that has just come."""
    for _ in range(2):
        clock.at += timedelta(seconds=1)
        server_clock.record(symbol, int((clock.at + ahead).timestamp() * 1000))


@pytest.mark.parametrize("hours", [-4.0, 0.0, 2.0, 3.0, 5.5])
def test_offset_is_measured_from_fresh_ticks(hours: float) -> None:
    clock = Clock()
    server_clock = ServerTime(None, clock)
    with pytest.raises(ReadFailed):
        server_clock.utc(server_seconds("2026-11-20T12:00"))
    ticks(clock, server_clock, ahead=timedelta(hours=hours, seconds=20))
    assert server_clock.utc(server_seconds("2026-11-20T12:00")) == NOW - timedelta(hours=hours)
    assert server_clock.skew == timedelta(seconds=20)


def test_offset_is_not_measured_from_old_ticks() -> None:
    clock = Clock()
    server_clock = ServerTime(None, clock)
    friday = int((NOW - timedelta(hours=40)).timestamp() * 1000)
    for _ in range(3):  # the market is closed: the same tick again and again
        server_clock.record("EURUSD", friday)
    clock.at += timedelta(hours=1)
    unseen = clock.at - timedelta(hours=2)  # a new tick, two hours old; its arrival was not seen
    server_clock.record("EURUSD", int(unseen.timestamp() * 1000))
    assert server_clock.zone is None


def test_tick_between_two_quarters_of_an_hour_is_no_zone() -> None:
    clock = Clock()
    server_clock = ServerTime(None, clock)
    ticks(clock, server_clock, ahead=timedelta(hours=2, minutes=7))
    assert server_clock.zone is None


def test_offset_is_measured_again_when_summer_time_begins() -> None:
    clock = Clock()
    server_clock = ServerTime(None, clock)
    ticks(clock, server_clock, ahead=timedelta(hours=2))
    ticks(clock, server_clock, ahead=timedelta(hours=3))
    assert server_clock.utc(server_seconds("2026-11-20T12:00")) == NOW - timedelta(hours=3)


@pytest.mark.parametrize(
    ("ahead", "apart", "skew"), [(7, 60, 7), (-7, 60, 0), (-70, 60, -10), (0, 1, 0)]
)
def test_tick_behind_our_clock_may_be_as_old_as_the_previous_poll(
    ahead: int, apart: int, skew: int
) -> None:
    clock = Clock()
    server_clock = ServerTime(read_zone("UTC"), clock)
    server_clock.record("EURUSD", 1)
    clock.at += timedelta(seconds=apart)
    server_clock.record("EURUSD", int((clock.at + timedelta(seconds=ahead)).timestamp() * 1000))
    assert server_clock.skew == timedelta(seconds=skew)
    assert server_clock.ahead == timedelta(seconds=skew)


def test_configured_zone_overrides_measurements() -> None:
    clock = Clock()
    server_clock = ServerTime(read_zone("UTC+2"), clock)
    ticks(clock, server_clock, ahead=timedelta(hours=3))
    assert server_clock.utc(server_seconds("2026-11-20T12:00")) == NOW - timedelta(hours=2)
    assert server_clock.skew == timedelta(hours=1)


def test_executions_of_a_server_in_another_zone(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    venue.configure(zone_seconds=3 * 3600)
    there = spec(server_timezone="UTC+3")
    before = datetime.now(UTC) - timedelta(seconds=5)
    bought(adapter)
    (report,) = run(adapter.fills_since(there, before))
    assert before < report.fills[0].time < before + timedelta(minutes=20)
    later = datetime.now(UTC) + timedelta(hours=2)
    assert run(adapter.fills_since(there, later)) == []


def test_executions_are_read_if_the_zone_of_the_settings_is_an_hour_ahead(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    """As in winter, if it was entered in summer as a fixed offset."""
    venue.configure(zone_seconds=2 * 3600)
    summer = spec(server_timezone="UTC+3")
    for _ in range(2):  # ticks that show it
        run(adapter.quote(summer, "EURUSD"))
    begun = datetime.now(UTC)
    number = bought(adapter)
    venue.control("close", login=1001, ticket=int(number), reason=4, comment="[sl]")
    reports = run(adapter.fills_since(summer, begun))
    assert [report.close_cause for report in reports] == [None, CloseCause.STOP_LOSS]


def test_server_whose_zone_is_measured(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    venue.configure(zone_seconds=2 * 3600)
    unsaid = spec(server_timezone="", clock_symbol="EURUSD")
    assert run(adapter.find_order(unsaid, CID)) is None
    run(adapter.account(unsaid))
    (held,) = [bought(adapter, client_order_id=CID)]
    (report,) = run(adapter.fills_since(unsaid, datetime.now(UTC) - timedelta(minutes=1)))
    assert report.broker_position_id == held
    assert abs(report.fills[0].time - datetime.now(UTC)) < timedelta(minutes=20)


def test_unknown_zone_fails_executions_and_no_positions(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    venue.configure(ticking=False)
    bought(adapter)
    unsaid = spec(server_timezone="")
    assert [p.opened_at for p in run(adapter.positions(unsaid))] == [None]
    with pytest.raises(ReadFailed, match="server_timezone"):
        run(adapter.fills_since(unsaid, datetime.now(UTC)))
    with pytest.raises(ReadFailed, match="not a time zone"):
        run(adapter.positions(spec(server_timezone="Mars/Olympus")))
