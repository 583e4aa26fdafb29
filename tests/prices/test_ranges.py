"""A trailing stop judged by price ranges acts exactly as one that is judged quote by quote."""

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.types import Quote, Side
from prices.ranges import (
    in_sequence,
    is_trailing_stop_hit,
    mark_after,
    price_ranges,
    stop_price_of,
)

PAIR = "EUR/USD"
NOW = datetime(2026, 11, 20, tzinfo=UTC)


def quotes_of(*bids: D | int | str, spread: D = D(0)) -> list[Quote]:
    return [Quote(PAIR, D(bid), D(bid) + spread, NOW) for bid in bids]


@pytest.mark.parametrize(
    ("side", "mark", "prices", "hit"),
    [
        (Side.SELL, 100, [91], False),  # 9 below the mark
        (Side.SELL, 100, [90], True),  # 10 below it
        (Side.SELL, 100, [104, 95], False),  # 9 below the new mark
        (Side.SELL, 100, [104, 94], True),  # 10 below the new mark, 6 below the old one
        (Side.SELL, 100, [94, 104], False),  # the same prices in the other order
        (Side.SELL, None, [100, 91], False),
        (Side.SELL, None, [100, 90], True),
        (Side.SELL, None, [90, 100], False),
        (Side.BUY, 100, [109], False),
        (Side.BUY, 100, [110], True),
        (Side.BUY, 100, [96, 106], True),
        (Side.BUY, 100, [106, 96], False),
        (Side.BUY, None, [110, 100], False),
    ],
)
def test_trailing_stop_is_hit_at_its_distance_from_the_mark(
    side: Side, mark: int | None, prices: list[int], hit: bool
) -> None:
    prices_of_pair = price_ranges(quotes_of(*prices), 0)[PAIR]
    before = None if mark is None else D(mark)
    assert is_trailing_stop_hit(prices_of_pair, side, before, D(10)) is hit


def test_sell_follows_the_bid_and_buy_follows_the_ask() -> None:
    prices = price_ranges(quotes_of(100, 105, 98, spread=D(2)), 0)[PAIR]
    assert (prices.fall, prices.rise) == (D(7), D(5))
    assert mark_after(prices, Side.SELL, D(103)) == 105
    assert mark_after(prices, Side.SELL, D(106)) == 106
    assert mark_after(prices, Side.BUY, D(103)) == 100
    assert mark_after(prices, Side.BUY, None) == 100
    assert stop_price_of(Side.SELL, D(105), D(10)) == 95
    assert stop_price_of(Side.BUY, D(100), D(10)) == 110


def test_ranges_of_a_pair_in_both_batches_are_joined_in_sequence() -> None:
    first, later = price_ranges(quotes_of(100, 104), 1), price_ranges(quotes_of(95, 97), 2)
    joined = in_sequence(first, later)[PAIR]
    assert (joined.low_bid, joined.high_bid) == (D(95), D(104))
    assert (joined.fall, joined.rise) == (D(9), D(4))
    assert (joined.began, joined.last_bid) == (1.0, D(97))
    assert in_sequence(first, {}) == first


# ---- an oracle: quote by quote, from the definition ------------------------------------------
def first_hit(prices: Sequence[D], side: Side, mark: D | None, distance: D) -> int | None:
    """Return the place of the quote that hits a trailing stop, None if none does."""
    best = mark
    for place, price in enumerate(prices):
        better = best is None or (price > best if side is Side.SELL else price < best)
        best = price if better else best
        assert best is not None
        away = best - price if side is Side.SELL else price - best
        if away >= distance:
            return place
    return None


BIDS = st.lists(st.integers(80, 120).map(D), min_size=1, max_size=30)


@given(BIDS, st.sampled_from(Side), st.none() | st.integers(80, 120).map(D), st.integers(1, 30))
def test_one_range_is_judged_as_its_quotes_one_by_one(
    bids: list[D], side: Side, mark: D | None, distance: int
) -> None:
    prices = price_ranges(quotes_of(*bids), 0)[PAIR]
    hit = first_hit(bids, side, mark, D(distance)) is not None
    assert is_trailing_stop_hit(prices, side, mark, D(distance)) is hit


@given(BIDS, st.data(), st.sampled_from(Side), st.integers(1, 30))
def test_batches_are_judged_as_their_quotes_one_by_one(
    bids: list[D], data: st.DataObject, side: Side, distance: int
) -> None:
    cuts = sorted({0, len(bids), *data.draw(st.lists(st.integers(0, len(bids))))})
    mark, hit_in = None, None
    for number, (start, end) in enumerate(itertools.pairwise(cuts)):
        prices = price_ranges(quotes_of(*bids[start:end]), 0)[PAIR]
        if is_trailing_stop_hit(prices, side, mark, D(distance)):
            hit_in = number
            break
        mark = mark_after(prices, side, mark)
    place = first_hit(bids, side, None, D(distance))
    expected = None if place is None else sum(cut <= place for cut in cuts) - 1
    assert hit_in == expected


@given(BIDS, st.data())
def test_joined_batches_have_the_range_of_all_their_quotes(
    bids: list[D], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(bids)))
    parts = (price_ranges(quotes_of(*part), 0) for part in (bids[:cut], bids[cut:]))
    assert in_sequence(*parts) == price_ranges(quotes_of(*bids), 0)
