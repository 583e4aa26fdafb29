"""The server's time, how long we wait, and how old a file is."""

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
def test_zones(zone: str, shown: tuple[int, ...], utc: int) -> None:
    at = Zone(zone).utc(datetime(*shown))  # type: ignore[arg-type]  # noqa: DTZ001
    assert (at.tzinfo, at.hour) == (UTC, utc)


def test_zones_with_minutes() -> None:
    shown = datetime(2026, 1, 1, 12)  # noqa: DTZ001
    assert Zone("UTC+5:30").utc(shown).strftime("%H:%M") == "06:30"
    assert Zone("UTC-03:30").utc(shown).strftime("%H:%M") == "15:30"
    for name in ("Mars", "../etc/passwd", "UTC+x"):
        with pytest.raises(ValueError, match="time zone"):
            Zone(name)


def test_patience_is_bounded() -> None:
    said = {"take_seconds": "0", "answer_seconds": 1e9, "stale_seconds": "x"}
    found = Timeouts.of(said)
    assert (found.take, found.answer, found.stale) == (0.05, 600.0, Timeouts().stale)


def test_the_age_of_a_file_whose_disk_has_another_clock(tmp_path: Path) -> None:
    import os

    path = tmp_path / "file"
    pulse = FileAge(path)
    assert pulse.age() == float("inf")
    path.write_text("1")
    assert pulse.age() < 5
    for clock in (time.time() - 3600, time.time() + 3600):
        other = FileAge(path)
        os.utime(path, (clock, clock))
        assert other.age() > 600  # not believed, and not seen to change yet
        os.utime(path, (clock + 1, clock + 1))
        assert other.age() < 5  # it was written since our last look
    assert signature(tmp_path / "none") is None
