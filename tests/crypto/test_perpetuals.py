"""Linear perpetuals: contracts, one-way mode, reduce-only exits."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from brokers.base import ReadFailed, Rejected
from brokers.crypto.exchanges import rules
from brokers.types import CheckResult, CloseCause, ExitSafety, ReportKind, Side
from common.reason_codes import Code
from tests.crypto.factories import SYMBOLS, D, ExchangeAccount, close, open_account
from tests.fakes.exchange.model import Market, Position
from tests.sampling import often

NAMES = ["binance", "bybit", "okx"]


@pytest.fixture(params=often(NAMES, every=3))
def one_way(request: pytest.FixtureRequest) -> Iterator[ExchangeAccount]:
    account = open_account(request.param, swap=True)
    yield account
    close(account)


@pytest.fixture(params=often(NAMES, every=3))
def hedge(request: pytest.FixtureRequest) -> Iterator[ExchangeAccount]:
    account = open_account(request.param, swap=True)
    account.venue.hedged = True
    yield account
    close(account)


def test_exit_never_reverses_a_position(one_way: ExchangeAccount) -> None:
    assert one_way.adapter.capabilities(one_way.spec).exit_safety is ExitSafety.REDUCE_ONLY
    one_way.submit(one_way.order(quantity=D("0.2")))
    one_way.submit(one_way.order(side=Side.SELL, quantity=D("0.5"), reduce_only=True))
    assert one_way.run(one_way.adapter.positions(one_way.spec)) == []
    with pytest.raises(Rejected) as outcome:
        one_way.submit(one_way.order(side=Side.SELL, reduce_only=True))
    assert outcome.value.code is Code.NO_POSITION


@pytest.mark.parametrize("stated", ["amount", "filled"])
def test_shortened_exit_ends_with_what_was_filled(one_way: ExchangeAccount, stated: str) -> None:
    """0.8 is to be closed and 0.5 is open: exchanges call that filled, some with 0.5 ordered."""
    one_way.venue.shortens_exits = stated
    one_way.submit(one_way.order(quantity=D("0.5")))
    exit_all = one_way.order(side=Side.SELL, quantity=D("0.8"), reduce_only=True)
    answer = one_way.submit(exit_all)
    later = one_way.run(one_way.new_adapter().find_order(one_way.spec, exit_all.client_order_id))
    for reports in (answer, later or []):
        assert sum(fill.quantity for one in reports for fill in one.fills) == D("0.5")
        assert (reports[-1].kind, reports[-1].code) == (
            ReportKind.CANCELLED, Code.EXIT_SHORTENED,
        )  # fmt: skip


def test_complete_exit_is_not_reported_as_shortened(one_way: ExchangeAccount) -> None:
    one_way.submit(one_way.order(quantity=D("0.5")))
    answer = one_way.submit(one_way.order(side=Side.SELL, quantity=D("0.5"), reduce_only=True))
    assert [one.kind for one in answer] == [ReportKind.FILLED]


def test_short_is_read_as_position(one_way: ExchangeAccount) -> None:
    one_way.submit(one_way.order(side=Side.SELL, quantity=D("0.3")))
    one_way.venue.prices[one_way.exchange_symbol] = D(49000)
    (position,) = one_way.run(one_way.adapter.positions(one_way.spec))
    assert (position.side, position.quantity, position.broker_position_id) == (
        Side.SELL, D("0.3"), one_way.symbol,
    )  # fmt: skip


@pytest.mark.parametrize("count", [200, 450])
def test_bybit_positions_of_all_pages_are_read(count: int) -> None:
    """One that is missing would count as closed."""
    names = [f"C{number:03d}" for number in range(count)]
    symbols = [f"{name}/USDT:USDT" for name in names]
    account = open_account("bybit", swap=True, symbols=symbols)
    venue = account.venue
    for name in names:
        venue.markets[f"{name}USDT"] = Market(name, "USDT", D("0.1"), D("0.1"), D(5))
        venue.prices[f"{name}USDT"] = D(100)
        venue.positions[f"{name}USDT", "BOTH"] = Position(D(2), D(99))
    found = account.run(account.adapter.positions(account.spec))
    assert [position.symbol for position in found] == symbols
    state = account.run(account.adapter.account(account.spec))
    assert state.equity == D(100_000) + 2 * count, "the open profit of each counts"
    close(account)


def test_account_in_hedge_mode_is_not_traded(hedge: ExchangeAccount) -> None:
    """All entries of one side are one position in that mode: neither netting nor hedging."""
    checks = hedge.run(hedge.adapter.test(hedge.spec))
    assert [check.result for check in checks if check.name == "position mode"] == [CheckResult.FAIL]
    with pytest.raises(Rejected):
        hedge.submit(hedge.order())
    hedge.venue.place(hedge.exchange_symbol, "BUY", "MARKET", D(1), position_side="LONG")
    with pytest.raises(ReadFailed, match="one-way"):
        hedge.run(hedge.adapter.positions(hedge.spec))


def test_connection_test_confirms_one_way_mode(one_way: ExchangeAccount) -> None:
    checks = one_way.run(one_way.adapter.test(one_way.spec))
    assert [check.result for check in checks if check.name == "position mode"] == [CheckResult.OK]


def test_open_profit_counts_in_equity_not_in_balance(one_way: ExchangeAccount) -> None:
    one_way.submit(one_way.order())
    one_way.venue.prices[one_way.exchange_symbol] = D(50100)
    state = one_way.run(one_way.adapter.account(one_way.spec))
    assert (state.balance, state.equity) == (D(100000), D(100050))


def test_margin_of_positions_is_not_free(one_way: ExchangeAccount) -> None:
    one_way.submit(one_way.order())
    state = one_way.run(one_way.adapter.account(one_way.spec))
    assert (state.margin_used, state.free_margin) == (D(2500), D(97500))


@pytest.mark.parametrize("price", ["50100", "50000"], ids=["with profit", "at its entry price"])
def test_manual_close_is_reported_as_external(one_way: ExchangeAccount, price: str) -> None:
    one_way.submit(one_way.order())
    one_way.venue.prices[one_way.exchange_symbol] = D(price)
    amount = D("0.5") / one_way.venue.markets[one_way.exchange_symbol].contract_size
    one_way.venue.place(
        one_way.exchange_symbol, "SELL", "MARKET", amount, cid="web_1", reduce_only=True
    )
    since = datetime.now(UTC) - timedelta(minutes=5)
    reports = one_way.run(one_way.adapter.fills_since(one_way.spec, since))
    causes = {report.client_order_id: report.close_cause for report in reports}
    assert causes[""] is CloseCause.EXTERNAL
    assert len(reports) == 2
    before = len(one_way.venue.request_lines)
    reports_again = one_way.run(one_way.adapter.fills_since(one_way.spec, since))
    assert {report.client_order_id: report.close_cause for report in reports_again} == causes
    request_count = len(rules(one_way.spec.exchange_name).swap_fills)
    # The owner of each order is requested once.
    assert len(one_way.venue.request_lines) == before + request_count
    assert all(report.broker_position_id == one_way.symbol for report in reports)


@pytest.mark.parametrize(
    ("order", "cause"),
    [("autoclose-1", CloseCause.STOP_OUT), ("settlement_autoclose-1", CloseCause.EXPIRY)],
)
def test_binance_close_by_the_exchange_states_its_cause(order: str, cause: CloseCause) -> None:
    account = open_account("binance", swap=True)
    account.submit(account.order())
    account.venue.place(
        account.exchange_symbol, "SELL", "MARKET", D("0.5"), cid=order, reduce_only=True
    )
    since = datetime.now(UTC) - timedelta(minutes=5)
    reports = account.run(account.adapter.fills_since(account.spec, since))
    assert [report.close_cause for report in reports] == [None, cause]
    close(account)


def test_manual_open_is_not_reported_as_close(one_way: ExchangeAccount) -> None:
    since = datetime.now(UTC) - timedelta(minutes=5)
    one_way.submit(one_way.order())
    size = one_way.venue.markets[one_way.exchange_symbol].contract_size
    one_way.venue.place(one_way.exchange_symbol, "BUY", "MARKET", D("0.5") / size)
    reports = one_way.run(one_way.adapter.fills_since(one_way.spec, since))
    assert [report.close_cause for report in reports] == [None, None]
    assert [report.fills[0].quantity for report in reports][1] == D("0.5")


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("BustTrade", CloseCause.STOP_OUT),
        ("AdlTrade", CloseCause.STOP_OUT),
        ("Delivery", CloseCause.EXPIRY),
    ],
)
def test_close_by_bybit_states_its_cause(kind: str, cause: CloseCause) -> None:
    account = open_account("bybit", swap=True)
    account.submit(account.order())
    account.venue.place(account.exchange_symbol, "SELL", "MARKET", D("0.5"), reduce_only=True)
    account.venue.trades[-1].kind = kind
    since = datetime.now(UTC) - timedelta(minutes=5)
    reports = account.run(account.adapter.fills_since(account.spec, since))
    assert [report.close_cause for report in reports] == [None, cause]
    assert reports[1].fills[0].quantity == D("0.5")
    close(account)


@pytest.mark.parametrize(
    ("name", "swap"),
    [("binance", True), ("binance", False), ("bybit", True), ("bybit", False), ("okx", True)],
)
def test_what_a_limit_order_opens_can_be_closed_at_market(name: str, swap: bool) -> None:
    """Exchanges take less of a market order, and exits are market orders."""
    symbol, size = SYMBOLS[name, swap]
    step = D("0.001") if size == 1 else D("0.1")
    market = Market("BTC", "USDT", step, D("0.1"), D(5), size, max_market=D(1) / size)
    account = open_account(name, swap=swap, listed=(symbol, market))
    (instrument,) = account.run(account.adapter.instruments(account.spec))
    assert instrument.quantity_max == D(1)
    with pytest.raises(Rejected, match="to 1") as outcome:
        account.submit(account.order(quantity=D("1.1"), limit_price=D(51000)))
    assert outcome.value.code is Code.VOLUME_INVALID
    account.submit(account.order(quantity=D(1), limit_price=D(51000)))
    account.submit(account.order(side=Side.SELL, quantity=D(1), reduce_only=True))
    assert account.run(account.adapter.positions(account.spec)) == []
    close(account)


def test_contracts_are_converted_to_base_units() -> None:
    account = open_account("okx", swap=True)
    account.submit(account.order(quantity=D("0.5")))
    assert account.venue.orders[0].amount == D(50)  # of 0.01 BTC
    with pytest.raises(Rejected) as outcome:
        account.submit(account.order(quantity=D("0.0005")))
    assert outcome.value.code is Code.VOLUME_INVALID
    close(account)
