"""Envelopes and sinks with memory."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from buses.envelope import Envelope


def envelope(number: int = 1, **fields: Any) -> Envelope:
    usual: dict[str, Any] = {
        "id": f"tst-0-0-log-{number}",
        "source": "/fillcast/tst",
        "type": "fillcast.order_update.v1",
        "time": datetime(2026, 11, 30, 12, 0, 0, 250, tzinfo=UTC),
        "subject": f"orders/{number}",
        "account_id": "6b1c0b8e-0000-4000-8000-000000000001",
        "tenant_id": 7,
        "data": {"order_id": number},
    }
    return Envelope(**(usual | fields))


class MemorySink:
    """Takes all events; `before` may raise, or refuse."""

    def __init__(
        self, name: str = "memory", before: Callable[[Sequence[Envelope]], None] | None = None
    ) -> None:
        self.name, self.before = name, before
        self.batches: list[list[Envelope]] = []
        self.is_closed = False

    @property
    def taken(self) -> list[Envelope]:
        return [one for batch in self.batches for one in batch]

    def types(self) -> list[str]:
        return [one.type.removeprefix("fillcast.").removesuffix(".v1") for one in self.taken]

    def write(self, envelopes: Sequence[Envelope]) -> None:
        if self.before is not None:
            self.before(envelopes)
        self.batches.append(list(envelopes))

    def close(self) -> None:
        self.is_closed = True
