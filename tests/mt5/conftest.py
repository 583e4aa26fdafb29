"""A fake terminal for each test, and the adapter that runs the fake package against it."""

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from brokers.mt5.adapter import Mt5Adapter, create
from tests.doubles.mt5.venue import PACKAGE, Venue


@pytest.fixture
def venue() -> Iterator[Venue]:
    one = Venue()
    yield one
    one.hand("release")
    one.stop()


@pytest.fixture
def adapter(venue: Venue, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mt5Adapter]:
    monkeypatch.setenv("FAKE_MT5", str(venue.port))
    monkeypatch.setenv("FILLCAST_MT5_TERMINAL", "c:\\MT5\\terminal64.exe")
    monkeypatch.syspath_prepend(str(PACKAGE))
    sys.modules.pop("MetaTrader5", None)
    made = create()
    yield made
    venue.hand("release")  # a thread that still waits for an answer has the line
    module: Any = sys.modules.pop("MetaTrader5", None)
    if module is not None:
        assert not module.overlapped, "two calls were under way at once"
        module.shutdown()
