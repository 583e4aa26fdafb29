"""Alerts whose symbol names no currency: no single follower's account decides for the others which
pair is meant, and open trades can be closed independently of what followers list or map."""

from typing import Any

import pytest

from connections.models import Subscription
from signals.models import Feed
from tests.api.factories import World
from tests.api.symbol_alerts import DAX, DOLLAR, POUND, accepted, feed, opened, unrelated_follower
from tests.api.test_problems import problem
from tests.api.test_symbols import alert, follower

__all__ = ["feed"]


@pytest.mark.parametrize(
    ("mapped", "instruments"),
    [
        ({"DAX/ZZZ": "WHATEVER"}, [POUND]),
        ({"DAX/ZZZ": "GBPUSD"}, [POUND]),
        ({"DAX/ZZZ": "WHATEVER"}, []),
    ],
    ids=["not listed", "listed", "list not read"],
)
@pytest.mark.parametrize("action", ["OPEN", "CLOSE"])
def test_symbol_map_of_one_follower_does_not_make_a_listed_word_ambiguous(
    world: World, feed: Feed, action: str, mapped: dict[str, str], instruments: list[Any]
) -> None:
    follower(feed, DAX)
    unrelated_follower(feed, mapped, *instruments)
    if action == "CLOSE":
        entry = opened(world, feed, "DAX/EUR")
        assert accepted(world, feed, action="CLOSE").refers_to == entry
    else:
        assert accepted(world, feed).currency_pair == "DAX/EUR"


@pytest.mark.parametrize("instruments", [[], [POUND]], ids=["list not read", "not listed"])
def test_map_to_an_unlisted_symbol_completes_no_word(
    world: World, feed: Feed, instruments: list[Any]
) -> None:
    follower(feed, POUND)
    unrelated_follower(feed, {"DAX/ZZZ": "WHATEVER"}, *instruments)
    refused = problem(alert(world, feed, ticker="DAX"), 400, "SYMBOL_UNKNOWN")
    assert "ZZZ" not in refused["detail"]


def test_pair_of_ten_times_as_many_owners_is_meant(world: World, feed: Feed) -> None:
    for _ in range(9):
        follower(feed, DAX)
    follower(feed, DOLLAR)
    refused = problem(alert(world, feed, ticker="DAX"), 400, "SYMBOL_UNKNOWN")
    assert "'DAX' may be DAX/EUR, DAX/USD: write which one you mean." in refused["detail"]
    follower(feed, DAX)
    assert accepted(world, feed).currency_pair == "DAX/EUR"


@pytest.mark.parametrize("mapped", [{}, {"DAX/EUR": "GBPUSD"}], ids=["listed", "mapped"])
def test_providers_own_account_decides_between_listed_pairs(
    world: World, feed: Feed, mapped: dict[str, str]
) -> None:
    own = follower(feed, POUND if mapped else DAX, owner=world.paula)
    Subscription.objects.filter(connection=own).update(symbol_map=mapped)
    follower(feed, DOLLAR)
    assert accepted(world, feed).currency_pair == "DAX/EUR"


def test_word_is_searched_in_every_followers_list(world: World, feed: Feed) -> None:
    """Each account of MetaTrader and IBKR has its own list."""
    for number in range(25):
        follower(feed, POUND, account=f"{number:02}")
    follower(feed, DAX, account="last")
    assert accepted(world, feed).currency_pair == "DAX/EUR"


def test_ambiguous_word_names_its_open_pairs(world: World, feed: Feed) -> None:
    follower(feed, DAX, DOLLAR)
    euro, dollar = (opened(world, feed, pair) for pair in ("DAX/EUR", "DAX/USD"))
    for action in ("CLOSE", "OPEN"):
        refused = problem(alert(world, feed, ticker="DAX", action=action), 400, "SYMBOL_UNKNOWN")
        assert "'DAX' may be DAX/EUR or DAX/USD: this feed has open trades" in refused["detail"]
        assert refused["errors"][0]["field"] == "ticker"
    response = alert(world, feed, ticker="DAX", action="CLOSE", refers_to=dollar.pk)
    assert response.status_code == 201, response.content
    assert accepted(world, feed, action="CLOSE").refers_to == euro


def test_listed_pair_replaces_one_that_no_account_lists_any_more(world: World, feed: Feed) -> None:
    """It was traded recently and nothing is open; only the account that listed it has left."""
    row = follower(feed, DOLLAR)
    opened(world, feed, "DAX/USD")
    assert accepted(world, feed, action="CLOSE").currency_pair == "DAX/USD"
    Subscription.objects.filter(connection=row).delete()
    follower(feed, DAX)
    assert accepted(world, feed).currency_pair == "DAX/EUR"


def test_ambiguous_word_names_traded_pairs_that_no_account_lists_any_more(
    world: World, feed: Feed
) -> None:
    row = follower(feed, DAX, DOLLAR)
    for pair in ("DAX/EUR", "DAX/USD"):
        opened(world, feed, pair)
        alert(world, feed, ticker=pair, action="CLOSE")
    Subscription.objects.filter(connection=row).delete()
    follower(feed, POUND)
    refused = problem(alert(world, feed, ticker="DAX", action="CLOSE"), 400, "SYMBOL_UNKNOWN")
    assert "'DAX' may be DAX/EUR or DAX/USD: this feed has traded" in refused["detail"]
