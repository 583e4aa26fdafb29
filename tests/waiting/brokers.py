"""An account at each fake broker: a whole trading process, an order that the fake swallows, and
the client order ids that have reached it."""

import ipaddress
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest

from brokers import registry
from brokers.base import BrokerAdapter
from brokers.crypto.adapter import CryptoAdapter
from brokers.crypto.client import ClientPool
from brokers.paper import exchange as paper
from brokers.paper.models import PaperOrder
from brokers.types import Quote
from common.clocks import market_now
from common.sealing import new_private_key, public_key_of
from connections.health.connection_checks import run_test
from connections.models import ExecutionConnection, HealthStatus
from connections.sealing import seal_credentials
from execution.models import Order
from execution.runtime import trading_runtime
from signals.models import Feed
from tests.connections import make
from tests.crypto.factories import DIALECTS, unlimited_rates
from tests.dwx.factories import SETTINGS as MT4_SETTINGS
from tests.execution import factories
from tests.execution.trading_process import running, until
from tests.fakes.dwx.terminal import Terminal
from tests.fakes.exchange.server import Server
from tests.fakes.exchange.venue import Fault, Market
from tests.fakes.exchange.venue import Venue as Exchange
from tests.fakes.mt5.fake_terminal import FakeTerminal as Mt5
from tests.fakes.paper_server.operations import set_terms
from tests.fakes.tws.server_process import TwsProcess
from tests.ibkr.factories import ACCOUNT
from tests.operational import set_setting

SECONDS = 60.0
KINDS = ("paper", "mt5", "mt4", "ibkr", "crypto")
_exchange: list[BrokerAdapter] = []


def exchange_adapter() -> BrokerAdapter:
    """The adapter of this process: it reaches the fake exchange."""
    return _exchange[-1]


@dataclass(frozen=True)
class Account:
    """An account at a fake broker, tested and compared, that follows `feed`.

    swallow: have the fake take the next order without a trace and without an answer. has_taken:
    whether it has. recover: from now on it answers. arrived: what has reached its books. refuse:
    from now on its terminal sends no order, while it goes on reporting the account; recover ends
    that, too.
    """

    row: ExecutionConnection
    feed: Feed
    swallow: Callable[[], object]
    has_taken: Callable[[], bool]
    recover: Callable[[], object]
    arrived: Callable[[], list[str]]
    refuse: Callable[[], object] | None = None

    def quote(self) -> None:
        """Its price source quotes now."""
        factories.quote(self.row, "1.10000", "1.10020")


@contextmanager
def account_at(
    kind: str, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Account]:
    """Start a fake broker of this type and a trading process beside it."""
    private = new_private_key()
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = public_key_of(private)
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (private,)
    set_setting("networks.broker_networks", (ipaddress.ip_network("127.0.0.0/8"),))
    set_setting("execution.poll_seconds", 0.4)
    with _STARTED[kind](tmp_path, monkeypatch) as account:
        yield account


def _connected(
    kind: str, account: str, options: dict[str, Any], secrets: dict[str, str], **fields: Any
) -> ExecutionConnection:
    """A connection as its own test leaves it, compared."""
    sized: dict[str, Any] = {
        "sizing_mode": "FIXED", "fixed_quantity": fields.pop("quantity", D(1000)),
        "max_signal_age_seconds": 600, "max_open_positions": 20,
    }  # fmt: skip
    row = make.connection(
        type=kind, account=account, settings=options, sealed_credentials=None,
        preset=make.preset(**sized), health_status=HealthStatus.UNTESTED, **fields,
    )  # fmt: skip
    if secrets:
        row.sealed_credentials = seal_credentials(
            secrets, connection_id=row.pk, owner_id=row.owner_id
        )
        row.save()
    factories.quote(row, "1.10000", "1.10020")
    if row.lane:
        until(lambda: row.lane in trading_runtime.get_runtime().lanes.held())
    assert [one for one in run_test(row.pk) if one.result == "fail"] == []
    until(lambda: _is_compared(row))
    return row


def _is_compared(row: ExecutionConnection) -> bool:
    return ExecutionConnection.objects.get(pk=row.pk).health.reconciled_at is not None


def _followed(row: ExecutionConnection) -> Feed:
    feed = make.feed()
    make.subscription(row, feed)
    return feed


def is_unknown() -> bool:
    """Whether an order's answer is known to be lost."""
    return Order.objects.filter(status="UNKNOWN").exists()


@contextmanager
def _paper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    with running("execution+maintenance", SECONDS):
        paper.list_instruments()
        paper.open_account("P1", balance=D(100_000))
        row = _connected("paper", "P1", {"reply_timeout": 1}, {})
        paper.on_quotes([Quote("EUR/USD", D("1.10000"), D("1.10020"), market_now())])
        yield Account(
            row, _followed(row),
            swallow=lambda: set_terms(["P1"], {"silent_before": True}),
            has_taken=is_unknown,
            recover=lambda: set_terms(["P1"], {"silent_before": False}),
            arrived=lambda: list(PaperOrder.objects.values_list("client_order_id", flat=True)),
        )  # fmt: skip


@contextmanager
def _mt5(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    venue = Mt5()
    venue.configure(ticking=True)
    venue.configure_account(balance=100_000.0)
    options = {
        "server": "Double-Demo", "server_timezone": "UTC", "settle_seconds": 0, "reply_timeout": 30,
    }  # fmt: skip
    try:
        with venue.installed():
            registry.clear_cache()
            with running("mt5.main", SECONDS):
                row = _connected("mt5", "1001", options, {"password": "secret"})
                yield Account(
                    row, _followed(row),
                    swallow=lambda: venue.fault("order_send", "silent", accepts=False),
                    has_taken=lambda: "order_send" in venue.state()["calls"],
                    recover=lambda: venue.control("end_faults", call="order_send"),
                    arrived=venue.accepted,
                    refuse=lambda: venue.fault(  # it takes no request: there were too many
                        "order_send", "retcode", code=10024, times=10_000
                    ),
                )  # fmt: skip
            registry.clear_cache()
    finally:
        venue.control("release")
        venue.stop()


@contextmanager
def _mt4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    terminal = Terminal(tmp_path / "root", tmp_path / "broker")
    terminal.start()
    monkeypatch.setenv("FILLCAST_MT4_ROOT", str(tmp_path / "root"))
    options = {**MT4_SETTINGS, "stale_seconds": 5, "answer_seconds": 20, "settle_seconds": 60}

    def recover() -> None:
        terminal.simulate("time_zone", hours=2.0)  # changes nothing: waits for the order's loss
        terminal.fault()

    def orders() -> int:
        return sum(one[0] == "OPEN_ORDER" for one in terminal.commands())

    try:
        registry.clear_cache()
        with running("execution+sessions", SECONDS):
            row = _connected("mt4", "4711", options, {"password": terminal.key})
            before = orders()
            yield Account(
                row, _followed(row),
                swallow=lambda: terminal.fault(swallow=True),
                has_taken=lambda: orders() > before,  # its test has sent some, for the limits
                recover=recover,
                arrived=lambda: [one["comment"] for one in terminal.journal()],
                refuse=lambda: terminal.fault(error="trade context is busy"),
            )  # fmt: skip
        registry.clear_cache()
    finally:
        terminal.kill()


@contextmanager
def _ibkr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    tws = TwsProcess(tmp_path / "tws.jsonl")
    tws.do("quote", "EURUSD", "1.1000", "1.1002")
    options = {"host": "127.0.0.1", "port": tws.port, "symbols": ["EURUSD"], "timezone": "UTC"}
    try:
        with running("execution+sessions", SECONDS):
            row = _connected("ibkr", ACCOUNT, options, {}, quantity=D(5000))
            yield Account(
                row, _followed(row),
                swallow=lambda: tws.do("fault", "ignore"),
                has_taken=lambda: bool(tws.state()["received"]),
                recover=lambda: None,
                arrived=lambda: list(tws.state()["accepted"]),
            )  # fmt: skip
    finally:
        tws.close()


@contextmanager
def _crypto(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    euro = Market("EUR", "USD", D(1), D("0.0001"), D(5))
    books = Exchange({"EURUSD": euro}, {"EURUSD": D("1.1000")}, {"USD": D(100_000)})
    server = Server(DIALECTS["binance"], books)
    _exchange.append(CryptoAdapter(ClientPool({"binance": server.base}, unlimited_rates)))
    monkeypatch.setitem(registry.BUILT_IN, "crypto", f"{__name__}:exchange_adapter")
    registry.clear_cache()
    options = {"market": "spot", "symbols": ["EUR/USD"], "currency": "USD"}
    keys = {"api_key": books.key, "secret": books.secret, "password": books.password}
    try:
        with running("execution+maintenance", SECONDS):
            row = _connected("crypto", "main", options, keys, exchange_name="binance")
            yield Account(
                row, _followed(row),
                swallow=lambda: books.faults.append(Fault("silent", seconds=30)),
                has_taken=lambda: bool(books.writes),
                recover=lambda: None,
                arrived=lambda: [one.cid for one in list(books.orders)],
            )  # fmt: skip
    finally:
        registry.clear_cache()
        _exchange.pop()
        server.stop()


_STARTED = {"paper": _paper, "mt5": _mt5, "mt4": _mt4, "ibkr": _ibkr, "crypto": _crypto}
