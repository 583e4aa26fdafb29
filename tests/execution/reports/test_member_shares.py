"""Shares of one order: exact, fair, the same for the same input, and each can be closed alone."""

from dataclasses import dataclass
from decimal import Decimal as D
from functools import partial
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from execution.reports.allotment import allot
from execution.reports.member_shares import (
    Holding,
    ShareMove,
    are_divisible,
    closing_minimum,
    moves_at_end,
    share_out,
)

MINIMUM = 10  # in steps of 1
BY_ONE = partial(allot, step=D(1))


@dataclass(slots=True)
class Member:
    quantity: D
    filled: D = D(0)


def members(*quantities: int) -> list[Member]:
    return [Member(D(quantity)) for quantity in quantities]


def execute(group: list[Member], *parts: int, minimum: int = MINIMUM) -> list[int]:
    """Share out executions one after another; return what each member has then."""
    for part in parts:
        shares = share_out(D(part), group, D(minimum), BY_ONE)
        assert sum(shares) == part
        for member, share in zip(group, shares, strict=True):
            assert 0 <= share <= member.quantity - member.filled
            member.filled += share
    return [int(member.filled) for member in group]


def end(group: list[Member]) -> list[int]:
    """Let the order end; return what each member has then."""
    holdings = []
    for number, one in enumerate(group):
        floor = min(D(MINIMUM), one.quantity)
        spare = max(one.filled - floor, D(0))
        holdings.append(Holding(number, one.filled, floor, spare, may_get=True))
    for move in moves_at_end(holdings, BY_ONE):
        assert move.quantity > 0
        group[move.giver].filled -= move.quantity
        group[move.getter].filled += move.quantity
    return [int(member.filled) for member in group]


@pytest.mark.parametrize(
    ("quantities", "parts", "expected"),
    [
        ((10, 30), (15,), [0, 15]),  # 4 and 11: too little for both, so the larger one's
        ((10, 30), (20,), [10, 10]),  # 5 and 15: enough for both
        ((10, 30), (35,), [10, 25]),
        ((100, 300), (50,), [13, 37]),  # by size where that can be closed
        ((40, 40), (15,), [15, 0]),  # of equal ones the oldest
        ((10, 30), (9,), [0, 9]),  # the whole is too little
        ((10, 30), (9, 3), [0, 12]),  # first what is below the minimum
        ((10, 30), (9, 9, 9, 3, 5), [5, 30]),  # the order may go on
        ((20, 60, 20), (12, 25), [10, 17, 10]),
        ((20, 60, 20), (5, 40), [10, 25, 10]),
    ],
    ids=str,
)
def test_shares_while_the_order_works(
    quantities: tuple[int, ...], parts: tuple[int, ...], expected: list[int]
) -> None:
    assert execute(members(*quantities), *parts) == expected


def test_without_a_minimum_each_gets_its_part() -> None:
    assert execute(members(10, 30), 15, minimum=1) == [4, 11]


def test_others_give_what_they_can_spare_at_the_end() -> None:
    at_end = [
        Holding(1, D(4), D(10), D(0), may_get=True),
        Holding(2, D(30), D(10), D(20), may_get=True),
        Holding(3, D(20), D(10), D(10), may_get=True),
    ]
    assert moves_at_end(at_end, BY_ONE) == [ShareMove(2, 1, D(4)), ShareMove(3, 1, D(2))]


@pytest.mark.parametrize(
    ("spare", "may_get"), [(5, True), (20, False)], ids=["too little to give", "partly closed"]
)
def test_nothing_moves_in_part(spare: int, *, may_get: bool) -> None:
    at_end = [
        Holding(1, D(4), D(10), D(0), may_get=may_get),
        Holding(2, D(30), D(10), D(spare), may_get=True),
    ]
    assert moves_at_end(at_end, BY_ONE) == []


@pytest.mark.parametrize(
    ("quantities", "expected"),
    [
        ((10, 30), True),
        ((10, 10), False),  # 15 of 20
        ((19, 10), True),  # 19 and 20 are adjacent
        ((18, 10), False),  # 19
        ((30, 10, 10), True),  # 30 = 3 minimums
        ((18, 11, 11), False),  # 19
        ((5,), True),
    ],
    ids=str,
)
def test_which_entries_can_be_divided(quantities: tuple[int, ...], *, expected: bool) -> None:
    assert are_divisible([D(one) for one in quantities], D(MINIMUM), D(1)) is expected


def test_closing_minimum_covers_value_and_fees() -> None:
    usual = {"quantity_min": D(10), "close_min": D(0), "worth_min": D(0), "price": D(3)}
    assert closing_minimum(**usual, step=D(10)) == 10
    assert closing_minimum(**{**usual, "worth_min": D(100)}, step=D(10)) == 40
    # a fee in base units of up to 1 % may be taken out
    assert closing_minimum(**{**usual, "close_min": D(100)}, step=D(10)) == 110
    assert closing_minimum(**usual, step=D(0)) == 10


@st.composite
def orders(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Sizes that can be divided, and executions of a part of their sum."""
    sizes = draw(
        st.lists(st.integers(MINIMUM, 60), min_size=2, max_size=5).filter(
            lambda sizes: are_divisible([D(one) for one in sizes], D(MINIMUM), D(1))
        )
    )
    left, parts = draw(st.integers(1, sum(sizes))), []
    while left:
        parts.append(draw(st.integers(1, min(left, draw(st.sampled_from([3, 12, left]))))))
        left -= parts[-1]
    return sizes, parts


@given(orders())
@example(([10, 30], [9, 9, 9, 3, 5]))
@example(([19, 10], [9, 9, 1]))
def test_each_member_can_be_closed_at_the_end(case: tuple[list[int], list[int]]) -> None:
    """Unless the whole is too little; sums are exact, and of equal entries the oldest has most."""
    sizes, parts = case
    group = members(*sizes)
    execute(group, *parts)
    below = [one for one in group if 0 < one.filled < MINIMUM]
    assert len(below) <= 1  # while it works
    got = end(group)
    assert sum(got) == sum(parts)
    assert all(0 <= one <= size for one, size in zip(got, sizes, strict=True))
    if sum(parts) < MINIMUM:
        assert sorted(got)[:-1] == [0] * (len(got) - 1)
    else:
        assert [one for one in got if 0 < one < MINIMUM] == []
    again = members(*sizes)
    execute(again, *parts)
    assert end(again) == got


@given(orders())
@example(([10, 10, 19], [20]))
def test_one_execution_is_divided_at_once(case: tuple[list[int], list[int]]) -> None:
    """Nothing moves at the end, and a larger entry never has less than a smaller one."""
    sizes, parts = case
    group = members(*sizes)
    got = execute(group, sum(parts))
    assert end(group) == got
    ordered = sorted(zip(sizes, got, strict=True), key=lambda pair: pair[0])
    assert all(a[1] <= b[1] for a, b in pairwise(ordered) if a[0] < b[0])
