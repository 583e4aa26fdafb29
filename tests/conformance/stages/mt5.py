"""MetaTrader 5: hedging on a dealer's symbol, netting on an exchange's. Our worker process and the
terminal are real processes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from decimal import Decimal as D
from typing import Any

from brokers.mt5.adapter import create
from brokers.types import ConnectionSpec, OrderRequest, OrderType, Side
from conformance.harness import (
    Harness,
    HarnessFeature,
    InjectedFault,
    JournalEntry,
    NotApplicable,
)
from conformance.runner import OpenHarness
from tests.fakes.mt5.fake_terminal import FakeTerminal

HEDGING, NETTING, OTHER, MISSING = 1001, 1002, 1003, 4711
KEEPS_SYMBOLS = "a terminal removes no symbol of which a position is open"
IN_MONEY = "fees are charged in the account's currency"
KEEPS_NUMBERS = "MetaTrader 5 keeps a position's identifier when its ticket changes"
NO_HOST = "the terminal knows where its server is: a connection names no host"
NO_PARTS = (
    "a dealer's server fills a limit order whole or not at all, and refuses one whose price is"
    " already reached (10015); the exchange symbol of 'mt5 netting' has partial fills"
)
NO_BOUND = (
    "market execution: no field of the request limits the price; 'mt5 netting' has a symbol with"
    " exchange execution"
)
NO_HALF = (
    "the package MetaTrader5 reads the terminal's answer: for a truncated one it reports an error"
    " without any of its bytes"
)
DEPOSITED = 2  # type of a deal
TRADES = (1, 5)  # actions of a request: a deal, a pending order
ORDER_TYPES = (OrderType.MARKET, OrderType.LIMIT, OrderType.STOP, OrderType.STOP_LIMIT)
IOC = 2  # of the symbol's mask
READS = ("positions_get", "orders_get", "history_orders_get", "history_deals_get")
ORDER_FAULTS: dict[InjectedFault, dict[str, Any]] = {
    InjectedFault.REFUSED: {"do": "retcode", "code": 10006},
    InjectedFault.LOST: {"do": "silent"},
    InjectedFault.NO_ANSWER: {"do": "silent", "accepts": True},
    InjectedFault.CONNECTION_LOST: {"do": "drop", "accepts": True},
    InjectedFault.LATE: {"do": "late", "accepts": True, "seconds": 2.5},
    InjectedFault.HALF_REPLY: {"do": "half", "accepts": True},
    InjectedFault.UNLISTED: {"do": "retcode", "code": 10099, "accepts": True},
}
NO_FAULTS: dict[str, Any] = {"market_closed": False, "algo_trading": True, "connected": True,
               "skew_seconds": 0.0, "gap": None, "faults": []}  # fmt: skip


class Mt5Stage(Harness):
    """An account of 100,000 USD."""

    def __init__(self, login: int, symbol: str, quantity: D, *, is_exchange: bool) -> None:
        self.venue, self.login, self.symbol, self.quantity = FakeTerminal(), login, symbol, quantity
        self.adapter = create()
        self.spec = self._spec(login)
        self.is_exchange = is_exchange
        self.unavailable = {HarnessFeature.HOST: NO_HOST, InjectedFault.RENUMBERED: KEEPS_NUMBERS}
        self.unavailable |= {
            InjectedFault.DELISTED: KEEPS_SYMBOLS, InjectedFault.FEE_IN_COIN: IN_MONEY,
        }  # fmt: skip
        if not is_exchange:
            self.unavailable |= {InjectedFault.PARTIAL: NO_PARTS}
        self.venue.configure(ticking=True)
        if is_exchange:
            self.venue.configure_symbol(symbol, filling_mode=IOC)
        self._first = {row["name"]: row for row in self.venue.control("symbols")}[symbol]
        self._reset_faults()

    def _spec(self, login: int, password: str = "secret") -> ConnectionSpec:
        return ConnectionSpec(
            f"c-{login}",
            str(login),
            settings={
                "server": "Double-Demo",
                "server_timezone": "UTC",
                "settle_seconds": 0,
                "reply_timeout": 1.5,
                "position_mode": "NETTING" if login == NETTING else "HEDGING",
                "native_stops": True,
            },
            credentials={"password": password},
        )

    def _reset_faults(self) -> None:
        self.venue.configure(**NO_FAULTS)
        self.venue.configure_account(
            self.login, balance=100_000.0, fill_share=1.0, pieces=1, drop_levels=False
        )
        self.venue.configure_symbol(
            self.symbol, trade_stops_level=0, trade_freeze_level=self._first["trade_freeze_level"],
            volume_step=self._first["volume_step"],
        )  # fmt: skip

    # ---- features ---------------------------------------------------------------------------
    async def accepted(self, client_order_id: str) -> int:
        accepted: list[str] = await self._hand(self.venue.accepted, self.login)
        return accepted.count(client_order_id)

    async def journal(self) -> Sequence[JournalEntry]:
        accepted = (await self._hand(self.venue.state, self.login))["accepted"]
        lot = D(str(self._first["trade_contract_size"]))
        return [
            JournalEntry(
                one["comment"],
                ORDER_TYPES[one["type"] // 2],  # of each, first the number of its buys
                Side.SELL if one["type"] % 2 else Side.BUY,
                D(str(one["volume"])) * lot,
            )
            for one in accepted
            if one["action"] in TRADES
        ]

    async def stops(self) -> Sequence[D]:
        positions = (await self._hand(self.venue.state, self.login))["positions"]
        return [D(str(one["sl"])) for one in positions if one["sl"]]

    async def move(self, factor: D) -> None:
        await self._hand(self.venue.quote, self.symbol, *self._at(factor))

    async def gap(self, factor: D) -> None:
        if not self.is_exchange:
            raise NotApplicable(NO_BOUND)
        bid, ask = self._at(factor)
        await self._hand(self.venue.configure, gap={"name": self.symbol, "bid": bid, "ask": ask})

    def _at(self, factor: D) -> tuple[float, float]:
        """Bid and ask at this multiple of the first ones."""
        bid, ask = (round(self._first[side] * float(factor), 5) for side in ("bid", "ask"))
        return bid, ask

    async def second_account(self) -> ConnectionSpec:
        return self._spec(OTHER)

    async def with_mistake(self, mistake: HarnessFeature) -> ConnectionSpec:
        if mistake is HarnessFeature.ACCOUNT:
            return self._spec(MISSING)
        return replace(self._spec(self.login, "wrong battery"), connection_id="c-mistaken")

    async def new_process(self) -> None:
        await self.adapter.disconnect()
        self.adapter = create()

    async def restart(self) -> None:
        await self._hand(self.venue.restart)

    async def owner_closes(self, broker_position_id: str) -> None:
        words = {"reason": 0, "comment": "", "magic": 0}
        ticket = int(broker_position_id)
        await self._hand(self.venue.control, "close", login=self.login, ticket=ticket, **words)

    async def book_cash(self, amount: D) -> None:
        deal = {"login": self.login, "kind": DEPOSITED, "amount": float(amount)}
        await self._hand(self.venue.control, "book", **deal)

    async def execute_again(self, request: OrderRequest) -> None:
        words = {"login": self.login, "comment": request.client_order_id}
        await self._hand(self.venue.control, "execute_again", **words)

    async def half_reply(self) -> Sequence[str]:
        raise NotApplicable(NO_HALF)

    # ---- faults -----------------------------------------------------------------------------
    async def begin(self, fault: InjectedFault) -> None:
        if fault in ORDER_FAULTS:
            await self._hand(self.venue.fault, "order_send", **ORDER_FAULTS[fault])
            return
        match fault:
            case InjectedFault.THREE_FILLS:
                await self._hand(self.venue.configure_account, self.login, pieces=3)
            case InjectedFault.PARTIAL:
                await self._hand(self.venue.configure_account, self.login, fill_share=0.5)
            case InjectedFault.DROPS_LEVELS:
                await self._hand(self.venue.configure_account, self.login, drop_levels=True)
            case InjectedFault.DROPS_LATER:
                for position in (await self._hand(self.venue.state, self.login))["positions"]:
                    words = {
                        "login": self.login,
                        "ticket": position["ticket"],
                        "sl": 0.0,
                        "tp": 0.0,
                    }
                    await self._hand(self.venue.control, "levels", **words)
            case InjectedFault.OVERTAKEN:
                await self.move(1 - self.far_fraction * 2)
            case InjectedFault.REPLAY:
                pass  # each read of history returns everything again
            case InjectedFault.READS:
                for call in READS:
                    await self._hand(self.venue.fault, call, "none", code=-10005, times=99)
                await self._hand(self.venue.fault, "account_info", "none", code=-10005, skip=1)
            case InjectedFault.CLOSED:
                await self._hand(self.venue.configure, market_closed=True)
            case InjectedFault.NO_MONEY:
                await self._hand(self.venue.configure_account, self.login, balance=10.0)
            case InjectedFault.DISABLED:
                await self._hand(self.venue.configure, algo_trading=False)
            case InjectedFault.STOPS_NEAR:
                await self._hand(self.venue.configure_symbol, self.symbol, trade_stops_level=100)
            case InjectedFault.HALT_ENDED:
                await self._hand(self.venue.configure_symbol, self.symbol, trade_mode=0)
                await self.adapter.instruments(self.spec)
                trades = self._first["trade_mode"]
                await self._hand(self.venue.configure_symbol, self.symbol, trade_mode=trades)
            case InjectedFault.COARSER:
                coarser = self._first["volume_step"] * 2
                await self._hand(self.venue.configure_symbol, self.symbol, volume_step=coarser)
            case InjectedFault.FROZEN:  # wider than any price is away
                await self._hand(
                    self.venue.configure_symbol, self.symbol, trade_freeze_level=100_000
                )
            case InjectedFault.CLOCK_AHEAD | InjectedFault.CLOCK_BEHIND:
                ahead = 600.0 if fault is InjectedFault.CLOCK_AHEAD else -600.0
                await self._hand(self.venue.configure, skew_seconds=ahead)
            case InjectedFault.DOWN:
                await self._hand(self.venue.configure, connected=False)
            case _:
                raise AssertionError(fault)

    async def end(self) -> None:
        await self._hand(self._reset_faults)

    async def close(self) -> None:
        await self.adapter.disconnect()
        await self._hand(self.venue.stop)

    @staticmethod
    async def _hand(work: Any, *arguments: Any, **words: Any) -> Any:
        return await asyncio.to_thread(work, *arguments, **words)


def _opening(login: int, symbol: str, quantity: D, *, is_exchange: bool = False) -> OpenHarness:
    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[Harness]:
        stage = await asyncio.to_thread(
            lambda: Mt5Stage(login, symbol, quantity, is_exchange=is_exchange)
        )
        with stage.venue.installed():
            try:
                yield stage
            finally:
                await stage.close()

    return opened


STAGES = {
    "mt5 hedging": _opening(HEDGING, "EURUSD", D(12_000)),
    "mt5 netting": _opening(NETTING, "US500", D(12), is_exchange=True),
}
