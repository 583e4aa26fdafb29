"""A fake terminal for each test, and the adapter that runs the fake package against it."""

import asyncio
from collections.abc import Iterator

import pytest

from brokers.mt5.adapter import Mt5Adapter, create
from tests.fakes.mt5.fake_terminal import PACKAGE, FakeTerminal


@pytest.fixture
def venue() -> Iterator[FakeTerminal]:
    venue = FakeTerminal()
    yield venue
    venue.control("release")
    venue.stop()


@pytest.fixture
def adapter(venue: FakeTerminal, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mt5Adapter]:
    monkeypatch.setenv("FAKE_MT5", str(venue.port))
    monkeypatch.setenv("FILLCAST_MT5_TERMINAL", "c:\\MT5\\terminal64.exe")
    monkeypatch.syspath_prepend(str(PACKAGE))
    made = create()
    yield made
    venue.control("release")  # a thread that still waits for an answer has the line
    asyncio.run(made.disconnect())


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call of the package that hangs is ended within seconds."""
    monkeypatch.setattr("brokers.mt5.terminal_calls.READ_SECONDS", 3.0)
    monkeypatch.setattr("brokers.mt5.terminal_thread.MIN_SECONDS", 0.5)
