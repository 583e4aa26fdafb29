"""Sessions, prices, margins asked in advance, and what an owner fills in."""

import asyncio
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from brokers.base import ReadFailed, Rejected
from brokers.connection_form import Form
from brokers.mt5 import order_ids
from brokers.mt5.adapter import Mt5Adapter
from brokers.mt5.capabilities import lane_of
from brokers.mt5.form import FORM
from brokers.record_cache import RecordCache
from brokers.registry import capabilities_of, form_of
from brokers.types import (
    ExitSafety,
    OrderRequest,
    OrderType,
    PositionMode,
    Quote,
    Side,
    TimeInForce,
    WhatIf,
)
from common.errors import InvalidInputError
from common.reason_codes import Code
from tests.fakes.mt5.fake_terminal import ROOT, FakeTerminal
from tests.mt5.factories import CID, EXIT, D, bought, no_guard, order, run, spec, submit


# ---- sessions -----------------------------------------------------------------------------------
def test_connect_logs_in(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    run(adapter.connect(spec(1003)))
    assert venue.state()["calls"][:2] == ["initialize", "account_info"]
    assert run(adapter.account(spec(1003))).account == "1003"


@pytest.mark.parametrize(
    ("login", "settings", "code"),
    [
        (4711, {}, Code.CREDENTIALS_REFUSED),
        (1001, {"server": "Other-Live"}, Code.CREDENTIALS_REFUSED),
        (1001, {"terminal": "beta"}, Code.NOT_CONNECTED),
    ],
)
def test_connect_reports_the_cause(
    adapter: Mt5Adapter, login: int, settings: dict[str, Any], code: Code
) -> None:
    with pytest.raises(ReadFailed) as failed:
        run(adapter.connect(spec(login, **settings)))
    assert failed.value.code is code
    assert "secret" not in failed.value.detail


def test_process_ends_with_its_last_account(adapter: Mt5Adapter) -> None:
    run(adapter.connect(spec()))
    run(adapter.positions(spec(1003)))  # a call opens the session
    running = []
    for login in (1001, 1003):
        run(adapter.disconnect(spec(login)))
        running.append(adapter.calls.library.is_running)
    assert running == [True, False]
    assert run(adapter.positions(spec())) == []  # the next call opens it again


# ---- prices -------------------------------------------------------------------------------------
def test_quote(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    venue.configure(zone_seconds=7200)
    began = datetime.now(UTC)
    quote = run(adapter.quote(spec(server_timezone="UTC+2"), "EURUSD.m"))
    assert (quote.symbol, quote.bid, quote.ask) == ("EUR/USD", D("1.1"), D("1.1001"))
    assert began - timedelta(seconds=5) < quote.time < datetime.now(UTC) + timedelta(seconds=5)


@pytest.mark.parametrize(
    ("symbol", "code"),
    [("EURNOK", Code.UNKNOWN_SYMBOL_AT_BROKER), ("US500", Code.MARKET_CLOSED)],
)
def test_missing_quote(venue: FakeTerminal, adapter: Mt5Adapter, symbol: str, code: Code) -> None:
    venue.configure_symbol("US500", bid=0.0, ask=0.0)
    with pytest.raises(ReadFailed) as failed:
        run(adapter.quote(spec(), symbol))
    assert failed.value.code is code


def test_stream_yields_each_price_once(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    venue.configure(ticking=False)
    venue.configure_symbol(
        "US500", bid=0.0, ask=0.0
    )  # without a price: it is reported once it has one

    async def listen() -> list[Quote]:
        named = spec(symbols={"US500": "SPX/USD"})
        stream = adapter.stream_quotes(named, ["EURUSD", "US500"])
        quotes = [await anext(stream)]
        second = asyncio.ensure_future(anext(stream))
        await asyncio.to_thread(venue.quote, "US500", 5001.0, 5001.5)
        quotes.append(await second)
        await asyncio.to_thread(venue.quote, "EURUSD", 1.2, 1.2001)
        quotes.append(await anext(stream))
        return quotes

    quotes = [(quote.symbol, quote.bid) for quote in run(listen())]
    assert quotes == [("EUR/USD", D("1.1")), ("SPX/USD", D(5001)), ("EUR/USD", D("1.2"))]


def test_stream_of_an_unknown_symbol(adapter: Mt5Adapter) -> None:
    with pytest.raises(ReadFailed, match="EURNOK"):
        run(anext(cast("Any", adapter.stream_quotes(spec(), ["EURNOK"]))))


def test_no_notifications(adapter: Mt5Adapter) -> None:
    assert not adapter.capabilities(spec()).event_stream
    with pytest.raises(ReadFailed) as failed:
        run(anext(cast("Any", adapter.stream_events())))
    assert failed.value.code is Code.NOT_SUPPORTED


# ---- margins ------------------------------------------------------------------------------------
def reckoned(adapter: Mt5Adapter, request: OrderRequest, login: int = 1001) -> WhatIf:
    return run(adapter.what_if(spec(login), request))


def test_margin_of_an_entry(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    quotes = reckoned(adapter, order())  # 0.1 lots of 100,000 at 1.1, 1:30
    assert quotes.initial_margin == pytest.approx(D(10_000) * D("1.1") / 30, abs=D("0.01"))
    assert (quotes.maintenance_margin, quotes.commission, quotes.currency) == (None, None, "USD")
    assert venue.accepted() == []
    assert "order_send" not in venue.state()["calls"]


def test_margin_of_an_exit_is_freed(adapter: Mt5Adapter) -> None:
    exit_ = order(EXIT, side=Side.SELL, reduce_only=True, broker_position_id=bought(adapter))
    assert reckoned(adapter, exit_).initial_margin < 0


def test_margin_on_a_netting_account_counts_what_is_held(adapter: Mt5Adapter) -> None:
    one = reckoned(adapter, order(), 1002).initial_margin
    submit(adapter, order(), login=1002)
    assert reckoned(adapter, order(EXIT, side=Side.SELL), 1002).initial_margin == -one
    turned = order(EXIT, side=Side.SELL, quantity=D(30_000))  # 0.1 long becomes 0.2 short
    assert reckoned(adapter, turned, 1002).initial_margin == pytest.approx(one, abs=D("0.01"))
    assert reckoned(adapter, order(EXIT), 1002).initial_margin == pytest.approx(one, abs=D("0.01"))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"quantity": D(1_000_000)}, Code.NO_MONEY),
        ({"quantity": D(1)}, Code.VOLUME_INVALID),
        ({"symbol": "EURNOK"}, Code.UNKNOWN_SYMBOL_AT_BROKER),
        ({"stop_loss": D("1.10005")}, Code.STOPS_INVALID),
    ],
)
def test_what_would_be_refused(adapter: Mt5Adapter, changes: dict[str, Any], code: Code) -> None:
    with pytest.raises(Rejected) as refused:
        reckoned(adapter, order(**changes))
    assert refused.value.code is code


def test_margin_that_the_terminal_does_not_know(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    venue.fault("order_calc_margin", "none", code=-1)
    with pytest.raises(ReadFailed, match="margin: -1"):
        reckoned(adapter, order())


# ---- what an owner fills in ---------------------------------------------------------------------
def test_form_and_capabilities_need_nothing() -> None:
    """In every process of the installation: they show the form and ask what an account can do."""
    program = (
        "import sys\n"
        "from brokers.types import ConnectionSpec\n"
        "from brokers.registry import adapter_for, capabilities_of, form_of\n"
        "spec = ConnectionSpec('c', '1', settings={'terminal': 'alpha'})\n"
        "can = capabilities_of('mt5', spec)\n"
        "assert can == adapter_for('mt5').capabilities(spec)\n"
        "assert can.session and form_of('mt5').settings\n"
        "assert 'MetaTrader5' not in sys.modules and 'numpy' not in sys.modules\n"
        "assert 'django' not in sys.modules\n"
        "print('fine')"
    )
    quotes = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert quotes.stdout.strip() == "fine", quotes.stderr


def test_capabilities_by_the_settings_alone() -> None:
    netting = capabilities_of("mt5", spec(position_mode="NETTING"))
    assert netting.position_modes == {PositionMode.NETTING}
    assert netting.exit_safety is ExitSafety.CANCEL_FIRST
    assert not netting.native_stops
    assert capabilities_of("mt5", spec(position_mode="NETTING", native_stops=True)).native_stops
    assert netting.order_types == set(OrderType) - {OrderType.TRAILING_STOP}
    assert netting.times_in_force == set(TimeInForce)


def test_form_takes_what_the_page_of_metatrader_says() -> None:
    form: Form = form_of("mt5")
    entered = {
        "server": "Broker-Live03",
        "terminal": "alpha",
        "server_timezone": "America/New_York+7",
        "position_mode": "HEDGING",
        "native_stops": True,
        "symbols": {"GER40.cash": "DAX/EUR"},
        "clock_symbol": "EURUSD",
        "settle_seconds": 10,
        "reply_timeout": 30,
        "update_interval_seconds": 0.5,
    }
    assert form.validate(entered) == entered
    assert [secret.key for secret in form.secrets] == ["password"]
    assert Mt5Adapter.form is FORM


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("server_timezone", "Mars/Olympus"),
        ("terminal", "C:\\mt5\\terminal64.exe"),
        ("terminal", "Alpha"),
        ("position_mode", "BOTH"),
        ("symbols", {"GER40.cash": "DAX"}),
        ("symbols", ["GER40.cash"]),
        ("symbols", {"GER40.cash": 1}),
        ("settle_seconds", -1),
        ("reply_timeout", 0),
        ("path", "C:\\mt5"),
    ],
)
def test_form_refuses_with_the_fields_name(key: str, value: Any) -> None:
    with pytest.raises(InvalidInputError) as refused:
        form_of("mt5").validate({"server": "MetaQuotes-Demo", key: value})
    assert refused.value.field == f"settings.{key}"


def test_form_asks_for_the_server() -> None:
    with pytest.raises(InvalidInputError) as refused:
        form_of("mt5").validate({"terminal": "alpha"})
    assert refused.value.field == "settings.server"


def test_lane_is_the_terminals() -> None:
    assert lane_of(spec(terminal="alpha")) == "mt5.alpha"
    assert lane_of(spec()) == "mt5.main"


# ---- what is remembered -------------------------------------------------------------------------
def test_least_recently_used_names_are_evicted_first() -> None:
    known = order_ids.OrderIds(RecordCache(10_000))
    lives = known.remember(CID)
    for number in range(9_999):
        known.remember(f"fcx{number:014d}0")
    assert known.resolve(lives, "from dealer") == CID  # a position that is still held
    ended = known.remember("fcxended0000000000")
    for number in range(9_998):
        known.remember(f"fcy{number:014d}0")
    assert known.resolve(lives, "from dealer") == CID
    known.remember("fcxmore00000000000")
    assert known.resolve(ended, "from dealer") == ""
    assert len(known) == 10_000


def test_sends_that_are_remembered_have_a_limit(adapter: Mt5Adapter) -> None:
    known = adapter.calls.terminal.order_ids = order_ids.OrderIds(RecordCache(100))
    for number in range(100):
        known.mark_sent(f"fcx{number:014d}0")
    run(adapter.submit(spec(), order(), no_guard))
    assert len(known) == 100
    assert known.sent_at(CID) > known.sent_at("fcx000000000000990") > 0
    assert known.sent_at("fcx000000000000000") == float("-inf")
