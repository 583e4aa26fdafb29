"""Interactive Brokers: ib_async's own client against the double of TWS, in this process."""

import contextlib
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

from brokers.budgets import budget_for
from brokers.conformance.run import Open
from brokers.conformance.stage import Offer, Stage, Trouble
from brokers.ibkr.calls import IbkrAdapter
from brokers.ibkr.pace import Pace
from brokers.messages import ConnectionSpec, OrderRequest
from tests.doubles.tws.faults import Fault
from tests.doubles.tws.server import Tws
from tests.doubles.tws.venue import Venue

ACCOUNTS = ("DU1234567", "DU7654321")
BID, ASK = D("1.10000"), D("1.10010")
GRID = D("0.00005")
PACE = Pace(
    connect=5.0, read=1.0, reply=1.0, price=1.0, first_delay=0.02, longest_delay=0.1,
    client_id_delay=0.1, hurry=0.01, ping=0.1, resync=5.0, settle=0.2,
)  # fmt: skip
NO_DISTANCE = "IBKR asks for no distance between a stop and the price"
NO_PASSWORD = "the gateway is logged in by its owner: a connection has no password"
POOR = (
    "Order rejected - reason:YOUR ORDER IS NOT ACCEPTED. IN ORDER TO OBTAIN THE DESIRED POSITION "
    "YOUR EQUITY WITH LOAN VALUE [10.00 USD] MUST EXCEED THE INITIAL MARGIN [600.00 USD]"
)
NEXT: dict[Trouble, Fault] = {
    Trouble.REFUSED: Fault("reject", 201, "Order rejected - reason:Invalid destination"),
    Trouble.LOST: Fault("ignore"),
    Trouble.MUTE: Fault("accept in silence"),
    Trouble.CUT: Fault("accept and cut"),
    Trouble.LATE: Fault("late", seconds=2.0),
    Trouble.HALF: Fault("half"),
    Trouble.UNLISTED: Fault("unlisted", 10999, "Something that nobody has heard of"),
}
EVERY: dict[Trouble, Fault] = {
    Trouble.CLOSED: Fault("reject", 201, "Order rejected - reason:Exchange is closed."),
    Trouble.POOR: Fault("reject", 201, POOR),
}


class IbkrStage(Stage):
    """A netting account at a gateway with two of them. A new process of ours is a new adapter."""

    name = "ibkr"
    symbol = "EURUSD"
    quantity = D(12_000)
    tick = GRID
    drop_seen = 2.0  # TWS tells an order's end at once; both legs are told together
    lacks = {Trouble.STOPS_NEAR: NO_DISTANCE, Offer.PASSWORD: NO_PASSWORD}

    def __init__(self) -> None:
        self.venue = Venue(ACCOUNTS)
        self.tws = Tws(self.venue)
        self.adapter = self._process()

    def _process(self) -> IbkrAdapter:
        return IbkrAdapter(PACE, budget_for=budget_for)

    async def open(self) -> None:
        await self.tws.open()
        self.spec = self._spec("c-1", ACCOUNTS[0])
        await self.move(D(1))

    async def close(self) -> None:
        await self.end()
        await self.adapter.disconnect()
        await self.tws.close()

    def _spec(self, name: str, account: str) -> ConnectionSpec:
        where = {"host": "127.0.0.1", "port": self.tws.port, "symbols": ["EURUSD", "USDJPY"]}
        return ConnectionSpec(name, account, settings={**where, "timezone": "UTC"})

    # ---- offers -----------------------------------------------------------------------------
    async def accepted(self, client_order_id: str) -> int:
        return self.venue.accepted.count(client_order_id)

    async def move(self, factor: D) -> None:
        bid = (BID * factor / GRID).quantize(D(1)) * GRID
        self.venue.quote("EURUSD", str(bid), str(bid + ASK - BID))

    async def second(self) -> ConnectionSpec:
        return self._spec("c-2", ACCOUNTS[1])

    async def mistaken(self, what: Offer) -> ConnectionSpec:
        if what is Offer.ACCOUNT:
            return self._spec("c-3", "DU0000000")
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            port = nobody.getsockname()[1]
        return replace(
            self.spec, connection_id="c-4", settings={**self.spec.settings, "port": port}
        )

    async def anew(self) -> None:
        await self.adapter.disconnect()
        self.adapter = self._process()

    async def restart(self) -> None:
        await self.tws.restart()

    async def owner_closes(self, broker_position_id: str) -> None:
        self.venue.owner_closes(self.spec.account, "EURUSD")

    async def again(self, request: OrderRequest) -> None:
        self.venue.again(request.client_order_id)

    async def half(self) -> Sequence[str]:
        assert self.tws.last_half
        return [self.tws.last_half]

    # ---- trouble ----------------------------------------------------------------------------
    async def begin(self, trouble: Trouble) -> None:
        if trouble in NEXT:
            self.tws.faults.append(NEXT[trouble])
            return
        match trouble:
            case Trouble.CLOSED | Trouble.POOR:
                self.tws.refuses = EVERY[trouble]
            case Trouble.PIECES:
                self.venue.pieces = 3
            case Trouble.PARTIAL:
                self.venue.portion = D("0.5")
            case Trouble.DROPS_LEVELS:
                self.venue.drops_levels = True
            case Trouble.DROPS_LATER:
                for one in [one for one in self.venue.orders if one.live]:
                    if one.ref.endswith((":sl", ":tp")):
                        self.venue.end(one.ref)
            case Trouble.OVERTAKEN:
                self.tws.is_overtaken = True
            case Trouble.REPLAY:
                self.tws.replay()
            case Trouble.READS:
                self.tws.answers_in_part = True
            case Trouble.DISABLED:
                self.tws.read_only = True
            case Trouble.SKEW | Trouble.SLOW:
                ahead = 600.0 if trouble is Trouble.SKEW else -600.0
                self.venue.clock_offset = ahead
                self.venue.now = lambda: datetime.now(UTC) + timedelta(seconds=ahead)
            case Trouble.DOWN:
                await self.tws.close()
            case _:
                raise AssertionError(trouble)

    async def end(self) -> None:
        if not self.tws.is_open:
            await self.tws.open(self.tws.port)
        self.tws.faults.clear()
        self.tws.refuses = None
        self.tws.answers_in_part = self.tws.is_overtaken = self.tws.read_only = False
        self.venue.pieces, self.venue.portion, self.venue.drops_levels = 1, D(1), False
        self.venue.clock_offset, self.venue.now = 0.0, lambda: datetime.now(UTC)


@contextlib.asynccontextmanager
async def _opened() -> AsyncIterator[Stage]:
    stage = IbkrStage()
    await stage.open()
    try:
        yield stage
    finally:
        await stage.close()


STAGES: dict[str, Open] = {"ibkr": _opened}
AT_ONCE = 4
