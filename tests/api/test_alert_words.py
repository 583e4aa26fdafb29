"""Alerts whose symbol names no currency, at the alert door: no follower's account decides for the
others which pair is meant, and what the feed has open can be closed whatever they list or map."""

from typing import Any

import pytest

from connections.models import Subscription
from signals.listings import ListedPair, clearly_meant
from signals.models import Feed, Signal
from tests.api.test_problems import problem
from tests.api.test_symbols import alert, follower, listed
from tests.api.world import World

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
    assert "'DAX' may be DAX/EUR, DAX/USD: write which." in refused["detail"]
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


@pytest.mark.parametrize(
    ("found", "meant"),
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
    assert clearly_meant([ListedPair(*one) for one in found]) == meant
