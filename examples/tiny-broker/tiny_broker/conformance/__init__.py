"""The stage for conformance checks of this adapter, against the fake broker of this package.

`python -m tests.conformance --adapter tiny` finds it by the entry point `fillcast.conformance`.
`--review` writes to reviewed.json which checks do not apply, and why.
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

FIXED = "the example's prices never change and it fills at once"
NO_AGAIN = "the broker rejects an id that it has received before"
NO_FAULT = "the example's fake broker cannot cause this fault"
FAULTS = {
    InjectedFault.REFUSED: "NO_MONEY",
    InjectedFault.NO_MONEY: "NO_MONEY",
    InjectedFault.LOST: "lost",
    InjectedFault.NO_ANSWER: "silent",
    InjectedFault.CONNECTION_LOST: "silent",
    InjectedFault.HALF_REPLY: "incomplete",
    InjectedFault.UNLISTED: "unlisted",
}


class TinyStage(Harness):
    """The stage of Tiny's only account."""

    name = "tiny"
    symbol = "EURUSD"
    quantity = D(120)

    def __init__(self, venue: Venue) -> None:
        self.adapter = create()
        self.venue = venue
        settings = {"host": "127.0.0.1", "port": venue.port}
        self.spec = ConnectionSpec("c1", "A1", settings=settings, credentials={"password": "pw"})
        slow_fills = (
            InjectedFault.THREE_FILLS,
            InjectedFault.PARTIAL,
            InjectedFault.OVERTAKEN,
            InjectedFault.CLOSED,
        )
        missing = (InjectedFault.LATE, InjectedFault.READS, InjectedFault.REPLAY,
                   InjectedFault.DISABLED, InjectedFault.DOWN,
                   InjectedFault.STOPS_NEAR, InjectedFault.FROZEN, InjectedFault.COARSER,
                   InjectedFault.RENUMBERED, InjectedFault.HALT_ENDED, InjectedFault.DELISTED,
                   InjectedFault.FEE_IN_COIN,
                   HarnessFeature.RESTART, HarnessFeature.SECOND_ACCOUNT)  # fmt: skip
        self.unavailable = {
            **dict.fromkeys((HarnessFeature.PRICES, *slow_fills), FIXED),
            **dict.fromkeys(missing, NO_FAULT),
            HarnessFeature.EXECUTED_TWICE: NO_AGAIN,
        }

    async def accepted(self, client_order_id: str) -> int:
        return self.venue.journal.count(client_order_id)

    async def with_mistake(self, mistake: HarnessFeature) -> ConnectionSpec:
        if mistake is HarnessFeature.HOST:
            return replace(self.spec, settings={**self.spec.settings, "port": 1})
        if mistake is HarnessFeature.ACCOUNT:
            return replace(self.spec, account="A2")
        return replace(self.spec, credentials={"password": "open sesame"})

    async def new_process(self) -> None:
        self.adapter = create()

    async def owner_closes(self, broker_position_id: str) -> None:
        self.venue.owner_closes()

    async def half_reply(self) -> Sequence[str]:
        return ["'order': None"]

    async def begin(self, fault: InjectedFault) -> None:
        if fault in (InjectedFault.CLOCK_AHEAD, InjectedFault.CLOCK_BEHIND):
            self.venue.ahead = timedelta(minutes=10 if fault is InjectedFault.CLOCK_AHEAD else -10)
        else:
            self.venue.fault = FAULTS[fault]

    async def end(self) -> None:
        self.venue.fault, self.venue.ahead = "", timedelta(0)


@contextlib.asynccontextmanager
async def _opened() -> AsyncIterator[Harness]:
    with serving() as venue:
        yield TinyStage(venue)


STAGES: dict[str, OpenHarness] = {"the example": _opened}
