"""Whether a word means the pair that was traded before, or one that accounts list now."""

from itertools import product

import pytest

from connections.models import Subscription
from signals.checks.listings import ListedPair, unambiguous_pair
from signals.models import Feed
from tests.api.factories import World
from tests.api.symbol_alerts import (
    DAX,
    DOLLAR,
    POUND,
    accepted,
    feed,
    open_and_close,
    unrelated_follower,
)
from tests.api.test_symbols import follower
from tests.matrix import WALK_TIME, Walk

__all__ = ["feed"]
# How one other follower's account maps DAX/USD, and what its broker lists.
OTHER_FOLLOWER = {
    "not tested": ({}, []),
    "mapped, not tested": ({"DAX/USD": "GBPUSD"}, []),
    "mapped": ({"DAX/USD": "GBPUSD"}, [POUND]),
    "listed": ({}, [DOLLAR]),
}


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
