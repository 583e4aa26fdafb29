"""Each limit's denial states name, value and maximum: in log, event, API, message and pages.

A limit without a case here fails `test_each_limit_has_a_case`, and one whose denial has figures
without a name fails `test_each_code_with_figures_has_a_name`.
"""

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from common.clocks import market_now
from common.db.sql import run
from common.limit_figures import read_figures
from common.reason_codes import Code
from connections.eligibility import PAUSE_REASONS
from connections.entry_limits import ENTRY_LIMITS
from connections.loss_limits.rules import pause_figures
from connections.models import ExecutionConnection, TradingPreset
from events.context import EventContext
from events.messages import render
from events.models import Event
from execution.models import ExecutionLog, Order
from signals.models import Feed
from tests.console import seed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.submission.test_market_hours import hours
from tests.html import html_of
from tests.loss_limits import pause_of
from tests.sampling import often

pytestmark = pytest.mark.django_db
PRESET, SNAPSHOT = "connections_tradingpreset", "connections_accountsnapshot"
QUOTE = "prices_latestquote"
ROOT = Path(__file__).parents[3]
Step = Callable[[ExecutionConnection, Feed], object]


@dataclass(frozen=True)
class Case:
    """How a limit is broken, and its figures. The account sends 100 EUR/USD at 1.1, of 10,000 USD.

    before: the publication; after: it, and before the claim. text: of the figures; numbers that
    depend on the clock are left out of both. leaves: the status of the order. allowed: the account
    with which the same entry is sent, at the edge.
    """

    figures: Mapping[str, str]
    text: str
    account: Mapping[str, Any] = field(default_factory=dict)
    signal: Mapping[str, Any] = field(default_factory=dict)
    before: Step = lambda account, feed: None
    after: Step = lambda account, feed: None
    leaves: str = "DENIED"
    allowed: Mapping[str, Any] = field(default_factory=dict)


def sql(statement: str) -> Step:
    return lambda account, feed: run(statement)


def entered(account: ExecutionConnection, feed: Feed) -> None:
    factories.signal(feed)
    factories.claim_all()


def filled_five(account: ExecutionConnection, feed: Feed) -> None:
    for _ in range(5):
        factories.filled(factories.signal(feed))
    run(f"UPDATE {PRESET} SET fixed_quantity = 310")


def closed_bitcoin(account: ExecutionConnection, feed: Feed) -> None:
    factories.instrument("BTC/USD", quantity_min=1, quantity_step=1, hours=hours(60, 3600))
    factories.quote(account, "1.0999", "1.1", pair="BTC/USD")


def feed_limit(account: ExecutionConnection, feed: Feed) -> None:
    Feed.objects.filter(pk=feed.pk).update(
        max_signal_notional=D("109.99"), max_signal_currency="USD"
    )


def figures(name: str, value: str, unit: str = "", **bound: str) -> dict[str, str]:
    return {"name": name, "value": value, **({"unit": unit} if unit else {}), **bound}


def paused(code: str, unit: str, shown: str) -> Case:
    name = f"What {code} limits"
    fields = {"value": D("5.201"), "maximum": D("5.2"), "unit": unit, "name": name}
    detail = f"{name}: 5.201 {shown}, maximum 5.2 {shown}"
    return Case(
        figures(name, "5.201", shown, maximum="5.2"),
        detail,
        after=lambda account, feed: pause_of(account, code=code, detail=detail, **fields),
    )


OF_EQUITY = "% of equity"
OTHER_DAY = f"{market_now() + timedelta(days=3):%a} 00:00-24:00".upper()  # in no zone today
CASES: dict[str, Case] = {
    "MAX_QUANTITY": Case(
        figures("Quantity", "100", "EUR", maximum="99"),
        "Quantity: 100 EUR, maximum 99 EUR",
        {"preset_max_quantity": D(99)},
        allowed={"preset_max_quantity": D(100)},
    ),
    "MAX_OPEN_POSITIONS": Case(
        figures("Open positions", "1", maximum="1"),
        "Open positions: 1, maximum 1",
        {"preset_max_open_positions": 1},
        before=entered,
    ),
    "MAX_OPEN_ORDERS": Case(
        figures("Open orders", "1", maximum="1"),
        "Open orders: 1, maximum 1",
        {"preset_max_open_orders": 1},
        allowed={"preset_max_open_orders": 2},
        before=entered,
    ),
    "MAX_LEVERAGE": Case(
        figures("Leverage", "0.011", maximum="0.0109"),
        "Leverage: 0.011, maximum 0.0109",
        {"preset_max_leverage": D("0.0109")},
        allowed={"preset_max_leverage": D("0.011")},
    ),
    "SYMBOL_EXPOSURE": Case(
        figures("Exposure to EUR/USD", "1.1", OF_EQUITY, maximum="1.099999"),
        "Exposure to EUR/USD: 1.1 % of equity, maximum 1.099999 % of equity",
        {"preset_max_symbol_exposure_percent": D("1.099999")},
        allowed={"preset_max_symbol_exposure_percent": D("1.1")},
    ),
    "CURRENCY_EXPOSURE": Case(
        figures("Exposure to EUR", "1.1", OF_EQUITY, maximum="1.09"),
        "Exposure to EUR: 1.1 % of equity, maximum 1.09 % of equity",
        {"preset_max_currency_exposure_percent": D("1.09")},
        allowed={"preset_max_currency_exposure_percent": D("1.1")},
    ),
    "MARGIN": Case(
        figures("Margin", "3.67", "USD", maximum="3.66"),
        "Margin: 3.67 USD, maximum 3.66 USD",
        {"snapshot_free_margin": D("3.66")},
    ),
    "TRADE_RISK": Case(
        figures("Risk of the trade", "0.01", OF_EQUITY, maximum="0.0099"),
        "Risk of the trade: 0.01 % of equity, maximum 0.0099 % of equity",
        {"preset_max_trade_risk_percent": D("0.0099")},
        allowed={"preset_max_trade_risk_percent": D("0.01")},
    ),
    "PORTFOLIO_RISK": Case(
        figures("Risk of all trades", "0.01", OF_EQUITY, maximum="0.0099"),
        "Risk of all trades: 0.01 % of equity, maximum 0.0099 % of equity",
        {"preset_max_portfolio_risk_percent": D("0.0099")},
        allowed={"preset_max_portfolio_risk_percent": D("0.01")},
    ),
    "SAME_TRADE": Case(
        figures("Time since the same trade", "", "s", minimum="600"),
        ", minimum 600 s",
        {"preset_same_trade_window_seconds": 600},
        before=entered,
    ),
    "MAX_ORDERS_PER_MINUTE": Case(
        figures("Orders within a minute", "1", maximum="1"),
        "Orders within a minute: 1, maximum 1",
        {"preset_max_orders_per_minute": 1},
        allowed={"preset_max_orders_per_minute": 2},
        before=entered,
    ),
    "SIZE_UNUSUAL": Case(
        figures("Size", "3.1", "× the median", maximum="3"),
        "Size: 3.1 × the median, maximum 3 × the median",
        {"preset_max_size_multiple": D(3)},
        allowed={"preset_max_size_multiple": D("3.1")},
        before=filled_five,
    ),
    "DAILY_NOTIONAL": Case(
        figures("Notional of the day", "110", "USD", maximum="109.999"),
        "Notional of the day: 110 USD, maximum 109.999 USD",
        {"preset_max_daily_notional": D("109.999")},
        allowed={"preset_max_daily_notional": D(110)},
    ),
    "DAILY_VOLUME": Case(
        figures("Volume of the day in EUR/USD", "100", "EUR", maximum="99"),
        "Volume of the day in EUR/USD: 100 EUR, maximum 99 EUR",
        {"preset_max_daily_volume": D(99)},
        allowed={"preset_max_daily_volume": D(100)},
    ),
    "SIGNAL_NOTIONAL": Case(
        figures("This account's notional", "110", "USD", maximum="109.99"),
        "This account's notional: 110 USD, maximum 109.99 USD",
        before=feed_limit,
    ),
    "PRICE_UNREASONABLE": Case(
        figures("Distance from the market", "1.000909", "%", maximum="1"),
        "Distance from the market: 1.000909 %, maximum 1 %",
        {"preset_max_price_deviation_percent": D(1)},
        {"order_type": "LIMIT", "sl": None, "open_price": D("1.08899")},
    ),
    "SPREAD_LIMIT": Case(
        figures("Spread", "3.1", "pips", maximum="3"),
        "Spread: 3.1 pips, maximum 3 pips",
        {"preset_max_spread": D(3)},
        after=lambda account, feed: factories.quote(account, "1.09990", "1.10021"),
    ),
    "SLIPPAGE_LIMIT": Case(
        figures("Slippage", "3.1", "pips", maximum="3"),
        "Slippage: 3.1 pips, maximum 3 pips",
        {"preset_max_slippage_pips": D(3)},
        {"open_price": D("1.10000")},
        after=lambda account, feed: factories.quote(account, "1.09990", "1.10031"),
    ),
    "SYMBOL_NOT_ALLOWED": Case(
        figures("Symbol", "EUR/USD", bound_name="not in", allowed="GBP/*, XAU/USD"),
        "Symbol: EUR/USD, not in GBP/*, XAU/USD",
        {"preset_allowed_symbols": ["GBP/*", "XAU/USD"]},
    ),
    "OUTSIDE_SESSION": Case(
        figures("Time", "", bound_name="not in", allowed=OTHER_DAY),
        f", not in {OTHER_DAY}",
        {"preset_trading_sessions": [OTHER_DAY]},
    ),
    "OUTSIDE_MARKET_HOURS": Case(
        figures("Time", "", bound_name="market opens", allowed=""),
        ", market opens",
        {"preset_market_hours_only": True},
        {"currency_pair": "BTC/USD", "sl": None},
        before=closed_bitcoin,
    ),
    "SIGNAL_TOO_OLD": Case(
        figures("Age of the signal", "", "s", maximum="60"),
        ", maximum 60 s",
        after=sql("UPDATE signals_signal SET published_at = published_at - interval '100 s'"),
    ),
    "LOSS_LIMIT": paused("LOSS_LIMIT", "PERCENT", "%"),
    "DRAWDOWN_LIMIT": paused("DRAWDOWN_LIMIT", "AMOUNT", "USD"),
    "REALIZED_LOSS_LIMIT": paused("REALIZED_LOSS_LIMIT", "AMOUNT", "USD"),
    "LOSING_STREAK": paused("LOSING_STREAK", "TRADES", "trades"),
    # ---- no limits of a preset: data that is too old, prices, and brokers' minimums ----
    "ACCOUNT_DATA_STALE": Case(
        figures("Age of the account's data", "", "s", maximum="900"),
        ", maximum 900 s",
        after=sql(f"UPDATE {SNAPSHOT} SET read_at = now() - interval '950 s'"),
    ),
    "QUOTE_STALE": Case(
        figures("Age of the price", "", "s", maximum="60"),
        ", maximum 60 s",
        after=sql(f"UPDATE {QUOTE} SET received_at = now() - interval '100 s'"),
    ),
    "QUANTITY_BELOW_MINIMUM": Case(
        figures("Quantity", "9", "EUR", minimum="10"),
        "Quantity: 9 EUR, minimum 10 EUR",
        {"preset_fixed_quantity": D(9)},
    ),
    "STOP_TOO_NEAR": Case(
        figures("Distance of a level from the entry", "0.01", minimum="0.0101"),
        "Distance of a level from the entry: 0.01, minimum 0.0101",
        after=sql("UPDATE connections_instrument SET stops_level = 0.0101"),
    ),
    "SLICES_TOO_FEW": Case(
        figures("Slices", "2", minimum="3"),
        "Slices: 2, minimum 3",
        {"preset_fixed_quantity": D(50)},
        signal={
            "execution_style": "TWAP", "duration_seconds": 600, "slice_count": 6,
            "target_prices": [D("1.2"), D("1.3")], "target_fractions": [D("0.5"), D("0.5")],
        },
    ),
    "STOP_AT_ENTRY": Case(
        figures("Entry price", "1.09", bound_name="stop loss", compared_with="1.09"),
        "Entry price: 1.09, stop loss 1.09",
        after=sql(f"UPDATE {QUOTE} SET bid = 1.08, ask = 1.09"),
    ),
    "TARGET_WRONG_SIDE": Case(
        figures("Take profit", "1.12", bound_name="entry price", compared_with="1.13"),
        "Take profit: 1.12, entry price 1.13",
        signal={"target_prices": [D("1.12")], "target_fractions": [D(1)]},
        after=sql(f"UPDATE {QUOTE} SET ask = 1.13"),
    ),
}  # fmt: skip
# The code of each setting that denies entries; tests above have both sides of its edge.
CODE_OF_SETTING = {
    **{name: limit.code.value for name, limit in ENTRY_LIMITS.items() if limit.code is not None},
    "max_signal_age_seconds": "SIGNAL_TOO_OLD",
    "max_signal_notional": "SIGNAL_NOTIONAL",
}
# No limits: prices that are compared with others, and minimums of brokers.
WITHOUT_A_CASE = {
    "ACTIVATION_REACHED", "CHANGE_BELOW_FILLED", "CONVERSION_RATE_STALE", "DECISION_UNAVAILABLE",
    "DISTANCE_BELOW_TICK", "EXPIRY_TOO_NEAR", "LEVEL_PAST_ENTRY", "LIMIT_BEYOND_STOP",
    "PRICE_WRONG_SIDE", "SLICE_PRICE_LIMIT", "SLIPPAGE_NOT_KEPT", "STOP_WRONG_SIDE",
    "TRAIL_TOO_WIDE", "VOLUME_INVALID",
}  # fmt: skip
NOT_DENYING = {"slippage_unit", "max_spread_unit", "correlated_exposure_warning_percent"}


@pytest.mark.parametrize("code", often(CASES, every=4))
def test_denial_states_its_figures_everywhere(
    client: Client, feed: Feed, broker: FakeBroker, code: str
) -> None:
    case = CASES[code]
    account = factories.account(feed, **case.account)
    case.before(account, feed)
    factories.signal(feed, **case.signal)
    case.after(account, feed)
    factories.claim_all()
    order = Order.objects.latest("id")
    assert (order.status, order.reason) == (case.leaves, code)
    stored = _log_line(order).numbers
    _assert_figures(stored, case)
    event = Event.objects.get(kind="order.denied", order_id=order.pk)
    assert event.payload["figures"] == stored
    found = read_figures(code, stored)
    assert found is not None
    assert case.text in found.text
    assert found.text in _message(event, order)
    assert account.user is not None
    client.force_login(account.user)
    _assert_shown(client, order, found.text, stored, operator=False)
    client.force_login(seed.operator())
    _assert_shown(client, order, found.text, stored, operator=True)


AT_THE_EDGE = [code for code, case in CASES.items() if case.allowed]


@pytest.mark.parametrize("code", often(AT_THE_EDGE, every=4))
def test_same_entry_is_sent_at_the_edge(feed: Feed, broker: FakeBroker, code: str) -> None:
    case = CASES[code]
    account = factories.account(feed, **case.allowed)
    case.before(account, feed)
    factories.signal(feed, **case.signal)
    case.after(account, feed)
    factories.claim_all()
    assert Order.objects.latest("id").status == "SUBMITTING"


def _log_line(order: Order) -> ExecutionLog:
    return ExecutionLog.objects.get(order_id=order.pk, code=order.reason)


def _assert_figures(stored: Mapping[str, str], case: Case) -> None:
    """Compare figures; those that are empty in the case depend on the clock."""
    expected = dict(case.figures)
    for name in [name for name, text in expected.items() if not text]:
        assert stored[name]
        expected[name] = stored[name]
    assert stored == expected


def _message(event: Event, order: Order) -> str:
    names = ("id", "kind", "user_id", "connection_id", "signal_id", "order_id", "payload")
    fields = {name: getattr(event, name) for name in names}
    return render(EventContext(**fields, created_at=event.created_at)).body


def _assert_shown(
    client: Client, order: Order, text: str, stored: Mapping[str, str], *, operator: bool
) -> None:
    """Look at API and pages, as the web process reads them: with row-level security."""
    pages = [f"/signals/{order.signal_id}/", f"/accounts/{order.connection_id}/",
             f"/reasons/{order.reason}/"]  # fmt: skip
    if operator:
        pages = [f"/admin/execution/order/{order.pk}/", f"/admin/signals/signal/{order.signal_id}/",
                 f"/admin/connections/executionconnection/{order.connection_id}/",
                 "/admin/execution/executionlog/"]  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute("SET ROLE fillcast_web")
    try:
        one = client.get(f"/api/v1/orders/{order.pk}/").json()["reason"]
        (listed,) = client.get("/api/v1/orders/", {"reason": order.reason}).json()["results"]
        lines = client.get("/api/v1/execution-logs/", {"order": order.pk}).json()["results"]
        shown = {page: html_of(client.get(page)) for page in pages}
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET ROLE")
    (line,) = [line for line in lines if line["reason"]["code"] == order.reason]
    assert listed["reason"] == line["reason"] == one
    api = one["figures"]
    assert api["text"] == text
    named = {name: value for name, value in stored.items() if name != "bound_name"}
    assert {name: api[name] for name in named} == named
    for page, html in shown.items():
        assert text.replace("'", "&#x27;") in html, page


def test_each_limit_has_a_case() -> None:
    assert {code.value for code in Code if code.figures} - WITHOUT_A_CASE <= CASES.keys()
    assert {code.value for code in PAUSE_REASONS} <= CASES.keys()
    assert set(CODE_OF_SETTING.values()) <= CASES.keys()


def test_each_setting_that_limits_entries_has_a_code() -> None:
    of_preset = {field.name for field in TradingPreset._meta.fields}
    limits = {name for name in of_preset if name.startswith("max_")}
    limits |= ENTRY_LIMITS.keys()
    of_feed = {field.name for field in Feed._meta.fields if field.name.startswith("max_")}
    found = (limits | of_feed) - NOT_DENYING - {"max_signal_currency"}
    assert found == CODE_OF_SETTING.keys()


def test_each_code_with_figures_has_a_name() -> None:
    """Read from the source: `Denial(Code.X, value, …)` without a limit of its own."""
    named = {code.value for code in Code if code.figures}
    seen: set[str] = set()
    for path in (ROOT / "execution").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            is_denial = isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Denial"
            if not is_denial or not isinstance(node, ast.Call) or not node.args:
                continue
            keywords = {keyword.arg for keyword in node.keywords}
            has_figures = len(node.args) > 1 or keywords & {"value", "maximum", "text_value"}
            if has_figures and "limit" not in keywords and isinstance(node.args[0], ast.Attribute):
                seen.add(node.args[0].attr)
    assert "MAX_QUANTITY" in seen
    assert seen - named == set()


def test_skipped_entry_of_a_paused_account_states_the_figures(
    client: Client, feed: Feed, broker: FakeBroker
) -> None:
    account = factories.account(feed)
    detail = "Fall of the equity: 500.004 USD, maximum 500 USD"
    pause_of(
        account, name="Fall of the equity", value=D("500.004"), maximum=D(500), unit="AMOUNT",
        detail=detail,
    )  # fmt: skip
    factories.signal(feed)
    order = Order.objects.get()
    assert (order.status, order.reason) == ("SKIPPED", "LOSS_LIMIT")
    expected = figures("Fall of the equity", "500.004", "USD", maximum="500")
    assert pause_figures("Fall of the equity", D("500.004"), D(500), "AMOUNT", "USD").text == detail
    assert _log_line(order).numbers == expected
    event = Event.objects.get(kind="order.skipped")
    assert event.payload["figures"] == expected
    assert account.user is not None
    client.force_login(account.user)
    _assert_shown(client, order, detail, expected, operator=False)


def test_page_of_orders_reads_its_figures_in_one_statement(
    client: Client, feed: Feed, broker: FakeBroker, django_assert_max_num_queries: Any
) -> None:
    for _ in range(12):
        factories.account(feed, preset_max_quantity=D(99))
    signal = factories.signal(feed)
    factories.claim_all()
    client.force_login(seed.operator())
    few = 40  # far below one statement for each of the twelve orders, on each page
    for path in (f"/admin/signals/signal/{signal.pk}/", "/api/v1/orders/"):
        with django_assert_max_num_queries(few) as found:
            client.get(path)
        assert not [q for q in found if q["sql"].startswith('SELECT "execution_executionlog"')]


def test_row_of_an_earlier_version_is_shown(client: Client, feed: Feed, broker: FakeBroker) -> None:
    factories.account(feed, preset_max_leverage=D("0.0109"))
    factories.signal(feed)
    factories.claim_all()
    order = Order.objects.get()
    factories.force(
        "UPDATE execution_executionlog SET numbers = %s WHERE code = 'MAX_LEVERAGE'",
        ('{"current": "0.02", "limit": "0.0109"}',),
    )
    client.force_login(seed.operator())
    reason = client.get(f"/api/v1/orders/{order.pk}/").json()["reason"]
    assert reason["figures"]["text"] == "Leverage: 0.02, maximum 0.0109"
