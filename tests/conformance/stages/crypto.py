"""Crypto exchanges: ccxt's real client against fakes of the four checked exchanges."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from decimal import Decimal as D

from brokers.crypto.adapter import CryptoAdapter
from brokers.crypto.client import ClientPool
from brokers.types import ConnectionSpec, OrderRequest, OrderType, Side
from conformance.harness import Harness, HarnessFeature, InjectedFault, JournalEntry
from conformance.runner import OpenHarness
from tests.crypto.factories import DIALECTS, SYMBOLS, unlimited_rates
from tests.fakes.exchange import actions
from tests.fakes.exchange.server import Server
from tests.fakes.exchange.venue import Fault, Market, Venue
from tests.steady_loop import SteadyLoop

PRICE = D("50000.0")
KEEPS_NUMBERS = "a position's number is its symbol's"
NO_FREEZE = "an exchange has no freeze level: orders are changed at any price"
KEEPS_BALANCE = "a perpetual's fee is taken from the margin"
HALTED = {"binance": "BREAK", "bybit": "Closed", "okx": "suspend", "kraken": "cancel_only"}
NO_DISTANCE = "an exchange has no minimum distance of stops"
NO_HOST = "the exchange's address is in ccxt: a connection names no host"
NO_REPEATED_ID = "the exchange refuses a repeated id"
DECIMALS = "Kraken states a step by its decimals: none is twice another"
NO_ACCOUNT_ID = "Kraken reports no account id: a key of another account is not detected"
REFUSALS = {
    "binance": Fault("status", 400, '{"code":-2010,"msg":"Market is closed."}'),
    "bybit": Fault("status", 200, '{"retCode":110007,"retMsg":"Available balance not enough"}'),
    "okx": Fault("status", 200, '{"code":"1","msg":"","data":[{"sCode":"51008","sMsg":"No"}]}'),
    "kraken": Fault("status", 200, '{"error":["EOrder:Insufficient funds"]}'),
}
UNLISTED = {
    "binance": Fault("status_after", 400, '{"code":-9999,"msg":"Something else"}'),
    "bybit": Fault("status_after", 200, '{"retCode":999999,"retMsg":"Something else"}'),
    "okx": Fault("status_after", 200, '{"code":"59999","msg":"Something else","data":[]}'),
    "kraken": Fault("status_after", 200, '{"error":["EOther:Something else"]}'),
}
FAULTS = {
    InjectedFault.LOST: Fault("silent", seconds=4.0),
    InjectedFault.NO_ANSWER: Fault("late", seconds=60.0),
    InjectedFault.CONNECTION_LOST: Fault("drop_after"),
    InjectedFault.LATE: Fault("late", seconds=2.5),
    InjectedFault.HALF_REPLY: Fault("half"),
}


class CryptoStage(Harness):
    """An account with a million USDT. swap: it trades perpetuals instead of spot."""

    quantity = D("0.03")
    absence_seconds = 8.0
    tick = D("0.1")

    def __init__(self, exchange: str, *, swap: bool) -> None:
        self.exchange = exchange
        self.exchange_symbol, size = SYMBOLS[exchange, swap]
        step = D("0.001") if size == 1 else D("0.1")
        self.market = Market("BTC", "USDT", step, D("0.1"), D(5), size)
        self.venue, self.other = (
            self._venue("key-1", "1001", swap),
            self._venue("key-2", "2002", swap),
        )
        self.server = Server(DIALECTS[exchange], self.venue, self.other, make_loop=SteadyLoop)
        self.symbol = "BTC/USDT:USDT" if swap else "BTC/USDT"
        market_settings = {"market": "swap" if swap else "spot", "symbols": [self.symbol]}
        self.spec = ConnectionSpec(
            f"c-{exchange}",
            "main",
            exchange_name=exchange,
            settings={**market_settings, "reply_timeout": 1.5},
            credentials=self._keys(self.venue),
        )
        self.adapter = self._adapter()
        self.unavailable = {HarnessFeature.HOST: NO_HOST, InjectedFault.STOPS_NEAR: NO_DISTANCE}
        self.unavailable[InjectedFault.FROZEN] = NO_FREEZE
        self.unavailable[InjectedFault.RENUMBERED] = KEEPS_NUMBERS
        if swap:
            self.unavailable[InjectedFault.FEE_IN_COIN] = KEEPS_BALANCE
        if exchange == "kraken":
            self.unavailable[HarnessFeature.ACCOUNT] = NO_ACCOUNT_ID
            self.unavailable[InjectedFault.COARSER] = DECIMALS
        if self.venue.refuses_duplicates == "always":
            self.unavailable[HarnessFeature.EXECUTED_TWICE] = NO_REPEATED_ID

    def _venue(self, key: str, uid: str, swap: bool) -> Venue:
        return Venue(
            {self.exchange_symbol: self.market}, {self.exchange_symbol: PRICE},
            {"USDT": D(1_000_000)},
            derivatives=swap, key=key, uid=uid, shortens_exits="amount" if swap else "",
            refuses_duplicates="always" if self.exchange == "bybit" else "open",
        )  # fmt: skip

    @staticmethod
    def _keys(venue: Venue) -> dict[str, str]:
        return {"api_key": venue.key, "secret": venue.secret, "password": venue.password}

    def _adapter(self) -> CryptoAdapter:
        return CryptoAdapter(ClientPool({self.exchange: self.server.base}, unlimited_rates))

    # ---- features ---------------------------------------------------------------------------
    async def accepted(self, client_order_id: str) -> int:
        return self.venue.accepted(client_order_id)

    async def journal(self) -> Sequence[JournalEntry]:
        with self.venue.lock:
            orders = [one for one in self.venue.orders if one.cid and not one.is_level]
        return [
            JournalEntry(
                one.cid,
                OrderType.STOP_LIMIT if one.trigger is not None else OrderType(one.type),
                Side(one.side),
                one.amount * self.market.contract_size,
            )
            for one in orders
        ]

    async def stops(self) -> Sequence[D]:
        with self.venue.lock:
            levels = [one for one in self.venue.orders if one.is_level and one.is_untriggered]
        return [one.trigger for one in levels if one.trigger is not None and not one.rises]

    async def move(self, factor: D) -> None:
        price = (PRICE * factor / self.tick).to_integral_value() * self.tick if self.tick else PRICE
        actions.move_price(self.venue, self.exchange_symbol, price)

    async def second_account(self) -> ConnectionSpec:
        return replace(self.spec, connection_id="c-second", credentials=self._keys(self.other))

    async def with_mistake(self, mistake: HarnessFeature) -> ConnectionSpec:
        if mistake is HarnessFeature.ACCOUNT:  # the other account's keys, where this one was tested
            tested = f"{self.venue.uid} {self.spec.settings['market']}"
            return replace(self.spec, connection_id="c-mistaken", identity=tested,
                           credentials=self._keys(self.other))  # fmt: skip
        wrong = {**self.spec.credentials, "secret": "d3Jvbmc="}
        return replace(self.spec, connection_id="c-mistaken", credentials=wrong)

    async def new_process(self) -> None:
        await self.adapter.disconnect()
        self.adapter = self._adapter()

    async def restart(self) -> None:
        await asyncio.to_thread(self.server.stop)
        await asyncio.to_thread(self.server.start)

    async def owner_closes(self, broker_position_id: str) -> None:
        await asyncio.to_thread(actions.close_by_hand, self.venue, self.exchange_symbol)

    async def execute_again(self, request: OrderRequest) -> None:
        venue, size = self.venue, self.market.contract_size
        amount = request.quantity / size
        with venue.lock:
            venue.place(self.exchange_symbol, "BUY", "MARKET", amount, cid=request.client_order_id)

    async def half_reply(self) -> Sequence[str]:
        assert self.venue.last_partial_answer
        return [self.venue.last_partial_answer]

    # ---- faults -----------------------------------------------------------------------------
    async def begin(self, fault: InjectedFault) -> None:
        venue = self.venue
        match fault:
            case InjectedFault.REFUSED:
                venue.faults.append(REFUSALS[self.exchange])
            case InjectedFault.UNLISTED:
                venue.faults.append(UNLISTED[self.exchange])
            case InjectedFault.THREE_FILLS:
                venue.trades_per_fill = 3
            case InjectedFault.PARTIAL:
                venue.fill_share = D("0.5")
            case InjectedFault.OVERTAKEN:
                venue.fills_before_cancel = True
            case InjectedFault.REPLAY:
                pass  # each read of the trades returns everything again
            case InjectedFault.READS:
                venue.truncates_reads = True
            case InjectedFault.CLOSED:
                venue.closed = True
            case InjectedFault.NO_MONEY:
                venue.balances["USDT"] = D(10)
            case InjectedFault.DISABLED:
                venue.can_trade = False
            case InjectedFault.CLOCK_AHEAD | InjectedFault.CLOCK_BEHIND:
                venue.skew_ms = 600_000 if fault is InjectedFault.CLOCK_AHEAD else -600_000
            case InjectedFault.DROPS_LEVELS:
                venue.drops_levels = True
            case InjectedFault.DROPS_LATER:
                venue.drop_levels()
            case InjectedFault.COARSER:
                coarser = replace(self.market, step=self.market.step * 2)
                venue.markets[self.exchange_symbol] = coarser
            case InjectedFault.HALT_ENDED:
                halted = replace(self.market, state=HALTED[self.exchange])
                venue.markets[self.exchange_symbol] = halted
                await self.adapter.disconnect()
                await self.adapter.positions(self.spec)  # loads them
                venue.markets[self.exchange_symbol] = self.market
            case InjectedFault.DELISTED:
                venue.delisted.add(self.exchange_symbol)
                await self.adapter.disconnect()
            case InjectedFault.FEE_IN_COIN:
                venue.fee_in_base, venue.fee_rate = True, D("0.001")
            case InjectedFault.DOWN:
                await asyncio.to_thread(self.server.stop)
            case _:
                venue.faults.append(FAULTS[fault])

    async def end(self) -> None:
        venue = self.venue
        for _ in range(30):  # written bytes may still be on their way to the fault
            if not venue.faults:
                break
            await asyncio.sleep(0.01)
        (
            venue.trades_per_fill,
            venue.fill_share,
            venue.fills_before_cancel,
            venue.truncates_reads,
        ) = 1, D(1), False, False
        venue.closed, venue.can_trade, venue.skew_ms = False, True, 0
        venue.drops_levels = False
        venue.markets[self.exchange_symbol] = self.market
        if venue.delisted:
            venue.delisted.clear()
            await self.adapter.disconnect()
        if venue.fee_in_base:
            venue.fee_in_base, venue.fee_rate = False, D(0)
            venue.balances["BTC"] = D(0)  # the dust
        venue.balances["USDT"] = max(venue.balances["USDT"], D(900_000))
        venue.faults.clear()
        if not self.server.is_up:
            await asyncio.to_thread(self.server.start)

    async def close(self) -> None:
        await self.adapter.disconnect()
        await asyncio.to_thread(self.server.stop)


def _opening(exchange: str, *, swap: bool = False) -> OpenHarness:
    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[Harness]:
        stage = await asyncio.to_thread(lambda: CryptoStage(exchange, swap=swap))
        try:
            yield stage
        finally:
            await stage.close()

    return opened


STAGES = {
    "binance spot": _opening("binance"),
    "binance perpetuals": _opening("binance", swap=True),
    "bybit spot": _opening("bybit"),
    "bybit perpetuals": _opening("bybit", swap=True),
    "okx spot": _opening("okx"),
    "okx perpetuals": _opening("okx", swap=True),
    "kraken spot": _opening("kraken"),
}
MAX_CONCURRENT = 4
