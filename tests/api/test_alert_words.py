"""Alerts whose symbol names no currency, at the alert door: no follower's account decides for the
others which pair is meant, and what the feed has open can be closed whatever they list or map."""

from datetime import timedelta
from typing import Any

import pytest

from common.clocks import market_now
from connections.models import Subscription
from signals.listings import ListedPair, unambiguous_pair
from signals.models import Feed, Signal
from tests.api.factories import World
from tests.api.test_problems import problem
from tests.api.test_symbols import alert, follower, listed

DAX, DOLLAR = listed("DAX", "DAX/EUR"), listed("DAXUSD", "DAX/USD")
POUND = listed("GBPUSD", "GBP/USD")


@pytest.fixture
def feed(world: World) -> Feed:
    """Paula's; nobody follows it yet."""
    Subscription.objects.all().delete()
    return world.public


def stranger(feed: Feed, mapped: dict[str, str], *instruments: Any) -> None:
    row = follower(feed, *instruments)
    Subscription.objects.filter(connection=row).update(symbol_map=mapped)


def taken(world: World, feed: Feed, **said: Any) -> Signal:
    """The signal of an alert that is not refused."""
    answer = alert(world, feed, ticker="DAX", **said)
    assert answer.status_code == 201, answer.content
    return Signal.objects.latest("id")


def opened(world: World, feed: Feed, pair: str) -> Signal:
    answer = alert(world, feed, ticker=pair)
    assert answer.status_code == 201, answer.content
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
def test_strangers_map_does_not_make_a_listed_word_ambiguous(
    world: World, feed: Feed, action: str, mapped: dict[str, str], instruments: list[Any]
) -> None:
    follower(feed, DAX)
    stranger(feed, mapped, *instruments)
    if action == "CLOSE":
        entry = opened(world, feed, "DAX/EUR")
        assert taken(world, feed, action="CLOSE").refers_to == entry
    else:
        assert taken(world, feed).currency_pair == "DAX/EUR"


@pytest.mark.parametrize("instruments", [[], [POUND]], ids=["list not read", "not listed"])
def test_map_to_what_is_not_listed_completes_no_word(
    world: World, feed: Feed, instruments: list[Any]
) -> None:
    follower(feed, POUND)
    stranger(feed, {"DAX/ZZZ": "WHATEVER"}, *instruments)
    refused = problem(alert(world, feed, ticker="DAX"), 400, "SYMBOL_UNKNOWN")
    assert "ZZZ" not in refused["detail"]


def test_what_many_owners_list_is_meant_whatever_one_stranger_lists(
    world: World, feed: Feed
) -> None:
    for _ in range(9):
        follower(feed, DAX)
    follower(feed, DOLLAR)
    refused = problem(alert(world, feed, ticker="DAX"), 400, "SYMBOL_UNKNOWN")
    assert "'DAX' may be DAX/EUR, DAX/USD: write which one you mean." in refused["detail"]
    follower(feed, DAX)
    assert taken(world, feed).currency_pair == "DAX/EUR"


@pytest.mark.parametrize("mapped", [{}, {"DAX/EUR": "GBPUSD"}], ids=["listed", "mapped"])
def test_providers_own_account_decides_between_listed_pairs(
    world: World, feed: Feed, mapped: dict[str, str]
) -> None:
    own = follower(feed, POUND if mapped else DAX, owner=world.paula)
    Subscription.objects.filter(connection=own).update(symbol_map=mapped)
    follower(feed, DOLLAR)
    assert taken(world, feed).currency_pair == "DAX/EUR"


def test_word_is_looked_for_in_every_followers_list(world: World, feed: Feed) -> None:
    """Accounts of MetaTrader and IBKR have lists of their own."""
    for number in range(25):
        follower(feed, POUND, account=f"{number:02}")
    follower(feed, DAX, account="last")
    assert taken(world, feed).currency_pair == "DAX/EUR"


def test_several_open_pairs_of_a_word_are_named(world: World, feed: Feed) -> None:
    follower(feed, DAX, DOLLAR)
    euro, dollar = (opened(world, feed, pair) for pair in ("DAX/EUR", "DAX/USD"))
    for action in ("CLOSE", "OPEN"):
        refused = problem(alert(world, feed, ticker="DAX", action=action), 400, "SYMBOL_UNKNOWN")
        assert "'DAX' may be DAX/EUR or DAX/USD: this feed has open trades" in refused["detail"]
        assert refused["errors"][0]["field"] == "ticker"
    answer = alert(world, feed, ticker="DAX", action="CLOSE", refers_to=dollar.pk)
    assert answer.status_code == 201, answer.content
    assert taken(world, feed, action="CLOSE").refers_to == euro


def test_pair_that_no_account_lists_any_more_gives_way_to_a_listed_one(
    world: World, feed: Feed
) -> None:
    """It was traded lately and nothing of it is open: only the account that listed it has gone."""
    row = follower(feed, DOLLAR)
    opened(world, feed, "DAX/USD")
    assert taken(world, feed, action="CLOSE").currency_pair == "DAX/USD"
    Subscription.objects.filter(connection=row).delete()
    follower(feed, DAX)
    assert taken(world, feed).currency_pair == "DAX/EUR"


def test_traded_pairs_that_no_account_lists_any_more_are_named(world: World, feed: Feed) -> None:
    row = follower(feed, DAX, DOLLAR)
    for pair in ("DAX/EUR", "DAX/USD"):
        opened(world, feed, pair)
        alert(world, feed, ticker=pair, action="CLOSE")
    Subscription.objects.filter(connection=row).delete()
    follower(feed, POUND)
    refused = problem(alert(world, feed, ticker="DAX", action="CLOSE"), 400, "SYMBOL_UNKNOWN")
    assert "'DAX' may be DAX/EUR or DAX/USD: this feed has traded" in refused["detail"]


# What one stranger may do about DAX/USD: how his account maps it, what its broker lists.
STRANGERS = {
    "not tested": ({}, []),
    "mapped, not tested": ({"DAX/USD": "GBPUSD"}, []),
    "mapped": ({"DAX/USD": "GBPUSD"}, [POUND]),
    "listed": ({}, [DOLLAR]),
}


def traded(world: World, feed: Feed, pair: str) -> None:
    """The feed has opened a trade in this pair and closed it."""
    entry = opened(world, feed, pair)
    Signal.objects.filter(pk=entry.pk).update(created_at=market_now() - timedelta(days=1))
    assert alert(world, feed, ticker=pair, action="CLOSE").status_code == 201


@pytest.mark.parametrize("followers", [1, 2, 5])
@pytest.mark.parametrize("stranger_is", list(STRANGERS))
def test_stranger_does_not_bring_back_a_pair_that_the_followers_no_longer_list(
    world: World, feed: Feed, stranger_is: str, followers: int
) -> None:
    row = follower(feed, DOLLAR)
    traded(world, feed, "DAX/USD")
    Subscription.objects.filter(connection=row).delete()
    for _ in range(followers):
        follower(feed, DAX)
    mapped, instruments = STRANGERS[stranger_is]
    stranger(feed, mapped, *instruments)
    assert taken(world, feed).currency_pair == "DAX/EUR"


@pytest.mark.parametrize("followers", [2, 12])
def test_pair_that_one_stranger_listed_first_gives_way_to_what_others_list(
    world: World, feed: Feed, followers: int
) -> None:
    stranger(feed, {}, DOLLAR)
    assert taken(world, feed, note="first").currency_pair == "DAX/USD"
    assert taken(world, feed, action="CLOSE").currency_pair == "DAX/USD"
    for _ in range(followers):
        follower(feed, DAX)
    assert taken(world, feed).currency_pair == "DAX/EUR"


@pytest.mark.parametrize("followers", [1, 2])
@pytest.mark.parametrize("follower_has", ["listed", "mapped"])
@pytest.mark.parametrize("stranger_is", list(STRANGERS))
def test_stranger_does_not_change_the_pair_that_followers_have_traded(
    world: World, feed: Feed, stranger_is: str, follower_has: str, followers: int
) -> None:
    for _ in range(followers):
        if follower_has == "listed":
            follower(feed, DAX)
        else:
            row = follower(feed, POUND)
            Subscription.objects.filter(connection=row).update(symbol_map={"DAX/EUR": "GBPUSD"})
    traded(world, feed, "DAX/EUR")
    mapped, instruments = STRANGERS[stranger_is]
    stranger(feed, mapped, *instruments)
    assert taken(world, feed).currency_pair == "DAX/EUR"


def test_traded_pair_stays_among_several_that_many_list(world: World, feed: Feed) -> None:
    """Neither is listed by ten times as many: what it meant so far, it goes on meaning."""
    for instrument in (DAX, DAX, DOLLAR, DOLLAR, DOLLAR):
        follower(feed, instrument)
    traded(world, feed, "DAX/EUR")
    assert taken(world, feed).currency_pair == "DAX/EUR"


def test_providers_own_account_decides_against_the_traded_pair(world: World, feed: Feed) -> None:
    for _ in range(2):
        follower(feed, DAX)
    traded(world, feed, "DAX/EUR")
    follower(feed, DOLLAR, owner=world.paula)
    assert taken(world, feed).currency_pair == "DAX/USD"


@pytest.mark.parametrize(
    ("found", "meant"),  # of each pair: how many owners list it, whether the feed's is one of them
    [
        ([], ""),
        ([("A", 1, False)], "A"),
        ([("A", 10, False), ("B", 1, True)], "A"),
        ([("A", 9, False), ("B", 1, False)], ""),
        ([("A", 9, False), ("B", 1, True)], "B"),
        ([("A", 10, True), ("B", 2, True)], ""),
    ],
)
def test_which_of_several_listed_pairs_is_meant(
    found: list[tuple[str, int, bool]], meant: str
) -> None:
    listed = [ListedPair(pair, owners, owners, is_own) for pair, owners, is_own in found]
    assert unambiguous_pair(listed) == meant


@pytest.mark.parametrize(
    ("kept", "other", "meant"),  # of each: how many list it, how many can trade it, own, since
    [
        ((0, 0, False, 0), (1, 1, False, 9), "OTHER"),  # no account can trade it any more
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
def test_when_the_traded_pair_gives_way(
    kept: tuple[int, int, bool, int], other: tuple[int, int, bool, int], meant: str
) -> None:
    found = [ListedPair("TRADED", *kept), ListedPair("OTHER", *other)]
    assert unambiguous_pair([one for one in found if one.able], "TRADED") == meant
