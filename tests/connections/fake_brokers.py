"""A broker whose answers the test sets."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

from brokers.account_capabilities import Capabilities
from brokers.adapter_base import AdapterBase
from brokers.base import BrokerAdapter
from brokers.paper.capabilities import capabilities_of
from brokers.types import (
    AccountState,
    Check,
    CheckResult,
    ConnectionSpec,
    Instrument,
    PositionMode,
)
from tests.hanging import Hang

ONE = Decimal(1)


def account(**fields: Any) -> AccountState:
    known: dict[str, Any] = {
        "account": "7", "currency": "USD", "balance": Decimal(1000), "equity": Decimal(990),
        "margin_used": Decimal(10), "free_margin": Decimal(980), "leverage": Decimal(30),
        "position_mode": PositionMode.HEDGING, "time": datetime.now(UTC),
    }  # fmt: skip
    return AccountState(**{**known, **fields})


def instrument(symbol: str, pair: str, **fields: Any) -> Instrument:
    known: dict[str, Any] = {
        "digits": 5, "pip": Decimal("0.0001"), "quantity_min": ONE, "quantity_step": ONE,
        "quantity_max": Decimal(1000), "contract_size": Decimal(100_000),
    }  # fmt: skip
    return Instrument(symbol=symbol, pair=pair, **{**known, **fields})


class Broker(AdapterBase):
    """What its methods return, or raise if it is an exception."""

    broker_type = "paper"

    def __init__(self) -> None:
        self.checks: list[Check] | BaseException = [Check("login", CheckResult.OK, "Logged in.")]
        self.state: AccountState | BaseException = account()
        self.states: dict[str, AccountState] = {}  # of single connections
        self.listed: list[Instrument] = [instrument("EURUSD", "EUR/USD")]
        self.asked: list[ConnectionSpec] = []
        self.at_once = self.most_at_once = 0
        self.on_call: Callable[[], None] = lambda: None
        self.hang, self.hung = Hang(), set[str]()  # connections that are not answered

    async def test(self, spec: ConnectionSpec) -> list[Check]:
        self.asked.append(spec)
        self.on_call()
        if isinstance(self.checks, BaseException):
            raise self.checks
        return self.checks

    async def account(self, spec: ConnectionSpec) -> AccountState:
        self.asked.append(spec)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        if spec.connection_id in self.hung:
            await self.hang()
        self.at_once -= 1
        if isinstance(self.state, BaseException):
            raise self.state
        return self.states.get(spec.connection_id, self.state)

    def capabilities(self, spec: ConnectionSpec) -> Capabilities:
        return capabilities_of(spec)

    async def instruments(self, spec: ConnectionSpec) -> list[Instrument]:
        return self.listed

    def instrument_book(self, spec: ConnectionSpec) -> str:
        return "book"

    def __call__(self, kind: str) -> BrokerAdapter:
        """As `adapter_for`."""
        return cast(BrokerAdapter, self)
