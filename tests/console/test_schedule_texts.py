"""How often a scheduled job runs, in words."""

import pytest
from django_celery_beat.models import CrontabSchedule

from console.schedule_texts import clock_schedule, interval


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1, "every second"), (10, "every 10 seconds"), (60, "every minute"),
        (90, "every 90 seconds"), (900, "every 15 minutes"), (3600, "every hour"),
        (21_600, "every 6 hours"), (86_400, "every day"), (172_800, "every 2 days"),
    ],
)  # fmt: skip
def test_interval_is_stated_in_its_largest_unit(seconds: int, text: str) -> None:
    assert interval(seconds) == text


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"minute": "0", "hour": "4"}, "daily at 04:00 UTC"),
        ({"minute": "30", "hour": "16"}, "daily at 16:30 UTC"),
        ({"minute": "0", "hour": "*/6"}, "0 */6 * * * (UTC)"),
        ({"minute": "0", "hour": "4", "day_of_week": "1"}, "0 4 * * 1 (UTC)"),
    ],
)
def test_daily_schedule_is_stated_by_the_clock(fields: dict[str, str], text: str) -> None:
    assert clock_schedule(CrontabSchedule(timezone="UTC", **fields)) == text
