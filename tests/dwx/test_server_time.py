"""The server's time zone, timeouts, and ages of files."""

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from brokers.dwx.server_time import Zone
from brokers.dwx.shared_files import FileAge, signature
from brokers.dwx.timeouts import Timeouts


@pytest.mark.parametrize(
    ("zone", "shown", "utc"),
    [
        ("NY+7", (2026, 1, 15, 14), 12),  # UTC+2 in New York's winter
        ("NY+7", (2026, 7, 15, 14), 11),
        ("NY+7", (2026, 3, 15, 14), 11),  # New York's summer, not yet Europe's
        ("UTC+3", (2026, 7, 15, 14), 11),
        ("UTC-4", (2026, 7, 15, 8), 12),
        ("UTC", (2026, 7, 15, 12), 12),
        ("Europe/Athens", (2026, 1, 15, 14), 12),
    ],
)
def test_server_times_convert_to_utc(zone: str, shown: tuple[int, ...], utc: int) -> None:
    at = Zone(zone).utc(datetime(*shown))  # type: ignore[arg-type]  # noqa: DTZ001
    assert (at.tzinfo, at.hour) == (UTC, utc)


def test_zones_may_have_minutes() -> None:
    shown = datetime(2026, 1, 1, 12)  # noqa: DTZ001
    assert Zone("UTC+5:30").utc(shown).strftime("%H:%M") == "06:30"
    assert Zone("UTC-03:30").utc(shown).strftime("%H:%M") == "15:30"
    for name in ("Mars", "../etc/passwd", "UTC+x"):
        with pytest.raises(ValueError, match="time zone"):
            Zone(name)


def test_timeouts_are_bounded() -> None:
    settings = {"take_seconds": "0", "answer_seconds": 1e9, "stale_seconds": "x"}
    timeouts = Timeouts.of(settings)
    assert (timeouts.take, timeouts.answer, timeouts.stale) == (0.05, 600.0, Timeouts().stale)


def test_file_age_does_not_depend_on_clock_of_disk(tmp_path: Path) -> None:
    import os

    path = tmp_path / "file"
    file_age = FileAge(path)
    assert file_age.age() == float("inf")
    path.write_text("1")
    assert file_age.age() < 5
    for clock in (time.time() - 3600, time.time() + 3600):
        other = FileAge(path)
        os.utime(path, (clock, clock))
        assert other.age() > 600  # its clock is not trusted, and no change was seen yet
        os.utime(path, (clock + 1, clock + 1))
        assert other.age() < 5  # it was written since the last check
    assert signature(tmp_path / "none") is None
