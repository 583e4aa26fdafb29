"""Who takes part: a terminal, its owner's connection, and what is asked of it."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import pytest

from brokers.base import BrokerError, Guard
from brokers.dwx import mt5_adapter
from brokers.dwx.adapter import DwxAdapter, create
from brokers.types import (
    BrokerPosition,
    CancelRequest,
    Check,
    CloseCause,
    ConnectionSpec,
    ModifyRequest,
    OrderReport,
    OrderRequest,
    OrderType,
    Side,
    TimeInForce,
)
from tests.fakes.dwx.terminal import Terminal

T = TypeVar("T")
SHORT_TIMEOUTS = {"take_seconds": 0.6, "answer_seconds": 1, "stale_seconds": 1}
MINIMAL_TIMEOUTS = {"take_seconds": 0.2, "answer_seconds": 0.2, "stale_seconds": 0.2}
SETTINGS = {
    "folder": "alice",
    "symbols": "EURUSD, XAUUSD.m",
    "server_zone": "UTC+2",
    "take_seconds": 3,
    "answer_seconds": 4,
    "stale_seconds": 4,
    "settle_seconds": 0.5,
}


def run(call: Coroutine[Any, Any, T]) -> T:
    """Drive a call to its end."""
    return asyncio.run(call)


def allow(_: OrderRequest) -> None:
    """A guard that lets everything leave."""


class Owner:
    """An account's owner with a terminal and an adapter."""

    def __init__(self, terminal: Terminal, root: Path, **settings: Any) -> None:
        self.terminal, self.root = terminal, root
        self._create = mt5_adapter.create if settings.get("hedging") is not None else create
        self.adapter: DwxAdapter = self._create(str(root))
        self.spec = ConnectionSpec(
            "c1", "4711", settings={**SETTINGS, **settings}, credentials={"password": terminal.key}
        )
        self._ids = count()

    def change_settings(self, **settings: Any) -> None:
        self.spec = replace(self.spec, settings={**self.spec.settings, **settings})

    def shorten_timeouts(self, *what: str) -> None:
        """Wait only shortly for what will not come; all of it, or what is named."""
        self.change_settings(**{key: SHORT_TIMEOUTS[key] for key in what or SHORT_TIMEOUTS})

    def minimize_timeouts(self) -> None:
        """Wait hardly at all: nobody is there, and no patience would change it."""
        self.change_settings(**MINIMAL_TIMEOUTS)

    def restore_timeouts(self) -> None:
        """Wait again as long as a busy machine may need."""
        self.change_settings(**{key: SETTINGS[key] for key in SHORT_TIMEOUTS})

    def order(self, quantity: str = "10000", **said: Any) -> OrderRequest:
        """A market buy of 0.1 lots of EURUSD unless told otherwise."""
        said.setdefault("client_order_id", f"abc{next(self._ids):014}0")
        values: dict[str, Any] = {
            "connection_id": "c1", "account": "4711", "symbol": "EURUSD", "side": Side.BUY,
            "order_type": OrderType.MARKET, "time_in_force": TimeInForce.GTC,
        }  # fmt: skip
        return OrderRequest(quantity=D(quantity), **{**values, **said})

    def exit(self, position: str, quantity: str = "10000", **said: Any) -> OrderRequest:
        return self.order(
            quantity,
            **{"side": Side.SELL, "reduce_only": True, "broker_position_id": position, **said},
        )

    def submit(self, request: OrderRequest, guard: Guard = allow) -> list[OrderReport]:
        return run(self.adapter.submit(self.spec, request, guard))

    def buy(self, quantity: str = "10000", **said: Any) -> OrderReport:
        """Place an order and return its one report."""
        [report] = self.submit(self.order(quantity, **said))
        return report

    def find(self, client_order_id: str) -> list[OrderReport] | None:
        return run(self.adapter.find_order(self.spec, client_order_id))

    def positions(self) -> list[BrokerPosition]:
        return run(self.adapter.positions(self.spec))

    def cancel(self, report: OrderReport, **said: Any) -> list[OrderReport]:
        request = CancelRequest(report.client_order_id, report.broker_order_id, "EURUSD", **said)
        return run(self.adapter.cancel(self.spec, request))

    def modify(
        self, position: str, stop: str | None, target: str | None = None, **said: Any
    ) -> list[OrderReport]:
        levels = (None if stop is None else D(stop), None if target is None else D(target))
        request = ModifyRequest(
            said.pop("client_order_id", ""), position, "EURUSD", *levels, **said
        )
        return run(self.adapter.modify(self.spec, request))

    def restart(self) -> None:
        """This process dies and another takes over."""
        run(self.adapter.disconnect())
        self.adapter = self._create(str(self.root))


def fills(owner: Owner) -> list[OrderReport]:
    """What was executed in the last hour."""
    since = datetime.now(UTC) - timedelta(hours=1)
    return run(owner.adapter.fills_since(owner.spec, since))


def exits(owner: Owner) -> list[tuple[str, D, CloseCause | None]]:
    told = [one for one in fills(owner) if one.broker_order_id.endswith(":close")]
    return [(one.client_order_id, one.fills[0].quantity, one.close_cause) for one in told]


def checks(owner: Owner) -> dict[str, Check]:
    return {one.name: one for one in run(owner.adapter.test(owner.spec))}


@contextmanager
def raises_outcome(kind: type[BrokerError], *codes: Any) -> Iterator[list[BrokerError]]:
    """Expect exactly this outcome, with one of these codes if any are given."""
    caught: list[BrokerError] = []
    with pytest.raises(BrokerError) as found:
        yield caught
    assert type(found.value) is kind, found.value
    assert not codes or found.value.code in codes, found.value
    caught.append(found.value)
