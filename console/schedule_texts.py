"""How often a scheduled job runs, in words. Pure."""

from django_celery_beat.models import CrontabSchedule

UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))


def interval(seconds: int) -> str:
    """Return an interval in its largest unit without a rest: `every hour`, `every 90 seconds`."""
    unit, size = next((unit, size) for unit, size in UNITS if seconds % size == 0)
    count = seconds // size
    return f"every {unit}" if count == 1 else f"every {count} {unit}s"


def clock_schedule(schedule: CrontabSchedule) -> str:
    """Return a schedule by the clock: `daily at 04:00 UTC`; one that is not daily as crontab."""
    minute, hour, zone = schedule.minute, schedule.hour, schedule.timezone
    days = (schedule.day_of_month, schedule.month_of_year, schedule.day_of_week)
    if days == ("*", "*", "*") and minute.isdigit() and hour.isdigit():
        return f"daily at {int(hour):02}:{int(minute):02} {zone}"
    return " ".join((minute, hour, *days, f"({zone})"))
