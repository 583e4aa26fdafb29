"""The example of docs/adding-a-broker.md: what a newcomer's adapter is held to on its first day."""

import contextlib
import importlib
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal as D
from pathlib import Path

from brokers.base import BrokerAdapter
from brokers.conformance.run import Open
from brokers.conformance.stage import Offer, Stage, Trouble
from brokers.messages import ConnectionSpec
from tests.third_party.venue import Venue, serving

EXAMPLE = Path(__file__).parents[3] / "examples" / "tiny-broker"
FIXED = "the example's prices stand still and it fills at once"
NO_FAULT = "the example's double has no such trouble"
FAULTS = {
    Trouble.REFUSED: "NO_MONEY",
    Trouble.POOR: "NO_MONEY",
    Trouble.LOST: "lost",
    Trouble.MUTE: "silent",
    Trouble.CUT: "silent",
    Trouble.HALF: "nonsense",
    Trouble.UNLISTED: "shrug",
}


class TinyStage(Stage):
    """The one account that Tiny has."""

    name = "tiny"
    symbol = "EURUSD"
    quantity = D(120)

    def __init__(self, venue: Venue) -> None:
        self.adapter = _adapter()
        self.venue = venue
        settings = {"host": "127.0.0.1", "port": venue.port}
        self.spec = ConnectionSpec("c1", "A1", settings=settings, credentials={"password": "pw"})
        waiting = (Trouble.PIECES, Trouble.PARTIAL, Trouble.OVERTAKEN, Trouble.CLOSED)
        missing = (Trouble.LATE, Trouble.READS, Trouble.REPLAY, Trouble.DISABLED, Trouble.DOWN,
                   Trouble.STOPS_NEAR, Offer.RESTART, Offer.SECOND)  # fmt: skip
        self.lacks = {
            **dict.fromkeys((Offer.PRICES, *waiting), FIXED),
            **dict.fromkeys(missing, NO_FAULT),
        }

    async def accepted(self, client_order_id: str) -> int:
        return self.venue.journal.count(client_order_id)

    async def mistaken(self, what: Offer) -> ConnectionSpec:
        if what is Offer.HOST:
            return replace(self.spec, settings={**self.spec.settings, "port": 1})
        if what is Offer.ACCOUNT:
            return replace(self.spec, account="A2")
        return replace(self.spec, credentials={"password": "open sesame"})

    async def anew(self) -> None:
        self.adapter = _adapter()

    async def owner_closes(self, broker_position_id: str) -> None:
        self.venue.owner_closes()

    async def begin(self, trouble: Trouble) -> None:
        self.venue.trouble = FAULTS[trouble]

    async def end(self) -> None:
        self.venue.trouble = ""


def _adapter() -> BrokerAdapter:
    """As its entry point makes it, from the folder that docs/adding-a-broker.md shows."""
    sys.path.insert(0, str(EXAMPLE))
    try:
        made: BrokerAdapter = importlib.import_module("tiny_broker.adapter").create()
    finally:
        sys.path.remove(str(EXAMPLE))
    return made


@contextlib.asynccontextmanager
async def _opened() -> AsyncIterator[Stage]:
    with serving() as venue:
        yield TinyStage(venue)


STAGES: dict[str, Open] = {"the example": _opened}
