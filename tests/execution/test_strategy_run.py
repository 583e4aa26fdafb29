"""A whole run of a strategy by the documented alerts, on a hedging and a netting paper account."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from django.core.cache import cache
from django.db.models import Count
from django.test import Client

from brokers.base import outcome_of
from brokers.paper import exchange
from brokers.paper.db_sessions import sessions
from brokers.paper.models import PaperOrder, PaperPosition
from brokers.registry import adapter_for
from brokers.types import Quote
from common.clocks import market_now
from connections.models import ExecutionConnection, Instrument, Subscription, TradingPreset
from execution.models import Order
from execution.monitoring import broker_positions
from execution.monitoring.level_sync import sync_levels
from execution.monitoring.pending_actions import process_pending_actions
from execution.runtime import trading_runtime
from execution.runtime.event_stream import drain_events
from signals.feeds.services import create_feed_token
from signals.models import Feed, ReceivedAlert, Signal
from tests.alert_inbox import answer_of
from tests.alerts.charting import Chart, fill_in, templates
from tests.execution import factories
from tests.execution.trading_process import running
from tests.execution.trading_process import until as engine_until
from tests.operational import set_setting

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.slow,
    pytest.mark.usefixtures("accounts", "engine"),
]
SECONDS = 60.0
MODES = ("HEDGING", "NETTING")


@pytest.fixture(params=["by hand", pytest.param("running", marks=pytest.mark.processes)])
def engine(request: pytest.FixtureRequest, settings: Any) -> Iterator[None]:
    """The engine: the test runs its jobs one by one, or a whole trading process runs."""
    set_setting("execution.poll_seconds", 0.1)
    if request.param == "by hand":
        request.getfixturevalue("runtime")
        yield
        return
    with running("execution+maintenance", SECONDS):
        yield


def work() -> None:
    """Run each job once that the accounts' orders wait for."""
    drain_events()
    for outgoing in factories.claim_all():
        call = adapter_for("paper").submit(outgoing.spec, outgoing.request, lambda _: None)
        answer = trading_runtime.get_runtime().dispatcher.run_call(outcome_of(call), SECONDS)
        factories.answer(outgoing, answer)
    process_pending_actions()
    sync_levels()
    broker_positions.refresh()
    factories.pass_time(1)


def until(is_so: Callable[[], object]) -> None:
    """Let the engine work until a condition holds."""
    if trading_runtime.get_runtime().report_writer.is_alive():
        engine_until(is_so)
        return
    for _ in range(20):
        if is_so():
            return
        work()
    raise AssertionError(
        f"not after 20 rounds: {list(Order.objects.values_list('leg', 'status', 'reason'))}"
    )


@pytest.fixture
def accounts(feed: Feed, settings: Any) -> Iterator[dict[str, ExecutionConnection]]:
    """Two accounts at the paper broker that trade 3,000 a signal, and the engine that does it."""
    cache.clear()
    settings.ALLOWED_HOSTS = ["testserver"]
    set_setting("execution.market_entry_max_age_seconds", 600)  # all times of a run are its start
    exchange.list_instruments()
    listed = Instrument.objects.get(book="double")
    Instrument.objects.create(
        book="paper", symbol="EURUSD", pair="EUR/USD", read_at=market_now(),
        digits=5, pip=listed.pip, quantity_min=D(1000), quantity_step=D(1000),
        quantity_max=D(10_000_000), contract_size=D(100_000),
    )  # fmt: skip
    made = {}
    for mode in MODES:
        exchange.open_account(mode, balance=D(10_000), position_mode=mode)
        made[mode] = factories.account(
            feed, type="paper", account=mode, instrument_book="paper",
            preset_fixed_quantity=D(3000), snapshot_position_mode=mode,
        )  # fmt: skip
    quote(made)
    yield made
    sessions.close()


def quote(accounts: dict[str, ExecutionConnection], pair: str = "EUR/USD") -> None:
    exchange.on_quotes([Quote(pair, D("1.10000"), D("1.10002"), market_now())])
    for account in accounts.values():
        factories.quote(account, "1.10000", "1.10002", pair=pair)


class AlertClient:
    """The webhook of a chart's alert."""

    def __init__(self, feed: Feed) -> None:
        _, secret = create_feed_token(feed)
        self.path = f"/hooks/tradingview/{feed.slug}/{secret}/"

    def send(self, body: bytes, kind: str = "application/json") -> dict[str, Any]:
        client: Any = Client(enforce_csrf_checks=True)
        answer = answer_of(client.post(self.path, body, content_type=kind))
        return {"status": answer.status_code, **answer.json()}


Held = list[tuple[str, D]]


def held(mode: str) -> Held:
    """Return side and quantity of each position that the broker shows for an account."""
    lots = PaperPosition.objects.filter(account__number=mode, quantity__gt=0).order_by("id")
    found = [(lot.side, lot.quantity) for lot in lots]
    return netted(found) if mode == "NETTING" else found


def netted(lots: Held) -> Held:
    """The same as one position of the symbol."""
    total = sum((quantity if side == "BUY" else -quantity for side, quantity in lots), D(0))
    return [("BUY" if total > 0 else "SELL", abs(total))] if total else []


def is_quiet() -> bool:
    return not Order.objects.filter(done_at=None).exists()


def expect(lots: Held) -> None:
    """Wait until both accounts hold this and nothing is under way."""
    expected = {"HEDGING": lots, "NETTING": netted(lots)}
    until(lambda: is_quiet() and all(held(mode) == expected[mode] for mode in MODES))


LONG, SHORT = ("BUY", D(3000)), ("SELL", D(3000))
# The strategy's orders, how they are read, and what each account then holds.
RUN: list[tuple[tuple[str, str, str], str, Held]] = [
    (("Long", "buy", "3"), "entry", [LONG]),
    (("Long", "buy", "3"), "add", [LONG, LONG]),
    (("Partial", "sell", "2"), "reduce", [("BUY", D(2000))] * 2),
    (("Stop", "sell", "4"), "flat", []),
    (("Long", "buy", "3"), "entry", [LONG]),
    (("Short", "sell", "6"), "reverse", [SHORT]),
    (("Partial", "buy", "1"), "reduce", [("SELL", D(2000))]),
    (("Long", "buy", "5"), "reverse", [LONG]),
    (("Close position order", "sell", "3"), "flat", []),
]


def test_strategy_run_leaves_each_account_with_the_strategys_position(
    accounts: dict[str, ExecutionConnection], feed: Feed
) -> None:
    client, chart, message = AlertClient(feed), Chart(), templates()["strategy"]
    start = market_now()
    for number, ((name, action, contracts), change, lots) in enumerate(RUN):
        quote(accounts)
        now = start + timedelta(seconds=number // 2)  # all in one bar, two orders in a second
        body = fill_in(message, chart.order(name, action, contracts, now))
        response = client.send(body)
        assert (response["status"], response["change"], response["is_new"]) == (
            201,
            change,
            True,
        ), response
        expect(lots)
        again = client.send(body, kind="text/plain; charset=utf-8")  # sent a second time
        assert (again["status"], again["is_new"]) == (200, False)
        assert again["signals"] == response["signals"]
    expect([])
    assert ReceivedAlert.objects.count() == len(RUN)
    entries = Signal.objects.filter(action="OPEN").count()
    # at each account: an order a trade, and its close; nothing was denied
    assert entries == 5
    assert not Order.objects.exclude(status="FILLED").exists()
    assert PaperOrder.objects.filter(closes=None, reduce_only=False).count() == 2 * entries


@pytest.fixture
def mapped(accounts: dict[str, ExecutionConnection]) -> dict[str, ExecutionConnection]:
    """The same accounts; both trade another pair of the broker's for the chart's symbol."""
    Subscription.objects.update(symbol_map={"EUR/USD": "GBPUSD"})
    listed = Instrument.objects.get(book="paper", symbol="EURUSD")
    listed.pk, listed.symbol, listed.pair = None, "GBPUSD", "GBP/USD"
    listed.save(force_insert=True)
    quote(accounts, "GBP/USD")
    return accounts


def test_strategy_run_on_mapped_accounts_ends_working_entries_too(
    mapped: dict[str, ExecutionConnection], feed: Feed
) -> None:
    client, now = AlertClient(feed), market_now()

    def send(number: int, **fields: str) -> dict[str, Any]:
        sent_at = (now + timedelta(seconds=number)).isoformat()
        quote(mapped, "GBP/USD")
        response = client.send(
            json.dumps({"ticker": "EURUSD", "timenow": sent_at, **fields}).encode()
        )
        assert response["status"] == 201, response
        return response

    def change(number: int, before: str, action: str, after: str) -> str:
        position = {"prev_market_position": before, "market_position": after}
        return str(send(number, action=action, contracts="3", **position)["change"])

    def rest(number: int) -> None:
        entry = {"action": "OPEN", "direction": "BUY", "order_type": "LIMIT", "price": "1.05"}
        send(number, **entry)
        resting = Order.objects.filter(position=None, status="SUBMITTED", done_at=None)
        until(lambda: resting.count() == len(MODES) == Order.objects.filter(done_at=None).count())

    rest(0)
    assert change(1, "long", "sell", "flat") == "flat"
    expect([])
    rest(2)
    assert change(3, "long", "sell", "short") == "reverse"
    expect([SHORT])
    assert change(4, "short", "buy", "long") == "reverse"
    expect([LONG])
    assert change(5, "long", "sell", "flat") == "flat"
    expect([])
    traded = Order.objects.filter(status="FILLED")
    assert set(traded.values_list("pair", flat=True)) == {"GBP/USD"}
    states = Order.objects.values_list("status").annotate(Count("id"))
    assert dict(states) == {"CANCELLED": 4, "FILLED": 8}


def test_exit_without_an_open_trade_is_accepted_without_effect(feed: Feed) -> None:
    """The followers started in the middle of the strategy's trade."""
    client, chart, message = AlertClient(feed), Chart(position=D(3)), templates()["strategy"]
    for name, contracts, change in (("Partial", "1", "reduce"), ("Stop", "2", "flat")):
        response = client.send(fill_in(message, chart.order(name, "sell", contracts)))
        assert (response["status"], response["id"], response["change"]) == (200, None, change)
        assert response["summary"] == "Nothing to do: this feed has no open long trade in EUR/USD."
    assert not Signal.objects.exists()
    assert not Order.objects.exists()


def test_late_exit_does_not_close_a_trade_of_a_newer_alert(feed: Feed) -> None:
    """TradingView sends an alert again after a server error."""
    client, chart, message = AlertClient(feed), Chart(), templates()["strategy"]
    now: datetime = market_now()
    client.send(fill_in(message, chart.order("Long", "buy", "3", now - timedelta(seconds=20))))
    expect([LONG])
    late = fill_in(message, chart.order("Stop", "sell", "3", now - timedelta(seconds=10)))
    client.send(fill_in(message, chart.order("Long", "buy", "3", now)))
    expect([LONG, LONG])
    response = client.send(late)
    assert (response["status"], response["change"]) == (201, "flat")
    expect([LONG])
    assert [one.pk for one in Signal.objects.filter(action="OPEN", followers=None)] == [
        Signal.objects.filter(action="OPEN").latest("id").pk
    ]


def test_indicator_opens_and_closes_by_symbol(feed: Feed) -> None:
    client, message = AlertClient(feed), templates()
    chart = Chart(plots={"Stop": "1.09", "Target": "1.12"})
    opened = client.send(fill_in(message["indicator"], chart.bar()))
    assert (opened["status"], opened["is_new"]) == (201, True)
    signal = Signal.objects.get()
    assert (signal.direction, signal.sl, signal.tp) == ("BUY", D("1.09"), D("1.12"))
    expect([LONG])
    half = message["close"].replace('"CLOSE",', '"CLOSE", "close_fraction": "0.34",')
    assert client.send(fill_in(half, chart.bar()))["status"] == 201
    expect([("BUY", D(2000))])
    closed = client.send(fill_in(message["close"], chart.bar(market_now() + timedelta(seconds=1))))
    assert (closed["status"], closed["change"]) == (201, "close")
    expect([])
    nothing = client.send(fill_in(message["close"], chart.bar(market_now() + timedelta(seconds=2))))
    assert (nothing["status"], nothing["id"]) == (200, None)


def test_reversal_waits_where_limits_do_not_allow_both_trades(feed: Feed) -> None:
    client, chart, message = AlertClient(feed), Chart(), templates()["strategy"]
    TradingPreset.objects.update(max_open_positions=1)
    client.send(fill_in(message, chart.order("Long", "buy", "3")))
    expect([LONG])
    response = client.send(fill_in(message, chart.order("Short", "sell", "6")))
    assert response["change"] == "reverse"
    assert [one[0] for one in response["signals"]] == ["S", "S"]
    expect([SHORT])
