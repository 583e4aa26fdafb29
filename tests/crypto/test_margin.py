"""Margin mode and leverage of perpetuals: read, set where the account demands them, required."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest

from brokers.base import NotSent, Rejected
from brokers.types import CheckResult, ModifyRequest, ReportKind, Side
from common.clocks import machine_time
from common.reason_codes import Code
from tests.crypto.factories import ExchangeAccount, close, open_account

OK, FAIL = CheckResult.OK, CheckResult.FAIL
Open = Callable[..., ExchangeAccount]


@pytest.fixture(params=["binance", "bybit", "okx"])
def open_at(request: pytest.FixtureRequest) -> Iterator[Open]:
    """Opens perpetuals at each exchange, with settings."""
    opened: list[ExchangeAccount] = []

    def make(**settings: Any) -> ExchangeAccount:
        opened.append(open_account(request.param, swap=True, **settings))
        return opened[-1]

    yield make
    for account in opened:
        close(account)


def leverage_of(account: ExchangeAccount, mode: str = "cross") -> int:
    """Return what the exchange has: OKX has one for each mode."""
    name = account.exchange_symbol
    is_okx = account.spec.exchange_name == "okx"
    return account.venue.leverage(f"{name} {mode}" if is_okx else name)


def mode_of(account: ExchangeAccount, order_id: str) -> str:
    """Return the mode that an order was sent in: OKX's orders name it."""
    if account.spec.exchange_name == "okx":
        return account.venue.named_modes[order_id]
    return account.venue.margin_mode(account.exchange_symbol)


def margin_checks(account: ExchangeAccount) -> list[tuple[CheckResult, str]]:
    checks = account.run(account.adapter.test(account.spec))
    return [(one.result, one.detail) for one in checks if one.name == "margin"]


def test_margin_that_is_not_demanded_is_shown_and_left_alone(open_at: Open) -> None:
    account = open_at()
    assert margin_checks(account) == [(OK, "BTC/USDT:USDT: cross 10x")]
    order = account.order()
    account.submit(order)
    assert (mode_of(account, order.client_order_id), leverage_of(account)) == ("cross", 10)


def test_connection_test_sets_what_the_account_demands(open_at: Open) -> None:
    account = open_at(margin_mode="isolated", leverage=3)
    assert margin_checks(account) == [(OK, "BTC/USDT:USDT: isolated 3x")]
    order = account.order()
    account.submit(order)
    assert mode_of(account, order.client_order_id) == "isolated"
    assert leverage_of(account, "isolated") == 3


def test_entry_sets_what_the_owner_has_changed_since(open_at: Open) -> None:
    account = open_at(leverage=5)
    account.submit(account.order())
    assert leverage_of(account) == 5
    assert account.venue.accepted("abc000000000000010") == 1


def test_entry_is_refused_with_another_leverage_than_demanded(open_at: Open) -> None:
    account = open_at(leverage=50)
    account.venue.most_leverage = 20
    order = account.order()
    with pytest.raises(Rejected) as caught:
        account.submit(order)
    assert caught.value.code is Code.LEVERAGE_DIFFERS
    assert "10x, and 50x is demanded" in caught.value.detail
    assert account.venue.accepted(order.client_order_id) == 0
    [(result, detail)] = margin_checks(account)
    assert result is FAIL
    assert "10x, and 50x is demanded" in detail


@pytest.mark.parametrize("exchange", ["binance", "bybit"])
def test_entry_is_refused_in_another_mode_than_demanded(exchange: str) -> None:
    """The exchange changes no mode while something is open; an exit goes all the same."""
    account = open_account(exchange, swap=True, margin_mode="isolated")
    try:
        account.venue.place(account.exchange_symbol, "BUY", "MARKET", D("0.5"))
        order = account.order()
        with pytest.raises(Rejected) as caught:
            account.submit(order)
        assert caught.value.code is Code.MARGIN_MODE_DIFFERS
        assert "cross, and isolated is demanded" in caught.value.detail
        assert account.venue.accepted(order.client_order_id) == 0
        end = account.order(side=Side.SELL, reduce_only=True)
        account.submit(end)
        assert account.venue.accepted(end.client_order_id) == 1
        account.submit(later := account.order())
        assert mode_of(account, later.client_order_id) == "isolated"
    finally:
        close(account)


def test_entry_is_not_sent_while_the_margin_cannot_be_read(
    open_at: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = open_at(leverage=3)
    account.load_markets()
    dialect = type(account.server._dialect)
    for handler in ("_get_symbolconfig", "_account_info", "_get_account_leverage_info"):
        if hasattr(dialect, handler):
            monkeypatch.setattr(dialect, handler, lambda *_: {"nothing": "known"})
    order = account.order()
    with pytest.raises(NotSent):
        account.submit(order)
    assert account.venue.accepted(order.client_order_id) == 0


def test_okx_levels_name_the_mode_of_their_entry() -> None:
    account = open_account("okx", swap=True, margin_mode="isolated")
    try:
        account.submit(account.order(stop_loss=D(45000)))
        assert set(account.venue.named_modes.values()) == {"isolated"}
        assert len(account.venue.named_modes) == 2
    finally:
        close(account)


def with_another_setting(account: ExchangeAccount, mode: str, *, is_new_process: bool) -> None:
    """Let the owner change the account's margin mode while a position is open."""
    account.spec = replace(account.spec, settings={**account.spec.settings, "margin_mode": mode})
    if is_new_process:
        account.run(account.adapter.disconnect())
        account.adapter = account.new_adapter()


@pytest.mark.parametrize("is_new_process", [True, False])
def test_okx_exit_names_the_mode_of_what_is_open(*, is_new_process: bool) -> None:
    """Each mode has positions of its own; the setting is of entries."""
    account = open_account("okx", swap=True)
    try:
        account.submit(account.order())
        with_another_setting(account, "isolated", is_new_process=is_new_process)
        end = account.order(side=Side.SELL, reduce_only=True)
        reports = account.submit(end)
        assert [one.kind for one in reports] == [ReportKind.FILLED]
        assert mode_of(account, end.client_order_id) == "cross"
        assert account.venue.accepted(end.client_order_id) == 1
    finally:
        close(account)


@pytest.mark.parametrize("is_new_process", [True, False])
def test_okx_level_names_the_mode_of_its_position(*, is_new_process: bool) -> None:
    account = open_account("okx", swap=True, margin_mode="isolated")
    try:
        account.submit(entry := account.order())
        with_another_setting(account, "cross", is_new_process=is_new_process)
        change = ModifyRequest(
            entry.client_order_id, entry.symbol, entry.symbol, D(45000), None, D("0.5"),
            send_by=machine_time() + 60,
        )  # fmt: skip
        (report,) = account.run(account.adapter.modify(account.spec, change))
        assert report.levels is not None
        assert report.levels.stop_loss == 45000
    finally:
        close(account)


def test_okx_entry_is_refused_while_another_mode_is_open() -> None:
    """It would open a second position of the symbol."""
    account = open_account("okx", swap=True)
    try:
        account.submit(account.order())
        with_another_setting(account, "isolated", is_new_process=True)
        order = account.order()
        with pytest.raises(Rejected) as caught:
            account.submit(order)
        assert caught.value.code is Code.MARGIN_MODE_DIFFERS
        assert account.venue.accepted(order.client_order_id) == 0
    finally:
        close(account)


def test_spot_orders_are_never_sent_on_margin() -> None:
    account = open_account("binance", margin_mode="cross", leverage=3)
    try:
        account.submit(account.order())
        assert not [one for one in account.venue.request_lines if "/sapi/" in one]
    finally:
        close(account)
