"""What is remembered of a market may be wrong by now: exits are sent, and refusals renew it."""

from dataclasses import replace

import pytest

from brokers.base import Rejected
from brokers.types import ModifyRequest, OrderRequest, ReportKind, Side
from common.reason_codes import Code
from tests.crypto.factories import D, ExchangeAccount, account, binance
from tests.fakes.exchange.model import Market

__all__ = ["account", "binance"]

NOT_TRADED = {"binance": "PENDING_TRADING", "bybit": "PreLaunch", "okx": "suspend",
              "kraken": "cancel_only"}  # fmt: skip


def change(account: ExchangeAccount, **fields: object) -> Market:
    """Change the exchange's market; what was loaded of it stays."""
    markets, name = account.venue.markets, account.exchange_symbol
    markets[name] = replace(markets[name], **fields)  # type: ignore[arg-type]
    return markets[name]


def open_half(account: ExchangeAccount) -> OrderRequest:
    """Buy 0.5 coins; return the exit of them."""
    account.submit(account.order())
    return account.order(side=Side.SELL, reduce_only=True)


def market_reads(account: ExchangeAccount) -> int:
    words = ("exchangeInfo", "instruments", "AssetPairs")
    return sum(any(word in line for word in words) for line in account.venue.request_lines)


def test_exit_is_sent_although_loaded_market_was_halted(account: ExchangeAccount) -> None:
    """Its trading has resumed since; nothing is requested before the exit."""
    request = open_half(account)
    change(account, state=NOT_TRADED[account.spec.exchange_name])
    account.run(account.adapter.disconnect())
    account.load_markets()
    change(account, state="")
    reads = market_reads(account)
    assert ReportKind.FILLED in {report.kind for report in account.submit(request)}
    assert market_reads(account) == reads


def test_exit_of_a_halted_market_is_refused_by_the_exchange(account: ExchangeAccount) -> None:
    request = open_half(account)
    change(account, state=NOT_TRADED[account.spec.exchange_name])
    account.venue.closed = True
    account.run(account.adapter.disconnect())
    account.load_markets()
    writes = len(account.venue.writes)
    with pytest.raises(Rejected) as outcome:
        account.submit(request)
    assert (outcome.value.code, len(account.venue.writes)) == (Code.MARKET_CLOSED, writes + 1)


def test_exit_goes_although_one_list_lacked_its_symbol(
    account: ExchangeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That list is some seconds old; one entry in it may wait for a minute, an exit does not."""
    request = open_half(account)
    account.venue.delisted.add(account.exchange_symbol)
    account.run(account.adapter.disconnect())
    account.load_markets()
    account.venue.delisted.clear()
    monkeypatch.setattr("brokers.crypto.adapter.LISTED_SECONDS", 0.0)
    assert ReportKind.FILLED in {report.kind for report in account.submit(request)}


def test_entry_is_sent_once_its_halt_has_ended(
    account: ExchangeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(account, state=NOT_TRADED[account.spec.exchange_name])
    account.load_markets()
    with pytest.raises(Rejected) as outcome:
        account.submit(account.order())
    assert (outcome.value.code, account.venue.writes) == (Code.MARKET_CLOSED, [])
    change(account, state="")
    monkeypatch.setattr("brokers.crypto.adapter.RENEW_SECONDS", 0.0)  # a minute later
    reads = market_reads(account)
    assert ReportKind.FILLED in {report.kind for report in account.submit(account.order())}
    assert reads < market_reads(account) <= reads + 2  # Bybit has two lists


def test_exit_off_the_loaded_step_is_sent_as_it_is(account: ExchangeAccount) -> None:
    """The exchange has a finer step by now, or takes such an exit all the same."""
    request = open_half(account)
    change(account, step=D("0.0001") / account.venue.markets[account.exchange_symbol].contract_size)
    part = replace(request, quantity=D("0.2345"))
    reports = account.submit(part)
    assert sum(fill.quantity for report in reports for fill in report.fills) == D("0.2345")


def test_exit_of_a_symbol_that_its_owner_took_off_the_list_is_sent(
    account: ExchangeAccount,
) -> None:
    request = open_half(account)
    settings = {**account.spec.settings, "symbols": ["ETH/USDT"]}
    account.spec = replace(account.spec, settings=settings)
    assert ReportKind.FILLED in {report.kind for report in account.submit(request)}


def test_level_is_rounded_again_when_the_tick_has_changed(binance: ExchangeAccount) -> None:
    entry = binance.order()
    binance.submit(entry)
    change(binance, tick=D(10))
    levels = ModifyRequest(
        entry.client_order_id, binance.symbol, binance.symbol, D("45004.1"), None, D("0.5")
    )
    (report,) = binance.run(binance.adapter.modify(binance.spec, levels))
    assert (report.stop_loss, report.code) == (D(45000), None)


def test_markets_are_loaded_again_after_a_refused_exit_alone(account: ExchangeAccount) -> None:
    request = open_half(account)
    step = account.venue.markets[account.exchange_symbol].step
    change(account, step=2 * step)
    off = step * account.venue.markets[account.exchange_symbol].contract_size
    with pytest.raises(Rejected) as outcome:
        account.submit(replace(request, quantity=D("0.2") + off))
    assert outcome.value.code is Code.VOLUME_INVALID
    reads = market_reads(account)
    account.load_markets()
    assert market_reads(account) > reads
    assert ReportKind.FILLED in {report.kind for report in account.submit(request)}
