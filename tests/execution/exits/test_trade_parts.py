"""A part of a trade with several tickets: the oldest first, never more than is free of each."""

from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.exits.trade_parts import Ticket, allot_part


@pytest.mark.parametrize(
    ("free", "part", "taken"),
    [
        ([30, 30, 30], 40, {0: 30, 1: 10}),
        ([30, 30, 30], 90, {0: 30, 1: 30, 2: 30}),
        ([30, 30, 30], 10, {0: 10}),
        ([10, 10, 10, 10], 20, {0: 10, 1: 10}),  # the smallest: never all of them
        ([15, 15], 10, {0: 15}),  # 5 cannot be left
        ([0, 30], 10, {1: 10}),
        ([30, 30], 35, {0: 30}),  # 5 is too small for an exit, and 30 is too much
        ([30, 15], 38, {0: 30, 1: 15}),  # 8 is nearer to 15 than to nothing
    ],
)
def test_part_is_taken_from_the_oldest(free: list[int], part: int, taken: dict[int, int]) -> None:
    tickets = [Ticket(number, D(quantity)) for number, quantity in enumerate(free)]
    assert allot_part(tickets, D(part), smallest=D(10)) == taken


@given(
    free=st.lists(st.integers(1, 50), min_size=1, max_size=20),
    share=st.integers(1, 100),
    smallest=st.integers(1, 10),
)
def test_sum_is_the_part_within_one_smallest_quantity(
    free: list[int], share: int, smallest: int
) -> None:
    tickets = [Ticket(number, D(quantity)) for number, quantity in enumerate(free)]
    part = D(sum(free)) * share // 100
    taken = allot_part(tickets, part, smallest=D(smallest))
    assert all(0 < quantity <= tickets[number].free for number, quantity in taken.items())
    assert abs(sum(taken.values()) - part) < 2 * smallest
    left = [ticket.free - taken.get(ticket.id, D(0)) for ticket in tickets]
    assert all(
        rest == 0 or rest >= smallest or rest == ticket.free
        for rest, ticket in zip(left, tickets, strict=True)
    )
