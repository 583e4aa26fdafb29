"""An account at a terminal: its connection, its adapter, and the requests of the tests."""

import asyncio
import json
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
    "take_seconds": 20,
    "answer_seconds": 20,
    "stale_seconds": 20,
    "settle_seconds": 0.5,
}


def run(call: Coroutine[Any, Any, T]) -> T:
    """Run a call to its end and return its result."""
    return asyncio.run(call)


def allow(_: OrderRequest) -> None:
    """A guard that lets every order pass."""


class Account:
    """One account: its terminal, its connection's spec, and the adapter that trades it."""

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

    def shorten_timeouts(self, *names: str) -> None:
        """Set these timeouts, or all, to about a second: what is waited for will not come."""
        self.change_settings(**{name: SHORT_TIMEOUTS[name] for name in names or SHORT_TIMEOUTS})

    def minimize_timeouts(self) -> None:
        """Set all timeouts to a fifth of a second: the terminal does not run."""
        self.change_settings(**MINIMAL_TIMEOUTS)

    def restore_timeouts(self) -> None:
        """Wait again as long as a busy machine may need."""
        self.change_settings(**{key: SETTINGS[key] for key in SHORT_TIMEOUTS})

    def order(self, quantity: str = "10000", **fields: Any) -> OrderRequest:
        """Return a request; by default a market buy of 0.1 lots of EURUSD."""
        fields.setdefault("client_order_id", f"abc{next(self._ids):014}0")
        defaults: dict[str, Any] = {
            "connection_id": "c1", "account": "4711", "symbol": "EURUSD", "side": Side.BUY,
            "order_type": OrderType.MARKET, "time_in_force": TimeInForce.GTC,
        }  # fmt: skip
        return OrderRequest(quantity=D(quantity), **{**defaults, **fields})

    def exit(self, position: str, quantity: str = "10000", **fields: Any) -> OrderRequest:
        """Return the request that closes a position or a part of it."""
        return self.order(
            quantity,
            **{"side": Side.SELL, "reduce_only": True, "broker_position_id": position, **fields},
        )

    def submit(self, request: OrderRequest, guard: Guard = allow) -> list[OrderReport]:
        return run(self.adapter.submit(self.spec, request, guard))

    def buy(self, quantity: str = "10000", **fields: Any) -> OrderReport:
        """Place an order and return its one report."""
        [report] = self.submit(self.order(quantity, **fields))
        return report

    def find(self, client_order_id: str) -> list[OrderReport] | None:
        return run(self.adapter.find_order(self.spec, client_order_id))

    def positions(self) -> list[BrokerPosition]:
        return run(self.adapter.positions(self.spec))

    def cancel(self, report: OrderReport, **fields: Any) -> list[OrderReport]:
        request = CancelRequest(report.client_order_id, report.broker_order_id, "EURUSD", **fields)
        return run(self.adapter.cancel(self.spec, request))

    def modify(
        self, position: str, stop: str | None, target: str | None = None, **fields: Any
    ) -> list[OrderReport]:
        levels = (None if stop is None else D(stop), None if target is None else D(target))
        request = ModifyRequest(
            fields.pop("client_order_id", ""), position, "EURUSD", *levels, **fields
        )
        return run(self.adapter.modify(self.spec, request))

    def restart(self) -> None:
        """Replace our process: a new adapter takes over."""
        run(self.adapter.disconnect())
        self.adapter = self._create(str(self.root))


def age_ledger(account: Account, days: float) -> None:
    """Let all commands have been sent so many days earlier. Restart our process before."""
    ledger = account.terminal.folder / "fillcast/ledger.jsonl"
    lines = [json.loads(line) for line in ledger.read_text().splitlines() if line]
    for line in lines:
        line["at"] = line.get("at", 0) - days * 86_400 if "what" in line else 0
    ledger.write_text("\n".join(map(json.dumps, lines)))


def fills(account: Account) -> list[OrderReport]:
    """Return the reports of all fills of the last hour."""
    since = datetime.now(UTC) - timedelta(hours=1)
    return run(account.adapter.fills_since(account.spec, since))


def exits(account: Account) -> list[tuple[str, D, CloseCause | None]]:
    """Return client order id, quantity and close cause of each exit of the last hour."""
    closes = [report for report in fills(account) if report.broker_order_id.endswith(":close")]
    return [
        (report.client_order_id, report.fills[0].quantity, report.close_cause) for report in closes
    ]


def checks(account: Account) -> dict[str, Check]:
    return {check.name: check for check in run(account.adapter.test(account.spec))}


@contextmanager
def raises_outcome(outcome: type[BrokerError], *codes: Any) -> Iterator[list[BrokerError]]:
    """Expect exactly this outcome, with one of these codes if any are given."""
    caught: list[BrokerError] = []
    with pytest.raises(BrokerError) as raised:
        yield caught
    assert type(raised.value) is outcome, raised.value
    assert not codes or raised.value.code in codes, raised.value
    caught.append(raised.value)
