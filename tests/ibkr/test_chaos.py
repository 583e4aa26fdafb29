"""Orders under random faults: each ends as in the broker's journal, and none exists twice.

What plays here keeps the rules of the engine: what was NotSent may be sent again, what is unknown
is looked up, and sent again under its id only after it was found absent.
"""

import asyncio
from decimal import Decimal
from random import Random

import pytest

from brokers.base import NotSent, OutcomeUnknown, ReadFailed, Rejected
from brokers.types import OrderReport, OrderRequest, OrderType, ReportKind
from tests.ibkr.factories import Environment, limit, order, with_environment
from tests.sampling import often

ORDERS, SEEDS = 40, range(3)
FAULTS = (
    ("accept and cut", 0), ("accept in silence", 0), ("lose", 0), ("ignore", 0), ("half", 0),
    ("garbage", 0), ("unlisted", 10999), ("unlisted", 399), ("late", 0), ("reject", 201),
    ("inactive", 0),
)  # fmt: skip


class ChaosRun:
    """One run: orders one after another, each driven to its end as the engine would."""

    def __init__(self, stage: Environment, seed: int) -> None:
        self.stage, self.random = stage, Random(seed)
        self.refused: set[str] = set()
        self.unknown = 0

    async def inject_fault(self) -> None:
        """Inject a random fault, or none."""
        stage = self.stage
        match self.random.randrange(9):
            case 0:
                await stage.tws.restart()
            case 1:
                stage.tws.announce(1100, "lost")
                stage.tws.announce(self.random.choice((1101, 1102)), "back")
            case 2:
                await stage.crash()
            case 3:
                stage.tws.replay()
            case 4:
                stage.tws.send(b"\0\0\0\x08" + b"3\0x\0y\0z\0")
            case _:
                kind, number = self.random.choice(FAULTS)
                stage.fault(kind, number, "trouble", seconds=1.2)

    async def place(self, request: OrderRequest) -> None:
        """Place an order until its outcome is known."""
        async with asyncio.timeout(60):
            while True:
                try:
                    await self.stage.submit(request)
                    return
                except Rejected:
                    self.refused.add(request.client_order_id)
                    return
                except NotSent:
                    await asyncio.sleep(0.01)
                except OutcomeUnknown:
                    self.unknown += 1
                    if await self.look_up(request) is not None:
                        return

    async def look_up(self, request: OrderRequest) -> list[OrderReport] | None:
        while True:
            try:
                reports = await self.stage.adapter.find_order(
                    self.stage.spec, request.client_order_id
                )
            except ReadFailed:
                await asyncio.sleep(0.01)
                continue
            if reports and any(one.kind is ReportKind.REJECTED for one in reports):
                self.refused.add(request.client_order_id)
            return reports


@pytest.mark.slow
@pytest.mark.parametrize("seed", often(SEEDS, every=len(SEEDS)))
def test_each_order_exists_once_and_is_reported_as_the_broker_has_it(seed: int) -> None:
    @with_environment
    async def test(stage: Environment) -> None:
        run = ChaosRun(stage, seed)
        requests = []
        for number in range(ORDERS):
            name = f"abc0000{seed}00000{number:03d}1"
            request = order(name) if run.random.random() < 0.5 else limit(name)
            requests.append(request)
            if run.random.random() < 0.7:
                await run.inject_fault()
            await run.place(request)
        stage.tws.faults.clear()
        stage.venue.quote("EURUSD", "1.0890", "1.0892")  # executes the open orders
        assert run.unknown > ORDERS / 10  # else the run tested too little
        for request in requests:
            await check_against_broker(stage, run, request)

    test()


async def check_against_broker(stage: Environment, run: ChaosRun, request: OrderRequest) -> None:
    name = request.client_order_id
    taken = [one for one in stage.venue.orders if one.ref == name and one.status != "Inactive"]
    if name in run.refused:
        assert taken == [], name
        return
    assert len(taken) == 1, (name, len(taken))
    reports = await run.look_up(request)
    fills = {f.broker_fill_id: f for one in reports or [] for f in one.fills if not f.inferred}
    assert sum(f.quantity for f in fills.values()) == taken[0].filled == Decimal(20000), name
    if request.order_type is OrderType.LIMIT:
        assert max(f.price for f in fills.values()) <= Decimal("1.09")
