"""The choice of a route's account: pure, by policy."""

from decimal import Decimal as D
from typing import Any

import pytest

from brokers.types import Side
from connections.models import RoutePolicy
from execution.submission.routing import NoAccount, RouteCandidate, choose, choose_or_wait


def account(number: str, **fields: Any) -> RouteCandidate:
    usual: dict[str, Any] = {
        "order_id": 1, "connection_id": number, "pair": "EUR/USD", "rank": ord(number) - ord("a"),
        "share": 1, "was_tried": False, "reason": None, "bid": D("1.1"), "ask": D("1.2"),
        "quote_age": 1, "failures": 0, "healthy_seconds": None, "latency": 0.1,
    }  # fmt: skip
    return RouteCandidate(**{**usual, **fields})


def chosen(policy: str, *accounts: RouteCandidate, side: Side = Side.BUY, at: int = 0) -> str:
    choice = choose(policy, side, accounts, at)
    return choice.connection_id if choice else ""


@pytest.mark.parametrize("policy", RoutePolicy.values)
def test_first_of_equal_accounts_is_chosen(policy: str) -> None:
    assert chosen(policy, account("b"), account("a")) == "a"


@pytest.mark.parametrize("policy", RoutePolicy.values)
def test_accounts_that_may_not_trade_or_were_tried_are_left_out(policy: str) -> None:
    paused, tried = account("a", reason="CONNECTION_PAUSED"), account("b", was_tried=True)
    assert chosen(policy, paused, tried, account("c"), at=0) == "c"
    assert choose(policy, Side.BUY, [paused, tried], 0) is None
    assert choose(policy, Side.BUY, [], 0) is None


def test_price_is_the_ask_for_a_buy_and_the_bid_for_a_sell() -> None:
    low, high = account("a", bid=D("1.0"), ask=D("1.3")), account("b", bid=D("1.1"), ask=D("1.4"))
    assert chosen("PRICE", low, high) == "a"
    assert chosen("PRICE", low, high, side=Side.SELL) == "b"


def test_spread_decides_between_equal_prices() -> None:
    assert chosen("PRICE", account("a", bid=D("1.0")), account("b", bid=D("1.1"))) == "b"


def test_account_without_a_fresh_price_comes_last() -> None:
    fresh = account("b", ask=D("1.9"), quote_age=60)
    assert chosen("PRICE", account("a", quote_age=61), fresh) == "b"
    assert chosen("PRICE", account("a", quote_age=None, bid=None, ask=None), fresh) == "b"
    assert chosen("PRICE", account("a", quote_age=61)) == "a"  # its claim states what is missing


def test_health_counts_failures_then_the_time_since_the_last_error() -> None:
    assert chosen("HEALTH", account("a", failures=1), account("b", healthy_seconds=1)) == "b"
    recent, older = account("a", healthy_seconds=10), account("b", healthy_seconds=20)
    assert chosen("HEALTH", recent, older) == "b"
    assert chosen("HEALTH", recent, older, account("c")) == "c"  # it never had an error


def test_quickest_account_is_chosen_and_an_unknown_one_last() -> None:
    unknown = account("a", latency=None)
    assert chosen("LATENCY", unknown, account("b", latency=0.3), account("c", latency=0.2)) == "c"
    assert chosen("LATENCY", unknown) == "a"


@pytest.mark.parametrize(
    ("at", "expected"),
    [(0, "a"), (2**30 - 1, "a"), (2**30, "b"), (2**32 - 1, "b")],
)
def test_share_is_a_part_of_the_signals(at: int, expected: str) -> None:
    assert chosen("SHARE", account("a", share=1), account("b", share=3), at=at) == expected


def test_share_of_an_account_that_cannot_trade_goes_to_the_others() -> None:
    accounts = [account("a", share=1), account("b", share=2, reason="CIRCUIT_OPEN"),
                account("c", share=1)]  # fmt: skip
    assert [chosen("SHARE", *accounts, at=at) for at in (0, 2**31 - 1, 2**31)] == ["a", "a", "c"]


def test_account_without_a_share_is_only_a_fallback() -> None:
    spare = account("b", share=0)
    assert chosen("SHARE", account("a", share=1), spare, at=2**32 - 1) == "a"
    assert chosen("SHARE", account("a", share=1, was_tried=True), spare) == "b"


def test_log_has_the_inputs_of_all_accounts() -> None:
    choice = choose("PRICE", Side.BUY, [account("b", reason="CIRCUIT_OPEN"), account("a")], 7)
    assert choice is not None
    assert choice.detail == "PRICE: 1.2, spread 0.1"
    assert choice.numbers == {
        "policy": "PRICE", "side": "BUY", "position": 7, "chosen": "a",
        "accounts": [
            {"connection": "a", "rank": 0, "share": 1, "bid": "1.1", "ask": "1.2", "quote_age": 1,
             "failures": 0, "latency": 0.1},
            {"connection": "b", "rank": 1, "share": 1, "reason": "CIRCUIT_OPEN", "bid": "1.1",
             "ask": "1.2", "quote_age": 1, "failures": 0, "latency": 0.1},
        ],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("policy", "detail"),
    [
        ("HEALTH", "HEALTH: 0 failures in a row"),
        ("LATENCY", "LATENCY: 0.100 s"),
        ("SHARE", "SHARE: share 1"),
    ],
)
def test_log_names_the_figure_that_decided(policy: str, detail: str) -> None:
    choice = choose(policy, Side.BUY, [account("a")], 0)
    assert choice is not None
    assert choice.detail == detail


def test_log_states_that_a_figure_is_unknown() -> None:
    unknown = account("a", latency=None, quote_age=None)
    latency = choose("LATENCY", Side.BUY, [unknown], 0)
    price = choose("PRICE", Side.BUY, [unknown], 0)
    assert latency is not None
    assert price is not None
    assert (latency.detail, price.detail) == (
        "LATENCY: not measured yet", "PRICE: no account has a price",
    )  # fmt: skip


def waits_on(*accounts: RouteCandidate, current: str = "a") -> str:
    choice = choose_or_wait("HEALTH", Side.BUY, accounts, 0, current)
    assert not isinstance(choice, NoAccount)
    return choice.connection_id if choice else ""


HALTED, CIRCUIT = "TRADING_HALTED", "CIRCUIT_OPEN"


def test_unsent_entry_waits_where_it_is_if_it_can() -> None:
    assert waits_on(account("a", reason=CIRCUIT), account("b", reason=CIRCUIT)) == "a"
    assert waits_on(account("a", was_tried=True), account("b", reason=CIRCUIT)) == "a"
    assert waits_on(account("a", reason=CIRCUIT), account("b")) == "b"
    assert waits_on(account("b", reason=HALTED), current="gone") == ""


def test_unsent_entry_waits_on_the_first_account_that_will_be_able() -> None:
    halted, later = account("a", reason=HALTED), account("c", reason=CIRCUIT)
    assert waits_on(halted, later, account("b", reason=CIRCUIT)) == "b"
    assert waits_on(halted, later, account("b", reason=CIRCUIT, was_tried=True)) == "c"


@pytest.mark.parametrize(
    ("reasons", "code"),
    [
        ((HALTED, HALTED), "TRADING_HALTED"),
        ((HALTED, "NO_PRESET"), "NO_ROUTE_ACCOUNT"),
        (("NO_PRESET", "SYMBOL_AMBIGUOUS"), "SYMBOL_AMBIGUOUS"),
    ],
)
def test_code_of_an_entry_that_no_account_may_take(reasons: tuple[str, str], code: str) -> None:
    found = choose_or_wait(
        "HEALTH", Side.BUY,
        [account("b", reason=reasons[1], name="two", symbols="X, Y"),
         account("a", reason=reasons[0], name="one"),
         account("c", was_tried=True, name="three")],
        0, "a",
    )  # fmt: skip
    assert isinstance(found, NoAccount)
    assert found.code == code
    names = f"{reasons[1]} (X, Y)" if code == "SYMBOL_AMBIGUOUS" else reasons[1]
    assert found.detail == f"one: {reasons[0]}; two: {names}; three: tried already"
    assert [one["connection"] for one in found.numbers["accounts"]] == ["a", "b", "c"]
