"""A real account as a stage: the smallest quantities, one account, and no trouble on demand.

What a check opened is closed when it is over, whatever became of it. While something is left that
could not be cleared away nothing further is begun.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from decimal import ROUND_CEILING, Decimal

from brokers.base import BrokerAdapter, BrokerError, ReadFailed
from brokers.types import (
    BrokerOrder,
    BrokerPosition,
    CancelRequest,
    ConnectionSpec,
    ExitSafety,
    Instrument,
    ModifyRequest,
    OrderRequest,
    OrderType,
    TimeInForce,
)
from common.money import plain
from conformance.harness import Harness, HarnessFeature, InjectedFault, NotApplicable
from conformance.scenario import allow, new_id

ON_DEMAND = "nobody can have that happen at a broker's own account"
MISSING: dict[HarnessFeature | InjectedFault, str] = {
    HarnessFeature.JOURNAL: "the broker does not show its journal",
    HarnessFeature.PRICES: "the market is not ours to move",
    HarnessFeature.SECOND: "one account takes part",
    HarnessFeature.PASSWORD: "wrong passwords may lock an account",
    HarnessFeature.HOST: "the connection's own settings are used",
    HarnessFeature.ACCOUNT: "the connection's own settings are used",
    HarnessFeature.RESTART: "the broker is not ours to restart",
    HarnessFeature.OWNER: "nobody sits before the broker's own program",
    HarnessFeature.EXECUTED_TWICE: "nobody can have a broker execute an order twice",
    HarnessFeature.EXTREMES: "if the broker took such an order it would be a real one",
}
CLEAR_SECONDS, CALL_SECONDS, POLL_SECONDS = 120.0, 30.0, 0.5


class NotFlat(Exception):
    """Something of the symbol is open that no check may touch, or that could not be closed."""


class LiveAccount(Harness):
    """One account. create: makes an adapter with nothing in its memory."""

    name = "account"
    patience, absence = 30.0, 90.0

    def __init__(
        self,
        create: Callable[[], BrokerAdapter],
        spec: ConnectionSpec,
        instrument: Instrument,
        quantity: Decimal | None = None,
    ) -> None:
        self._create, self.adapter = create, create()
        self.spec, self.symbol = spec, instrument.symbol
        self.quantity = quantity or smallest_divisible(instrument)
        self.unavailable = {**dict.fromkeys(InjectedFault, ON_DEMAND), **MISSING}
        self.left = ""

    async def new_process(self) -> None:
        await self.adapter.disconnect()
        self.adapter = self._create()

    async def opened(self) -> list[str]:
        """What is open of the symbol at the broker, in words. Raises ReadFailed."""
        positions, orders = await self._open()
        return [
            *(f"a position of {_describe(one)}" for one in positions),
            *(f"a resting order of {_describe(one)}" for one in orders),
        ]

    @contextlib.asynccontextmanager
    async def ready(self) -> AsyncIterator[Harness]:
        """The stage for one more check. Raises NotApplicable once something was left."""
        if self.left:
            raise NotApplicable(f"not begun: {self.left}")
        yield self

    async def clear(self, placed: Sequence[OrderRequest]) -> None:
        """Cancel what rests and close what is open of what a check placed; wait until it is so.

        Raises NotFlat where that does not succeed; then people must look."""
        if not placed:
            return
        try:
            async with asyncio.timeout(CLEAR_SECONDS):
                while left := await self._clear_once(placed):
                    self.left = f"{', '.join(left)} could not be cleared away"
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError as error:
            raise NotFlat(self.left) from error
        self.left = ""

    async def _clear_once(self, placed: Sequence[OrderRequest]) -> list[str]:
        """Ask once for all that is still open to end. Returns what was."""
        self.left = "what the last check opened may still be open"
        try:
            positions, orders = await self._open()
        except ReadFailed as error:
            return [f"what is open cannot be read ({error})"]
        for order in orders:
            await self._quietly(self._cancel(order))
        for position in positions:
            await self._quietly(self._close(position, placed))
        return await self.opened() if positions or orders else []

    async def _open(self) -> tuple[list[BrokerPosition], list[BrokerOrder]]:
        async with asyncio.timeout(CALL_SECONDS):
            positions = await self.adapter.positions(self.spec)
            orders = await self.adapter.open_orders(self.spec)
        held = [one for one in positions if one.symbol == self.symbol and one.quantity]
        return held, [one for one in orders if one.symbol == self.symbol]

    async def _cancel(self, order: BrokerOrder) -> None:
        change = CancelRequest(order.client_order_id, order.broker_order_id, order.symbol)
        await self.adapter.cancel(self.spec, change)

    async def _close(self, held: BrokerPosition, placed: Sequence[OrderRequest]) -> None:
        can = self.adapter.capabilities(self.spec)
        entry = held.client_order_id or placed[-1].client_order_id
        if can.exit_safety is ExitSafety.CANCEL_FIRST and can.native_stops:
            change = ModifyRequest(entry, held.broker_position_id, held.symbol, None, None)
            await self.adapter.modify(self.spec, change)
        tifs = (TimeInForce.GTC, TimeInForce.DAY, TimeInForce.IOC)  # as exits of ours leave
        request = OrderRequest(
            client_order_id=new_id(),
            connection_id=self.spec.connection_id,
            account=self.spec.account,
            symbol=held.symbol,
            side=held.side.opposite,
            order_type=OrderType.MARKET,
            time_in_force=next(tif for tif in tifs if tif in can.times_in_force),
            quantity=held.quantity,
            reduce_only=True,
            broker_position_id=held.broker_position_id,
            closes=entry,
            oca_group=entry[:-1] if can.exit_safety is ExitSafety.OCA else "",
        )
        await self.adapter.submit(self.spec, request, allow)

    async def _quietly(self, call: Awaitable[None]) -> None:
        """Make a call whose outcome the next look will show."""
        with contextlib.suppress(BrokerError, TimeoutError):
            async with asyncio.timeout(CALL_SECONDS):
                await call


def _describe(one: BrokerPosition | BrokerOrder) -> str:
    return f"{one.side} {plain(one.quantity)} {one.symbol}"


def smallest_divisible(instrument: Instrument) -> Decimal:
    """The smallest quantity of which a half can be closed: base units, on the steps."""
    step = instrument.quantity_step
    steps = (instrument.quantity_min / step).to_integral_value(ROUND_CEILING)
    return 2 * max(steps, Decimal(2)) * step


def choose_instrument(instruments: Sequence[Instrument], symbol: str) -> Instrument:
    """The instrument of a name, or one that is traded much. Raises LookupError."""
    if symbol:
        found = [one for one in instruments if symbol in (one.symbol, one.pair)]
    else:
        usual = ("EUR/USD", "BTC/USDT", "BTC/USD", "AAPL/USD")
        found = [one for pair in usual for one in instruments if one.pair == pair]
        found = found or list(instruments)
    if not found:
        raise LookupError(f"the account does not list {symbol or 'anything'}")
    return found[0]
