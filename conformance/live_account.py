"""A real account as a harness: the smallest quantities, one account and no injected faults.

After each check, passed or failed, its orders are cancelled and its positions closed. If that does
not succeed, no further check starts.
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

ON_DEMAND = "faults cannot be injected at a real broker"
MISSING: dict[HarnessFeature | InjectedFault, str] = {
    HarnessFeature.JOURNAL: "the broker's journal cannot be read",
    HarnessFeature.PRICES: "the market's price cannot be moved",
    HarnessFeature.SECOND_ACCOUNT: "there is only one account",
    HarnessFeature.PASSWORD: "wrong passwords may lock an account",
    HarnessFeature.HOST: "the connection's own settings are used",
    HarnessFeature.ACCOUNT: "the connection's own settings are used",
    HarnessFeature.RESTART: "the broker cannot be restarted",
    HarnessFeature.OWNER: "no user acts at the broker",
    HarnessFeature.EXECUTED_TWICE: "a real broker cannot be made to execute an order twice",
    HarnessFeature.ENGINE: "they move the market's price: tests run them against fake brokers",
    HarnessFeature.EXTREMES: "if the broker accepted such an order, it would be a real one",
}
CLEAR_SECONDS, CALL_SECONDS, POLL_SECONDS = 120.0, 30.0, 0.5


class NotFlat(Exception):
    """Orders or positions of a check could not be closed; the text lists them."""


class LiveAccount(Harness):
    """One account at a real broker."""

    name = "account"
    read_seconds, absence_seconds = 30.0, 90.0

    def __init__(
        self,
        create: Callable[[], BrokerAdapter],
        spec: ConnectionSpec,
        instrument: Instrument,
        quantity: Decimal | None = None,
    ) -> None:
        """create: returns a new adapter. quantity: base units; None: the smallest divisible one."""
        self._create, self.adapter = create, create()
        self.spec, self.symbol = spec, instrument.symbol
        self.quantity = quantity or smallest_divisible(instrument)
        self.unavailable = {**dict.fromkeys(InjectedFault, ON_DEMAND), **MISSING}
        self.left = ""

    async def new_process(self) -> None:
        await self.adapter.disconnect()
        self.adapter = self._create()

    async def opened(self) -> list[str]:
        """Describe the symbol's open positions and orders at the broker. Raises ReadFailed."""
        positions, orders = await self._open()
        return [
            *(f"a position of {_describe(position)}" for position in positions),
            *(f"a working order of {_describe(order)}" for order in orders),
        ]

    @contextlib.asynccontextmanager
    async def ready(self) -> AsyncIterator[Harness]:
        """Yield the harness for a check. Raises NotApplicable if something was left open."""
        if self.left:
            raise NotApplicable(f"not started: {self.left}")
        yield self

    async def clear(self, placed: Sequence[OrderRequest]) -> None:
        """Cancel a check's working orders and close its positions; wait until both are gone.

        Raises NotFlat if that does not succeed; then a person must check the account.
        """
        if not placed:
            return
        try:
            async with asyncio.timeout(CLEAR_SECONDS):
                while remaining := await self._clear_once(placed):
                    self.left = f"{', '.join(remaining)} could not be closed"
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError as error:
            raise NotFlat(self.left) from error
        self.left = ""

    async def _clear_once(self, placed: Sequence[OrderRequest]) -> list[str]:
        """Try once to cancel and close everything; return what is still open."""
        self.left = "positions or orders of the last check may still be open"
        try:
            positions, orders = await self._open()
        except ReadFailed as error:
            return [f"positions and orders that cannot be read ({error})"]
        for order in orders:
            await self._quietly(self._cancel(order))
        for position in positions:
            await self._quietly(self._close(position, placed))
        return await self.opened() if positions or orders else []

    async def _open(self) -> tuple[list[BrokerPosition], list[BrokerOrder]]:
        async with asyncio.timeout(CALL_SECONDS):
            positions = await self.adapter.positions(self.spec)
            orders = await self.adapter.open_orders(self.spec)
        held = [p for p in positions if p.symbol == self.symbol and p.quantity]
        return held, [order for order in orders if order.symbol == self.symbol]

    async def _cancel(self, order: BrokerOrder) -> None:
        change = CancelRequest(order.client_order_id, order.broker_order_id, order.symbol)
        await self.adapter.cancel(self.spec, change)

    async def _close(self, held: BrokerPosition, placed: Sequence[OrderRequest]) -> None:
        can = self.adapter.capabilities(self.spec)
        entry = held.client_order_id or placed[-1].client_order_id
        if can.exit_safety is ExitSafety.CANCEL_FIRST and can.native_stops:
            change = ModifyRequest(entry, held.broker_position_id, held.symbol, None, None)
            await self.adapter.modify(self.spec, change)
        tifs = (TimeInForce.GTC, TimeInForce.DAY, TimeInForce.IOC)  # as our exits are sent
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
        """Make a call and ignore its errors: the next read shows the outcome."""
        with contextlib.suppress(BrokerError, TimeoutError):
            async with asyncio.timeout(CALL_SECONDS):
                await call


def _describe(item: BrokerPosition | BrokerOrder) -> str:
    return f"{item.side} {plain(item.quantity)} {item.symbol}"


def smallest_divisible(instrument: Instrument) -> Decimal:
    """Return the smallest quantity of which half can be closed, in base units."""
    step = instrument.quantity_step
    steps = (instrument.quantity_min / step).to_integral_value(ROUND_CEILING)
    return 2 * max(steps, Decimal(2)) * step


def choose_instrument(instruments: Sequence[Instrument], symbol: str) -> Instrument:
    """Return the instrument of a symbol or pair; '' for a liquid one. Raises LookupError."""
    if symbol:
        found = [item for item in instruments if symbol in (item.symbol, item.pair)]
    else:
        usual = ("EUR/USD", "BTC/USDT", "BTC/USD", "AAPL/USD")
        found = [item for pair in usual for item in instruments if item.pair == pair]
        found = found or list(instruments)
    if not found:
        raise LookupError(f"the account does not list {symbol or 'anything'}")
    return found[0]
