"""By its settings a gateway writes the times of executions in its own zone, the instrument's, or
UTC. The time is read as it is meant, and what was executed is booked whatever its zone is."""

from datetime import UTC, datetime
from typing import Any

import pytest

from brokers.ibkr.execution_times import readable
from brokers.types import ReportKind
from tests.fakes.tws import messages
from tests.ibkr.factories import Environment, order, with_environment

ID = "abc00000000000001"
AT = datetime(2026, 8, 24, 20, 0, 12, tzinfo=UTC)
WRITTEN = (
    "20260824-20:00:12",
    "20260824 20:00:12 UTC",
    "20260824 16:00:12 US/Eastern",
    "20260824 22:00:12 MET",
    "20260825 05:00:12 JST",
    "20260824 16:00:12",  # in TWS's own zone
    "20260824  16:00:12",
    "20260824 16:00:12 Nowhere",
)


@pytest.mark.parametrize("written", WRITTEN)
def test_execution_is_booked_at_its_time(written: str, monkeypatch: pytest.MonkeyPatch) -> None:
    original = messages.executed

    def executed(*arguments: Any) -> bytes:
        fields = original(*arguments)[4:].decode().split("\0")[:-1]
        fields[15] = written
        return messages.pack(*fields)

    @with_environment
    async def test(stage: Environment) -> None:
        stage.tws.zone, stage.settings["timezone"] = "America/New_York", "America/New_York"
        monkeypatch.setattr(messages, "executed", executed)
        await stage.submit(order())
        (filled,) = await stage.wait_for_reports(ReportKind.FILLED)
        assert {fill.time for fill in filled.fills} == {AT}
        await stage.crash()
        (found,) = await stage.adapter.find_order(stage.spec, ID) or []
        assert {fill.time for fill in found.fills} == {AT}
        assert not stage.session.malformed_message

    test()


def test_time_that_is_none_stays_as_it_is() -> None:
    assert readable("") == ""
    assert readable("yesterday") == "yesterday"
