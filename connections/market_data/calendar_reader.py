"""Print the sessions of exchanges as JSON: `python calendar_reader.py 2026-11-23 12 XNYS XLON`.

It runs in a process of its own: the library of calendars takes over a second and 70 MB to import,
which no trading process should have. An exchange that cannot be read is left out.
"""

import json
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any


def main(first: str, days: str, *names: str) -> None:
    """Print by calendar: its zone, the days that it covers, and their sessions in Unix seconds."""
    start = date.fromisoformat(first)
    covered = [start + timedelta(days=n) for n in range(int(days))]
    found = {}
    for name in names:
        try:
            found[name] = read(name, covered)
        except Exception as error:  # any: a library's own; the others are read all the same
            sys.stderr.write(f"{name}: {type(error).__name__}: {error}\n")
    json.dump(found, sys.stdout)


def read(name: str, days: list[date]) -> dict[str, Any]:
    """Return the zone, days and sessions of one calendar."""
    import exchange_calendars

    # A longer range, because a calendar needs sessions to begin with.
    calendar = exchange_calendars.get_calendar(
        name, start=days[0] - timedelta(days=30), end=days[-1] + timedelta(days=30)
    )
    schedule = calendar.schedule.loc[str(days[0]) : str(days[-1])]
    sessions = [span for row in schedule.itertuples() for span in _spans(row)]
    return {"zone": str(calendar.tz), "days": [str(day) for day in days], "sessions": sessions}


def _spans(row: Any) -> Iterator[tuple[int, int]]:
    """Yield the sessions of a day: two if there is a break at noon."""
    opens, closes = int(row.open.timestamp()), int(row.close.timestamp())
    if row.break_start != row.break_start or row.break_end != row.break_end:  # NaT: no break
        yield opens, closes
        return
    yield opens, int(row.break_start.timestamp())
    yield int(row.break_end.timestamp()), closes


if __name__ == "__main__":
    main(*sys.argv[1:])
