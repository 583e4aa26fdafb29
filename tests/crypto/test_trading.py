"""Trading on each exchange, through ccxt's real client."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from brokers.crypto.exchanges import rules
from brokers.types import CheckResult, OrderType, ReportKind, Side, TimeInForce
from common.reason_codes import Code
from tests.crypto.factories import ExchangeAccount, account, allow, binance, close, open_account

__all__ = ["account", "binance"]
D = Decimal


def test_market_order_is_filled_in_base_units(account: ExchangeAccount) -> None:
    request = account.order()
    reports = account.submit(request)
    assert [report.kind for report in reports] == [ReportKind.FILLED]
    fill = reports[0].fills[0]
    assert (fill.quantity, fill.price, fill.inferred) == (D("0.5"), D(50000), False)
    assert reports[0].client_order_id == request.client_order_id
    assert account.venue.accepted(request.client_order_id) == 1
    assert account.venue.orders[0].amount * account.venue.markets[
        account.exchange_symbol
    ].contract_size == D("0.5")


def test_connection_test_passes(account: ExchangeAccount) -> None:
    checks = account.run(account.adapter.test(account.spec))
    assert [c for c in checks if c.result is CheckResult.FAIL] == []
    assert {"reach", "clock", "credentials", "trading", "symbols"} <= {c.name for c in checks}


def test_account_and_instrument_are_read(account: ExchangeAccount) -> None:
    state = account.run(account.adapter.account(account.spec))
    assert (state.currency, state.balance, state.equity) == ("USDT", D(100000), D(100000))
    (instrument,) = account.run(account.adapter.instruments(account.spec))
    assert (instrument.symbol, instrument.pair, instrument.quantity_step, instrument.pip) == (
        account.symbol, "BTC/USDT", D("0.001"), D("0.1"),
    )  # fmt: skip


def test_bought_quantity_is_a_position(account: ExchangeAccount) -> None:
    account.submit(account.order())
    (position,) = account.run(account.adapter.positions(account.spec))
    assert (position.side, position.quantity, position.entry_price) == (
        Side.BUY, D("0.5"), D(50000),
    )  # fmt: skip
    state = account.run(account.adapter.account(account.spec))
    assert state.equity == D(100000)


def test_limit_order_is_listed_and_cancelled(account: ExchangeAccount) -> None:
    request = account.order(limit_price=D("40000.07"))
    assert [r.kind for r in account.submit(request)] == [ReportKind.ACCEPTED]
    (order,) = account.run(account.adapter.open_orders(account.spec))
    assert (order.client_order_id, order.quantity, order.limit_price, order.order_type) == (
        request.client_order_id, D("0.5"), D("40000.0"), OrderType.LIMIT,
    )  # fmt: skip
    assert [r.kind for r in account.cancel(request)] == [ReportKind.CANCELLED]
    assert account.run(account.adapter.open_orders(account.spec)) == []


def test_cancel_after_fill_is_refused_with_the_fill(account: ExchangeAccount) -> None:
    request = account.order()
    account.submit(request)
    reports = account.cancel(request)
    assert [r.kind for r in reports] == [ReportKind.FILLED, ReportKind.CANCEL_REFUSED]


def test_partly_filled_order_reports_fill_then_cancel(account: ExchangeAccount) -> None:
    account.venue.fill_share = D("0.4")
    request = account.order(limit_price=D(51000))
    (filled,) = account.submit(request)
    assert filled.fills[0].quantity == D("0.2")
    reports = account.cancel(request)
    assert [r.kind for r in reports] == [ReportKind.FILLED, ReportKind.CANCELLED]
    assert [f.broker_fill_id for f in reports[0].fills] == [f.broker_fill_id for f in filled.fills]


@pytest.mark.parametrize("state", ["PENDING_NEW", "PENDING_CANCEL"])
def test_binance_order_in_a_pending_state_is_open(binance: ExchangeAccount, state: str) -> None:
    request = binance.order(limit_price=D(40000))
    binance.submit(request)
    binance.venue.orders[0].status = state
    found = binance.find(request.client_order_id)
    assert found is not None
    assert [report.kind for report in found] == [ReportKind.ACCEPTED]
    assert [report.kind for report in binance.cancel(request)] == [ReportKind.CANCELLED]


BRIEF = [{}, {"limit_price": D(51000)}]


@pytest.mark.parametrize("limit", BRIEF, ids=["market", "limit"])
def test_ioc_order_ends_after_a_partial_fill(
    account: ExchangeAccount, limit: dict[str, Decimal]
) -> None:
    _check_partial_fill(account, limit)


@pytest.mark.parametrize("limit", BRIEF, ids=["market", "limit"])
def test_bybit_spot_order_ends_after_a_partial_fill(limit: dict[str, Decimal]) -> None:
    """It has a state of its own for that, which ccxt calls closed, and nothing is left of it."""
    account = open_account("bybit")
    _check_partial_fill(account, limit)
    resting = account.order(limit_price=D(51000))
    account.submit(resting)
    ended = [ReportKind.FILLED, ReportKind.CANCELLED]
    assert [r.kind for r in account.cancel(resting)] == ended
    assert [r.kind for r in account.find(resting.client_order_id) or []] == ended
    close(account)


def _check_partial_fill(account: ExchangeAccount, limit: dict[str, Decimal]) -> None:
    account.venue.fill_share = D("0.4")
    request = account.order(**limit, time_in_force=TimeInForce.IOC)
    reports = account.submit(request)
    filled, ended = reports
    assert (filled.kind, filled.fills[0].quantity) == (ReportKind.FILLED, D("0.2"))
    assert ended.kind in (ReportKind.CANCELLED, ReportKind.EXPIRED)
    if not limit or rules(account.spec.exchange_name).names_time_in_force:
        assert ended.code is Code.NO_PRICE_WITHIN_LIMIT
    assert account.find(request.client_order_id) == reports


def test_ioc_order_without_liquidity_ends_without_fill(account: ExchangeAccount) -> None:
    account.venue.fill_share = D(0)
    request = account.order(limit_price=D(51000), time_in_force=TimeInForce.IOC)
    reports = account.submit(request)
    assert len(reports) == 1
    assert reports[0].kind in (ReportKind.EXPIRED, ReportKind.CANCELLED)


def test_order_is_found_by_another_process(account: ExchangeAccount) -> None:
    request = account.order()
    reports = account.submit(request)
    adapter = account.new_adapter()
    assert account.run(adapter.find_order(account.spec, request.client_order_id)) == reports
    account.run(adapter.disconnect())


@pytest.mark.parametrize("pieces", [19, 20, 21, 40])
def test_kraken_order_with_any_number_of_trades_is_found(pieces: int) -> None:
    """Kraken is asked for at most 20 of them at once, and refuses to be asked for none."""
    account = open_account("kraken")
    account.venue.trades_per_fill = pieces
    request = account.order()
    for reports in (account.submit(request), account.find(request.client_order_id)):
        (filled,) = reports or []
        assert (filled.kind, len(filled.fills)) == (ReportKind.FILLED, pieces)
        assert not any(fill.inferred for fill in filled.fills)
    close(account)


def test_fills_since_have_the_same_ids(account: ExchangeAccount) -> None:
    account.venue.trades_per_fill = 3
    request = account.order()
    reports = account.submit(request)
    since = datetime.now(UTC) - timedelta(hours=1)
    (report,) = account.run(account.new_adapter().fills_since(account.spec, since))
    assert report.client_order_id == request.client_order_id
    assert {f.broker_fill_id for f in report.fills} == {f.broker_fill_id for f in reports[0].fills}
    assert len(report.fills) == 3
    assert report.close_cause is None


def test_selling_bought_quantity_leaves_no_position(account: ExchangeAccount) -> None:
    account.submit(account.order())
    account.submit(account.order(side=Side.SELL, reduce_only=True))
    assert account.run(account.adapter.positions(account.spec)) == []
    assert len(account.venue.orders) == 2


@pytest.mark.parametrize("count", [2])
def test_batch_is_placed_one_by_one_with_an_outcome_each(
    account: ExchangeAccount, count: int
) -> None:
    requests = [account.order(quantity=D("0.1")) for _ in range(count)]
    outcomes: dict[str, object] = {}
    pairs = [(account.spec, request) for request in requests]
    account.run(
        account.adapter.submit_many(
            pairs, allow, lambda r, outcome: outcomes.update({r.client_order_id: outcome})
        )
    )
    assert set(outcomes) == {r.client_order_id for r in requests}
    assert all(isinstance(outcome, list) for outcome in outcomes.values())
