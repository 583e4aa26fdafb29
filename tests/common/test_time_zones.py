"""Zones that can be chosen have the same clocks in Python and in PostgreSQL."""

from datetime import UTC, datetime
from zoneinfo import available_timezones

import pytest

from common.db.sql import rows
from common.time_zones import first_difference, time_zones, zone_fault
from connections.trading_day import DEFAULT_ZONE
from ops.doctor.days import judge_difference, trading_days
from ops.doctor.verdicts import OK, WARN
from tests.connections import make

SINCE, DAYS = datetime(2026, 1, 1, tzinfo=UTC), 365
# Summer or winter time in one letter: PostgreSQL reads a name of these as a fixed offset.
ABBREVIATIONS = "SELECT abbrev FROM pg_timezone_abbrevs"


@pytest.mark.django_db
def test_no_zone_to_choose_is_an_abbreviation_with_other_clocks() -> None:
    abbreviations = {str(row.abbrev) for row in rows(ABBREVIATIONS)}
    ambiguous = abbreviations & available_timezones()
    wrong = {zone for zone in ambiguous if first_difference(zone, SINCE, DAYS)}
    assert {"CET", "EET", "MET", "WET"} <= ambiguous
    assert not wrong & time_zones(), "PostgreSQL reads them as a fixed offset"


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("EET", "EET does not say whether it has summer time. Enter Europe/Athens."),
        ("Mars", "No such time zone. Enter it as Europe/Berlin, or UTC."),
        ("localtime", "No such time zone. Enter it as Europe/Berlin, or UTC."),
        ("Europe/Athens", ""),
    ],
)
def test_fault_of_a_zone_names_the_one_that_is_meant(name: str, fault: str) -> None:
    assert zone_fault(name) == fault


@pytest.mark.django_db
def test_difference_is_the_first_time_with_other_clocks() -> None:
    at = first_difference("EET", SINCE, DAYS)
    assert at is not None
    assert f"{at:%Y-%m-%d}" == "2026-03-29"
    assert first_difference(DEFAULT_ZONE, SINCE, DAYS) is None


@pytest.mark.django_db
def test_doctor_compares_the_zones_of_all_presets() -> None:
    make.preset(trading_day_zone="Europe/London")
    assert trading_days().result is OK
    finding = judge_difference("America/Vancouver", "2026-11-01")
    assert finding.result is WARN
    assert "America/Vancouver" in finding.detail
