"""The stage: what an adapter is held to on its first day, against a broker that it brings along.

`python -m tests.conformance --adapter tiny` finds it by the entry point `fillcast.conformance`;
--review writes into reviewed.json what does not apply, and why.
"""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal as D

from brokers.types import ConnectionSpec
from conformance.harness import Harness, HarnessFeature, InjectedFault
from conformance.runner import OpenHarness
from tiny_broker.adapter import create
from tiny_broker.conformance.venue import Venue, serving

FIXED = "the example's prices stand still and it fills at once"
NO_AGAIN = "the broker refuses an id that it has had before"
NO_FAULT = "the example's double has no such trouble"
FAULTS = {
    InjectedFault.REFUSED: "NO_MONEY",
    InjectedFault.NO_MONEY: "NO_MONEY",
    InjectedFault.LOST: "lost",
    InjectedFault.NO_ANSWER: "silent",
    InjectedFault.CUT: "silent",
    InjectedFault.HALF: "nonsense",
    InjectedFault.UNLISTED: "shrug",
}


class TinyStage(Harness):
    """The one account that Tiny has."""

    name = "tiny"
    symbol = "EURUSD"
    quantity = D(120)

    def __init__(self, venue: Venue) -> None:
        self.adapter = create()
        self.venue = venue
        settings = {"host": "127.0.0.1", "port": venue.port}
        self.spec = ConnectionSpec("c1", "A1", settings=settings, credentials={"password": "pw"})
        waiting = (
            InjectedFault.PIECES,
            InjectedFault.PARTIAL,
            InjectedFault.OVERTAKEN,
            InjectedFault.CLOSED,
        )
        missing = (InjectedFault.LATE, InjectedFault.READS, InjectedFault.REPLAY,
                   InjectedFault.DISABLED, InjectedFault.DOWN,
                   InjectedFault.STOPS_NEAR, HarnessFeature.RESTART,
                   HarnessFeature.SECOND)  # fmt: skip
        self.unavailable = {
            **dict.fromkeys((HarnessFeature.PRICES, *waiting), FIXED),
            **dict.fromkeys(missing, NO_FAULT),
            HarnessFeature.EXECUTED_TWICE: NO_AGAIN,
        }

    async def accepted(self, client_order_id: str) -> int:
        return self.venue.journal.count(client_order_id)

    async def with_mistake(self, what: HarnessFeature) -> ConnectionSpec:
        if what is HarnessFeature.HOST:
            return replace(self.spec, settings={**self.spec.settings, "port": 1})
        if what is HarnessFeature.ACCOUNT:
            return replace(self.spec, account="A2")
        return replace(self.spec, credentials={"password": "open sesame"})

    async def new_process(self) -> None:
        self.adapter = create()

    async def owner_closes(self, broker_position_id: str) -> None:
        self.venue.owner_closes()

    async def half(self) -> Sequence[str]:
        return ["'order': None"]

    async def begin(self, trouble: InjectedFault) -> None:
        if trouble in (InjectedFault.SKEW, InjectedFault.SLOW):
            self.venue.ahead = timedelta(minutes=10 if trouble is InjectedFault.SKEW else -10)
        else:
            self.venue.trouble = FAULTS[trouble]

    async def end(self) -> None:
        self.venue.trouble, self.venue.ahead = "", timedelta(0)


@contextlib.asynccontextmanager
async def _opened() -> AsyncIterator[Harness]:
    with serving() as venue:
        yield TinyStage(venue)


STAGES: dict[str, OpenHarness] = {"the example": _opened}
