"""What polls of a spot account cost at its exchange, and that they miss nothing for it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from brokers.base import ReadFailed
from brokers.crypto import entry_prices, reads, traded_symbols
from brokers.exit_reads import exit_read
from brokers.shared_reads import shared_reads
from brokers.types import OrderReport
from tests.crypto.factories import D, ExchangeAccount, close, open_account
from tests.fakes.exchange.model import Fault, Market

COINS = ["BTC", *(f"C{number:02}" for number in range(29))]
WEIGHTS = {"myTrades": 20, "account": 20, "openOrders": 80, "time": 1}  # of Binance, all symbols
MONEY = D(100000)


@dataclass
class Clock:
    """A clock that the test sets. now: machine_time() of what is remembered of polls."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (traded_symbols, entry_prices, reads):
        monkeypatch.setattr(module, "machine_time", clock)
    return clock


def account_of_thirty_coins(name: str) -> ExchangeAccount:
    """Return an account that holds thirty coins which were bought elsewhere."""
    found = open_account(name, symbols=[f"{coin}/USDT" for coin in COINS])
    market = next(iter(found.venue.markets.values()))
    for coin in COINS[1:]:
        symbol = found.exchange_symbol.replace("BTC", coin)
        found.venue.markets[symbol] = Market(coin, "USDT", market.step, market.tick, D(5))
        found.venue.prices[symbol] = D("50000.0")
    found.venue.balances |= {"USDT": D(10_000_000), **dict.fromkeys(COINS, D(7))}
    found.load_markets()
    found.venue.request_lines.clear()
    return found


@pytest.fixture
def account(clock: Clock) -> Iterator[ExchangeAccount]:
    found = account_of_thirty_coins("binance")
    yield found
    close(found)


def fills(account: ExchangeAccount, *, adapter: Any = None, ago: float = 60.0) -> list[OrderReport]:
    since = datetime.now(UTC) - timedelta(seconds=ago)
    return account.run((adapter or account.adapter).fills_since(account.spec, since))


def poll(account: ExchangeAccount) -> list[OrderReport]:
    """Read what the engine's poll of an account reads."""
    found = fills(account)

    async def read() -> None:
        with shared_reads():
            await account.adapter.positions(account.spec)
            await account.adapter.open_orders(account.spec)

    account.run(read())
    return found


def asked(account: ExchangeAccount) -> Counter[str]:
    """Return how often each list was requested since the last call; executions by symbol."""
    found: Counter[str] = Counter()
    for line in account.venue.request_lines:
        address = urlsplit(line.partition(" ")[2])
        kind = address.path.rpartition("/")[2]
        symbol = parse_qs(address.query).get("symbol", [""])[0]
        found[f"{kind} {symbol}" if kind == "myTrades" else kind] += 1
    account.venue.request_lines.clear()
    return found


def weight(requests: Counter[str]) -> int:
    return sum(WEIGHTS[kind.partition(" ")[0]] * count for kind, count in requests.items())


def trade(account: ExchangeAccount, coin: str, side: str = "BUY", **fields: Any) -> str:
    """Trade half a coin by hand, outside of any order of ours; return the order's number."""
    symbol = account.exchange_symbol.replace("BTC", coin)
    with account.venue.lock:
        order = account.venue.place(symbol, side, "MARKET", D("0.5"), **fields)
    return str(order.number)


def numbers(reports: list[OrderReport]) -> list[str]:
    return sorted(report.broker_order_id for report in reports)


def executions_asked(requests: Counter[str]) -> list[str]:
    return sorted(kind.partition(" ")[2] for kind in requests.elements() if " " in kind)


# ---- weight --------------------------------------------------------------------------------
def test_poll_of_thirty_held_coins_weighs_as_little_as_of_one(account: ExchangeAccount) -> None:
    poll(account)
    first = asked(account)
    assert len(set(executions_asked(first))) == 30  # after a start nothing is known
    for _ in range(3):
        poll(account)
    requests = asked(account)
    print("weight of the first poll, and of the next three:", weight(first), weight(requests))
    assert executions_asked(requests) == []
    assert weight(requests) <= 3 * 121


def test_only_what_traded_is_read_again(account: ExchangeAccount, clock: Clock) -> None:
    poll(account)
    clock.now += 60
    poll(account)
    asked(account)
    bought = trade(account, "C07")
    assert numbers(poll(account)) == [bought]
    assert set(executions_asked(asked(account))) == {"C07USDT"}
    assert numbers(poll(account)) == [bought]  # again, without a request
    assert executions_asked(asked(account)) == []


def test_one_request_lists_executions_of_all_symbols_at_bybit(clock: Clock) -> None:
    account = account_of_thirty_coins("bybit")
    bought = [trade(account, coin) for coin in ("C03", "C11", "BTC")]
    account.venue.request_lines.clear()
    found = fills(account)
    assert numbers(found) == sorted(bought)
    assert {report.broker_position_id for report in found} == {"C03/USDT", "C11/USDT", "BTC/USDT"}
    assert sum("execution/list" in line for line in account.venue.request_lines) == 1
    close(account)


def test_exit_read_has_one_request_and_all_quantities(account: ExchangeAccount) -> None:
    async def read() -> Any:
        with exit_read():
            return await account.adapter.positions(account.spec)

    fills(account)
    asked(account)
    found = account.run(read())
    assert asked(account) == {"account": 1}
    assert [position.quantity for position in found] == [D(7)] * 30


# ---- nothing is missed ---------------------------------------------------------------------
def test_fill_that_is_listed_late_is_read_later(account: ExchangeAccount, clock: Clock) -> None:
    poll(account)
    clock.now += 60
    account.venue.trades_lag = True
    bought = trade(account, "C07")
    assert poll(account) == []
    account.venue.trades_lag = False
    assert poll(account) == []  # it is not asked for at each poll
    clock.now += 2
    assert numbers(poll(account)) == [bought]


def test_coins_from_elsewhere_are_asked_about_and_then_left(
    account: ExchangeAccount, clock: Clock
) -> None:
    poll(account)
    clock.now += 60
    poll(account)
    asked(account)
    account.venue.balances["C07"] += 3
    for _ in range(60):
        clock.now += 1
        assert fills(account) == []
    assert executions_asked(asked(account)) == ["C07USDT"] * 4
    assert numbers(fills(account)) == []


def test_what_was_bought_and_sold_between_two_polls_is_read(account: ExchangeAccount) -> None:
    account.venue.fee_rate = D("0.001")
    poll(account)
    both = [trade(account, "C07"), trade(account, "C07", "SELL")]
    assert numbers(poll(account)) == sorted(both)


def test_trades_without_any_trace_in_balances_are_read_within_minutes(
    account: ExchangeAccount, clock: Clock
) -> None:
    poll(account)
    both = [trade(account, "C07"), trade(account, "C07", "SELL")]
    assert poll(account) == []
    found: set[str] = set()
    asked(account)
    for _ in range(12):
        clock.now += 60
        found |= set(numbers(fills(account)))
    assert found == set(both)
    assert max(Counter(executions_asked(asked(account))).values()) < 6


def test_new_process_reads_what_the_last_one_may_have_left_out(account: ExchangeAccount) -> None:
    poll(account)
    both = [trade(account, "C07"), trade(account, "C07", "SELL")]
    assert poll(account) == []
    assert numbers(fills(account, adapter=account.new_adapter(), ago=0.0)) == sorted(both)


def test_caller_that_could_not_store_a_fill_gets_it_again(account: ExchangeAccount) -> None:
    poll(account)
    bought = trade(account, "C07")
    assert [numbers(fills(account, ago=300.0)) for _ in range(3)] == [[bought]] * 3


def test_read_that_is_cut_off_continues_with_what_is_left(account: ExchangeAccount) -> None:
    bought = trade(account, "C28")
    account.venue.faults.extend([Fault("late", on="read", seconds=0.0)] * 11)
    account.venue.faults.append(Fault("status", 503, "busy", on="read"))
    with pytest.raises(ReadFailed):
        fills(account)
    first = set(executions_asked(asked(account)))
    assert numbers(fills(account)) == [bought]
    second = set(executions_asked(asked(account)))
    assert len(first | second) == 30
    assert len(first & second) == 1  # the one that was cut off


def test_entry_price_follows_a_trade_that_leaves_the_balance(
    account: ExchangeAccount, clock: Clock
) -> None:
    account.venue.balances["C07"] = D(0)
    trade(account, "C07")
    clock.now += 60
    poll(account)
    account.venue.fee_rate = D("0.001")
    trade(account, "C07", "SELL")
    account.venue.prices[account.exchange_symbol.replace("BTC", "C07")] = D("60000.0")
    trade(account, "C07")
    clock.now += 1
    fills(account)
    clock.now += 1
    found = account.run(account.adapter.positions(account.spec))
    assert [one.entry_price for one in found if one.symbol == "C07/USDT"] == [D("60000.0")]
