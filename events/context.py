"""Facts about events for their messages: the account's name and currency, the trade.

An event holds ids and a few numbers, because it is written set-based while orders run. Its message
needs more, from apps above this one: each registers a provider, which is called once for a batch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from django.db import DatabaseError, transaction

from common.errors import CONTENT_ERRORS

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class EventContext:
    """An event with the facts that its message needs.

    facts, all optional: `account` (MT5 · 7714), `trade` (Buy 10,000 EUR/USD), `price`, `signal`
    (S-2041), `code`, `detail`, `currency`, `leg`, `pair`, `position` (its id), `is_open`
    (1: of an entry whose position is open now), `twin` (1: of a paper twin), of a closed position
    `closed_by` (what closed it, a sentence) and `closing_leg` (how the leg of that exit begins).
    """

    id: int
    kind: str
    user_id: int | None
    connection_id: UUID | None
    signal_id: int | None
    order_id: int | None
    payload: Mapping[str, Any]
    created_at: datetime
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_of_twin(self) -> bool:
        """Whether it is about the account of a paper twin, which trades no money."""
        return self.facts.get("twin") == "1"

    def get(self, name: str, default: str = "") -> str:
        """Return a fact, else the payload's value of this name, as text; else `default`."""
        value = self.facts.get(name) or self.payload.get(name)
        return default if value in (None, "") else str(value)


Provider = Callable[[Sequence[EventContext]], Mapping[int, Mapping[str, str]]]
_providers: list[Provider] = []


def register_provider(provider: Provider) -> None:
    """Let `provider` add facts by event id. It is called for a batch, inside a transaction."""
    if provider not in _providers:
        _providers.append(provider)


def context_of(events: Sequence[EventContext]) -> dict[int, dict[str, str]]:
    """Return the facts by event id. If a provider fails, only its own facts are missing."""
    facts: dict[int, dict[str, str]] = {event.id: {} for event in events}
    for provider in _providers:
        try:
            with transaction.atomic():
                provided = provider(events)
        except (DatabaseError, *CONTENT_ERRORS):
            log.exception("facts about events could not be read", provider=provider.__name__)
            continue
        for event_id, event_facts in provided.items():
            facts[event_id] |= event_facts
    return facts
