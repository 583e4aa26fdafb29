"""Parts of executions that become another member's: exact, and known by the broker's id."""

from datetime import UTC, datetime
from decimal import Decimal as D

import pytest

from execution.reports.member_shares import ShareMove
from execution.reports.moved_fills import MemberFill, after_moves, inferred_of


def fill(order_id: int, name: str, quantity: int, *, minute: int = 0, fee: str = "0") -> MemberFill:
    return MemberFill(
        order_id=order_id, connection_id="c", broker_fill_id=name, side="BUY",
        quantity=D(quantity), price=D(minute + 1), commission=D(fee), commission_currency="USD",
        commission_rate=D(1), commission_rate_at=None, fee_in_base=D(fee) / 10,
        time=datetime(2026, 11, 24, 12, minute, tzinfo=UTC), inferred=name.startswith("inferred"),
        revision=0,
    )  # fmt: skip


def named(fills: list[MemberFill]) -> dict[tuple[int, str], int]:
    return {(one.order_id, one.broker_fill_id): int(one.quantity) for one in fills}


LONG = "x" * 90


@pytest.mark.parametrize(
    ("before", "move", "after"),
    [
        # the newest first; what is left keeps the broker's id
        (
            [fill(2, "a", 50), fill(2, "b", 50, minute=1), fill(1, "c", 5)], (2, 1, 60),
            {(1, "b"): 50, (1, "a#1"): 10, (2, "a"): 40, (1, "c"): 5},
        ),
        # all of a share moves to one that has a share of it, too, and now has the broker's id
        ([fill(2, "a", 30), fill(1, "a#1", 20)], (2, 1, 30), {(1, "a"): 50}),
        ([fill(1, "a", 20), fill(2, "a#2", 30)], (2, 1, 30), {(1, "a"): 50}),
        ([fill(1, "a", 20), fill(2, "a#2", 30)], (2, 3, 10), {(1, "a"): 20, (2, "a#2"): 20,
                                                             (3, "a#3"): 10}),
        ([fill(2, "inferred:2", 30)], (2, 1, 10), {(2, "inferred:2"): 20, (1, "inferred:1"): 10}),
    ],
    ids=["newest", "holder", "beside the holder", "third", "inferred"],
)  # fmt: skip
def test_parts_keep_their_execution(
    before: list[MemberFill], move: tuple[int, int, int], after: dict[tuple[int, str], int]
) -> None:
    giver, getter, quantity = move
    moved = after_moves(before, [ShareMove(giver, getter, D(quantity))])
    assert named(moved) == after
    assert sum(one.quantity for one in moved) == sum(one.quantity for one in before)
    inferred = sum(inferred_of(before).values())
    assert sum(inferred_of(moved).values()) == inferred


def test_fees_are_divided_exactly() -> None:
    before = [fill(2, "a", 30, fee="0.07"), fill(2, "b", 10, minute=1, fee="-0.01")]
    moved = after_moves(before, [ShareMove(2, 1, D(20))])
    assert sum(one.commission for one in moved) == D("0.06")
    assert sum(one.fee_in_base for one in moved) == D("0.006")
    assert {one.broker_fill_id: one.commission for one in moved if one.order_id == 1} == {
        "b": D("-0.01"), "a#1": D("0.02333333"),
    }  # fmt: skip


def test_long_ids_are_recognised_by_their_digest() -> None:
    first = after_moves([fill(2, LONG, 30)], [ShareMove(2, 1, D(10))])
    [name] = [one.broker_fill_id for one in first if one.order_id == 1]
    assert len(name) < 40
    again = after_moves(first, [ShareMove(2, 1, D(20))])
    assert named(again) == {(1, LONG): 30}
