"""Interactive Brokers: ib_async's real client against a fake TWS in this process."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

from brokers.ibkr.adapter import IbkrAdapter
from brokers.ibkr.timing import Timing
from brokers.rate_limits import rate_limiter_for
from brokers.types import ConnectionSpec, OrderRequest, OrderType, Side
from conformance.harness import Harness, HarnessFeature, InjectedFault, JournalEntry
from conformance.runner import OpenHarness
from tests.fakes.tws.faults import Fault
from tests.fakes.tws.server import FakeTws
from tests.fakes.tws.venue import Venue
from tests.ports import closed_port

ACCOUNTS = ("DU1234567", "DU7654321")
BID, ASK = D("1.10000"), D("1.10010")
GRID = D("0.00005")
TIMING = Timing(
    connect=5.0, read=1.0, reply=1.0, price=1.0, first_delay=0.02, longest_delay=0.1,
    client_id_delay=0.1, min_retry_delay=0.01, ping=0.1, resync=5.0, settle=0.2,
)  # fmt: skip
ONE_INCREMENT = "the fake TWS states one size increment of a contract for all time"
NO_FLAG = "IBKR states no trading flag of a contract"
KEEPS_CONTRACTS = "a position has its contract, whatever is listed"
IN_MONEY = "fees are charged in the account's currency"
NO_FREEZE = "IBKR has no freeze level: orders are changed at any price"
NO_DISTANCE = "IBKR requires no distance between a stop and the price"
KEEPS_NUMBERS = "a position's number is its contract's"
NO_PASSWORD = "the gateway is logged in by its owner: a connection has no password"
NO_MARGIN_TEXT = (
    "Order rejected - reason:YOUR ORDER IS NOT ACCEPTED. IN ORDER TO OBTAIN THE DESIRED POSITION "
    "YOUR EQUITY WITH LOAN VALUE [10.00 USD] MUST EXCEED THE INITIAL MARGIN [600.00 USD]"
)
LEVELS = (":sl", ":tp")  # how the references of stops and targets end
ORDER_TYPES = {
    "MKT": OrderType.MARKET, "LMT": OrderType.LIMIT, "STP": OrderType.STOP,
    "STP LMT": OrderType.STOP_LIMIT, "TRAIL": OrderType.TRAILING_STOP,
}  # fmt: skip
NEXT_ORDER_FAULTS: dict[InjectedFault, Fault] = {
    InjectedFault.REFUSED: Fault("reject", 201, "Order rejected - reason:Invalid destination"),
    InjectedFault.LOST: Fault("ignore"),
    InjectedFault.NO_ANSWER: Fault("accept in silence"),
    InjectedFault.CONNECTION_LOST: Fault("accept and cut"),
    InjectedFault.LATE: Fault("late", seconds=2.0),
    InjectedFault.HALF_REPLY: Fault("half"),
    InjectedFault.UNLISTED: Fault("unlisted", 10999, "Something unlisted"),
}
EVERY_ORDER_FAULTS: dict[InjectedFault, Fault] = {
    InjectedFault.CLOSED: Fault("reject", 201, "Order rejected - reason:Exchange is closed."),
    InjectedFault.NO_MONEY: Fault("reject", 201, NO_MARGIN_TEXT),
}


class IbkrStage(Harness):
    """A netting account at a gateway with two accounts. A new adapter simulates a new process."""

    name = "ibkr"
    symbol = "EURUSD"
    quantity = D(12_000)
    tick = GRID
    drop_visible = 2.0  # TWS reports an order's end at once, both legs together
    unavailable = {
        InjectedFault.STOPS_NEAR: NO_DISTANCE,
        InjectedFault.FROZEN: NO_FREEZE,
        InjectedFault.COARSER: ONE_INCREMENT,
        InjectedFault.RENUMBERED: KEEPS_NUMBERS,
        InjectedFault.HALT_ENDED: NO_FLAG,
        InjectedFault.DELISTED: KEEPS_CONTRACTS,
        InjectedFault.FEE_IN_COIN: IN_MONEY,
        HarnessFeature.PASSWORD: NO_PASSWORD,
    }

    def __init__(self) -> None:
        self.venue = Venue(ACCOUNTS)
        self.tws = FakeTws(self.venue)
        self.adapter = self._process()
        self._closed = contextlib.ExitStack()  # ports on which nothing listens

    def _process(self) -> IbkrAdapter:
        return IbkrAdapter(TIMING, rate_limiter_for=rate_limiter_for)

    async def open(self) -> None:
        await self.tws.open()
        self.spec = self._spec("c-1", ACCOUNTS[0])
        await self.move(D(1))

    async def close(self) -> None:
        await self.end()
        await self.adapter.disconnect()
        await self.tws.close()
        self._closed.close()

    def _spec(self, name: str, account: str) -> ConnectionSpec:
        endpoint = {"host": "127.0.0.1", "port": self.tws.port, "symbols": ["EURUSD", "USDJPY"]}
        return ConnectionSpec(name, account, settings={**endpoint, "timezone": "UTC"})

    # ---- features ---------------------------------------------------------------------------
    async def accepted(self, client_order_id: str) -> int:
        return self.venue.accepted.count(client_order_id)

    async def journal(self) -> Sequence[JournalEntry]:
        accepted = set(self.venue.accepted)
        return [
            JournalEntry(one.ref, ORDER_TYPES[one.kind], Side(one.action), one.quantity)
            for one in self.venue.orders
            if one.ref in accepted and not one.ref.endswith(LEVELS) and not one.what_if
        ]

    async def stops(self) -> Sequence[D]:
        return [D(one.aux) for one in self.venue.orders if one.live and one.ref.endswith(":sl")]

    async def move(self, factor: D) -> None:
        bid = (BID * factor / GRID).quantize(D(1)) * GRID
        self.venue.quote("EURUSD", str(bid), str(bid + ASK - BID))

    async def second_account(self) -> ConnectionSpec:
        return self._spec("c-2", ACCOUNTS[1])

    async def with_mistake(self, mistake: HarnessFeature) -> ConnectionSpec:
        if mistake is HarnessFeature.ACCOUNT:
            return self._spec("c-3", "DU0000000")
        port = self._closed.enter_context(closed_port())
        return replace(
            self.spec, connection_id="c-4", settings={**self.spec.settings, "port": port}
        )

    async def new_process(self) -> None:
        await self.adapter.disconnect()
        self.adapter = self._process()

    async def restart(self) -> None:
        await self.tws.restart()

    async def owner_closes(self, broker_position_id: str) -> None:
        self.venue.close_by_hand(self.spec.account, "EURUSD")

    async def execute_again(self, request: OrderRequest) -> None:
        self.venue.execute_again(request.client_order_id)

    async def half_reply(self) -> Sequence[str]:
        assert self.tws.last_partial_answer
        return [self.tws.last_partial_answer]

    # ---- faults -----------------------------------------------------------------------------
    async def begin(self, fault: InjectedFault) -> None:
        if fault in NEXT_ORDER_FAULTS:
            self.tws.faults.append(NEXT_ORDER_FAULTS[fault])
            return
        match fault:
            case InjectedFault.CLOSED | InjectedFault.NO_MONEY:
                self.tws.order_fault = EVERY_ORDER_FAULTS[fault]
            case InjectedFault.THREE_FILLS:
                self.venue.trades_per_fill = 3
            case InjectedFault.PARTIAL:
                self.venue.fill_share = D("0.5")
            case InjectedFault.DROPS_LEVELS:
                self.venue.drops_levels = True
            case InjectedFault.DROPS_LATER:
                for order in [order for order in self.venue.orders if order.live]:
                    if order.ref.endswith(LEVELS):
                        self.venue.end(order.ref)
            case InjectedFault.OVERTAKEN:
                self.tws.fills_before_cancel = True
            case InjectedFault.REPLAY:
                self.tws.replay()
            case InjectedFault.READS:
                self.tws.omits_list_ends = True
            case InjectedFault.DISABLED:
                self.tws.read_only = True
            case InjectedFault.CLOCK_AHEAD | InjectedFault.CLOCK_BEHIND:
                ahead = 600.0 if fault is InjectedFault.CLOCK_AHEAD else -600.0
                self.venue.clock_offset = ahead
                self.venue.now = lambda: datetime.now(UTC) + timedelta(seconds=ahead)
            case InjectedFault.DOWN:
                await self.tws.close()
            case _:
                raise AssertionError(fault)

    async def end(self) -> None:
        if not self.tws.is_open:
            await self.tws.open(self.tws.port)
        self.tws.faults.clear()
        self.tws.order_fault = None
        self.tws.omits_list_ends = self.tws.fills_before_cancel = self.tws.read_only = False
        self.venue.trades_per_fill, self.venue.fill_share, self.venue.drops_levels = 1, D(1), False
        self.venue.clock_offset, self.venue.now = 0.0, lambda: datetime.now(UTC)


@contextlib.asynccontextmanager
async def _opened() -> AsyncIterator[Harness]:
    stage = IbkrStage()
    await stage.open()
    try:
        yield stage
    finally:
        await stage.close()


STAGES: dict[str, OpenHarness] = {"ibkr": _opened}
MAX_CONCURRENT = 4
