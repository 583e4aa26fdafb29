"""How long each certificate file is valid that the settings name, for its alarms."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import time_machine
from django.db import connections
from pytest_django import Settings

from api.metrics import _certificates
from tests.certificates import self_signed

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _only_of_redis(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let Redis alone name a file."""
    monkeypatch.setattr(connections, "settings", {"default": {"OPTIONS": {}}})
    monkeypatch.delenv("PGSSLCERT", raising=False)
    monkeypatch.delenv("PGSSLROOTCERT", raising=False)
    settings.REDIS_URL = f"rediss://:s3cret@redis.example/0?ssl_certfile={tmp_path / 'a.pem'}"
    settings.SINKS = settings.INCOMING_BUSES = ()


def left() -> dict[tuple[str, str], float]:
    """Return the values by the name of the file and its use."""
    with time_machine.travel(NOW, tick=False):
        samples = _certificates().samples
    return {(Path(one.labels["file"]).name, one.labels["used_as"]): one.value for one in samples}


def put(path: Path, *, ends_in_days: float, begins_in_days: float = -900) -> None:
    with time_machine.travel(NOW, tick=False):
        made = self_signed("x", ends_in_days=ends_in_days, begins_in_days=begins_in_days)
    path.write_bytes(made[0])


@pytest.mark.parametrize("days", [-1, 29, 400])
def test_file_has_the_time_until_its_end(tmp_path: Path, days: float) -> None:
    put(tmp_path / "a.pem", ends_in_days=days)
    assert left() == {("a.pem", "ssl_certfile of REDIS_URL"): days * 86_400}


def test_what_refuses_connections_now_is_0(tmp_path: Path) -> None:
    assert list(left().values()) == [0.0], "the file is not there"
    (tmp_path / "a.pem").write_text("no certificate")
    assert list(left().values()) == [0.0]
    put(tmp_path / "a.pem", begins_in_days=1, ends_in_days=400)
    assert list(left().values()) == [0.0], "it has not begun"


def test_file_that_only_the_process_of_buses_has_raises_no_alarm(
    settings: Settings, tmp_path: Path
) -> None:
    settings.REDIS_URL = "redis://redis.example/0"
    settings.SINKS = (f"kafka://u:pw@kafka.example/events?tls=yes&ca={tmp_path / 'bus.pem'}",)
    assert left() == {}
    put(tmp_path / "bus.pem", ends_in_days=9)
    assert list(left()) == [("bus.pem", "ca of kafka://kafka.example/events")]


def test_file_of_a_bus_in_a_closed_place_is_unusable_and_breaks_no_scrape(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """To ask whether it is there raises the same error as to read it."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    settings.REDIS_URL = "redis://redis.example/0"
    settings.SINKS = (f"kafka://u:pw@kafka.example/events?tls=yes&ca={tmp_path / 'bus.pem'}",)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    monkeypatch.setattr(Path, "stat", refuse)
    assert list(left().values()) == [0.0]
