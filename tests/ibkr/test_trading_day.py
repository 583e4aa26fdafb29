"""TWS's midnight: with a wrong time zone setting, no absence is confirmed."""

from datetime import UTC, datetime, timedelta

import pytest

from brokers.base import OutcomeUnknown, ReadFailed
from brokers.ibkr.trading_day import offset_of, zone_of
from brokers.types import ReportKind
from common.reason_codes import Code
from tests.ibkr.factories import Environment, order, with_environment

NOON = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


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
