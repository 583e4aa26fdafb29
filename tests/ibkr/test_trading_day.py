"""TWS's midnight: with a wrong time zone setting, no absence is confirmed."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from brokers.base import OutcomeUnknown, ReadFailed
from brokers.ibkr.capabilities import capabilities_of
from brokers.ibkr.trading_day import offset_of, zone_of
from brokers.types import ReportKind
from common.clocks import MarketClock, set_market_clock
from common.reason_codes import Code
from tests.ibkr.factories import Environment, order, with_environment

NOON = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
NEW_YORK = "America/New_York"


@pytest.fixture
def own_clock() -> Iterator[None]:
    """A test sets the market clock."""
    yield
    set_market_clock(None)


@pytest.mark.usefixtures("own_clock")
@pytest.mark.parametrize(
    ("zone", "now", "horizon"),
    [
        # An order of 00:00:06 whose look-up is answered 44 s later is one of today.
        (NEW_YORK, "2026-12-01T05:00:50.9", timedelta(seconds=45)),
        ("Mars/Olympus", "2026-12-01T05:00:50.9", timedelta(seconds=45)),
        # TWS's clock may be behind ours: for it, this may have been yesterday.
        (NEW_YORK, "2026-12-01T05:00:04.9", timedelta(0)),
        (NEW_YORK, "2026-12-01T04:59:59.9", timedelta(hours=23, minutes=59, seconds=54)),
        (NEW_YORK, "2027-03-14T16:00:05", 11 * HOUR),  # noon: clocks went forward
        (NEW_YORK, "2027-11-07T17:00:05", 13 * HOUR),  # and back
        # In Havana midnight comes twice: at 04:00 and 05:00 UTC.
        ("America/Havana", "2027-11-07T04:30:05", HOUR / 2),
        ("America/Havana", "2027-11-07T05:30:05", HOUR / 2),
        ("America/Havana", "2027-11-07T12:00:05", 7 * HOUR),
        ("America/Havana", "2027-03-14T12:00:05", 7 * HOUR),  # there is none: it begins at 01:00
    ],
)
def test_horizon_is_the_time_since_midnight_at_tws(zone: str, now: str, horizon: timedelta) -> None:
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC)
    set_market_clock(MarketClock(moment, datetime.now(UTC), 1e-9))
    can = capabilities_of(replace(Environment().spec, settings={"timezone": zone}))
    assert can.lookup_horizon == can.fills_horizon == horizon


@pytest.mark.parametrize(
    ("greeting", "hours"),
    [
        (b"\0\0\0\x20178\x0020261120 07:00:03 EST\0", -5),
        (b"178\x0020261120 12:58:20 Central European Standard Time\0", 1),
        (b"178\x0020261120 17:31:00 India Standard Time\0", 5.5),
        (b"178\x0020261121 01:00:00 NZDT\0", 13),
    ],
)
def test_greeting_contains_the_offset(greeting: bytes, hours: float) -> None:
    assert offset_of(greeting, NOON) == hours * HOUR


def test_greeting_without_a_time_gives_no_offset() -> None:
    assert offset_of(b"178\0\0", NOON) is None
    assert zone_of("America/New_York", None, NOON) == ("America/New_York", "")


def test_time_zone_is_chosen_from_setting_and_offset() -> None:
    assert zone_of("US/Eastern", -5 * HOUR, NOON) == ("US/Eastern", "")
    zone, wrong = zone_of("America/New_York", HOUR, NOON)
    assert zone == "Etc/GMT-1"
    assert wrong == "the gateway's clock is UTC+1, which is not America/New_York"
    assert zone_of("Mars/Olympus", -5 * HOUR, NOON)[0] == "Etc/GMT+5"
    india, wrong = zone_of(
        "UTC", 5.5 * HOUR, NOON
    )  # no zone name for half hours: the setting is used
    assert (india, bool(wrong)) == ("UTC", True)


@with_environment
async def test_wrong_time_zone_finds_orders_and_confirms_no_absence(
    stage: Environment,
) -> None:
    stage.tws.zone = "Asia/Tokyo"
    await stage.submit(order())
    found = await stage.find(order().client_order_id)
    assert found is not None
    assert found[0].kind is ReportKind.FILLED
    stage.fault("ignore")
    lost = order("abc00000000000002")
    with pytest.raises(OutcomeUnknown):
        await stage.submit(lost)
    for name in (lost.client_order_id, "abc00000000000003"):
        with pytest.raises(ReadFailed) as unsure:
            await stage.find(name)
        assert unsure.value.code is Code.FIELD_INVALID
        assert "UTC+9" in unsure.value.detail
    lines = {one.name: one for one in await stage.adapter.test(stage.spec)}
    assert lines["time zone"].result == "fail"

    stage.tws.zone = "UTC"  # logged in again
    await stage.tws.restart()
    await stage.wait_until(lambda: not stage.session.usable)
    assert await stage.find(lost.client_order_id) is None
