"""Alerts whose symbol names no currency: no single follower's account decides for the others which
pair is meant, and open trades can be closed independently of what followers list or map."""

from datetime import timedelta
from itertools import product
from typing import Any

import pytest

from common.clocks import market_now
from connections.models import Subscription
from signals.listings import ListedPair, unambiguous_pair
from signals.models import Feed, Signal
from tests.api.factories import World
from tests.api.test_problems import problem
from tests.api.test_symbols import alert, follower, listed
from tests.matrix import WALK_TIME, Walk

DAX, DOLLAR = listed("DAX", "DAX/EUR"), listed("DAXUSD", "DAX/USD")
POUND = listed("GBPUSD", "GBP/USD")


@pytest.fixture
def feed(world: World) -> Feed:
    """Return Paula's feed, which has no followers yet."""
    Subscription.objects.all().delete()
    return world.public


def unrelated_follower(feed: Feed, mapped: dict[str, str], *instruments: Any) -> None:
    row = follower(feed, *instruments)
    Subscription.objects.filter(connection=row).update(symbol_map=mapped)


def accepted(world: World, feed: Feed, **fields: Any) -> Signal:
    """Send an alert that must not be refused; return its signal."""
    response = alert(world, feed, ticker="DAX", **fields)
    assert response.status_code == 201, response.content
    return Signal.objects.latest("id")


def opened(world: World, feed: Feed, pair: str) -> Signal:
    response = alert(world, feed, ticker=pair)
    assert response.status_code == 201, response.content
    return Signal.objects.latest("id")


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


# How one other follower's account maps DAX/USD, and what its broker lists.
OTHER_FOLLOWER = {
    "not tested": ({}, []),
    "mapped, not tested": ({"DAX/USD": "GBPUSD"}, []),
    "mapped": ({"DAX/USD": "GBPUSD"}, [POUND]),
    "listed": ({}, [DOLLAR]),
}


def open_and_close(world: World, feed: Feed, pair: str) -> None:
    """Open a trade in this pair and close it."""
    entry = opened(world, feed, pair)
    Signal.objects.filter(pk=entry.pk).update(created_at=market_now() - timedelta(days=1))
    assert alert(world, feed, ticker=pair, action="CLOSE").status_code == 201


@WALK_TIME
def test_one_follower_does_not_bring_back_a_pair_that_others_no_longer_list(
    world: World, feed: Feed
) -> None:
    row = follower(feed, DOLLAR)
    open_and_close(world, feed, "DAX/USD")
    Subscription.objects.filter(connection=row).delete()
    with Walk() as walk:
        for other_follower, followers in walk.each(product(OTHER_FOLLOWER, (1, 2, 5))):
            with walk.cell(other_follower, f"{followers} others") as cell:
                for _ in range(followers):
                    follower(feed, DAX)
                mapped, instruments = OTHER_FOLLOWER[other_follower]
                unrelated_follower(feed, mapped, *instruments)
                cell.expect("DAX/EUR", accepted(world, feed).currency_pair)


@pytest.mark.parametrize("followers", [2, 12])
def test_pair_of_one_follower_is_replaced_by_the_pair_that_others_list(
    world: World, feed: Feed, followers: int
) -> None:
    unrelated_follower(feed, {}, DOLLAR)
    assert accepted(world, feed, note="first").currency_pair == "DAX/USD"
    assert accepted(world, feed, action="CLOSE").currency_pair == "DAX/USD"
    for _ in range(followers):
        follower(feed, DAX)
    assert accepted(world, feed).currency_pair == "DAX/EUR"


@WALK_TIME
def test_one_follower_does_not_change_the_pair_that_others_have_traded(
    world: World, feed: Feed
) -> None:
    with Walk() as walk:
        for other_follower, has, followers in walk.each(
            product(OTHER_FOLLOWER, ("listed", "mapped"), (1, 2))
        ):
            with walk.cell(other_follower, f"{followers} others have it {has}") as cell:
                for _ in range(followers):
                    row = follower(feed, DAX if has == "listed" else POUND)
                    if has == "mapped":
                        subscribed = Subscription.objects.filter(connection=row)
                        subscribed.update(symbol_map={"DAX/EUR": "GBPUSD"})
                open_and_close(world, feed, "DAX/EUR")
                mapped, instruments = OTHER_FOLLOWER[other_follower]
                unrelated_follower(feed, mapped, *instruments)
                cell.expect("DAX/EUR", accepted(world, feed).currency_pair)


def test_traded_pair_is_kept_among_several_listed_pairs(world: World, feed: Feed) -> None:
    """Neither is listed by ten times as many owners, so the word keeps its meaning."""
    for instrument in (DAX, DAX, DOLLAR, DOLLAR, DOLLAR):
        follower(feed, instrument)
    open_and_close(world, feed, "DAX/EUR")
    assert accepted(world, feed).currency_pair == "DAX/EUR"


def test_providers_own_account_decides_against_the_traded_pair(world: World, feed: Feed) -> None:
    for _ in range(2):
        follower(feed, DAX)
    open_and_close(world, feed, "DAX/EUR")
    follower(feed, DOLLAR, owner=world.paula)
    assert accepted(world, feed).currency_pair == "DAX/USD"


@pytest.mark.parametrize(
    ("owners_by_pair", "meant"),  # pair, how many owners list it, whether the feed's owner does
    [
        ([], ""),
        ([("A", 1, False)], "A"),
        ([("A", 10, False), ("B", 1, True)], "A"),
        ([("A", 9, False), ("B", 1, False)], ""),
        ([("A", 9, False), ("B", 1, True)], "B"),
        ([("A", 10, True), ("B", 2, True)], ""),
    ],
)
def test_unambiguous_pair_of_several_listed_pairs(
    owners_by_pair: list[tuple[str, int, bool]], meant: str
) -> None:
    listed = [ListedPair(pair, owners, owners, is_own) for pair, owners, is_own in owners_by_pair]
    assert unambiguous_pair(listed) == meant


@pytest.mark.parametrize(
    ("traded", "other", "meant"),  # how many list it, how many can trade it, own, since
    [
        ((0, 0, False, 0), (1, 1, False, 9), "OTHER"),  # no account can trade the first any more
        ((1, 1, False, 1), (1, 1, False, 9), "TRADED"),
        ((1, 1, False, 9), (1, 1, False, 1), "OTHER"),
        ((1, 1, False, 1), (2, 2, False, 9), "OTHER"),
        ((1, 1, True, 9), (9, 9, False, 1), "TRADED"),
        ((1, 1, True, 9), (10, 10, False, 1), "OTHER"),
        ((2, 2, False, 9), (19, 19, False, 1), "TRADED"),
        ((2, 2, False, 1), (20, 20, False, 9), "OTHER"),
        ((0, 1, False, 1), (1, 1, False, 9), "TRADED"),
        ((0, 1, False, 9), (1, 1, False, 1), "OTHER"),
        ((0, 2, False, 9), (2, 2, False, 1), "TRADED"),
        ((0, 2, False, 1), (3, 3, False, 9), "OTHER"),
        ((2, 2, False, 1), (0, 50, False, 9), "TRADED"),  # a map counts less than a list
        ((9, 9, False, 1), (1, 1, True, 9), "OTHER"),
    ],
)
def test_when_another_pair_replaces_the_traded_pair(
    traded: tuple[int, int, bool, int], other: tuple[int, int, bool, int], meant: str
) -> None:
    pairs = [ListedPair("TRADED", *traded), ListedPair("OTHER", *other)]
    assert unambiguous_pair([pair for pair in pairs if pair.able], "TRADED") == meant
