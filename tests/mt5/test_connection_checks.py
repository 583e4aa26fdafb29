"""The lines of a connection test: each thing that may be wrong has its own, with a hint."""

from typing import Any

import pytest

from brokers.mt5.adapter import Mt5Adapter
from brokers.types import Check, CheckResult
from tests.fakes.mt5.fake_terminal import FakeTerminal
from tests.mt5.factories import run, spec


def lines(adapter: Mt5Adapter, login: int = 1001, **settings: Any) -> dict[str, Check]:
    found = run(adapter.test(spec(login, **settings)))
    assert "secret" not in str(found)
    return {check.name: check for check in found}


def test_all_is_well(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    found = lines(adapter, symbols={"US500": "SPX/USD"})
    assert set(found) == {
        "terminal", "login", "algo trading", "Python API", "account may trade",
        "account may trade by program", "position mode", "symbols", "volume limits", "clock",
        "connection",
    }  # fmt: skip
    assert {check.result for check in found.values()} == {CheckResult.OK}
    assert found["position mode"].detail == "HEDGING"


@pytest.mark.parametrize(
    ("terminal", "account", "name"),
    [
        ({"algo_trading": False}, {}, "algo trading"),
        ({"api_disabled": True}, {}, "Python API"),
        ({}, {"may_trade": False}, "account may trade"),
        ({}, {"may_expert": False}, "account may trade by program"),
        ({"connected": False}, {}, "terminal"),
        ({}, {"password": "changed"}, "login"),
        ({"symbols": {}}, {}, "symbols"),
    ],
)
def test_what_fails(
    venue: FakeTerminal,
    adapter: Mt5Adapter,
    terminal: dict[str, Any],
    account: dict[str, Any],
    name: str,
) -> None:
    venue.configure(**terminal)
    venue.configure_account(**account)
    found = lines(adapter)
    assert [n for n, check in found.items() if check.result is CheckResult.FAIL] == [name]
    assert found[name].hint


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"position_mode": "NETTING"}, "position mode"),
        ({"symbols": {"EURUSD.x": "EUR/USD"}}, "symbols"),
        ({"server": "Other-Live"}, "login"),
        ({"server_timezone": "Mars/Olympus"}, "login"),
    ],
)
def test_settings_that_do_not_fit(
    venue: FakeTerminal, adapter: Mt5Adapter, settings: dict[str, Any], name: str
) -> None:
    found = lines(adapter, **settings)
    assert [n for n, check in found.items() if check.result is CheckResult.FAIL] == [name]
    assert found[name].hint


def test_what_warns(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    venue.configure(ping_microseconds=900_000, skew_seconds=30)
    venue.configure_symbol("EURUSD", volume_step=0.0)
    lines(adapter, clock_symbol="EURUSD")
    found = lines(adapter, clock_symbol="EURUSD")
    warned = {name for name, check in found.items() if check.result is CheckResult.WARN}
    assert warned == {"volume limits", "clock", "connection"}
    assert found["clock"].detail == "the latest tick is +30 s from our clock"


def test_zone_not_known(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    clock = lines(adapter, server_timezone="")["clock"]
    assert clock.result is CheckResult.WARN
    assert "America/New_York+7" in clock.hint


def test_clock_in_time(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    lines(adapter, clock_symbol="EURUSD")
    assert lines(adapter, clock_symbol="EURUSD")["clock"].detail in ("+0.0 s", "-0.0 s")


def test_list_that_cannot_be_read(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    venue.fault("symbols_get", "none", code=-10005)
    (only,) = lines(adapter).values()
    assert (only.name, only.result) == ("terminal", CheckResult.FAIL)


def test_terminal_that_hangs(
    venue: FakeTerminal, adapter: Mt5Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("brokers.mt5.terminal_calls.READ_SECONDS", 0.2)
    venue.fault("symbols_get", "hold")
    (only,) = lines(adapter).values()
    assert (only.name, only.result) == ("terminal", CheckResult.FAIL)
    assert "no answer" in only.detail  # either of the two waiting calls may time out first
