"""The doctor's check of trading days: PostgreSQL and Python must have the same clocks."""

from django.db import transaction

from brokers.types import Check
from common.clocks import market_now
from common.time_zones import first_difference, is_time_zone
from connections.models import TradingPreset
from connections.trading_day import DEFAULT_ZONE
from ops.doctor.verdicts import CheckFunction, warning, well
from users.tenancy import for_all_tenants

DAYS = 400


def trading_days() -> Check:
    """Check that the days of all presets begin at the same moments in SQL and in Python."""
    with transaction.atomic(), for_all_tenants():
        zones = TradingPreset.objects.values_list("trading_day_zone", flat=True).distinct()
        chosen = {zone for zone in zones if zone}
    now = market_now()
    for zone in sorted({DEFAULT_ZONE, *filter(is_time_zone, chosen)}):
        if (at := first_difference(zone, now, DAYS)) is not None:
            return judge_difference(zone, f"{at:%Y-%m-%d}")
    return well("trading days", "PostgreSQL and Python agree about the clocks of every preset.")


def judge_difference(zone: str, day: str) -> Check:
    """Judge a zone whose clocks differ from this day on."""
    detail = f"From {day} on, PostgreSQL and Python disagree about the clocks of {zone}."
    remedy = "Update the time zones of both: the package tzdata, and PostgreSQL itself."
    return warning("trading days", detail, remedy)


CHECKS: list[tuple[str, CheckFunction]] = [("trading days", trading_days)]
