"""A spot symbol leaves the exchange's list while its coins are held: they are still a position."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from brokers.base import Rejected
from brokers.types import BrokerPosition, ModifyRequest, ReportKind, Side
from common.reason_codes import Code
from tests.crypto.factories import D, ExchangeAccount, close, open_account
from tests.until import until


@pytest.fixture(params=["binance", "bybit", "okx", "kraken"])
def account(request: pytest.FixtureRequest) -> Iterator[ExchangeAccount]:
    account = open_account(request.param)
    account.submit(account.order())
    yield account
    close(account)


def delist(account: ExchangeAccount) -> None:
    account.venue.delisted.add(account.exchange_symbol)
    account.run(account.adapter.disconnect())


def positions(account: ExchangeAccount) -> list[BrokerPosition]:
    return account.run(account.adapter.positions(account.spec))


def test_delisted_holding_is_a_position_that_cannot_be_traded(account: ExchangeAccount) -> None:
    delist(account)
    (held,) = positions(account)
    assert (held.symbol, held.side, held.quantity, held.is_tradable) == (
        account.symbol, Side.BUY, D("0.5"), False,
    )  # fmt: skip
    account.venue.balances["BTC"] = D(0)  # the exchange has paid it out
    assert positions(account) == []


def test_symbol_missing_from_one_list_is_read_again(
    account: ExchangeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    delist(account)
    assert [one.is_tradable for one in positions(account)] == [False]
    account.venue.delisted.clear()
    monkeypatch.setattr("brokers.crypto.reads.RENEW_SECONDS", 0.0)  # a minute later

    def is_tradable() -> bool:
        return [one.is_tradable for one in positions(account)] == [True]

    until(is_tradable, "the symbol that is listed again cannot be traded")  # read in the background


def test_exit_of_a_delisted_holding_is_refused_after_one_read(account: ExchangeAccount) -> None:
    delist(account)
    with pytest.raises(Rejected) as outcome:
        account.submit(account.order(side=Side.SELL, reduce_only=True))
    assert outcome.value.code is Code.UNKNOWN_SYMBOL_AT_BROKER


def test_levels_of_a_delisted_holding_are_gone_and_not_placed(account: ExchangeAccount) -> None:
    delist(account)
    removal = ModifyRequest("abc", account.symbol, account.symbol, None, None, D("0.5"))
    (report,) = account.run(account.adapter.modify(account.spec, removal))
    assert (report.kind, report.stop_loss) == (ReportKind.LEVELS, None)
    with pytest.raises(Rejected) as outcome:
        account.run(account.adapter.modify(account.spec, replace(removal, stop_loss=D(45000))))
    assert outcome.value.code is Code.STOPS_INVALID
