"""The stage: what an adapter is held to on its first day, against a broker that it brings along.

`python -m tests.conformance --adapter tiny` finds it by the entry point `fillcast.conformance`;
--review writes into reviewed.json what does not apply, and why.
"""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal as D

from brokers.conformance.run import Open
from brokers.conformance.stage import Offer, Stage, Trouble
from brokers.messages import ConnectionSpec
from tiny_broker.adapter import create
from tiny_broker.conformance.venue import Venue, serving

FIXED = "the example's prices stand still and it fills at once"
NO_AGAIN = "the broker refuses an id that it has had before"
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
        self.adapter = create()
        self.venue = venue
        settings = {"host": "127.0.0.1", "port": venue.port}
        self.spec = ConnectionSpec("c1", "A1", settings=settings, credentials={"password": "pw"})
        waiting = (Trouble.PIECES, Trouble.PARTIAL, Trouble.OVERTAKEN, Trouble.CLOSED)
        missing = (Trouble.LATE, Trouble.READS, Trouble.REPLAY, Trouble.DISABLED, Trouble.DOWN,
                   Trouble.STOPS_NEAR, Offer.RESTART, Offer.SECOND)  # fmt: skip
        self.lacks = {
            **dict.fromkeys((Offer.PRICES, *waiting), FIXED),
            **dict.fromkeys(missing, NO_FAULT),
            Offer.AGAIN: NO_AGAIN,
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
        self.adapter = create()

    async def owner_closes(self, broker_position_id: str) -> None:
        self.venue.owner_closes()

    async def half(self) -> Sequence[str]:
        return ["'order': None"]

    async def begin(self, trouble: Trouble) -> None:
        if trouble in (Trouble.SKEW, Trouble.SLOW):
            self.venue.ahead = timedelta(minutes=10 if trouble is Trouble.SKEW else -10)
        else:
            self.venue.trouble = FAULTS[trouble]

    async def end(self) -> None:
        self.venue.trouble, self.venue.ahead = "", timedelta(0)


@contextlib.asynccontextmanager
async def _opened() -> AsyncIterator[Stage]:
    with serving() as venue:
        yield TinyStage(venue)


STAGES: dict[str, Open] = {"the example": _opened}
