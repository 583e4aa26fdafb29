"""An account in a lane, and the broker calls of this process."""

from collections.abc import Callable
from typing import Any

import pytest

from brokers.types import ConnectionSpec
from connections.models import ExecutionConnection
from tests.execution.fake_broker import FakeBroker
from tests.execution.sessions.lane import LANE


@pytest.fixture
def laned(alice: ExecutionConnection) -> ExecutionConnection:
    ExecutionConnection.objects.filter(pk=alice.pk).update(lane=LANE)
    return ExecutionConnection.objects.get(pk=alice.pk)


@pytest.fixture
def called(broker: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Record the accounts that were synced and the sessions that were closed."""
    calls: list[tuple[str, str]] = []

    def noted(name: str) -> Callable[..., Any]:
        real = getattr(broker, name)

        def call(spec: ConnectionSpec | None = None) -> Any:
            calls.append((name, spec.connection_id if spec else "all"))
            return real(spec)

        return call

    for name in ("account", "disconnect"):
        monkeypatch.setattr(broker, name, noted(name))
    return calls
