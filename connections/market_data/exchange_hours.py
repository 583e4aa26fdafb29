"""Store when exchanges are open, for instruments whose brokers name the exchange but no hours."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import structlog

from brokers.trading_hours import TradingHours, hours_of
from common.db.sql import Query, columns, rows, run

log = structlog.get_logger(__name__)

DAYS = 14  # from yesterday on
RENEWED_WITHIN = timedelta(days=7)  # as long may it fail before hours are unknown
READER = Path(__file__).with_name("calendar_reader.py")
READ_SECONDS = 60
Read = Callable[[Sequence[str], date], dict[str, TradingHours]]


class CalendarRow(NamedTuple):
    """A calendar whose stored hours are missing or end soon."""

    exchange: str


_DUE = Query(
    CalendarRow,
    """
SELECT DISTINCT exchange FROM connections_instrument
WHERE exchange <> '' AND coalesce((hours #>> '{known,-1,1}')::bigint, 0) < %s ORDER BY exchange
""",
)
_STORE = """
UPDATE connections_instrument i SET hours = t.hours
FROM unnest(%s::text[], %s::jsonb[]) AS t (exchange, hours)
WHERE i.exchange = t.exchange AND i.hours IS DISTINCT FROM t.hours
"""


def calendars_ending(until: datetime) -> list[str]:
    """Return the calendars whose stored hours are missing, or end before this market time."""
    return [row.exchange for row in rows(_DUE, (int(until.timestamp()),))]


def read_calendars(names: Sequence[str], first: date) -> dict[str, TradingHours]:
    """Return the hours of calendars from a day on; one that cannot be read is missing."""
    try:
        done = subprocess.run(
            [sys.executable, "-I", str(READER), str(first), str(DAYS), *names],
            capture_output=True, text=True, timeout=READ_SECONDS, check=False,
            env={"PATH": os.defpath},  # none of our secrets
        )  # fmt: skip
        found = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        log.warning("exchange hours not read", error=type(error).__name__)
        return {}
    if missing := sorted(set(names) - set(found)):
        log.warning("exchange hours not read", calendars=missing, error=done.stderr[-500:])
    return {
        name: hours_of(
            [date.fromisoformat(day) for day in one["days"]],
            [
                (datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC))
                for start, end in one["sessions"]
            ],
            one["zone"],
        )
        for name, one in found.items()
    }


def refresh_exchange_hours(now: datetime, read: Read = read_calendars) -> int:
    """Store the hours of exchanges that are missing or end soon; return how many instruments.

    now: market time. Calendars that cannot be read keep their hours until those end.
    """
    due = calendars_ending(now + RENEWED_WITHIN)
    if not due:
        return 0
    found = read(due, (now - timedelta(days=1)).date())
    records = [(name, json.dumps(hours.stored())) for name, hours in found.items()]
    return run(_STORE, columns(records, 2)) if records else 0
